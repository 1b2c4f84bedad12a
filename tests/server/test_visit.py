"""`auralis doctor --remote`: each worker is asked to measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from auralis_server.cli import app, run
from auralis_server.config import RemoteConfig
from auralis_server.visit import workers
from fleet import unused, worker


def test_worker_that_measures_is_ok_and_one_that_is_not_there_fails() -> None:
    with worker() as (_, address):
        there, gone = workers(RemoteConfig(targets=f"{address},{unused()}"))
    assert (there.state, there.check) == ("ok", f"worker {address}")
    assert "as this machine does" in there.detail
    assert (gone.state, "auralis worker" in gone.advice) == ("fail", True)


def test_doctor_fails_with_the_worker(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    address = unused()
    assert run(app, ["doctor", "--db", str(tmp_path / "a.db"), "--remote", address]) == 1
    assert f"fail  worker {address}" in capfd.readouterr().out
