"""A database that is damaged, gone, held, read-only or on a full disk: what goes on, and what it says."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from faults import EXCLUSIVELY, PAGE, fill_up, held, overwrite, public_folder, small_disk

from auralis_core import DatasetError, Fingerprint, opening
from auralis_core.copies import KEEP, beside, verify
from auralis_core.dataset import Dataset, TrackSource
from auralis_core.opening import file_system


def song(n: int = 0) -> TrackSource:
    return TrackSource(f"/music/{n:04}.flac", f"Title {n}", "A", "B", 1000, 44100, 2, n, n)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "library" / "auralis.db"


@pytest.fixture(scope="module")
def make_fingerprint(make_fingerprint) -> Callable[[int], Fingerprint]:
    return cache(make_fingerprint)


@pytest.fixture(scope="module")
def library(make_fingerprint, tmp_path_factory) -> Path:
    """Thirty tracks with fingerprints."""
    path = tmp_path_factory.mktemp("library") / "auralis.db"
    with Dataset(path) as db:
        for n in range(30):
            db.put_fingerprint(db.put_track(song(n)).id, make_fingerprint(n), "local")
    return path


@pytest.fixture
def fill(path: Path, library: Path, make_fingerprint) -> Callable[..., dict[int, Fingerprint]]:
    """Puts tracks with fingerprints into the database; gives them by id."""

    def do(first: int = 0, count: int = 30, dataset: Dataset | None = None) -> dict[int, Fingerprint]:
        if (first, count, path.exists(), dataset) == (0, 30, False, None):
            path.parent.mkdir(exist_ok=True)
            shutil.copy(library, path)
            return {n + 1: make_fingerprint(n) for n in range(30)}
        with closing(Dataset(path)) if dataset is None else nothing(dataset) as db:
            stored = {}
            for n in range(first, first + count):
                track = db.put_track(song(n))
                stored[track.id] = make_fingerprint(n)
                db.put_fingerprint(track.id, stored[track.id], "local")
            return stored

    return do


@contextmanager
def nothing(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset


def correct(db: Dataset, stored: dict[int, Fingerprint]) -> int:
    """How many of these are there; each that is there is right, or this fails."""
    found = {id: db.fingerprint(id) for id in stored}
    assert all(fp is None or fp == stored[id] for id, fp in found.items())
    return sum(fp is not None for fp in found.values())


# Copies


def test_backup_while_threads_write_is_one_consistent_state(path: Path, fill, make_fingerprint) -> None:
    stored = fill()
    with Dataset(path) as db:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for id in stored:
                    db.put_fingerprint(id, stored[id], "local")

        with ThreadPoolExecutor(2) as pool:
            writers = [pool.submit(write) for _ in range(2)]
            for n in range(5):
                db.backup(path.with_name(f"copy{n}.db"))
            stop.set()
            for writer in writers:
                writer.result()
    for n in range(5):
        with Dataset(path.with_name(f"copy{n}.db")) as copy:
            assert correct(copy, stored) == len(stored)


def test_backup_is_one_file_and_a_failed_one_leaves_the_old(path: Path, fill, tmp_path: Path) -> None:
    fill()
    target = tmp_path / "out" / "copy.db"
    target.parent.mkdir()
    with Dataset(path) as db:
        db.backup(target)
        verify(target)
        assert os.listdir(target.parent) == ["copy.db"]
        with pytest.raises(DatasetError):
            db.backup(tmp_path / "gone" / "copy.db")
        target.unlink()
        target.mkdir()
        with pytest.raises(DatasetError):
            db.backup(target)
        assert os.listdir(target.parent) == ["copy.db"]


def settle(path: Path) -> None:
    """As if what was written had been written a minute ago: files' times are coarse."""
    for file in path.parent.glob("auralis.db*"):
        before = file.stat().st_mtime_ns - 60 * 10**9
        os.utime(file, ns=(before, before))


def test_kept_backups_rotate_and_nothing_new_makes_none(path: Path, fill, make_fingerprint) -> None:
    stored = fill()
    made = []
    with Dataset(path) as db, Dataset(path) as other:
        for n, id in enumerate(list(stored)[: KEEP + 2]):
            (db, other)[n % 2].put_fingerprint(id, stored[id], "local")  # whoever writes
            made.append(db.keep_backup())
            settle(path)
            os.utime(made[-1])
            assert db.keep_backup() is None
        assert beside(path) == made[::-1][:KEEP]
        for copy in beside(path):
            verify(copy)
        assert db.keep_backup(always=True) is not None


