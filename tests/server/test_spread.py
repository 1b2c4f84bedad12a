"""A scan that other machines measure for: the same bytes as here, whatever happens to the machines."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fleet import AURALIS, unused, worker
from serving import music

pytest.importorskip("grpc", reason="the extra 'remote' is not installed")
from auralis_server.config import RemoteConfig
from auralis_server.spread import FleetLost, over_cluster, over_workers

from auralis_core import AudioReadError, GeneratorError, library
from auralis_core.audio import write
from auralis_core.dataset import Dataset

LIMIT_S = 120  # a hang is a failure, not a wait

#: By file: its sidecar, and what the dataset holds.
Kept = dict[str, tuple[bytes, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Music as a scan by this machine leaves it."""
    folder = tmp_path_factory.mktemp("made")
    for i in range(8):
        write(folder / f"{i}.flac", music(4 + i, seed=i), 44100)
    (folder / "noise.wav").write_bytes(b"no music")
    assert numbers(scan(folder, folder / "local.db")) == (9, 8, 0, 0, 1)
    return folder


@pytest.fixture(scope="module")
def local(made: Path) -> Kept:
    found = kept(made, made / "local.db")
    assert len(found) == 8
    return found


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The music, never scanned."""
    return shutil.copytree(made, tmp_path / "music", ignore=shutil.ignore_patterns("*.25d", "local.db*"))


def scan(folder: Path, db: Path, *options: object) -> dict[str, Any]:
    command = [*AURALIS, "scan", folder, "--db", db, "--json", *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return json.loads(done.stdout)


def kept(folder: Path, db: Path) -> Kept:
    with closing(Dataset(db)) as dataset:
        return {
            Path(t.path).name: (
                Path(f"{t.path}.25d").read_bytes(),
                json.dumps(fp.to_dict()) if (fp := dataset.fingerprint(t.id)) else "",
            )
            for t in dataset.under(folder.resolve())
        }


def numbers(report: dict[str, Any]) -> tuple[int, int, int, int, int]:
    names = ("scanned", "fingerprinted", "from_sidecar", "from_database")
    return (*(report[name] for name in names), len(report["failed"]))  # type: ignore[return-value]


def forget(folder: Path) -> None:
    for path in folder.glob("*.25d"):
        path.unlink()


def test_fleet_gives_what_a_local_scan_gives_byte_for_byte(folder: Path, local: Kept, tmp_path: Path) -> None:
    with (
        worker("--jobs", 1, "--root", folder) as (one, a),
        worker("--jobs", 1, "--root", folder) as (two, b),
    ):
        db = tmp_path / "fleet.db"
        assert numbers(scan(folder, db, "--remote", f"{a},{b}")) == (9, 8, 0, 0, 1)
        assert kept(folder, db) == local
        assert numbers(scan(folder, db, "--remote", f"{a},{b}")) == (9, 0, 0, 8, 1)
        forget(folder)
        shared = tmp_path / "shared.db"
        report = scan(folder, shared, "--remote", f"{a},{b}", "--remote-shared", folder)
        assert numbers(report) == (9, 8, 0, 0, 1)
        assert kept(folder, shared) == local
        measured = []
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
            measured.append(process.communicate(timeout=LIMIT_S)[1].count("measured"))
    assert sum(measured) == 16  # the second scan asked for nothing
    assert min(measured) >= 4  # both worked
    with closing(sqlite3.connect(db)) as rows:
        assert rows.execute("SELECT DISTINCT source FROM fingerprints").fetchall() == [("remote",)]


def test_killed_worker_loses_nothing(folder: Path, local: Kept, tmp_path: Path) -> None:
    with worker("--jobs", 1) as (one, a), worker("--jobs", 1) as (_, b):
        killed = False

        def progress(done: int, total: int, path: str) -> None:
            nonlocal killed
            if done == 2:
                one.kill()
                killed = True

        with (
            closing(Dataset(tmp_path / "a.db")) as dataset,
            over_workers(RemoteConfig(targets=f"{a},{b}")) as spread,
        ):
            report = library.scan(
                *([folder], dataset, spread.jobs),
                progress=progress,
                measure=spread.measure,
                measured_by="remote",
            )
    assert killed
    assert numbers(report.to_dict()) == (9, 8, 0, 0, 1)
    assert kept(folder, tmp_path / "a.db") == local


def test_scan_without_any_worker_stops_and_goes_on_later(folder: Path, tmp_path: Path) -> None:
    address = unused()
    with closing(Dataset(tmp_path / "a.db")) as dataset:
        config = RemoteConfig(targets=address, wait_s=0.2)
        with over_workers(config) as spread, pytest.raises(FleetLost, match="nobody"):
            library.scan([folder], dataset, spread.jobs, measure=spread.measure)
        assert dataset.counts().failed == 0  # nothing is held against a file
    with worker(listen=address):
        report = scan(folder, tmp_path / "a.db", "--remote", address)
    assert numbers(report) == (9, 8, 0, 0, 1)


def test_lost_fleet_is_one_line(folder: Path, tmp_path: Path) -> None:
    command = [
        *AURALIS,
        "scan",
        folder,
        "--db",
        tmp_path / "a.db",
        "--remote",
        "a:1",
        "--cluster",
        "tcp://b:1",
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_cluster_gives_what_a_local_scan_gives_byte_for_byte(
    folder: Path, local: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        db = tmp_path / "cluster.db"
        assert numbers(scan(folder, db, "--cluster", address)) == (9, 8, 0, 0, 1)
        assert kept(folder, db) == local
        assert numbers(scan(folder, db, "--cluster", address)) == (9, 0, 0, 8, 1)
        with over_cluster(address) as spread:
            assert spread.jobs == 4
            with pytest.raises(AudioReadError):  # the file's fault comes back as what it is
                spread.measure(str(folder / "gone.flac"), lambda: False)
            # An idle machine measures a file before the usual first look.
            monkeypatch.setattr("auralis_server.spread.LOOK_S", 1e-4)
            with pytest.raises(GeneratorError, match="nobody waits"):
                spread.measure(str(folder / "7.flac"), lambda: True)


def test_cluster_that_does_not_answer_is_a_typed_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    monkeypatch.setattr("auralis_server.spread.CONNECT_S", 0.5)
    with pytest.raises(GeneratorError, match="no Dask scheduler"), over_cluster(f"tcp://{unused()}"):
        pass
