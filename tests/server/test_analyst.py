"""Measuring in a child process: the same numbers, the same errors, and no child outlives its use."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from auralis_server.analyst import Analysts
from auralis_server.makers import PATIENT_NICE, PROMPT_NICE, LocalMaker
from serving import HANG_S, Library, music

import auralis_core as ac


def children() -> set[int]:
    """Processes this one has started."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.fixture
def analysts() -> Iterator[Analysts]:
    before = children()
    analysts = Analysts(15)
    yield analysts
    analysts.close()
    assert children() <= before


def test_child_measures_what_this_process_would(analysts: Analysts, library: Library) -> None:
    paths = [library.write(f"{i}.flac", music(2, seed=i)) for i in range(2)]
    before = children()
    for path in paths:
        assert analysts.measure(path) == ac.fingerprint(path)
    assert len(children() - before) == 1  # and is kept


def test_two_threads_have_a_child_each(analysts: Analysts, library: Library) -> None:
    paths = [library.write(f"{i}.flac", music(20, seed=i)) for i in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(analysts.measure, paths))
    assert found == [ac.fingerprint(path) for path in paths]


def test_bad_file_is_the_same_error(analysts: Analysts, library: Library) -> None:
    path = library.folder / "bad.flac"
    path.write_bytes(b"fLaC")
    with pytest.raises(ac.AudioReadError) as here:
        ac.fingerprint(path)
    with pytest.raises(ac.AudioReadError) as there:
        analysts.measure(path)
    assert str(there.value) == str(here.value)
    with pytest.raises(ac.AudioReadError):
        analysts.measure(library.folder / "gone.flac")


def test_cancelling_ends_the_child(analysts: Analysts, library: Library) -> None:
    path = library.write("long.wav", music(60, channels=1))
    before = children()
    with pytest.raises(ac.FingerprintError, match="cancelled"):
        analysts.measure(path, cancelled=lambda: True)
    assert children() <= before


def test_whatever_breaks_off_a_measurement_ends_the_child(analysts: Analysts, library: Library) -> None:
    class Stopped(BaseException):
        """Nobody catches this by accident."""

    def stop() -> bool:
        raise Stopped

    path = library.write("long.wav", music(150, channels=1))
    before = children()
    with pytest.raises(Stopped):
        analysts.measure(path, cancelled=stop)
    assert children() <= before
    short = library.write("short.wav", music(1))
    assert analysts.measure(short) == ac.fingerprint(short)


def test_child_stands_still_while_it_is_not_answered(analysts: Analysts, library: Library) -> None:
    path = library.write("long.wav", music(60, channels=1))
    go, asked = threading.Event(), threading.Event()

    def cancelled() -> bool:
        asked.set()
        assert go.wait(HANG_S)
        return False

    before = children()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(analysts.measure, path, None, cancelled)
        assert asked.wait(HANG_S)
        (child,) = children() - before

        def ticks() -> list[str]:
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]

        used = ticks()
        for _ in range(50):
            assert ticks() == used
        go.set()
        assert result.result(HANG_S) == ac.fingerprint(path)


@pytest.mark.parametrize("answered", ["once it is dead", "while it dies"])
def test_child_that_dies_is_an_error_of_the_file_and_replaced(
    analysts: Analysts, library: Library, answered: str
) -> None:
    path = library.write("long.wav", music(60, channels=1))
    before = children()

    def dead(child: int) -> bool:
        """With its last thread, and so its end of the pipe."""
        tasks = list(Path(f"/proc/{child}/task").iterdir())
        return len(tasks) == 1 and (tasks[0] / "stat").read_text().rpartition(") ")[2][0] == "Z"

    def kill() -> bool:
        for child in children() - before:
            os.kill(child, signal.SIGKILL)
            end = time.monotonic() + HANG_S
            while answered == "once it is dead" and not dead(child):
                assert time.monotonic() < end
        return False

    with pytest.raises(ac.FingerprintError, match="died"):
        analysts.measure(path, cancelled=kill)
    assert analysts.measure(path) == ac.fingerprint(path)


def test_scan_stands_still_while_a_listener_waits_and_is_further_behind(library: Library) -> None:
    long, wanted = (
        library.write(f"{n}.wav", music(s, channels=1)) for n, s in (("long", 150), ("wanted", 90))
    )
    maker, before = LocalMaker(), children()
    scanning, resting, searching, go = (threading.Event() for _ in range(4))

    def scan_goes_on() -> bool:
        if searching.is_set():
            resting.set()
        elif children() - before:  # asked by the child, not before there is one
            scanning.set()
        return False

    def search_goes_on() -> bool:
        searching.set()
        assert go.wait(20)
        return False

    def ticks(pid: int) -> list[str]:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    with closing(maker), ThreadPoolExecutor(3) as pool:
        scan = pool.submit(maker.measure, long, None, scan_goes_on)
        assert scanning.wait(20)
        (patient,) = children() - before
        search = pool.submit(maker.measure, wanted, 60.0, search_goes_on)
        assert searching.wait(20)
        (prompt,) = children() - before - {patient}
        here = os.getpriority(os.PRIO_PROCESS, 0)
        for child, nice in ((patient, PATIENT_NICE), (prompt, PROMPT_NICE)):
            assert os.getpriority(os.PRIO_PROCESS, child) == min(19, here + nice)
        for _ in range(2):
            resting.clear()
            assert resting.wait(20)  # the child has asked while the search goes on, and is not answered
        used = ticks(patient)
        later = pool.submit(maker.measure, long, None, lambda: False)
        for _ in range(50):
            assert ticks(patient) == used
        assert children() - before == {patient, prompt}  # and no other scan begins
        go.set()
        assert search.result(20) == ac.fingerprint(wanted)
        assert scan.result(20) == later.result(20) == ac.fingerprint(long)


def test_scan_that_stands_still_can_be_told_to_stop(library: Library) -> None:
    path = library.write("long.wav", music(150, channels=1))
    searching, go = threading.Event(), threading.Event()

    def search_goes_on() -> bool:
        searching.set()
        assert go.wait(20)
        return False

    with closing(LocalMaker()) as maker, ThreadPoolExecutor(1) as pool:
        search = pool.submit(maker.measure, path, 60.0, search_goes_on)
        assert searching.wait(20)
        with pytest.raises(ac.FingerprintError, match="cancelled"):
            maker.measure(path, None, lambda: True)
        go.set()
        assert search.result(20) == ac.fingerprint(path)


def test_nothing_is_measured_after_close(library: Library) -> None:
    analysts = Analysts(15)
    analysts.close()
    with pytest.raises(ac.FingerprintError):
        analysts.measure(library.write("a.wav", music(1)))
