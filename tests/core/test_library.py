"""Scanning: what is found, who is asked, what is never computed twice, and what one bad file costs."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import as_nobody, held, public_folder

from auralis_core import AudioReadError, DatasetError, Fingerprint, library, opening, sidecar
from auralis_core.audio import probe, write
from auralis_core.dataset import Dataset
from auralis_core.library import Failure, ScanReport, describe, find, scan

SR = 8000


def tone(path: Path, hz: float = 440.0, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * SR)) / SR
    write(path, (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)[None], SR, "PCM_16")
    return path


class Generator:
    """Decodes the whole file and answers a fingerprint of its own; counts how often it is asked."""

    def __init__(self, make: Callable[..., Fingerprint]) -> None:
        self.make = make
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, path: str, cancelled: Callable[[], bool]) -> Fingerprint:
        with self._lock:
            self.asked.append(os.path.basename(path))
        from auralis_core.audio import blocks

        frames = sum(block.shape[1] for block in blocks(path))
        return self.make(len(path), frames=frames, sample_rate=SR, channels=1)


@pytest.fixture
def generator(make_fingerprint) -> Generator:
    return Generator(make_fingerprint)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    for name in ("b/two.wav", "b/c/three.FLAC", "one.wav", "ä — 4.aiff"):
        tone(root / name)
    (root / "b" / "cover.jpg").write_bytes(b"not audio")
    return root


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Dataset]:
    with Dataset(tmp_path / "auralis.db") as dataset:
        yield dataset


def tally(report: ScanReport) -> tuple[int, int, int, int, int]:
    return (
        *(report.scanned, report.fingerprinted, report.from_sidecar, report.from_database),
        len(report.failed),
    )


def test_scan_measures_once_then_never_again(music: Path, db: Dataset, generator: Generator) -> None:
    assert tally(scan([music], db, measure=generator)) == (4, 4, 0, 0, 0)
    assert sorted(generator.asked) == ["one.wav", "three.FLAC", "two.wav", "ä — 4.aiff"]
    assert tally(scan([music], db, measure=generator)) == (4, 0, 0, 4, 0)
    assert len(generator.asked) == 4
    assert db.counts().fingerprinted == 4
    for track in db.tracks()[1]:
        assert db.fingerprint(track.id) == sidecar.read(track.path)


def test_scan_after_losing_the_database_reads_sidecars(
    music: Path, db: Dataset, generator: Generator, tmp_path: Path
) -> None:
    scan([music], db, measure=generator)
    with Dataset(tmp_path / "other.db") as other:
        assert tally(scan([music], other, measure=generator)) == (4, 0, 4, 0, 0)
        assert len(generator.asked) == 4
        for track in db.tracks()[1]:
            assert other.fingerprint(other.find(track.path).id) == db.fingerprint(track.id)


def test_scan_after_losing_a_sidecar_writes_it_back(music: Path, db: Dataset, generator: Generator) -> None:
    scan([music], db, measure=generator)
    path = sidecar.path_for(music / "one.wav")
    before = path.read_bytes()
    path.unlink()
    assert tally(scan([music], db, measure=generator)) == (4, 0, 0, 4, 0)
    assert path.read_bytes() == before


def test_scan_changed_file_alone_is_measured_again(music: Path, db: Dataset, generator: Generator) -> None:
    scan([music], db, measure=generator)
    id = db.find(music / "one.wav").id
    generator.asked.clear()
    tone(music / "one.wav", seconds=1.0)
    assert tally(scan([music], db, measure=generator)) == (4, 1, 0, 3, 0)
    assert generator.asked == ["one.wav"]
    assert db.find(music / "one.wav").id == id
    assert db.fingerprint(id).frames == SR


def test_scan_moved_file_keeps_its_id_and_is_not_measured(
    music: Path, db: Dataset, generator: Generator
) -> None:
    scan([music], db, measure=generator)
    id = db.find(music / "one.wav").id
    (music / "new").mkdir()
    (music / "one.wav").rename(music / "new" / "uno.wav")
    report = scan([music], db, measure=generator)
    assert tally(report) == (4, 0, 0, 4, 0)
    assert report.removed == 0
    assert db.find(music / "new" / "uno.wav").id == id


def test_scan_lost_file_is_forgotten_but_an_empty_folder_forgets_nothing(
    music: Path, db: Dataset, generator: Generator
) -> None:
    scan([music], db, measure=generator)
    (music / "one.wav").unlink()
    assert scan([music], db, measure=generator).removed == 1
    assert db.counts().tracks == 3
    shutil.rmtree(music)
    music.mkdir()  # what an unmounted disk looks like
    assert scan([music], db, measure=generator).removed == 0
    assert db.counts().tracks == 3


def test_scan_bad_files_fail_with_a_reason_and_the_rest_is_done(
    music: Path, db: Dataset, generator: Generator
) -> None:
    (music / "empty.wav").touch()
    (music / "text.mp3").write_text("no audio " * 100)
    raw = (music / "one.wav").read_bytes()
    (music / "cut.wav").write_bytes(raw[: len(raw) // 2])
    report = scan([music], db, measure=generator)
    assert tally(report) == (7, 4, 0, 0, 3)
    assert [(Path(f.path).name, f.reason.split(":")[0]) for f in report.failed] == [
        ("cut.wav", "truncated"),
        ("empty.wav", "the file is empty"),
        ("text.mp3", "cannot be decoded"),
    ]
    # The truncated one opens, so it is a track; it is not decoded again until it changes.
    generator.asked.clear()
    again = scan([music], db, measure=generator)
    assert again.failed == report.failed
    assert generator.asked == []
    (music / "cut.wav").write_bytes(raw)
    assert tally(scan([music], db, measure=generator)) == (7, 0 + 1, 0, 4, 2)


def test_scan_damaged_sidecar_is_measured_again_and_replaced(
    music: Path, db: Dataset, generator: Generator, tmp_path: Path
) -> None:
    scan([music], db, measure=generator)
    path = sidecar.path_for(music / "one.wav")
    good = path.read_bytes()
    path.write_bytes(good[:100])
    with Dataset(tmp_path / "other.db") as other:
        assert tally(scan([music], other, measure=generator)) == (4, 1, 3, 0, 0)
    assert path.read_bytes() == good


def test_scan_without_analysis_lists_and_leaves_pending(
    music: Path, db: Dataset, generator: Generator
) -> None:
    assert tally(scan([music], db, analyse=False, measure=generator)) == (4, 0, 0, 0, 0)
    assert generator.asked == []
    assert {t.status for t in db.tracks()[1]} == {"pending"}
    assert tally(scan([music], db, measure=generator)) == (4, 4, 0, 0, 0)


def test_scan_interrupted_keeps_what_is_done_and_goes_on(
    music: Path, db: Dataset, generator: Generator
) -> None:
    def interrupt(done: int, total: int, path: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([music], db, jobs=1, progress=interrupt, measure=generator)
    done = db.counts().fingerprinted
    assert done >= 2
    report = scan([music], db, measure=generator)
    assert tally(report) == (4, 4 - done, 0, done, 0)


def test_scan_cancels_the_file_in_hand_when_interrupted(music: Path, db: Dataset, make_fingerprint) -> None:
    seen = threading.Event()

    def endless(path: str, cancelled: Callable[[], bool]) -> Fingerprint:
        if path.endswith("one.wav"):
            return make_fingerprint()
        while not cancelled():
            seen.wait(0.001)
        raise AudioReadError("cancelled", path)

    def interrupt(done: int, total: int, path: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([music], db, jobs=4, progress=interrupt, measure=endless)
    assert db.counts().failed == 0  # cancelled is not failed


def test_scan_progress_counts_every_file_once(music: Path, db: Dataset, generator: Generator) -> None:
    calls: list[tuple[int, int, str]] = []
    scan([music, music / "b"], db, progress=lambda *call: calls.append(call), measure=generator)
    assert [(done, total) for done, total, _ in calls] == [(n, 4) for n in range(1, 5)]
    assert len({path for *_, path in calls}) == 4


@pytest.mark.parametrize("jobs", [1, 8])
def test_scan_any_number_of_jobs_stores_the_same(
    jobs: int, music: Path, db: Dataset, generator: Generator
) -> None:
    for n in range(30):
        tone(music / f"{n}.wav", hz=100 + n)
    assert tally(scan([music], db, jobs=jobs, measure=generator)) == (34, 34, 0, 0, 0)
    assert len(generator.asked) == len(set(generator.asked)) == 34
    assert all(db.fingerprint(t.id) for t in db.tracks(limit=100)[1])


def test_find_follows_no_links_and_skips_hidden_files(music: Path, tmp_path: Path) -> None:
    outside = tone(tmp_path / "outside" / "x.wav")
    (music / "link.wav").symlink_to(outside)
    (music / "folder").symlink_to(outside.parent)
    (music / "loop").symlink_to(music)
    tone(music / ".hidden.wav")
    tone(music / ".trash" / "y.wav")
    names = [os.path.relpath(path, music) for path in find(music)]
    assert names == ["one.wav", "ä — 4.aiff", "b/two.wav", "b/c/three.FLAC"]
    (tmp_path / "door").symlink_to(music)  # the folder asked for may itself be a link
    assert [os.path.relpath(path, music) for path in find(tmp_path / "door")] == names


def test_missing_folder_and_wrong_jobs_are_errors_before_anything_is_done(
    music: Path, db: Dataset, tmp_path: Path, generator: Generator
) -> None:
    with pytest.raises(AudioReadError, match="no such folder"):
        scan([music, tmp_path / "gone"], db, measure=generator)
    with pytest.raises(ValueError, match="jobs"):
        scan([music], db, jobs=0, measure=generator)
    assert db.counts().tracks == 0


def test_describe_uses_tags_or_the_name(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "02 - file name.flac"
    with soundfile.SoundFile(path, "w", SR, 1) as f:
        f.title, f.artist, f.album = "Ein Lied", "Jemand", "Platte"
        f.write(np.zeros(100))
    track = describe(path)
    assert (track.title, track.artist, track.album) == ("Ein Lied", "Jemand", "Platte")
    assert (track.frames, track.sample_rate, track.channels) == (100, SR, 1)
    assert (track.size, track.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    bare = describe(tone(tmp_path / "03 - bare.name.wav"))
    assert (bare.title, bare.artist, bare.album) == ("03 - bare.name", "", "")


def test_scan_file_name_that_is_not_utf8_fails_alone(music: Path, db: Dataset, generator: Generator) -> None:
    raw = (music / "one.wav").read_bytes()
    with open(os.fsencode(music) + b"/\xff.wav", "wb") as f:
        f.write(raw)
    report = scan([music], db, measure=generator)
    assert tally(report) == (5, 4, 0, 0, 1)
    assert "UTF-8" in report.failed[0].reason


def test_scan_closed_dataset_fails_every_file_with_its_reason(
    music: Path, db: Dataset, generator: Generator
) -> None:
    db.close()
    with pytest.raises(DatasetError, match="closed"):
        scan([music], db, measure=generator)


def test_scan_read_only_music_uses_the_cache(
    music: Path, db: Dataset, generator: Generator, tmp_path: Path
) -> None:
    # A folder in the sidecar's place: it cannot be written beside the audio, whoever runs this.
    sidecar.path_for(music / "one.wav").mkdir()
    report = scan([music], db, measure=generator, cache=tmp_path / "cache")
    assert tally(report) == (4, 4, 0, 0, 0)
    assert db.find(music / "one.wav").status == "ready"


def test_report_is_the_contracts_object(music: Path, db: Dataset, generator: Generator) -> None:
    (music / "empty.wav").touch()
    data = scan([music], db, measure=generator).to_dict()
    assert {"scanned", "fingerprinted", "from_sidecar", "from_database", "failed", "elapsed_s"} <= set(data)
    assert data["failed"] == [{"path": str(music / "empty.wav"), "reason": "the file is empty"}]
    assert Failure(**data["failed"][0])
    assert probe(music / "one.wav").frames == SR // 2


FAULTS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:200]),
    "empty": lambda p: p.write_bytes(b""),
    "foreign": lambda p: p.write_text(json.dumps({"lufs": -14.0})),
    "nan": lambda p: forge(p, lufs=float("nan")),
    "out of range": lambda p: forge(p, crest_db=99.0),
    "other version": lambda p: forge(p, version=0),
    "huge": lambda p: p.write_bytes(p.read_bytes() * 10_000),
    "link": lambda p: p.symlink_to(p.rename(p.with_suffix(".elsewhere"))),
    "pipe": lambda p: (p.unlink(), os.mkfifo(p)),
}


def forge(path: Path, **changes: object) -> None:
    data = json.loads(path.read_bytes())
    del data["crc32"]
    body = json.dumps({**data, **changes}, separators=(",", ":")).encode()[:-1]
    path.write_bytes(body + b',"crc32":"%08x"}\n' % zlib.crc32(body))


def test_scan_over_bad_sidecars_measures_exactly_those_again(
    tmp_path: Path, generator: Generator, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "music"
    for n in range(3):
        tone(root / f"good {n}.wav", hz=300 + n)
    for n, name in enumerate(FAULTS):
        tone(root / f"{name}.wav", hz=400 + n)
    with Dataset(tmp_path / "one.db") as db:
        scan([root], db, measure=generator)
    for name, spoil in FAULTS.items():
        spoil(root / f"{name}.wav.25d")
    generator.asked.clear()
    with Dataset(tmp_path / "two.db") as db:
        report = scan([root], db, measure=generator)
        assert tally(report) == (12, len(FAULTS), 3, 0, 0)
        assert report.sidecars_ignored == len(FAULTS)
        assert sorted(generator.asked) == sorted(f"{name}.wav" for name in FAULTS)
    assert len([r for r in caplog.records if "ignored" in r.getMessage()]) >= len(FAULTS) - 1  # stale: INFO
    with Dataset(tmp_path / "three.db") as db:
        assert tally(scan([root], db, measure=generator)) == (12, 0, 12, 0, 0)


def test_scan_of_known_tracks_repairs_bad_sidecars_from_the_database(
    tmp_path: Path, generator: Generator
) -> None:
    root = tmp_path / "music"
    for n, name in enumerate(FAULTS):
        tone(root / f"{name}.wav", hz=400 + n)
    with Dataset(tmp_path / "one.db") as db:
        scan([root], db, measure=generator)
        for name, spoil in FAULTS.items():
            spoil(root / f"{name}.wav.25d")
        report = scan([root], db, measure=generator)
        assert tally(report) == (len(FAULTS), 0, 0, len(FAULTS), 0)
        # A number out of range behind a good check sum is found by who reads it, not by a scan.
        unseen = {"nan", "out of range"}
        assert report.sidecars_ignored == len(FAULTS) - len(unseen)
        for name in set(FAULTS) - unseen:
            path = root / f"{name}.wav"
            assert sidecar.read(path) == db.fingerprint(db.find(path).id)


def test_scan_fingerprint_damaged_in_the_database_comes_from_its_sidecar(
    music: Path, db: Dataset, generator: Generator
) -> None:
    scan([music], db, measure=generator)
    path = music / "one.wav"
    id, fp = db.find(path).id, sidecar.read(path)
    connection = sqlite3.connect(db.path)
    with connection:
        connection.execute("UPDATE fingerprints SET lufs = -1.5 WHERE track_id = ?", (id,))
    connection.close()
    with pytest.raises(DatasetError):
        db.fingerprint(id)
    db.close()
    with Dataset(db.path) as again:
        assert tally(scan([music], again, measure=generator)) == (4, 0, 1, 3, 0)
        assert again.fingerprint(id) == fp


def test_scan_waits_for_a_busy_database_and_loses_no_file(
    music: Path,
    db: Dataset,
    generator: Generator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.02)
    db.close()
    tries = threading.Event()

    class Knocking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "trying again" in record.getMessage():
                tries.set()

    handler, log = Knocking(), logging.getLogger("auralis_core.library")
    caplog.set_level(logging.INFO, log.name)
    log.addHandler(handler)
    monkeypatch.setattr(library, "PATIENCE", 1000)
    try:
        with Dataset(db.path) as patient, held(db.path, "BEGIN IMMEDIATE") as release:
            threading.Thread(target=lambda: (tries.wait(), release())).start()
            assert tally(scan([music], patient, measure=generator)) == (4, 4, 0, 0, 0)
    finally:
        tries.set()
        log.removeHandler(handler)
    assert len(generator.asked) == 4


def test_scan_of_a_database_that_stays_busy_fails_each_file_and_keeps_its_sidecar(
    music: Path, db: Dataset, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.01)
    scan([music], db, analyse=False, measure=generator)
    db.close()
    (music / "one.wav").unlink()
    with Dataset(db.path) as busy, held(db.path, "BEGIN IMMEDIATE"):
        report = scan([music], busy, measure=generator)
        assert tally(report) == (3, 0, 0, 0, 3)
        assert all("locked" in failure.reason for failure in report.failed)
    with Dataset(db.path) as free:  # what was measured is in the sidecars
        report = scan([music], free, measure=generator)
        assert (tally(report), report.removed) == ((3, 0, 3, 0, 0), 1)


SCANNER = """
import sys
from auralis_core.dataset import Dataset
from auralis_core.library import scan
with Dataset(sys.argv[2]) as db:
    scan([sys.argv[1]], db, jobs=2, progress=lambda done, total, path: print(path, flush=True))
