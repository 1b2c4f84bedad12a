"""Who is asked for a fingerprint, what is counted and kept, and that many ask once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

import aiohttp
import pytest
from auralis_server.app import running
from auralis_server.bodies import SourceRow
from auralis_server.breaker import Breaker
from auralis_server.client import Client
from auralis_server.commands import PlayEnhanced
from auralis_server.config import RemoteConfig
from auralis_server.events import AudioStreamEnd, FingerprintProgress
from auralis_server.inquiry import Inquiry
from auralis_server.makers import NoAnswer, admitted
from auralis_server.part import Part, Settings
from auralis_server.sources import Sources
from auralis_server.tally import Outcome
from fleet import answering, unused
from serving import Library, connected, hear, music

from auralis_core import AudioReadError, Fingerprint, GeneratorError, fingerprint, sidecar
from auralis_core.dataset import Dataset, Track


@pytest.fixture
def dataset(library: Library) -> Iterator[Dataset]:
    with closing(Dataset(library.db)) as dataset:
        yield dataset


@pytest.fixture
def sources(dataset: Dataset) -> Iterator[Sources]:
    with closing(Sources(("database", "sidecar", "local"), dataset)) as sources:
        yield sources


def counts(sources: Sources) -> dict[str, tuple[int, int, int]]:
    return {row.name: (row.hits, row.misses, row.failures) for row in sources.rows()}


async def ask(sources: Sources, track: Track) -> tuple[Fingerprint, str] | None:
    found = await sources.get(track, Path(track.path))
    return None if found is None else (found.fingerprint, found.source)


async def test_first_is_computed_and_kept_in_both_stores(
    library: Library, dataset: Dataset, sources: Sources
) -> None:
    track = library.add("a.flac", music(2))
    fp, source = await ask(sources, track)
    assert source == "local"
    assert counts(sources) == {"database": (0, 1, 0), "sidecar": (0, 1, 0), "local": (1, 0, 0)}
    assert dataset.fingerprint(track.id) == fp
    assert sidecar.read(track.path) == fp
    assert await ask(sources, track) == (fp, "database")
    assert counts(sources)["local"] == (1, 0, 0)


async def test_sidecar_answers_for_a_lost_database_and_refills_it(
    library: Library, dataset: Dataset, sources: Sources
) -> None:
    track = library.add("a.flac", music(2))
    fp, _ = await ask(sources, track)
    dataset.remove([track.id])
    track = library.index(Path(track.path))
    assert await ask(sources, track) == (fp, "sidecar")
    assert await ask(sources, track) == (fp, "database")
    assert counts(sources)["local"] == (1, 0, 0)


async def test_damaged_sidecar_is_a_failure_and_the_next_source_answers(
    library: Library, sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    track = library.add("a.flac", music(2))
    sidecar.path_for(track.path).write_bytes(b"{")
    assert (await ask(sources, track))[1] == "local"
    assert counts(sources)["sidecar"] == (0, 0, 1)
    assert any(r.levelname == "WARNING" and "sidecar" in r.getMessage() for r in caplog.records)


async def test_changed_file_is_never_answered_by_what_was_measured_before(
    library: Library, dataset: Dataset, sources: Sources
) -> None:
    track = library.add("a.flac", music(2))
    old, _ = await ask(sources, track)
    library.write("a.flac", music(3, seed=9))  # no scan has seen it
    new, source = await ask(sources, track)
    assert source == "local"
    assert new != old
    assert dataset.fingerprint(track.id) == old  # of the file as recorded
    assert dataset.fingerprint(library.index(Path(track.path)).id) is None


async def test_file_that_fails_twice_is_left_alone(
    library: Library, dataset: Dataset, sources: Sources
) -> None:
    track = library.add("a.wav", music(2))
    os.truncate(track.path, 5000)
    for _ in range(4):
        assert await ask(sources, track) is None
    assert counts(sources)["local"] == (0, 0, 2)
    assert dataset.track(track.id).status == "failed"


async def test_order_without_a_maker_computes_nothing(library: Library, dataset: Dataset) -> None:
    track = library.add("a.flac", music(1))
    with closing(Sources(("sidecar", "database"), dataset)) as sources:
        assert await ask(sources, track) is None
        assert [row.name for row in sources.rows()] == ["sidecar", "database"]


async def test_hundred_listeners_cause_one_computation(library: Library, sources: Sources) -> None:
    track = library.add("a.flac", music(5))
    found = await asyncio.gather(*(ask(sources, track) for _ in range(100)))
    assert len({fp.histogram for fp, _ in found}) == 1
    assert counts(sources)["local"] == (1, 0, 0)


async def test_search_ends_with_its_last_listener(library: Library, sources: Sources) -> None:
    track = library.add("a.flac", music(20))
    waiting = [asyncio.create_task(ask(sources, track)) for _ in range(3)]
    while not sources.flights:  # noqa: ASYNC110 - let the tasks begin
        await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    await asyncio.wait(waiting[:2])
    assert sources.flights == 1
    waiting[2].cancel()
    await asyncio.wait(waiting)
    assert sources.flights == 0
    assert counts(sources)["local"] == (0, 0, 0)
    assert (await ask(sources, track))[1] == "local"


async def test_budget_is_kept(library: Library, dataset: Dataset) -> None:
    track = library.add("a.flac", music(20))
    with closing(Sources(("local",), dataset, budget_s=0.001)) as sources:
        assert await ask(sources, track) is None
        assert counts(sources)["local"] == (0, 0, 1)
        assert sources.rows()[0] == SourceRow("local", "failing", 0, 0, 1)


async def test_what_was_not_waited_for_is_sought_again_when_it_is_wanted_again(
    library: Library, sources: Sources
) -> None:
    tracks = [library.add(f"{i}.flac", music(20, seed=i)) for i in range(2)]
    woken = asyncio.Event()
    inquiry = Inquiry(sources, woken.set)
    with ExitStack() as stack:
        settings = Settings("adaptive", 1.0, False)
        one, two = (Part(track, Path(track.path), None, settings) for track in tracks)
        stack.callback(one.close)
        stack.callback(two.close)
        progress = inquiry.want((one, two))
        assert (progress.track_id, progress.status) == (tracks[0].id, "computing")
        assert inquiry.want((one, two)) is None  # one at a time
        assert inquiry.want((two, None)).track_id == tracks[1].id  # nobody wants the first any more
        assert inquiry.want((one, None)).track_id == tracks[0].id  # the listener has gone back to it
        while not inquiry.done:
            woken.clear()
            await woken.wait()
        part, found, progress = inquiry.take()
        assert (part, progress.status, progress.source) == (one, "ready", "local")
        assert found.fingerprint == fingerprint(tracks[0].path)
        assert inquiry.want((one, None)) is None  # it is known now
        inquiry.want((one, two))
        inquiry.close()
        await asyncio.sleep(0)
    while sources.flights:  # noqa: ASYNC110 - let the search end
        await asyncio.sleep(0)


async def test_many_plays_of_one_unmeasured_track_compute_once_and_all_morph(library: Library) -> None:
    track = library.add("a.flac", music(8))
    async with running(library.config()) as address:

        async def listen() -> tuple[str | None, str]:
            async with Client.connect(address) as client:
                await client.request(PlayEnhanced(track_id=track.id))
                ready = None
                while ready is None:
                    item = await client.receive()
                    if isinstance(item, FingerprintProgress) and item.status != "computing":
                        ready = item
                return ready.source, ready.status

        heard = await asyncio.gather(*(listen() for _ in range(20)))
        assert {status for _, status in heard} == {"ready"}
        async with aiohttp.ClientSession() as http, http.get(f"{address}/api/system/status") as answer:
            rows = {row["name"]: row for row in (await answer.json())["sources"]}
    assert (rows["local"]["hits"], rows["local"]["failures"]) == (1, 0)


async def test_play_goes_on_by_the_standard_plan_when_nobody_has_a_fingerprint(library: Library) -> None:
    track = library.add("a.flac", music(1))
    async with connected(library, sources=("database",)) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        heard = await hear(client)
    assert heard.first(AudioStreamEnd).delivered_frames == track.frames


@contextmanager
def chain(dataset: Dataset, targets: str, *order: str, **settings: float) -> Iterator[Sources]:
    pytest.importorskip("grpc", reason="the extra 'remote' is not installed")
    remote = RemoteConfig(targets=targets)
    with closing(Sources(order, dataset, remote=remote, **settings)) as sources:
        yield sources


async def test_remote_answer_is_kept_in_every_faster_store(library: Library, dataset: Dataset) -> None:
    from auralis_server.rpc import codec

    track = library.add("a.flac", music(2))
    fp = fingerprint(track.path)
    asked: list[object] = []

    def answer(context: object) -> object:
        asked.append(context)
        return codec.pack(fp)

    with (
        answering(answer) as address,
        chain(dataset, address, "database", "sidecar", "remote", "local") as sources,
    ):
        found = await asyncio.gather(*(sources.get(track, Path(track.path)) for _ in range(100)))
        assert {(f.source, f.failed) for f in found} == {("remote", ())}
        assert len(asked) == 1
        assert (dataset.fingerprint(track.id), sidecar.read(track.path)) == (fp, fp)
        assert await ask(sources, track) == (fp, "database")
        assert counts(sources)["local"] == (0, 0, 0)


@pytest.mark.parametrize(("order", "failed"), [(("remote", "local"), ("remote",)), (("local", "remote"), ())])
async def test_makers_are_asked_in_the_order_given(
    library: Library, dataset: Dataset, order: tuple[str, ...], failed: tuple[str, ...]
) -> None:
    track = library.add("a.flac", music(1))
    with chain(dataset, unused(), *order) as sources:
        found = await sources.get(track, Path(track.path))
        assert (found.source, found.failed) == ("local", failed)


async def test_breaker_opens_after_three_failures_and_spares_the_fourth_search(
    library: Library, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with chain(dataset, unused(), "remote", "local") as sources:
        for i in range(4):
            track = library.add(f"{i}.flac", music(1, seed=i))
            assert (await ask(sources, track))[1] == "local"
            states = [row.state for row in sources.rows()]
            assert states == ["failing" if i < 2 else "open", "ok"]
        assert (sources.counts()["remote"][Outcome.FAILED], sources.counts()["remote"][Outcome.SKIPPED]) == (
            3,
            1,
        )
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert sum("fingerprint source remote" in line for line in warned) == 4


async def test_fleet_is_not_blamed_for_a_broken_file_nor_the_file_for_the_fleet(
    library: Library, dataset: Dataset
) -> None:
    from auralis_server.rpc import codec

    whole, broken = library.add("a.flac", music(1)), library.add("b.wav", music(2))
    os.truncate(broken.path, 5000)
    with chain(dataset, unused(), "remote") as sources:
        for _ in range(2):
            assert await ask(sources, whole) is None
        assert dataset.track(whole.id).status == "pending"
    message = codec.pack(fingerprint(whole.path))
    with (
        answering(lambda context: message) as address,
        chain(dataset, address, "remote", "local") as sources,
    ):
        for tries in (1, 2, 2):  # a search of two makers is one try
            assert await ask(sources, broken) is None
            assert counts(sources)["local"] == (0, 0, tries)
        for i in range(3):
            other = library.add(f"{i}.wav", music(2, seed=i))
            os.truncate(other.path, 5000)
            assert await ask(sources, other) is None
        assert sources.rows()[0].state == "failing"  # not open: it was never the fleet's fault
    assert dataset.track(broken.id).status == "failed"


def test_breaker_hears_of_every_way_a_question_ends() -> None:
    class Maker:
        def __init__(self) -> None:
            self.breaker = Breaker(limit=1, open_s=0.0)  # the next question after a failure is a probe

    maker = Maker()
    file, fleet = AudioReadError("is damaged"), GeneratorError("is away")
    for error, told, state in (
        (fleet, NoAnswer, "half-open"),
        (file, NoAnswer, "half-open"),  # nothing was learnt of the maker, and the next may ask again
        (KeyboardInterrupt(), KeyboardInterrupt, "half-open"),
        (NoAnswer(Outcome.TIMED_OUT, "too late"), NoAnswer, "half-open"),
        (None, None, "closed"),
        (file, NoAnswer, "closed"),
        (NoAnswer(Outcome.TIMED_OUT, "too late"), NoAnswer, "half-open"),
    ):
        with pytest.raises(told) if told else nullcontext() as raised, admitted(maker):
            if error is not None:
                raise error
        assert maker.breaker.state == state
        if told is NoAnswer:
            assert raised.value.blame is (file if error is file else None)


def test_scan_asks_the_makers_in_order(library: Library, dataset: Dataset) -> None:
    track = library.add("a.flac", music(1))
    path = Path(track.path)
    with chain(dataset, unused(), "remote", "local") as sources:
        assert sources.measure(path, lambda: False) == fingerprint(path)
        assert counts(sources) == {"remote": (0, 0, 1), "local": (1, 0, 0)}
        os.truncate(path, 5000)
        with pytest.raises(AudioReadError):
            sources.measure(path, lambda: False)
    with chain(dataset, unused(), "remote") as sources, pytest.raises(GeneratorError):
        sources.measure(library.write("b.flac", music(1)), lambda: False)