# Damage


def test_damaged_pages_are_put_aside_and_every_fingerprint_is_right_or_absent(path: Path, fill) -> None:
    stored = fill(count=60)
    with Dataset(path) as db:
        db.put_track(song(0))
        db.keep_backup()
    later = fill(first=60, count=20)
    raw = path.read_bytes()
    for seed in range(6):
        path.write_bytes(raw)
        middle = random.Random(seed).randrange(5, len(raw) // PAGE - 3)
        overwrite(path, range(middle, middle + 2), seed)
        with pytest.raises(DatasetError) as e:
            Dataset(path)
        assert e.value.kind == "damaged"
        with Dataset(path, "restore") as db:
            assert re.fullmatch(
                r"degraded: damaged \(.*\), kept as auralis\.db\.damaged-\S+;"
                r" restored from auralis\.db\.backup-\S+, \d+ fingerprints saved from it",
                db.mode,
            )
            assert correct(db, stored) == len(stored)
            assert correct(db, later) >= len(later) - 10  # two pages, at most five rows begin on each
        with Dataset(path) as db:
            assert db.mode == "ok"
    assert len(beside(path, "damaged")) == 6


def test_log_of_a_damaged_file_is_not_replayed_over_its_backup(
    path: Path, fill, make_fingerprint, tmp_path: Path
) -> None:
    stored = fill()
    with Dataset(path) as db:
        db.keep_backup(always=True)
        later = fill(first=30, count=30, dataset=db)
        db.remove(range(1, 11))
        shutil.copytree(path.parent, tmp_path / "killed")  # with its log, as a kill leaves it
    killed = tmp_path / "killed" / path.name
    assert killed.with_name("auralis.db-wal").stat().st_size > 100 * PAGE
    overwrite(killed)  # every page, also those the log has not
    # Somebody else has it open, so that SQLite does not take the log away by itself.
    with closing(sqlite3.connect(killed)) as other:
        other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with Dataset(killed, "restore") as db:
            assert "restored from" in db.mode
            assert correct(db, stored) == 30
            correct(db, later)  # what could still be read is right
        verify(killed)
        (kept,) = beside(killed, "damaged")
        assert Path(f"{kept}-wal").stat().st_size > 100 * PAGE  # kept too


def test_damaged_without_a_backup_gives_up_only_what_cannot_be_read(path: Path, fill) -> None:
    stored = fill(count=60)
    pages = path.stat().st_size // PAGE
    overwrite(path, range(pages // 2, pages // 2 + 1))
    with Dataset(path, "restore") as db:
        assert "begun anew" in db.mode
        assert correct(db, stored) >= 50
        assert db.counts().fingerprinted == correct(db, stored)
        (kept,) = beside(path, "damaged")
        assert kept.exists()


@pytest.mark.parametrize("at", [0, 16, 18, 28, 44, 56, 60, 63, 68, 100, 105])
def test_any_flipped_byte_of_the_header_ends_right_or_in_a_named_reason(path: Path, fill, at: int) -> None:
    stored = fill()
    with Dataset(path) as db:
        db.put_track(song(0))
        db.keep_backup()
    for bit in (0, 3, 7):
        copy = path.with_name(f"bit{bit}") / path.name
        shutil.copytree(path.parent, copy.parent, ignore=shutil.ignore_patterns("bit*"))
        raw = bytearray(copy.read_bytes())
        raw[at] ^= 1 << bit
        copy.write_bytes(raw)
        with Dataset(copy, "survive") as db:
            assert correct(db, stored) == len(stored), (bit, db.mode)
            db.put_track(song(99))


def test_any_flipped_bit_of_a_page_never_changes_a_fingerprint(path: Path, fill) -> None:
    stored = fill(count=12)
    raw = path.read_bytes()
    rng = random.Random(1)
    answers = 0
    for _ in range(60):
        at = rng.randrange(PAGE, len(raw))
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :])
        with Dataset(path, "survive") as db:
            answers += correct(db, stored)
        for copy in beside(path, "damaged"):
            copy.unlink()
    assert answers > 60 * 9  # most of them in most files


def test_damage_found_while_running_is_mended_under_the_reader(path: Path, fill) -> None:
    stored = fill(count=60)
    with Dataset(path, "restore") as db:
        db.put_track(song(0))
        db.keep_backup()
        overwrite(path)
        with suppress(DatasetError):
            db.put_track(song(0))  # what readers have cached goes
        with ThreadPoolExecutor(4) as pool:  # four readers meet it, one mends it
            assert sum(pool.map(lambda _: correct(db, stored), range(4))) == 4 * len(stored)
        assert db.mode.startswith("degraded: damaged (")
        assert len(beside(path, "damaged")) == 1
        db.put_track(song(99))
        assert db.counts().tracks == 61


def test_another_programs_or_a_newer_file_is_never_touched(path: Path, fill) -> None:
    fill()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    text = path.with_name("notes.txt")
    text.write_text("not a database, but long enough to look at " * 30)
    foreign = path.with_name("foreign.db")
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE t (x)")
    for file in (path, text, foreign):
        before = file.read_bytes()
        with pytest.raises(DatasetError):
            Dataset(file, "restore")
        with Dataset(file, "survive") as db:
            assert db.in_memory
            assert db.mode.endswith("changes are kept in memory only")
            db.put_track(song())
            assert db.counts().tracks == 1
        assert file.read_bytes() == before
    assert beside(path, "damaged") == beside(text, "damaged") == []


# Removed


def test_missing_file_is_a_new_library_or_the_newest_good_backup(path: Path, fill) -> None:
    stored = fill()
    path.unlink()
    with Dataset(path, "restore") as db:
        assert (db.mode, db.counts().tracks) == ("ok", 0)
    path.unlink()
    stored = fill()
    with Dataset(path) as db:
        db.put_track(song(0))
        db.keep_backup()
        db.put_track(song(0))
        newest = db.keep_backup()
    newest.write_bytes(newest.read_bytes()[:-PAGE])  # a backup may be bad as well
    path.unlink()
    with Dataset(path, "restore") as db:
        assert db.mode == f"degraded: the file was missing; restored from {beside(path)[1].name}"
        assert correct(db, stored) == len(stored)


@pytest.mark.parametrize("everything", [False, True])
def test_removed_while_in_use_is_written_back_whole(path: Path, fill, everything: bool) -> None:
    stored = fill()
    with Dataset(path, "restore") as db:
        stored |= fill(first=30, count=5, dataset=db)  # still in the log
        for file in sorted(path.parent.iterdir()) if everything else [path]:
            file.unlink()
        if everything:
            path.parent.rmdir()
        assert correct(db, stored) == 35
        assert db.mode == "degraded: the file was removed while in use and has been written back"
        stored |= fill(first=40, count=5, dataset=db)
    with Dataset(path) as db:
        assert correct(db, stored) == 40


def test_removed_while_in_use_by_a_strict_owner_is_an_error_not_an_empty_file(path: Path, fill) -> None:
    fill()
    with Dataset(path) as db:
        path.unlink()
        for call in (db.counts, lambda: db.put_track(song())):
            with pytest.raises(DatasetError, match="removed"):
                call()
    assert not path.exists()


def test_replaced_while_in_use_goes_on_with_the_new_file(path: Path, fill, tmp_path: Path) -> None:
    stored = fill()
    with Dataset(path, "restore") as db:
        db.backup(tmp_path / "other.db")
        with Dataset(tmp_path / "other.db") as other:
            other.remove([1])
        os.replace(tmp_path / "other.db", path)
        assert correct(db, stored) == 29
        assert db.mode == "degraded: the file was replaced while in use"


# Held by others


def test_reading_goes_on_while_another_process_writes(path: Path, fill, monkeypatch) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.05)
    stored = fill()
    with held(path, "BEGIN IMMEDIATE", "UPDATE tracks SET title = 'half'"), Dataset(path) as db:
        assert db.mode == "ok"
        assert correct(db, stored) == 30
        with pytest.raises(DatasetError, match="locked") as e:
            db.put_track(song(99))
        assert e.value.kind == "busy"
        assert db.mode == "degraded: database is locked"
    with Dataset(path) as db:
        with held(path, "BEGIN IMMEDIATE"), pytest.raises(DatasetError):
            db.put_track(song(99))
        db.put_track(song(99))
        assert db.mode == "ok"


