"""`auralis serve` as a process: it says where it is, answers, and stops when told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from auralis_server.cli import app, run
from fleet import server

from auralis_core.audio import write


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    x = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 44100)).astype(np.float32)
    write(folder / "one.flac", x, 44100)
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_lists_the_folder_and_stops_cleanly_when_told(
    number: signal.Signals, music: Path, tmp_path: Path
) -> None:
    with server(music, "--db", tmp_path / "a.db") as (process, address):
        with urllib.request.urlopen(f"{address}/api/tracks", timeout=60) as response:
            assert set(json.load(response)) == {"total", "tracks"}
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in out + err


def test_serve_without_the_extra_says_what_to_install(music: Path) -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from auralis_server.cli import main; main()"
    r = subprocess.run([sys.executable, "-c", code, "serve", music], capture_output=True, text=True)
    assert (r.returncode, r.stdout) == (1, "")
    assert "pip install 'auralis-core[server]'" in r.stderr
    assert r.stderr.count("\n") == 1


def test_worker_without_the_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['grpc'] = None; from auralis_server.cli import main; main()"
    command = [sys.executable, "-c", code, "worker", "--listen", "127.0.0.1:0"]
    r = subprocess.run(command, capture_output=True, text=True)
    assert (r.returncode, r.stdout) == (1, "")
    assert "pip install 'auralis-core[remote]'" in r.stderr
    assert r.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["{music}/gone"], 2, "no such folder"),
        (["{music}", "--port", "70000"], 2, "port"),
        (["{music}", "--sources", "database,rumour"], 2, "rumour"),
        (["{music}", "--sources", "database,remote"], 2, "remote"),
        (["{music}", "--sources", "database", "--remote", "a:1"], 2, "remote"),
        (["{music}", "--remote", "nowhere"], 2, "HOST:PORT"),
        (["{music}", "--remote", "a:1", "--remote-shared", "{music}/gone"], 2, "no such folder"),
        (["{music}", "--budget", "0"], 2, "budget"),
        (["{music}", "--host", "203.0.113.7", "--port", "0"], 1, "address|assign"),
    ],
)
def test_serve_wrong_arguments_are_one_line(
    arguments: list[str],
    code: int,
    reason: str,
    music: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = [a.format(music=music) for a in arguments]
    assert run(app, ["serve", *given, "--db", str(tmp_path / "a.db")]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(f"auralis: .*({reason}).*\n", err)


def test_core_commands_are_mounted(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["--help"]) == 0
    out = capfd.readouterr().out
    assert all(name in out for name in ("fingerprint", "master", "scan", "similar", "serve"))


def test_interrupt_while_the_commands_are_imported_is_quiet() -> None:
    script = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from auralis_server.__main__ import main
main()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 130
    assert run.stderr == ""
