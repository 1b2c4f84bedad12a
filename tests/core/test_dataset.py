"""The SQLite library: exact round trips, no stale answers, any thread, and damage with a name."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from auralis_core import DIMENSIONS, FINGERPRINT_VERSION, DatasetError
from auralis_core.dataset import Counts, Dataset, Track, TrackSource
from auralis_core.migrations import APPLICATION_ID, MIGRATIONS, SUMMED, checksum


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Dataset]:
    with Dataset(tmp_path / "deep" / "auralis.db") as dataset:
        yield dataset


def song(n: int = 0, **changes: object) -> TrackSource:
    source = TrackSource(
        path=f"/music/{n:04}.flac",
        title=f"Title {n}",
        artist=f"Artist {n // 10}",
        album=f"Album {n // 5}",
        frames=44100 * 200 + n,
        sample_rate=44100,
        channels=2,
        size=1000 + n,
        mtime_ns=1_700_000_000_123_456_789 + n,
    )
    return replace(source, **changes)  # type: ignore[arg-type]


def sql(db: Dataset, statement: str, *values: object) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(db.path)
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


# Round trips


def test_track_round_trip(db: Dataset) -> None:
    t = db.put_track(song())
    assert t == Track(t.id, "/music/0000.flac", "Title 0", "Artist 0", "Album 0", 44100 * 200, 44100, 2, 1000,
                      1_700_000_000_123_456_789, "pending", None)  # fmt: skip
    assert t == db.track(t.id) == db.find(t.path)
    assert t.duration == 200.0
    assert db.track(t.id + 1) is None
    assert db.find("/elsewhere") is None


def test_fingerprint_round_trip_is_exact_and_survives_reopening(db: Dataset, make_fingerprint) -> None:
    t, fp = db.put_track(song()), make_fingerprint(3)
    assert db.fingerprint(t.id) is None
    db.put_fingerprint(t.id, fp, "local")
    assert db.fingerprint(t.id) == fp
    assert db.track(t.id) == replace(t, status="ready")
    db.close()
    with Dataset(db.path) as again:
        assert again.fingerprint(t.id) == fp
        assert again.track(t.id) == replace(t, status="ready")


def test_fingerprint_is_stored_as_25_named_numbers(db: Dataset, make_fingerprint) -> None:
    t, fp = db.put_track(song()), make_fingerprint(4)
    db.put_fingerprint(t.id, fp, "sidecar")
    for d in DIMENSIONS:
        assert sql(db, f"SELECT {d.name} FROM fingerprints") == [(fp[d.name],)]
    assert sql(db, "SELECT source, version, size FROM fingerprints") == [("sidecar", fp.version, t.size)]
    ids, values = db.vectors()
    assert (ids.tolist(), values.tolist()) == ([t.id], [list(fp.values)])


def test_failure_is_a_status_with_a_reason_not_a_fingerprint(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_failure(t.id, "truncated")
    assert db.track(t.id) == replace(t, status="failed", reason="truncated")
    assert db.fingerprint(t.id) is None
    assert db.put_track(song()).status == "failed"  # unchanged: still known to fail
    assert db.put_track(song(size=5)).status == "pending"  # changed: worth another try
    db.put_failure(t.id, "again")
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    assert (db.track(t.id).status, db.track(t.id).reason) == ("ready", None)


# What is never served


@pytest.mark.parametrize("change", [{"size": 1}, {"mtime_ns": 1}])
def test_changed_file_keeps_its_id_and_loses_its_fingerprint(
    db: Dataset, change: dict[str, int], make_fingerprint
) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    changed = db.put_track(song(**change))
    assert (changed.id, changed.status) == (t.id, "pending")
    assert db.fingerprint(t.id) is None
    assert len(db.vectors()[0]) == 0


def test_new_tags_alone_keep_the_fingerprint(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    assert db.put_track(song(title="New")) == replace(t, title="New", status="ready")
    assert db.fingerprint(t.id) is not None


def test_fingerprint_of_another_version_is_pending_and_not_served(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(version=0), "local")
    assert (db.fingerprint(t.id), db.track(t.id).status) == (None, "pending")
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    sql(db, "UPDATE fingerprints SET version = 0")
    db.close()
    with Dataset(db.path) as again:
        assert (again.fingerprint(t.id), again.track(t.id).status) == (None, "pending")


def test_moved_file_keeps_its_id_and_fingerprint(db: Dataset, tmp_path: Path, make_fingerprint) -> None:
    t = db.put_track(song(path=str(tmp_path / "old.flac")))
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    moved = db.put_track(song(path=str(tmp_path / "new.flac")))
    assert moved == replace(t, path=str(tmp_path / "new.flac"), status="ready")
    assert db.fingerprint(t.id) is not None


def test_copied_file_is_another_track(db: Dataset, tmp_path: Path) -> None:
    (tmp_path / "old.flac").touch()
    t = db.put_track(song(path=str(tmp_path / "old.flac")))
    assert db.put_track(song(path=str(tmp_path / "new.flac"))).id != t.id


def test_removed_id_is_never_used_again(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    db.remove([t.id])
    assert db.track(t.id) is None
    assert sql(db, "SELECT count(*) FROM fingerprints") == [(0,)]
    assert db.put_track(song(1)).id > t.id


def test_database_itself_refuses_numbers_out_of_range(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    connection = sqlite3.connect(db.path, isolation_level=None)
    connection.create_function("checksum", -1, checksum)
    for d in DIMENSIONS:
        for bad in (d.low - 1e-9, d.high + 1e-9, None, float("nan"), float("inf"), "text"):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(f"UPDATE fingerprints SET {d.name} = ?", (bad,))
        for good in (d.low, d.high):
            connection.execute(f"UPDATE fingerprints SET {d.name} = ?", (good,))
            connection.execute(f"UPDATE fingerprints SET crc32 = checksum({SUMMED})")
            assert db.fingerprint(t.id)[d.name] == good
    connection.close()


@pytest.mark.parametrize("change", [f"{d.name} = {(d.low + d.high) / 2}" for d in DIMENSIONS] + [
    "carried = '{}'", "carried = replace(carried, 'clipped', 'silent')", "track_id = 2"])  # fmt: skip
def test_number_changed_behind_our_back_is_an_error_then_gone(
    db: Dataset, change: str, make_fingerprint
) -> None:
    for n in range(2):
        db.put_track(song(n))
    db.put_fingerprint(1, make_fingerprint(), "local")
    sql(db, f"UPDATE fingerprints SET {change}")
    sql(db, "UPDATE fingerprints SET size = (SELECT size FROM tracks WHERE id = track_id), mtime_ns ="
            " (SELECT mtime_ns FROM tracks WHERE id = track_id)")  # fmt: skip
    with pytest.raises(DatasetError, match="check sum") as e:
        db.fingerprint(2 if change.startswith("track_id") else 1)
    assert e.value.kind == "damaged"
    db.close()
    with Dataset(db.path) as again:
        assert again.mode == "degraded: 1 damaged fingerprints were dropped"
        assert [again.track(id).status for id in (1, 2)] == ["pending", "pending"]
    with Dataset(db.path) as again:
        assert again.mode == "ok"


def test_damaged_extras_are_an_error_not_a_guess(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    sql(db, "UPDATE fingerprints SET carried = '{}'")
    with pytest.raises(DatasetError, match="damaged") as e:
        db.fingerprint(t.id)
    assert e.value.path == str(db.path)


# Search


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("", 4),
        ("ÄRZTE", 1),
        ("strasse", 1),
        ("beatles road", 1),
        ("road beatles", 1),
        ("100%", 1),
        ("_", 0),
        ("%", 1),
        ("'; DROP TABLE tracks; --", 0),
        ("nothing", 0),
    ],
)
def test_search_any_case_any_order_nothing_special(db: Dataset, search: str, expected: int) -> None:
    for n, (title, artist, album) in enumerate(
        [
            ("Straße", "Die Ärzte", "Live"),
            ("Come Together", "The Beatles", "Abbey Road"),
            ("100% Pure", "Crystal", "Singles"),
            ("Other", "Other", "Other"),
        ]
    ):
        db.put_track(song(n, title=title, artist=artist, album=album))
    total, tracks = db.tracks(search)
    assert total == len(tracks) == expected


def test_tracks_pages_cover_everything_once_in_order(db: Dataset) -> None:
    for n in range(25):
        db.put_track(song(n))
    everything = db.tracks(limit=100)[1]
    pages = [t for offset in range(0, 30, 7) for t in db.tracks(limit=7, offset=offset)[1]]
    assert pages == everything
    assert [t.path for t in everything] == sorted(t.path for t in everything)
    assert db.tracks(limit=0) == (25, [])
    for bad in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(ValueError, match="negative"):
            db.tracks(**bad)


def test_counts_and_under(db: Dataset, make_fingerprint) -> None:
    ids = [db.put_track(song(n)).id for n in range(3)]
    other = db.put_track(song(3, path="/music2/x.flac"))
    db.put_fingerprint(ids[0], make_fingerprint(), "local")
    db.put_failure(ids[1], "bad")
    counts = db.counts()
    assert (counts.tracks, counts.fingerprinted, counts.failed) == (4, 1, 1)
    assert {t.id for t in db.under("/music")} == set(ids)
    assert [t.id for t in db.under("/music2/")] == [other.id]


# Opening


def test_folders_bound_the_listing_and_the_counts(db: Dataset, make_fingerprint) -> None:
    inside = db.put_track(song(1, path="/music/a/one.wav"))
    db.put_track(song(2, path="/music/ab/two.wav"))  # a name that only begins like the folder's
    db.put_fingerprint(inside.id, make_fingerprint(), "local")
    assert db.tracks(folders=["/music/a"]) == (1, [db.track(inside.id)])
    assert db.counts(["/music/a"]) == Counts(1, 1, 0)
    assert db.tracks(folders=["/music/a", "/music/ab"])[0] == 2
    assert db.tracks(folders=[]) == (0, [])


def test_tables_are_strict_wal_and_versioned(db: Dataset) -> None:
    assert sql(db, "PRAGMA journal_mode") == [("wal",)]
    assert sql(db, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert sql(db, "PRAGMA application_id") == [(APPLICATION_ID,)]
    tables = sql(db, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    assert {name for name, _ in tables} == {"tracks", "fingerprints"}
    assert all(re.search(r"\) STRICT$", str(text)) for _, text in tables)


def test_foreign_newer_and_damaged_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    newer = tmp_path / "newer.db"
    Dataset(newer).close()
    connection = sqlite3.connect(newer)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to look at " * 30)
    for path, reason in ((foreign, "not an Auralis"), (newer, "newer"), (text, "not a database")):
        with pytest.raises(DatasetError, match=reason) as e:
            Dataset(path)
        assert e.value.path == str(path)
    with pytest.raises(DatasetError, match="open"):
        Dataset(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot be made"):
        Dataset(tmp_path / "file" / "x.db")


def test_page_damaged_on_disk_is_found_at_open(db: Dataset, make_fingerprint) -> None:
    for n in range(50):
        db.put_fingerprint(db.put_track(song(n)).id, make_fingerprint(n), "local")
    db.close()
    raw = bytearray(db.path.read_bytes())
    for page in range(2, len(raw) // 4096):  # every page but the first two: tables and indexes
        raw[page * 4096 : page * 4096 + 64] = os.urandom(64)
    db.path.write_bytes(raw)
    with pytest.raises(DatasetError):
        Dataset(db.path)


def test_lost_after_kill_is_nothing_committed(db: Dataset, tmp_path: Path, make_fingerprint) -> None:
    # What a kill leaves: the database with its log, copied while open.
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    copy = tmp_path / "copy"
    shutil.copytree(db.path.parent, copy)
    with Dataset(copy / db.path.name) as again:
        assert again.fingerprint(t.id) == make_fingerprint()


def test_name_that_is_not_utf8_is_a_dataset_error(db: Dataset) -> None:
    with pytest.raises(DatasetError, match="UTF-8"):
        db.put_track(song(path="/music/\udcff.flac"))
    assert db.counts().tracks == 0


def test_errors_after_close_and_for_unknown_ids(db: Dataset, make_fingerprint) -> None:
    with pytest.raises(DatasetError, match="no track 9"):
        db.put_fingerprint(9, make_fingerprint(), "local")
    with pytest.raises(DatasetError, match="no track 9"):
        db.put_failure(9, "x")
    db.close()
    db.close()
    for call in (db.counts, lambda: db.put_track(song())):
        with pytest.raises(DatasetError, match="closed"):
            call()


# Versions of the file


def old(path: Path, version: int) -> Path:
    """A database as the release with this `user_version` left it."""
    connection = sqlite3.connect(path)
    connection.executescript((Path(__file__).with_name("data") / f"dataset-{version}.sql").read_text())
    connection.close()
    return path


def tables(path: Path) -> list[tuple[str, list[tuple[object, ...]]]]:
    connection = sqlite3.connect(path)
    names = connection.execute("SELECT type, name FROM sqlite_schema ORDER BY name").fetchall()
    shape = [(f"{k} {n}", connection.execute(f"PRAGMA {k}_xinfo({n})").fetchall()) for k, n in names]
    connection.close()
    return shape


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_database_of_every_release_is_brought_up_to_date_and_loses_nothing(
    version: int, tmp_path: Path
) -> None:
    path = old(tmp_path / "old.db", version)
    connection = sqlite3.connect(path)
    fingerprint = f"SELECT {SUMMED}, source, computed_at FROM fingerprints"
    before = [connection.execute(q).fetchall() for q in ("SELECT * FROM tracks", fingerprint)]
    connection.close()
    with Dataset(path) as db:
        assert db.mode == "ok"
        assert sql(db, "PRAGMA user_version") == [(len(MIGRATIONS),)]
        assert [t.title for t in db.tracks()[1]] == ["Three", "One", "Two"]
        assert db.find("/music/two.flac").reason == "truncated"
        if sql(db, "SELECT version FROM fingerprints") == [(FINGERPRINT_VERSION,)]:
            assert db.fingerprint(db.find("/music/one.flac").id).lufs == before[1][0][11]
            assert sql(db, "SELECT * FROM tracks") == before[0]
        assert sql(db, fingerprint) == before[1]
        assert sql(db, "SELECT crc32 FROM fingerprints") == [(checksum(*before[1][0][:-2]),)]
    fresh = tmp_path / "fresh.db"
    Dataset(fresh).close()
    assert tables(path) == tables(fresh)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_released_scripts_make_what_they_made_when_released(version: int, tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    connection = sqlite3.connect(path)
    connection.create_function("checksum", -1, checksum)
    for script in MIGRATIONS[:version]:
        connection.executescript(script)
    connection.close()
    assert tables(path) == tables(old(tmp_path / "old.db", version))


def fill(db: Dataset, make_fingerprint) -> None:
    for n in range(1, 50):
        db.put_fingerprint(db.put_track(song(n)).id, make_fingerprint(n), "local")


def test_full_disk_is_a_dataset_error_and_loses_nothing(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(1), "local")
    (pages,) = db._database._writer.execute("PRAGMA page_count").fetchone()
    db._database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatasetError, match="full"):
        fill(db, make_fingerprint)
    assert db.fingerprint(t.id) == make_fingerprint(1)
    db._database._writer.execute("PRAGMA max_page_count = 1000000")
    db.put_fingerprint(t.id, make_fingerprint(2), "local")
    assert db.fingerprint(t.id) == make_fingerprint(2)


# Threads


def test_threads_reading_and_writing_see_only_whole_fingerprints(db: Dataset, make_fingerprint) -> None:
    fps = [make_fingerprint(n) for n in range(4)]
    ids = [db.put_track(song(n)).id for n in range(8)]
    for id in ids:
        db.put_fingerprint(id, fps[0], "local")
    start = threading.Barrier(8)

    def work(k: int) -> int:
        start.wait()
        seen = 0
        for n in range(40):
            if k % 2:
                db.put_fingerprint(ids[n % 8], fps[(n + k) % 4], "local")
            else:
                seen += db.fingerprint(ids[n % 8]) in fps
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == [0] * 4 + [40] * 4


def test_reader_is_not_blocked_by_an_open_write(db: Dataset, make_fingerprint) -> None:
    t = db.put_track(song())
    db.put_fingerprint(t.id, make_fingerprint(), "local")
    with db._database.writing() as w:
        w.execute("UPDATE tracks SET title = 'half done'")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(db.track, t.id).result(timeout=30).title == "Title 0"
    assert db.track(t.id).title == "half done"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, sqlite3.IntegrityError])
def test_whatever_breaks_off_a_write_leaves_nothing_of_it(db: Dataset, error: type[BaseException]) -> None:
    t = db.put_track(song())

    def broken_off() -> None:
        with db._database.writing() as w:
            w.execute("UPDATE tracks SET title = 'half done'")
            raise error

    with pytest.raises(DatasetError if error is sqlite3.IntegrityError else error):
        broken_off()
    assert db.track(t.id).title == "Title 0"
    assert db.put_track(song(1)).id != t.id  # and the writer is free for the next


def test_two_processes_worth_of_datasets_share_one_file(db: Dataset, make_fingerprint) -> None:
    with Dataset(db.path) as other:
        t = other.put_track(song())
        db.put_fingerprint(t.id, make_fingerprint(), "local")
        assert other.fingerprint(t.id) == make_fingerprint()