def test_file_held_exclusively_is_survived_in_memory(path: Path, fill, monkeypatch) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.05)
    stored = fill()
    with held(path, *EXCLUSIVELY):
        with pytest.raises(DatasetError, match="locked"):
            Dataset(path, "restore")
        with Dataset(path, "survive") as db:
            assert re.fullmatch("degraded: database is locked; changes are kept in memory only", db.mode)
            assert correct(db, stored) == 30
            assert {t.title for t in db.tracks()[1]} == {f"Title {n}" for n in range(30)}
            db.put_track(song(99))
            assert db.counts().tracks == 31
    with Dataset(path) as db:
        assert db.counts().tracks == 30


def test_threads_share_the_copy_in_memory(path: Path, fill, make_fingerprint) -> None:
    stored = fill()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with Dataset(path, "survive") as db:
        ids = [db.put_track(song(n)).id for n in range(8)]
        fp = make_fingerprint(1)

        def work(k: int) -> None:
            for n in range(20):
                if k % 2:
                    db.put_fingerprint(ids[n % 8], fp, "local")
                else:
                    assert db.fingerprint(ids[n % 8]) in (None, fp)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        assert db.counts().fingerprinted == 8
    assert len(stored) == 30


# Places


def test_folder_without_shared_memory_gets_a_rollback_journal(path: Path, fill, make_fingerprint) -> None:
    stored = fill()
    path.with_name("auralis.db-shm").symlink_to("/gone/away")  # what the log needs cannot be made
    with Dataset(path) as db, Dataset(path) as other:
        assert re.fullmatch(r"degraded: no write-ahead log here \(.*\); readers wait for writers", db.mode)
        assert correct(db, stored) == 30
        id = other.put_track(song(99)).id
        other.put_fingerprint(id, make_fingerprint(99), "local")
        assert db.fingerprint(id) == make_fingerprint(99)
    path.with_name("auralis.db-shm").unlink()
    with Dataset(path) as db:
        assert db.mode == "ok"
        assert correct(db, stored) == 30


