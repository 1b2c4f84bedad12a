"""One SQLite file: how it is opened, who writes, who reads, and what happens when it fails.

One writer behind a lock and as many readers as there are threads asking, in this process and in
others. A file that may not be written, or is held by somebody, is worked on as a copy in memory when
the caller wants to survive that. Every departure from the normal way is in `mode`. What the tables mean
is not known here; how a file is opened where it lies is `opening.py`'s.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from . import copies
from .errors import DatasetError, DatasetFault
from .faults import kind_of, words
from .opening import address, connect, journaled, roll_back, try_to_write

log = logging.getLogger(__name__)

OnFault = Literal["raise", "restore", "survive"]

# Bytes below which the next writes will not find a place.
_ROOM = 1 << 18

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Tables:
    """What a database holds, as far as opening it goes.

    Parameters
    ----------
    refusal : callable (connection) → fault
        Why a file is not to be touched, if it is not.
    prepare : callable (connection) → reasons
        Brings the tables up to date; says what it had to give up.
    salvage : callable (damaged, into) → int
        Copies what is whole from one connection to another; says how much.
    """

    refusal: Callable[[sqlite3.Connection], DatasetFault | None]
    prepare: Callable[[sqlite3.Connection], list[str]]
    salvage: Callable[[sqlite3.Connection, sqlite3.Connection], int]


class Database:
    """The SQLite file at `path`, made with its folder if it does not exist; for any thread.

    Parameters
    ----------
    path : Path
    tables : Tables
    on_fault : {"raise", "restore", "survive"}
        What to do about a file that is damaged or missing: raise; put it aside and go on with the
        newest good backup and whatever can still be read; and, to survive, about any other fault
        of the file: work on a copy in memory.

    Raises
    ------
    DatasetError
        From every method.
    """

    def __init__(self, path: Path, tables: Tables, on_fault: OnFault = "raise") -> None:
        self.path = path
        self._tables = tables
        self._on_fault = on_fault
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._generation = 0  # connections of an earlier one are closed, not kept
        self._closed = False
        self._notes: list[str] = []
        self._fault: str | None = None
        self._memory: str | None = None  # the name of the copy in memory, when there is one
        self._place: tuple[int, int] | None = None
        self._start()

    @property
    def mode(self) -> str:
        """``ok``, or ``degraded:`` and why, without the folder's name."""
        reasons = [*self._notes, *filter(None, [self._fault])]
        return "degraded: " + "; ".join(reasons) if reasons else "ok"

    @property
    def in_memory(self) -> bool:
        """Whether what is written ends with this process."""
        return self._memory is not None

    # Opening

    def _start(self) -> None:
        try:
            self._enter_file()
        except DatasetError as e:
            if self._on_fault == "raise":
                raise
            if e.kind in ("damaged", "foreign") and copies.is_ours(self.path):
                self._leave_damaged(e.message)
            elif self._on_fault == "survive":
                self._enter_memory(e.message)
            else:
                raise

    def _enter_file(self) -> None:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._on_fault != "raise" and not self.path.exists():
                copies.put_aside(self.path)
                if copy := copies.put_back(self.path):
                    self._note(f"the file was missing; restored from {copy.name}")
            held = self.path if self.path.exists() else self.path.parent
            if not (os.access(held, os.W_OK) and os.access(self.path.parent, os.W_OK)):
                raise DatasetError("is read-only", self.path, "read-only")
            self._memory = None
            writer, no_log = journaled(self.path, self._refuse)
            with ExitStack() as undo:
                undo.callback(writer.close)
                if no_log is not None:
                    self._note(f"no write-ahead log here ({no_log}); readers wait for writers")
                copies.check(writer)
                try_to_write(writer)
                for reason in self._tables.prepare(writer):
                    self._note(reason)
                stat = os.stat(self.path)
                undo.pop_all()
        self._writer, self._place = writer, (stat.st_dev, stat.st_ino)
        if shutil.disk_usage(self.path.parent).free < _ROOM:
            self._fault = "the disk is full"

    def _refuse(self, connection: sqlite3.Connection) -> None:
        if kind := self._tables.refusal(connection):
            what = "not an Auralis database" if kind == "foreign" else "was written by a newer Auralis"
            raise DatasetError(what, self.path, kind)

    def _leave_damaged(self, why: str) -> None:
        """Put the file aside and begin again with a backup and what the file still holds."""
        try:
            with self._explained():
                kept = copies.put_aside(self.path)
                copy = copies.put_back(self.path)
            self._enter_file()
        except DatasetError as e:
            if self._on_fault != "survive":
                raise
            self._enter_memory(f"damaged ({why}) and not replaced ({e.message})")
            return
        saved = 0
        with suppress(sqlite3.Error), closing(sqlite3.connect(kept, isolation_level=None)) as damaged:
            saved = self._tables.salvage(damaged, self._writer)
        origin = f"restored from {copy.name}" if copy else "begun anew"
        self._note(f"damaged ({why}), kept as {kept.name}; {origin}, {saved} fingerprints saved from it")

    def _enter_memory(self, why: str, source: sqlite3.Connection | None = None) -> None:
        """Go on in memory with what `source` holds, or the file, or its newest good backup, or nothing."""
        self._place = None
        origins: list[Callable[[str], object]] = [
            partial(copies.load, file) for file in (self.path, *copies.beside(self.path))
        ]
        if source is not None:
            origins.insert(0, lambda name: source.execute("VACUUM INTO ?", (name,)))
        for fill in origins:
            with suppress(sqlite3.Error, DatasetError):
                self._writer = self._open_memory(fill)
                break
        else:
            self._writer = self._open_memory(lambda name: None)
        self._note(f"{why}; changes are kept in memory only")

    def _open_memory(self, fill: Callable[[str], object]) -> sqlite3.Connection:
        self._memory = f"file:/auralis-{os.getpid()}-{next(_numbers)}?vfs=memdb"
        with ExitStack() as undo:
            writer = connect(self._memory)
            undo.callback(writer.close)
            fill(self._memory)
            self._refuse(writer)
            self._tables.prepare(writer)
            undo.pop_all()
        return writer

    # Reading and writing

    def rows(self, statement: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """All rows that one statement reads; damage found on the way is mended first if it may be."""
        with self._explained():
            for mended in (False, True):
                generation = self._generation
                try:
                    with self._reading() as reader:
                        return reader.execute(statement, arguments).fetchall()
                except sqlite3.DatabaseError as e:
                    if mended or self._on_fault == "raise":
                        raise
                    found = e
                with self._write_lock:
                    # Whatever it was, files that were being replaced meanwhile may have caused it.
                    if generation == self._generation:
                        if kind_of(found) != "damaged":
                            raise found
                        self._mend(generation, str(found))
            raise AssertionError("unreachable")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The writer inside a transaction; rolled back on any error."""
        with self._explained(), self._write_lock:
            if self._closed:
                raise DatasetError("is closed", self.path)
            if self._has_moved():
                self._mend(self._generation, None)
            writer, generation = self._writer, self._generation
            try:
                writer.execute("BEGIN IMMEDIATE")
                yield writer
                writer.execute("COMMIT")
            except sqlite3.DatabaseError as e:
                if isinstance(e, sqlite3.OperationalError) or kind_of(e) == "damaged":
                    self._fault = str(e)
                roll_back(writer)
                if kind_of(e) == "damaged" and self._on_fault != "raise":
                    self._mend(generation, str(e))
                raise
            finally:
                roll_back(writer)  # whatever the caller failed of; nothing is left to do after COMMIT
            self._fault = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """An idle read connection, or a new one; kept for the next reader."""
        if self._has_moved():
            with self._write_lock:
                if self._has_moved():
                    self._mend(self._generation, None)
        with self._pool_lock:
            if self._closed:
                raise DatasetError("is closed", self.path)
            generation = self._generation
            reader = self._idle.pop() if self._idle else self._new_reader()
        try:
            yield reader
        finally:
            with self._pool_lock:
                if self._closed or generation != self._generation:
                    reader.close()
                else:
                    self._idle.append(reader)

    def _new_reader(self) -> sqlite3.Connection:
        """Under the pool's lock, and with its files open at once: none is replaced half-way through."""
        with ExitStack() as undo:
            reader = connect(self._memory or address(self.path, "rw"))
            undo.callback(reader.close)
            reader.execute("PRAGMA query_only = ON")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            undo.pop_all()
        return reader

    def _retire(self) -> None:
        """Begin another generation of readers; under the pool's lock."""
        self._generation += 1
        while self._idle:
            self._idle.pop().close()

    # Faults

    def _has_moved(self) -> bool:
        """Whether another file, or none, now has the name of the one that is open."""
        if self._place is None:
            return False
        try:
            stat = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # a network that is away; SQLite will say so
        return (stat.st_dev, stat.st_ino) != self._place

    def _mend(self, generation: int, damage: str | None) -> None:
        """Replace a file found damaged, or moved when `damage` is None; under the write lock."""
        if generation != self._generation or self._closed:
            return  # somebody was here before
        if self._on_fault == "raise":
            raise DatasetError("was removed or replaced while in use", self.path)
        log.error("%s: %s", self.path, damage or "was removed or replaced while in use")
        old = self._writer
        with self._pool_lock:
            self._retire()
            try:
                if damage is not None:
                    old.close()
                    self._leave_damaged(damage)
                elif self.path.exists():
                    self._note("the file was replaced while in use")
                    self._start()
                else:
                    self._write_back(old)
            finally:
                old.close()

    def _write_back(self, old: sqlite3.Connection) -> None:
        """The name is gone but the file lives as long as it is open: give it its name again."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The log would be taken for the new file's, and its shared memory cut off under readers.
            copies.put_aside(self.path)
            copies.backup(old, self.path)
            self._note("the file was removed while in use and has been written back")
            self._start()
        except (sqlite3.Error, OSError) as e:
            if self._on_fault != "survive":
                raise
            why = f"the file was removed while in use and cannot be written back ({words(e)})"
            self._enter_memory(why, old)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as e:
            raise DatasetError(str(e), self.path, kind_of(e)) from e
        except UnicodeEncodeError as e:
            raise DatasetError("a name is not valid UTF-8", self.path) from e
        except OSError as e:
            raise DatasetError(f"cannot be made: {words(e)}", self.path) from e

    def _note(self, reason: str) -> None:
        if reason not in self._notes:
            log.warning("%s: %s", self.path, reason)
            self._notes.append(reason)

    # Copies

    def backup(self, target: Path) -> None:
        """Copy one consistent state to `target`, whole or not at all; readers and writers go on."""
        with self._explained(), self._reading() as reader:
            copies.backup(reader, target)

    def keep_backup(self, always: bool = False) -> Path | None:
        """Back up beside the file, if anybody wrote to it since the last time or `always`."""
        if self.in_memory or (copies.is_backed_up(self.path) and not always):
            return None
        with self._explained(), self._reading() as reader:
            return copies.keep_backup(reader, self.path)

    def close(self) -> None:
        """Close every connection; closing twice is allowed."""
        with self._write_lock, self._pool_lock:
            self._retire()
            self._closed = True
            self._writer.close()
