"""`auralis doctor`: what is well is called well, every fault is found, and each comes with what to do."""

from __future__ import annotations

import http.server
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from faults import EXCLUSIVELY, held, overwrite

from auralis_core import audio, cli, doctor, sidecar
from auralis_core.dataset import Dataset, TrackSource
from auralis_core.migrations import MIGRATIONS
from auralis_core.schema import FINGERPRINT_VERSION


@pytest.fixture
def db(tmp_path: Path, make_fingerprint) -> Path:
    path = tmp_path / "a.db"
    with Dataset(path) as dataset:
        for n in range(20):
            id = dataset.put_track(TrackSource(f"/{n}", "", "", "", 1, 8000, 1, n, n)).id
            dataset.put_fingerprint(id, make_fingerprint(n), "local")
    return path


@pytest.fixture
def free_port() -> int:
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_machine_that_is_well_is_all_ok(db: Path, tmp_path: Path, free_port: int, make_fingerprint) -> None:
    with Dataset(db) as dataset:
        dataset.keep_backup(always=True)
    music = tmp_path / "music"
    music.mkdir()
    audio.write(music / "a.wav", doctor.tone(0.2), doctor.RATE)
    sidecar.write(music / "a.wav", make_fingerprint())
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    findings = list(doctor.examine(db, [music], free_port))
    assert {f.state for f in findings} == {"ok"}, findings
    assert doctor.worst(findings) == "ok"
    checks = [f.check for f in findings]
    assert checks[0] == "engine"
    assert checks[-4:] == ["database", "backup", "sidecars", f"port {free_port}"]
    assert len(checks) == 5 + len(doctor.FORMATS)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before  # nothing is touched


def test_engine_is_compared_with_the_portable_one() -> None:
    code = "from auralis_core import doctor; doctor.sample = lambda: 'other'; print(doctor.engine().state)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    baseline = {**os.environ, "AURALIS_SIMD": "baseline"}
    portable = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=baseline)
    assert portable.stdout == "ok\n"  # nothing to compare
    assert run.stdout == ("fail\n" if doctor.simd() != "baseline" else "ok\n")


def test_decoder_that_gives_another_sound_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {f.state for f in doctor.decoders()} == {"ok"}
    right = doctor.blocks
    monkeypatch.setattr(doctor, "blocks", lambda path: (0.8 * x for x in right(path)))
    assert {f.state for f in doctor.decoders()} == {"fail"}
    monkeypatch.setattr(doctor, "blocks", lambda path: (x[:, :-300] for x in right(path)))
    assert next(doctor.decoders()).state == "fail"


def test_database_faults_have_names_and_remedies(db: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE fingerprints SET lufs = -1.0 WHERE track_id < 4")
    found = {f.check: f for f in doctor.database(db)}
    assert found["database"].state == "fail"
    assert "3 fingerprints disagree" in found["database"].detail
    assert found["backup"].state == "warn"
    assert "auralis backup" in found["backup"].advice
    with held(db, *EXCLUSIVELY):
        (busy,) = doctor.database(db)
        assert (busy.state, "holds it" in busy.advice) == ("fail", True)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 99")
    (newer,) = doctor.database(db)
    assert "Upgrade" in newer.advice
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    overwrite(db)
    (damaged,) = doctor.database(db)
    assert "Restore" in damaged.advice
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    (foreign,) = doctor.database(tmp_path / "other.db")
    assert "another program" in foreign.advice
    (missing,) = doctor.database(tmp_path / "none.db")
    assert (missing.state, "auralis scan" in missing.advice) == ("warn", True)
    assert not (tmp_path / "none.db").exists()


def test_old_backup_is_a_warning(db: Path) -> None:
    with Dataset(db) as dataset:
        made = dataset.keep_backup(always=True)
    os.utime(made, (1_700_000_000, 1_700_000_000))
    assert {f.check: f.state for f in doctor.database(db)} == {"database": "ok", "backup": "warn"}


def test_sidecars_are_counted_by_kind(tmp_path: Path, make_fingerprint) -> None:
    for n in range(4):
        audio.write(tmp_path / f"{n}.wav", doctor.tone(0.1), doctor.RATE)
    sidecar.write(tmp_path / "0.wav", make_fingerprint())
    sidecar.write(tmp_path / "1.wav", make_fingerprint(version=FINGERPRINT_VERSION + 1))
    sidecar.path_for(tmp_path / "2.wav").write_bytes(b"x")
    found = doctor.sidecars(tmp_path)
    assert found.state == "warn"
    assert found.detail == f"{tmp_path}: 1 valid, 1 stale, 1 damaged, 1 missing"
    assert doctor.sidecars(tmp_path / "gone").state == "fail"


def test_port_is_free_ours_or_anothers(free_port: int) -> None:
    assert doctor.listening(free_port).detail == "free"

    class Health(http.server.BaseHTTPRequestHandler):
        body = b'{"status": "ok"}'

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert "Auralis answers" in doctor.listening(server.server_port).detail
            Health.body = b"hello"
            found = doctor.listening(server.server_port)
            assert (found.state, "--port" in found.advice) == ("warn", True)
        finally:
            server.shutdown()
            thread.join()


def test_exit_code_says_whether_anything_failed(db: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(cli.app, ["doctor", "--db", str(db), "--json"]) == 0
    overwrite(db)
    assert cli.run(cli.app, ["doctor", "--db", str(db)]) == 1
    out = capfd.readouterr().out
    assert "\x1b" not in out  # not a terminal
    assert "fail  database" in out