def test_network_file_systems_are_known_by_their_mount() -> None:
    mounts = (
        "/dev/sda1 / ext4 rw 0 0\nnas:/music /mnt/my\\040nas nfs4 rw 0 0\n//pc/x /mnt/pc cifs rw 0 0\n"
        "tmpfs /mnt/my\\040nas/local tmpfs rw 0 0\n"
    )
    assert file_system(Path("/home/x/auralis.db"), mounts) is None
    assert file_system(Path("/mnt/my nas/auralis.db"), mounts) == "nfs4"
    assert file_system(Path("/mnt/my nas 2/auralis.db"), mounts) is None
    assert file_system(Path("/mnt/my nas/local/auralis.db"), mounts) is None
    assert file_system(Path("/mnt/pc/a/b/auralis.db"), mounts) == "cifs"


def test_network_file_system_gets_a_rollback_journal(path: Path, fill, monkeypatch) -> None:
    monkeypatch.setattr(opening, "_NETWORK", ("",))  # as if every file system were one
    stored = fill()
    with Dataset(path) as db:
        assert "no write-ahead log here" in db.mode
        assert correct(db, stored) == 30
    assert not path.with_name("auralis.db-wal").exists()


AS_NOBODY = """
import json, os, sys
from auralis_core.dataset import Dataset, TrackSource
from auralis_core.errors import DatasetError
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Dataset(sys.argv[1], "restore")
except DatasetError as e:
    refused = e.kind
with Dataset(sys.argv[1], "survive") as db:
    sums = [db.fingerprint(n).lufs for n in range(1, 31)]
    db.put_track(TrackSource("/music/new", "", "", "", 1, 8000, 1, 5, 5))
    print(json.dumps([refused, db.mode, db.counts().tracks, sums]))
"""


