"""The pages are held to the code they describe."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from auralis_core import DIMENSIONS
from auralis_core.schema import EXTRAS, FLAGS

ROOT = Path(__file__).resolve().parents[1]
FINGERPRINT = (ROOT / "docs" / "fingerprint.md").read_text()


def test_fingerprint_page_lists_the_table_in_order() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \| (-?[\d.]+)…(-?[\d.]+) \|", FINGERPRINT, re.MULTILINE)
    assert [(n, g, u, float(a), float(b)) for n, g, u, a, b in rows] == [
        dataclasses.astuple(d) for d in DIMENSIONS
    ]


def test_fingerprint_page_names_every_extra_and_flag() -> None:
    assert [name for name in (*EXTRAS, *FLAGS) if f"`{name}`" not in FINGERPRINT] == []


def test_readme_is_short_and_shows_both_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    assert "make serve" in text
    assert "make test" in text


def test_performance_page_names_benches_there_are() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    named = set(re.findall(r"bench/(\w+\.py)", text))
    there = {path.name for path in (ROOT / "bench").glob("*.py")}
    assert named <= there
    assert {"bench_fingerprint.py", "bench_meter.py", "bench_chain.py", "robustness.py"} <= named


def test_sources_page_names_every_status_a_worker_answers_with() -> None:
    page = (ROOT / "docs" / "sources.md").read_text()
    used = set(re.findall(r"Code\.([A-Z_]+)", (ROOT / "server" / "worker.py").read_text())) - {"INTERNAL"}
    assert [name for name in sorted(used) if name not in page] == []


def test_sources_page_names_every_source_and_state() -> None:
    page = (ROOT / "docs" / "sources.md").read_text()
    for name in ("database", "sidecar", "local", "remote", "ok", "failing", "open", "half-open"):
        assert f"`{name}`" in page
