"""State is a value: whatever the pieces, threads, instances, saves and rewinds, the same bits come out."""

import pickle
import struct
import threading
from hashlib import blake2b

import numpy as np
import pytest
from plans import EVERYTHING

import auralis_core as ac
from auralis_core.plan import MasteringPlan
from auralis_core.render import ArraySource

SR = 44100
HEADER = struct.Struct("=IHHI8s8s")


def music(seconds, channels=2, seed=1):
    rng = np.random.default_rng(seed)
    t = np.arange(int(SR * seconds)) / SR
    beat = np.exp(-((t * 4) % 1) * 6)
    x = np.sin(2 * np.pi * 110 * t) * (0.3 + beat) + 0.2 * np.sin(2 * np.pi * 880 * t)
    hiss = rng.standard_normal((channels, t.size))
    return np.clip(0.4 * (x[None] + 0.2 * beat * hiss), -0.3, 0.3).astype(np.float32)


def renderer(x, plan=EVERYTHING, sample_rate=SR):
    return ac.Renderer(ArraySource(x, sample_rate), plan)


def rest(r, sizes):
    """What is left of the track, read in pieces of the given sizes, cycled, and past its end."""
    pieces, i = [], 0
    while r.position < r.frames or i % len(sizes):
        pieces.append(r.read(int(sizes[i % len(sizes)])))
        i += 1
    return np.concatenate([*pieces, r.read(4096)], axis=1).tobytes()


def sizes(rng):
    """Any mixture of nothing, single frames, the edges of every block a kernel works in, and large pieces."""
    return [*rng.choice([0, 1, 2, 15, 16, 17, 63, 65, 255, 256, 257, 2048, 4410, 4411, 30000], 7), 1000]


def test_200_random_chunkings_are_the_same_bits_to_the_last_frame():
    x, rng = music(0.7), np.random.default_rng(1)
    whole = renderer(x).read(x.shape[1]).tobytes()
    assert len(whole) == x.nbytes
    for _ in range(200):
        assert rest(renderer(x), sizes(rng)) == whole


def test_200_random_chunkings_of_the_chain_are_the_same_bits_saved_and_restored_on_the_way():
    x, rng = music(0.5), np.random.default_rng(2)
    whole = ac.Chain(EVERYTHING, SR, 2).process(x).tobytes()
    for _ in range(200):
        chain, pieces, at = ac.Chain(EVERYTHING, SR, 2), [], 0
        while at < x.shape[1]:
            n = int(rng.choice(sizes(rng)))
            pieces.append(chain.process(np.ascontiguousarray(x[:, at : at + n])))
            at += n
            if rng.random() < 0.3:
                saved = chain.save()
                chain = ac.Chain(EVERYTHING, SR, 2)
                chain.restore(saved)
            elif rng.random() < 0.3:
                chain = chain.clone()
        assert np.concatenate(pieces, axis=1).tobytes() == whole