@pytest.mark.parametrize("leave_log", [False, True])
def test_read_only_folder_is_read_through_memory(
    library: Path, tmp_path: Path, leave_log: bool, make_fingerprint
) -> None:
    with public_folder() as top:
        path = top / "library" / "auralis.db"
        path.parent.mkdir()
        shutil.copy(library, path)
        if leave_log:  # as a killed writer leaves it
            with Dataset(path) as db:
                db.put_fingerprint(1, make_fingerprint(99), "local")
                shutil.copytree(path.parent, top / "copy")
            path = top / "copy" / path.name
            assert path.with_name("auralis.db-wal").stat().st_size > 0
        for file in path.parent.iterdir():
            file.chmod(0o444)
        path.parent.chmod(0o555)
        run = subprocess.run([sys.executable, "-c", AS_NOBODY, path], capture_output=True, text=True)
        path.parent.chmod(0o755)
    assert run.returncode == 0, run.stderr
    refused, mode, tracks, sums = json.loads(run.stdout)
    assert refused == "read-only"
    assert (mode, tracks) == ("degraded: is read-only; changes are kept in memory only", 31)
    first = make_fingerprint(99 if leave_log else 0)
    assert sums == [first.lufs, *(make_fingerprint(n).lufs for n in range(1, 30))]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_full_disk_is_said_and_what_was_stored_stays(disk: Path, tmp_path: Path, make_fingerprint) -> None:
    path = disk / "auralis.db"
    (disk / "ballast").write_bytes(b"x" * 200_000)
    stored = {}
    with Dataset(path, "survive") as db:

        def store_until_full() -> None:
            for n in range(1000):
                id = db.put_track(song(n)).id
                db.put_fingerprint(id, make_fingerprint(n), "local")
                stored[id] = make_fingerprint(n)

        with pytest.raises(DatasetError) as e:
            store_until_full()
        assert e.value.kind == "full"
        assert db.mode == "degraded: database or disk is full"
        assert correct(db, stored) == len(stored) > 10
        (disk / "ballast").unlink()
        db.put_track(song(5000))
        assert db.mode == "ok"
    fill_up(disk)
    with Dataset(path, "survive") as db:
        assert db.mode == "degraded: the disk is full"
        assert correct(db, stored) == len(stored)
    shutil.copytree(disk, tmp_path / "larger")
    with Dataset(tmp_path / "larger" / path.name) as db:
        assert db.mode == "ok"
        assert correct(db, stored) == len(stored)


# Killed

WRITER = """
import itertools, sys
from auralis_core import Fingerprint
from auralis_core.dataset import Dataset, TrackSource
import json
fp = Fingerprint.from_dict(json.load(open(sys.argv[2])))
with Dataset(sys.argv[1]) as db:
    for n in itertools.count(int(sys.argv[3])):
        id = db.put_track(TrackSource(f"/music/{n}", "", "", "", 1, 8000, 1, n, n)).id
        db.put_fingerprint(id, fp, "local")
        sys.stdout.write(f"{id}\\n")
        sys.stdout.flush()
"""


@pytest.mark.parametrize("times", [int(os.environ.get("AURALIS_TEST_KILLS", "8"))])
def test_kill_while_writing_loses_nothing_acknowledged(
    times: int, path: Path, make_fingerprint, tmp_path: Path
) -> None:
    fp = make_fingerprint(7)
    (tmp_path / "fp.json").write_text(json.dumps(fp.to_dict()))
    rng = random.Random(3)
    acknowledged: list[int] = []
    for n in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, tmp_path / "fp.json", str(n * 100_000)],
            stdout=subprocess.PIPE,
        )
        for _ in range(rng.randrange(1, 40)):
            acknowledged.append(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0]
        acknowledged += [int(line) for line in rest.split(b"\n")[:-1]]
        with Dataset(path) as db:  # checks every page and every row
            assert db.mode == "ok"
            assert all(db.fingerprint(id) == fp for id in acknowledged[-60:])
    with Dataset(path) as db:
        assert all(db.fingerprint(id) == fp for id in acknowledged)


def test_other_processes_write_and_read_the_same_file_at_once(path: Path, make_fingerprint, tmp_path) -> None:
    fp = make_fingerprint(7)
    (tmp_path / "fp.json").write_text(json.dumps(fp.to_dict()))
    with Dataset(path) as db:
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, path, tmp_path / "fp.json", str(n * 100_000)],
                stdout=subprocess.PIPE,
            )
            for n in (1, 2)
        ]
        try:
            for _ in range(30):
                for writer in writers:
                    id = int(writer.stdout.readline())
                    assert db.fingerprint(id) == fp
                own = db.put_track(song(id)).id
                db.put_fingerprint(own, fp, "local")
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        assert db.mode == "ok"