"""


def test_scan_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    root, path = tmp_path / "music", tmp_path / "a.db"
    for n in range(24):
        tone(root / f"{n // 8}" / f"{n}.wav", hz=300 + n)
    done: set[str] = set()
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", SCANNER, root, path], stdout=subprocess.PIPE)
        for _ in range(len(done) + 4):
            process.stdout.readline()
        process.kill()
        process.communicate()
        with Dataset(path) as db:
            before = len(done)
            done |= {t.path for t in db.tracks(limit=100)[1] if t.status == "ready"}
            assert len(done) >= before + 4 or len(done) == 24
    with Dataset(path) as db:
        report = scan([root], db)
        assert report.scanned == 24
        # What was measured is in the sidecar before it is in the database: nothing is measured twice.
        assert (report.from_database, report.failed) == (len(done), [])
        assert report.fingerprinted <= 24 - len(done)


def test_scan_unreadable_files_and_folders_fail_alone(generator: Generator) -> None:
    with public_folder() as folder:
        tone(folder / "a.wav")
        tone(folder / "locked.wav").chmod(0)
        tone(folder / "closed" / "b.wav")
        (folder / "closed").chmod(0)
        with Dataset(folder / "a.db") as db:
            db.tracks()
            with as_nobody():
                report = scan([folder], db, measure=generator)
        assert [(Path(f.path).name, f.reason) for f in report.failed] == [
            ("closed", "Permission denied"),
            ("locked.wav", "Permission denied"),
        ]
        assert report.fingerprinted == 1
        (folder / "closed").chmod(0o755)