@pytest.mark.parametrize("sample_rate", [8000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("plan", [EVERYTHING, ac.standard_plan("bright"), ac.bypass_plan()])
def test_a_restored_chain_continues_as_the_one_that_was_saved(sample_rate, channels, plan):
    x = music(0.4, channels)
    a, b = ac.Chain(plan, sample_rate, channels), ac.Chain(plan, sample_rate, channels)
    a.process(np.ascontiguousarray(x[:, :9001]))
    b.process(np.ascontiguousarray(-0.5 * x[:, 3000:5000]))  # what it has heard itself is gone
    b.restore(a.save())
    assert b.save() == a.save()
    assert b.measured == a.measured
    tail = np.ascontiguousarray(x[:, 9001:])
    assert b.process(tail).tobytes() == a.process(tail).tobytes()
    assert b.measured == a.measured


def test_a_state_saved_under_one_simd_variant_continues_under_every_other(monkeypatch):
    x = music(0.6)
    head, tail = np.ascontiguousarray(x[:, :12345]), np.ascontiguousarray(x[:, 12345:])
    expected, states = None, set()
    for before in ("baseline", "avx2", "avx512"):
        monkeypatch.setenv("AURALIS_SIMD", before)
        a = ac.Chain(EVERYTHING, SR, 2)
        a.process(head)
        states.add(a.save())
        for after in ("baseline", "avx2", "avx512"):
            monkeypatch.setenv("AURALIS_SIMD", after)
            b = ac.Chain(EVERYTHING, SR, 2)
            b.restore(a.save())
            out = b.process(tail).tobytes()
            assert expected in (None, out)
            expected = out
    assert len(states) == 1


def test_interleaved_renderers_hopping_between_threads_do_not_touch_each_other():
    xs = [music(0.5, seed=s) for s in range(3)]
    alone = [renderer(x).read(x.shape[1]).tobytes() for x in xs]
    rs, parts = [renderer(x) for x in xs], [[] for _ in xs]

    def hop(k):
        parts[k].append(rs[k].read(1500))
        rs[k].restore(rs[k].save())

    while rs[0].position < rs[0].frames:
        threads = [threading.Thread(target=hop, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [np.concatenate(p, axis=1).tobytes() for p in parts] == alone


def play(r, switches, saves=()):
    """Plays to the end with `{frame: plan}` switched to on the way; also what was saved, by frame."""
    pieces, saved = [], {}
    for stop in sorted({*switches, *saves, r.frames}):
        if stop <= r.position:
            continue
        while r.position < stop:
            pieces.append(r.read(min(1000, stop - r.position)))
        if stop in saves:
            saved[stop] = (r.save(), r.record)
        if stop in switches:
            r.set_plan(switches[stop], crossfade=3000)
    return np.concatenate(pieces, axis=1), saved


def test_a_rewound_renderer_plays_on_as_if_nothing_had_happened():
    """Saved in straight play, inside one fade, inside two, and after them; restored twice, in any order, into
    the same renderer and into a fresh one; with the changes of plan that followed made again."""
    x = music(1.5)
    switches = {20000: ac.standard_plan("bright"), 22000: ac.bypass_plan(), 40000: EVERYTHING}
    saves = [0, 7, 15000, 21000, 23500, 30001, 41000, 60000]
    r = renderer(x)
    states = {0: (r.save(), r.record)}
    whole, more = play(r, switches, saves)
    states |= more
    fresh = renderer(x, ac.bypass_plan())
    for target in (r, fresh):
        for frame in [*reversed(saves), 21000, 21000]:
            state, record = states[frame]
            target.restore(pickle.loads(pickle.dumps(state)))
            assert (target.position, target.plan) == (frame, state.plan)
            if frame:
                assert target.record == record
            again = play(target, {at: p for at, p in switches.items() if at > frame})[0]
            assert again.tobytes() == np.ascontiguousarray(whole[:, frame:]).tobytes()


def test_a_file_can_be_left_and_taken_up_again(tmp_path):
    x = music(1.0)
    ac.audio.write(tmp_path / "x.flac", x, SR)
    with ac.Renderer(tmp_path / "x.flac", EVERYTHING) as r:
        r.read(17000)
        parked = r.save()
        expected = r.read(50000)
    with ac.Renderer(tmp_path / "x.flac", parked.plan) as r:
        r.restore(parked)
        np.testing.assert_array_equal(r.read(50000), expected)


def test_seeking_is_straight_play_once_everything_has_settled():
    """Bit for bit without the slow level of the fill and the leveller, which remember longer than priming."""
    x = music(2.0)
    plan = MasteringPlan("warm", clip=0.3, depth=0.8, eq=EVERYTHING.eq, gain_db=3.0, width=1.2, ceiling=-1.0)
    whole = renderer(x, plan).read(x.shape[1])
    r = renderer(x, plan)
    for frame in (50000, 1, 30000, 88199, 23456):
        r.seek(frame)
        # An equaliser's memory of .5 s ago is 1e-9 of it: half an ulp of a float32 now and then.
        np.testing.assert_allclose(r.read(3000), whole[:, frame : frame + 3000], atol=6e-8)


@pytest.mark.parametrize("step", [1, 997, 5000, 10**6])
def test_what_a_new_plan_is_primed_with_does_not_depend_on_how_the_track_was_read(step):
    """The fill's slow level still knows where its chain began to hear."""
    x = music(1.6)

    def switched(step, seek):
        r = renderer(x, ac.bypass_plan())
        if seek:
            r.seek(52000)
        while r.position < 52003:
            r.read(min(step, 52003 - r.position))
        r.set_plan(EVERYTHING, crossfade=0)
        return r.read(9000).tobytes()

    assert switched(step, seek=False) == switched(10**6, seek=False)
    assert switched(step, seek=True) == switched(10**6, seek=False)


def test_a_saved_state_is_small():
    chain = ac.Chain(EVERYTHING, SR, 2)
    chain.process(music(0.5))
    assert len(chain.save()) < 40_000  # the promise to whoever keeps one for every quarter of a second


def sealed(header, state):
    """The bytes with a digest that matches."""
    fields = list(HEADER.unpack(header))
    fields[5] = blake2b(state, digest_size=8).digest()
    return HEADER.pack(*fields) + state


def test_foreign_and_damaged_states_are_refused_and_change_nothing():
    x = music(0.3)
    chain = ac.Chain(EVERYTHING, SR, 2)
    chain.process(x)
    good = chain.save()
    others = [
        (ac.Chain(EVERYTHING, 48000, 2), "Hz"),
        (ac.Chain(EVERYTHING, SR, 1), "channels"),
        (ac.Chain(ac.standard_plan(), SR, 2), "plan"),
        (ac.Chain(MasteringPlan("warm", eq=EVERYTHING.eq[::-1]), SR, 2), "plan"),
    ]
    for other, word in others:
        with pytest.raises(ac.StateError, match=word):
            chain.restore(other.save())
    head, state = good[: HEADER.size], good[HEADER.size :]
    version = good[:4] + struct.pack("=H", 999) + good[6:]
    bad = [b"", b"x", head, good[:-1], good + b"\0", bytes(len(good)), version, b"RIFF" + good[4:]]
    bad += [sealed(head, state[:-8]), sealed(head, state + bytes(8)), sealed(head, b"\0")]
    for data in bad:
        with pytest.raises(ac.StateError):
            chain.restore(data)
    for at in np.random.default_rng(1).integers(0, len(good), 300):
        flipped = bytearray(good)
        flipped[at] ^= 0x40
        with pytest.raises(ac.StateError):
            chain.restore(flipped)
    assert chain.save() == good


def test_bytes_forged_to_look_whole_are_refused_or_harmless():
    """With a digest that matches, every number in the state has to be distrusted."""
    x, rng = music(0.3), np.random.default_rng(5)
    chain = ac.Chain(EVERYTHING, SR, 2)
    chain.process(x)
    good = chain.save()
    head, state = good[: HEADER.size], good[HEADER.size :]
    refused = 0
    for trial in range(400):
        forged = bytearray(state)
        at = int(rng.integers(0, len(state) // 4)) * 4
        forged[at : at + 8] = (b"\xff" * 8, b"\x00\x00\x80\x7f" * 2, rng.bytes(8))[trial % 3]
        victim = ac.Chain(EVERYTHING, SR, 2)
        try:
            victim.restore(sealed(head, bytes(forged[: len(state)])))
        except ac.StateError:
            refused += 1
        victim.process(x[:, :2000].copy())
    assert refused > 100


def test_a_state_of_another_track_is_refused():
    r = renderer(music(0.3))
    with pytest.raises(ac.StateError, match="another track"):
        r.restore(renderer(music(0.4)).save())
    state = r.save()
    for damage in ({"position": -1}, {"position": 10**9}, {"voices": ()}):
        fields = {name: getattr(state, name) for name in state.__slots__}
        with pytest.raises(ac.StateError, match="damaged"):
            r.restore(ac.RendererState(**{**fields, **damage}))
    assert r.save() == state
