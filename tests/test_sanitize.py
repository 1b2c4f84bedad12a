"""The C drivers in ``tests/csrc``, each built with all kernels under address and undefined checks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not shutil.which("make") or not shutil.which("cc"), reason="needs make and a C compiler")
def test_kernels_run_clean_under_sanitizers() -> None:
    run = subprocess.run(["make", "-s", "sanitize"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "cannot find" in run.stderr and "asan" in run.stderr:
        pytest.skip("this compiler has no sanitizer runtime")
    assert run.returncode == 0, run.stdout + run.stderr
