"""The command line as scripts and people meet it: its objects, its errors, its exit codes."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from faults import as_nobody, public_folder

import auralis_core
from auralis_core import DIMENSIONS, cli
from auralis_core.audio import blocks as read_blocks
from auralis_core.audio import probe, write

SR = 44100
PROCESS = [sys.executable, "-c", "import sys; from auralis_core.cli import *; sys.exit(run(app))"]


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def auralis(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = cli.run(cli.app, [str(a) for a in arguments])
        return Result(code, *capfd.readouterr())

    return call


def noise(seconds: float = 2.0, channels: int = 2, sr: int = SR, rms: float = 0.1) -> np.ndarray:
    """Noise that comes and goes five times a second: active everywhere, with some crest."""
    x = np.random.default_rng(1).standard_normal((channels, int(seconds * sr)))
    x *= rms * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * np.arange(x.shape[1]) / sr))
    return np.clip(x, -1, 1).astype(np.float32)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    write(tmp_path / "song.wav", noise(), SR, "PCM_16")
    return tmp_path / "song.wav"


def samples(path: Path) -> np.ndarray:
    return np.concatenate(list(read_blocks(path)), axis=1)


# The objects


def test_fingerprint_json_is_the_contracts_object(auralis, song: Path) -> None:
    r = auralis("fingerprint", song, "--json")
    assert (r.code, r.err) == (0, "")
    (data,) = r.objects
    keys = {
        "path",
        "version",
        "duration",
        "sample_rate",
        "channels",
        "dimensions",
        "extras",
        "flags",
        "elapsed",
    }
    assert keys <= set(data)
    assert (data["path"], data["duration"], data["sample_rate"], data["channels"]) == (str(song), 2.0, SR, 2)
    assert list(data["dimensions"]) == [d.name for d in DIMENSIONS]
    assert all(d.low <= data["dimensions"][d.name] <= d.high for d in DIMENSIONS)
    extras = {
        "true_peak_dbtp",
        "sample_peak_dbfs",
        "loudness_range",
        "plr_db",
        "tempo_alt",
        "tempo_confidence",
    }
    assert extras <= set(data["extras"])
    assert set(data["elapsed"]) == {"decode_s", "analyse_s", "total_s"}


def test_fingerprint_is_the_library_functions_and_repeats_to_the_byte(auralis, song: Path) -> None:
    runs = [auralis("fingerprint", song, "--json").objects[0] for _ in range(2)]
    for data in runs:
        del data["elapsed"]
    assert runs[0] == runs[1]
    expected = auralis_core.fingerprint(song).to_dict()
    assert {**expected, "path": str(song)} == runs[0]


def test_fingerprint_text_names_every_dimension(auralis, song: Path) -> None:
    r = auralis("fingerprint", song)
    assert r.code == 0
    assert all(d.name in r.out for d in DIMENSIONS)


def test_master_json_is_the_contracts_object(auralis, song: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.flac"
    r = auralis("master", song, out, "--json")
    assert (r.code, r.err) == (0, "")
    (data,) = r.objects
    assert {"decision", "input", "output", "frames", "realtime_factor"} <= set(data)
    assert set(data["decision"]) == {"region", "lufs", "crest_db", "expansion", "gain_db"}
    for side in ("input", "output"):
        assert set(data[side]) == {"lufs", "crest_db", "plr_db", "true_peak_dbtp"}
    before, after = probe(song), probe(out)
    assert (after.frames, after.sample_rate, after.channels) == (before.frames, SR, 2)
    assert (after.format, after.subtype) == ("FLAC", "PCM_16")
    assert data["frames"] == before.frames


def test_master_output_numbers_are_those_of_the_file_it_wrote(auralis, song: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    (data,) = auralis("master", song, out, "--subtype", "float", "--json").objects
    assert probe(out).subtype == "FLOAT"
    fp = auralis_core.fingerprint(out)
    expected = {"lufs": fp.lufs, "crest_db": fp.crest_db}
    expected |= {name: fp.extras[name] for name in ("plr_db", "true_peak_dbtp")}
    assert data["output"] == expected


def test_master_writes_what_the_renderer_renders(auralis, song: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    auralis("master", song, out, "--subtype", "FLOAT", "--preset", "warm", "--intensity", "0.5")
    plan = auralis_core.plan(auralis_core.fingerprint(song), "warm", 0.5)
    np.testing.assert_array_equal(samples(out), auralis_core.render_array(samples(song), SR, plan))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_master_at_intensity_zero_keeps_every_sample(
    subtype: str, auralis, song: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.wav"
    write(source, noise(), SR, subtype)
    r = auralis("master", source, tmp_path / "out.wav", "--intensity", "0", "--json")
    assert r.code == 0
    assert probe(tmp_path / "out.wav").subtype == subtype
    np.testing.assert_array_equal(samples(tmp_path / "out.wav"), samples(source))


def test_master_dithers_processed_and_narrowed_audio_only(auralis, tmp_path: Path) -> None:
    # A quiet 24-bit tone of half a 16-bit step: rounding gives silence, dither keeps it as noise.
    tone = (0.4 / 32768 * np.sin(np.arange(SR) * 0.1)).astype(np.float32)[None]
    write(tmp_path / "in.wav", tone, SR, "PCM_24")
    arguments = ("master", tmp_path / "in.wav", tmp_path / "out.wav", "--intensity", "0", "--subtype")
    auralis(*arguments, "PCM_16")
    assert np.any(samples(tmp_path / "out.wav"))
    auralis(*arguments, "PCM_24")
    np.testing.assert_array_equal(samples(tmp_path / "out.wav"), samples(tmp_path / "in.wav"))


def test_master_uses_a_valid_sidecar_and_no_other(auralis, song: Path, tmp_path: Path) -> None:
    from auralis_core import sidecar

    (measured,) = auralis("master", song, tmp_path / "a.wav", "--json").objects
    loud = auralis_core.fingerprint_array(noise(rms=0.4), SR)
    path = sidecar.write(song, loud)
    (told,) = auralis("master", song, tmp_path / "b.wav", "--json").objects
    assert told["input"]["lufs"] == loud.lufs != measured["input"]["lufs"]
    path.write_bytes(path.read_bytes()[:-9])
    (again,) = auralis("master", song, tmp_path / "c.wav", "--json").objects
    assert again["input"] == measured["input"]


def test_scan_json_counts_and_a_second_run_computes_nothing(auralis, song: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.flac").touch()
    db = tmp_path / "db" / "auralis.db"
    first, second = (auralis("scan", tmp_path, "--db", db, "--jobs", 2, "--json") for _ in range(2))
    assert (first.code, first.err, second.code) == (0, "", 0)
    (a,), (b,) = first.objects, second.objects
    names = ("scanned", "fingerprinted", "from_sidecar", "from_database")
    assert [a[n] for n in names] == [2, 1, 0, 0]
    assert [b[n] for n in names] == [2, 0, 0, 1]
    assert a["failed"] == [{"path": str(tmp_path / "empty.flac"), "reason": "the file is empty"}]
    assert a["elapsed_s"] > 0
    db.unlink()
    (c,) = auralis("scan", tmp_path, "--db", db, "--json").objects
    assert [c[n] for n in names] == [2, 0, 1, 0]


def test_similar_lists_the_nearest_first(auralis, tmp_path: Path) -> None:
    t = np.arange(2 * SR) / SR
    for name, hz in (("a", 440), ("b", 450), ("c", 3000)):
        write(tmp_path / f"{name}.wav", (0.3 * np.sin(2 * np.pi * hz * t)).astype(np.float32)[None], SR)
    db = tmp_path / "x.db"
    auralis("scan", tmp_path, "--db", db)
    r = auralis("similar", tmp_path / "a.wav", "--db", db, "--json")
    assert [Path(o["path"]).stem for o in r.objects] == ["b", "c"]
    assert 0 <= r.objects[0]["distance"] < r.objects[1]["distance"]
    assert len(auralis("similar", 1, "--db", db, "-n", 1, "--json").objects) == 1
    for arguments, reason in ((("99",), "not in the library"), ((tmp_path / "z.wav",), "not in the library")):
        r = auralis("similar", *arguments, "--db", db)
        assert (r.code, r.out) == (2, "")
        assert reason in r.err
    assert "no such library" in auralis("similar", 1, "--db", tmp_path / "gone.db").err
    assert not (tmp_path / "gone.db").exists()


# Bad input


def full_scale(channels: int = 2, sr: int = SR) -> np.ndarray:
    return np.sign(noise(1.0, channels, sr) + 1e-9).astype(np.float32)


ODD_BUT_GOOD: dict[str, tuple[np.ndarray, int, str | None]] = {
    "one_sample": (np.full((1, 1), 0.5, np.float32), SR, "short"),
    "short": (noise(0.2), SR, "short"),
    "eight_channels": (noise(1.0, 8), SR, None),
    "8_khz": (noise(1.0, 1, 8000), 8000, None),
    "192_khz": (noise(1.0, 2, 192000), 192000, None),
    "nan": (np.where(np.arange(SR) % 100 == 0, np.nan, noise(1.0)).astype(np.float32), SR, "non_finite"),
    "all_nan": (np.full((2, SR), np.nan, np.float32), SR, "non_finite"),
    "dc": (np.full((2, SR), 0.5, np.float32), SR, "dual_mono"),
    "silence": (np.zeros((2, SR), np.float32), SR, "silent"),
    "full_scale": (full_scale(), SR, "clipped"),
}


@pytest.mark.parametrize("name", ODD_BUT_GOOD)
def test_odd_files_give_25_finite_numbers_and_a_finite_master(name: str, auralis, tmp_path: Path) -> None:
    x, sr, flag = ODD_BUT_GOOD[name]
    path, out = tmp_path / f"{name}.wav", tmp_path / "out.wav"
    write(path, x, sr, "FLOAT")
    r = auralis("fingerprint", path, "--json")
    assert (r.code, r.err) == (0, "")
    data = r.objects[0]
    assert all(math.isfinite(v) for v in data["dimensions"].values())
    assert flag is None or flag in data["flags"]
    r = auralis("master", path, out, "--json")
    assert (r.code, r.err) == (0, "")
    y = samples(out)
    assert y.shape == x.shape
    if r.objects[0]["decision"]["region"] != "dynamic_loud" and "silent" not in data["flags"]:
        assert np.all(np.isfinite(y))


@pytest.fixture
def bad(tmp_path: Path, song: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / f"{name}.wav"
        raw = song.read_bytes()
        if name == "truncated":
            path.write_bytes(raw[: len(raw) // 2])
        elif name == "empty":
            path.touch()
        elif name == "zero_length":
            soundfile.write(path, np.zeros((0, 2)), SR)
        elif name == "unreadable":
            path.write_bytes(os.urandom(5000))
        elif name == "folder":
            path.mkdir()
        elif name == "nine_channels":
            soundfile.write(path, np.zeros((10, 9)), SR)
        return path

    return make


BAD = {
    "truncated": "truncated",
    "empty": "empty",
    "zero_length": "no audio frames",
    "unreadable": "cannot be decoded",
    "folder": "regular file|directory",
    "nine_channels": "9 channels",
    "missing": "No such file",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_error_line_and_the_others_still_come(
    name: str, auralis, bad: Callable[[str], Path], song: Path, tmp_path: Path
) -> None:
    path = bad(name)
    r = auralis("fingerprint", path, song, "--json")
    assert r.code == 1
    assert [o["path"] for o in r.objects] == [str(song)]
    assert_one_line(r, str(path), BAD[name])
    r = auralis("master", path, tmp_path / "out.flac", "--json")
    assert (r.code, r.out) == (1, "")
    assert_one_line(r, str(path), BAD[name])
    assert not list(tmp_path.glob("*.flac"))
    assert not list(tmp_path.glob(".*"))


def assert_one_line(r: Result, *patterns: str) -> None:
    assert r.err.startswith("auralis: ")
    assert r.err.count("\n") == 1
    for pattern in patterns:
        assert re.search(pattern, r.err), r.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["bogus"], "No such command"),
        (["fingerprint"], "Missing argument"),
        (["fingerprint", "{song}", "--bogus"], "No such option"),
        (["master", "{song}"], "Missing argument"),
        (["master", "{song}", "{tmp}/o.xyz"], "suffix"),
        (["master", "{song}", "{tmp}/o"], "suffix"),
        (["master", "{song}", "{tmp}/o.wav", "--preset", "loudest"], "preset"),
        (["master", "{song}", "{tmp}/o.wav", "--intensity", "1.5"], "intensity"),
        (["master", "{song}", "{tmp}/o.wav", "--intensity", "nan"], "intensity"),
        (["master", "{song}", "{tmp}/o.wav", "--intensity", "much"], "intensity"),
        (["master", "{song}", "{tmp}/o.wav", "--target", "5"], "target"),
        (["master", "{song}", "{tmp}/o.wav", "--ceiling", "3"], "ceiling"),
        (["master", "{song}", "{tmp}/o.flac", "--subtype", "FLOAT"], "subtype"),
        (["master", "{song}", "{tmp}/o.wav", "--subtype", "PCM_99"], "subtype"),
        (["master", "{song}", "{song}"], "same file"),
        (["scan", "{tmp}"], "--db"),
        (["scan", "{tmp}", "--db", "{tmp}/x.db", "--jobs", "0"], "jobs"),
        (["similar", "1", "--db", "{tmp}/none.db"], "no such library"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(
    arguments: list[str], reason: str, auralis, song: Path, tmp_path: Path
) -> None:
    before = song.read_bytes()
    r = auralis(*(a.format(song=song, tmp=tmp_path) for a in arguments))
    assert (r.code, r.out) == (2, "")
    assert_one_line(r, reason)
    assert song.read_bytes() == before
    assert not [*tmp_path.glob("o*"), *tmp_path.glob(".*")]


def test_unusable_places_are_one_line_and_exit_1(auralis, song: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_text("not a database at all, " * 100)
    cases = [
        (("master", song, tmp_path / "gone" / "o.wav"), "No such file"),
        (("scan", tmp_path / "gone", "--db", tmp_path / "x.db"), "no such folder"),
        (("scan", tmp_path, "--db", tmp_path / "junk.db"), "not a database"),
        (("scan", tmp_path, "--db", tmp_path), "open"),
    ]
    for arguments, reason in cases:
        r = auralis(*arguments, "--json")
        assert (r.code, r.out) == (1, "")
        assert_one_line(r, reason)


# The process


def test_version_and_help(auralis) -> None:
    assert auralis("--version").out == f"auralis {auralis_core.__version__}\n"
    for arguments in ((), ("--help",)):
        r = auralis(*arguments)
        assert r.code == 0
        assert all(name in r.out for name in ("fingerprint", "master", "scan", "similar"))


def test_help_imports_neither_rich_nor_scipy() -> None:
    # What keeps help under 300 ms: rich costs 60 ms, scipy 250.
    code = "import sys; from auralis_core.cli import *; run(app, ['--help']); print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = set(eval(out.splitlines()[-1]))
    assert not {"rich", "scipy", "tinytag", "sqlite3"} & modules


def test_interrupt_ends_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    # The pipe blocks the process inside a command until it is interrupted there. Python takes no notice
    # of interrupts where a shell started it, and so its parent, in the background: hence the first line.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from auralis_core import cli\n"
        "@cli.app.command()\n"
        "def stall() -> None:\n"
        "    print('ready', flush=True); sys.stdin.read()\n"
        "sys.exit(cli.run(cli.app, ['stall']))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as p:  # type: ignore[call-overload]
        assert p.stdout.readline() == "ready\n"
        p.send_signal(signal.SIGINT)
        assert p.wait(60) == 130
        assert p.stderr.read() == ""


@pytest.mark.parametrize("command", ["scan", "master"])
def test_progress_bar_is_for_terminals_only(command: str, song: Path, tmp_path: Path) -> None:
    arguments = [tmp_path, "--db", tmp_path / "x.db"] if command == "scan" else [song, tmp_path / "out.wav"]
    shown = {}
    for name, extra in (("plain", []), ("json", ["--json"])):
        ours, theirs = os.openpty()
        with subprocess.Popen(
            [*PROCESS, command, *arguments, *extra], stdout=subprocess.PIPE, stderr=theirs
        ) as p:
            os.close(theirs)
            shown[name] = b"".join(iter(lambda: _read_terminal(ours), b""))  # noqa: B023
            os.close(ours)
            assert p.stdout.read()
            assert p.wait(60) == 0
    assert command[:4].encode() in shown["plain"]
    assert b"100 %" in shown["plain"]
    assert shown["json"] == b""


def _read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # the other side has closed
        return b""


def test_closed_pipe_is_no_traceback(song: Path) -> None:
    read, write_end = os.pipe()
    os.close(read)
    r = subprocess.run(
        [*PROCESS, "fingerprint", song, "--json"], stdout=write_end, stderr=subprocess.PIPE, text=True
    )
    os.close(write_end)
    assert (r.returncode, r.stderr) == (1, "")


def test_unreadable_file_is_an_error_line_and_the_others_come(auralis, song: Path) -> None:
    with public_folder() as folder:
        names = ("first.wav", "locked.wav", "last.wav")
        for name in names:
            shutil.copy(song, folder / name)
        (folder / "locked.wav").chmod(0)
        auralis("fingerprint", song)  # what it imports, before the rights are gone
        with as_nobody():
            done = auralis(
                "fingerprint", *(folder / f"{n}.wav" for n in ("first", "locked", "last")), "--json"
            )
    assert done.code == 1
    assert [Path(o["path"]).stem for o in done.objects] == ["first", "last"]
    assert re.fullmatch(r"auralis: \S+/locked\.wav: Permission denied\n", done.err)


def test_backup_copies_beside_or_where_told(auralis, song: Path, tmp_path: Path) -> None:
    db = tmp_path / "a.db"
    assert auralis("scan", tmp_path, "--db", db).code == 0
    (made,) = auralis("backup", "--db", db, "--json").objects
    assert made == {"path": made["path"], "tracks": 1, "fingerprinted": 1}
    assert made["path"].startswith(f"{db}.backup-")
    out = tmp_path / "copy.db"
    assert auralis("backup", "--db", db, "-o", out).out == f"{out}: 1 tracks, 1 of them measured\n"
    assert auralis("similar", song, "--db", out).code == 0
    r = auralis("backup", "--db", tmp_path / "gone.db")
    assert (r.code, r.err) == (2, f"auralis: {tmp_path / 'gone.db'}: there is no such library\n")
    assert not (tmp_path / "gone.db").exists()


def test_scan_of_a_damaged_library_says_so_and_computes_nothing(auralis, song: Path, tmp_path: Path) -> None:
    db = tmp_path / "a.db"
    auralis("scan", tmp_path, "--db", db)
    raw = bytearray(db.read_bytes())
    raw[4096:8192] = bytes(4096)
    db.write_bytes(raw)
    r = subprocess.run([*PROCESS, "scan", tmp_path, "--db", db, "--json"], capture_output=True, text=True)
    assert r.returncode == 0
    assert json.loads(r.stdout)["fingerprinted"] == 0
    assert "damaged (" in r.stderr
    assert "kept as a.db.damaged-" in r.stderr
