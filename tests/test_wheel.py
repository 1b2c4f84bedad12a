"""The wheel as a stranger gets it: built from the tree, installed into a bare environment, used there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy of what git tracks, so that neither build products nor an editable install can help.
    tree = tmp_path_factory.mktemp("tree")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("the tracked files are only known in a git checkout")
    for name in listing.stdout.decode().split("\0")[:-1]:
        source = ROOT / name
        if source.is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(source.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    # What optimises the wheels we publish doubles the time of this one and changes nothing it is asked.
    compiler = out / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    compiler.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        out,
        tree,
    ]
    subprocess.run(command, check=True, env={**os.environ, "CC": str(compiler)})
    return next(out.glob("*.whl"))


def test_wheel_holds_the_two_packages_and_nothing_else_at_top_level(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {t for t in top if not t.endswith(".dist-info")} == {"auralis_core", "auralis_server"}
    assert {"auralis_server/web/index.html", "auralis_server/rpc/fingerprint.proto"} <= set(names)
    assert not [n for n in names if n.endswith((".c", ".pyx", ".h"))], "sources do not belong into the wheel"


def test_wheel_fingerprints_in_a_bare_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "venv" / "bin" / "python"]
    install = [*pip, "install", "-q", "--no-compile", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("the dependencies cannot be installed from here")
    assert done.returncode == 0, done.stderr
    tone = 0.25 * np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), 44100)
    auralis = tmp_path / "venv" / "bin" / "auralis"
    run = subprocess.run(
        [auralis, "fingerprint", "tone.wav", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    reading = json.loads(run.stdout)
    assert len(reading["dimensions"]) == 25
    assert reading["dimensions"]["lufs"] == pytest.approx(-12.04, abs=0.01)  # .25 in both channels
    serve = subprocess.run([auralis, "serve"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert serve.returncode != 0
    assert "auralis-core[server]" in serve.stderr
