"""The wire, both ways: round trips, fuzz, and the document that describes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from auralis_server import binary
from auralis_server.binary import Frame, pack_frame, unpack_frame
from auralis_server.commands import (
    COMMANDS,
    MAX_ID,
    Command,
    Credit,
    Hello,
    Ping,
    PlayEnhanced,
    PlayNormal,
    Queue,
    Seek,
    Set,
)
from auralis_server.events import EVENTS, Decision, Event
from auralis_server.protocol import decode_command, decode_event, encode
from auralis_server.refusal import ERRORS, ProtocolError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")

ids = st.none() | st.integers(0, MAX_ID)
numbers = st.integers(0, MAX_ID)
unit = st.floats(0, 1)
maybe = st.none() | st.booleans()
seconds = st.floats(0, 1e9)
commands = st.one_of(
    st.builds(Hello, formats=st.lists(st.text()), lead_ms=st.floats(50, 600_000)),
    st.builds(PlayEnhanced, track_id=numbers, preset=st.text(), intensity=unit, start_seconds=seconds),
    st.builds(PlayNormal, track_id=numbers),
    st.builds(Seek, seconds=seconds),
    st.builds(
        Set, preset=st.none() | st.text(), intensity=st.none() | unit, bypass=st.none() | st.booleans()
    ),
    st.builds(Credit, upto=numbers, played=st.none() | numbers, epoch=st.none() | numbers),
    st.builds(Queue, track_ids=st.lists(numbers), crossfade_seconds=st.just(0.0) | st.floats(1, 12)),
    *(st.just(COMMANDS[name]()) for name in ("pause", "resume", "stop", "ping", "next")),
)


def event_strategy(kind: type) -> st.SearchStrategy:
    """Any value of a message the server sends."""
    plain = {int: numbers, float: st.floats(-1e6, 1e6), str: st.text(), bool: st.booleans()}
    fields = {}
    for f in msgspec.structs.fields(kind):
        names = str(f.type)
        options = [s for t, s in plain.items() if t is f.type or t.__name__ in names]
        if "list" in names:
            options = [st.lists(st.text())]
        if "Decision" in names:
            options = [event_strategy(Decision)]
        fields[f.name] = st.one_of(*options, *([st.none()] if "None" in names else []))
    return st.builds(kind, **fields)


def refusal(decode: Callable[[bytes], object], data: bytes) -> str | None:
    """The code `decode` refuses `data` with; any other exception is a failure of the test."""
    try:
        decode(data)
    except ProtocolError as e:
        return e.code
    return None


@settings(max_examples=150, deadline=None)
@given(commands, ids)
def test_command_encoded_and_decoded_is_the_same(command: Command, id: int | None) -> None:
    assert decode_command(encode(command, id)) == (command, id)


@settings(max_examples=150, deadline=None)
@given(st.one_of(*map(event_strategy, EVENTS.values())), ids)
def test_event_encoded_and_decoded_is_the_same(event: Event, id: int | None) -> None:
    assert decode_event(encode(event, id)) == (event, id)
    assert set(json.loads(encode(event, id))) <= {"type", "data", "id"}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_at_all_decodes_or_is_refused_with_a_known_code(data: bytes) -> None:
    for decode in (decode_command, decode_event):
        assert refusal(decode, data) in (None, *ERRORS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(COMMANDS)),
    st.dictionaries(
        st.sampled_from(["track_id", "preset", "intensity", "seconds", "upto", "played", "formats", "extra"]),
        json_values,
    )
    | json_values,
    st.integers() | st.none() | st.text(max_size=3),
)
def test_wrong_fields_are_refused_by_a_code_and_never_otherwise(kind: str, data: object, id: object) -> None:
    text = json.dumps({"type": kind, "data": data, "id": id}).encode()
    code = refusal(decode_command, text)
    assert code in ERRORS if code else type(decode_command(text)[0]) is COMMANDS[kind]


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        (b"", "bad_json", None),
        (b"{", "bad_json", None),
        (b"[]", "bad_json", None),
        (b"null", "bad_json", None),
        (b"\xff\xfe", "bad_json", None),
        (b'{"data":{},"id":3}', "bad_json", 3),
        (b'{"type":5,"id":3}', "bad_json", 3),
        (b'{"type":"ping","id":-1}', "bad_message", None),
        (b'{"type":"dance","id":3}', "unknown_type", 3),
        (b'{"type":"queue","data":{"track_ids":1},"id":3}', "bad_message", 3),
        (b'{"type":"queue","data":{"track_ids":[],"crossfade_seconds":0.9},"id":3}', "out_of_range", 3),
        (b'{"type":"seek","id":3}', "bad_message", 3),
        (b'{"type":"seek","data":[],"id":3}', "bad_message", 3),
        (b'{"type":"seek","data":{"seconds":"1"},"id":3}', "bad_message", 3),
        (b'{"type":"seek","data":{"seconds":NaN},"id":3}', "bad_json", None),
        (b'{"type":"seek","data":{"seconds":Infinity},"id":3}', "bad_json", None),
        (b'{"type":"seek","data":{"seconds":1e999},"id":3}', "bad_message", 3),
        (b'{"type":"seek","data":{"seconds":-0.1},"id":3}', "out_of_range", 3),
        (b'{"type":"play_enhanced","data":{"track_id":1,"intensity":1.01},"id":3}', "out_of_range", 3),
        (b'{"type":"play_enhanced","data":{"track_id":1,"intensity":-1},"id":3}', "out_of_range", 3),
        (b'{"type":"play_enhanced","data":{"track_id":-1},"id":3}', "unknown_track", 3),
        (b'{"type":"play_enhanced","data":{"track_id":99999999999999999999},"id":3}', "unknown_track", 3),
        (b'{"type":"play_enhanced","data":{"track_id":1.5},"id":3}', "bad_message", 3),
        (b'{"type":"play_enhanced","data":{"track_id":"1"},"id":3}', "bad_message", 3),
        (b'{"type":"set","data":{"bypass":1},"id":3}', "bad_message", 3),
        (b'{"type":"credit","data":{"upto":-1},"id":3}', "out_of_range", 3),
        (b'{"type":"hello","data":{"lead_ms":1},"id":3}', "out_of_range", 3),
        (b'{"type":"ping","data":{"x":"' + b"x" * 16384 + b'"},"id":3}', "too_large", None),
        (b'{"type":"ping","data":' + b"[" * 8000 + b"]" * 8000 + b"}", "bad_json", None),
    ],
)
def test_bad_message_is_refused_with_its_code_and_id(text: bytes, code: str, id: int | None) -> None:
    with pytest.raises(ProtocolError) as e:
        decode_command(text)
    assert (e.value.code, e.value.id) == (code, id)


def test_unknown_fields_are_ignored() -> None:
    text = b'{"type":"seek","data":{"seconds":2,"mood":"blue"},"id":1,"trace":"x"}'
    assert decode_command(text) == (Seek(seconds=2.0), 1)


@pytest.mark.parametrize(
    "text", [b'{"type":"ping"}', b'{"type":"ping","data":null}', b'{"type":"ping","data":{}}']
)
def test_data_may_be_left_out(text: bytes) -> None:
    assert decode_command(text) == (Ping(), None)


def test_a_bare_play_request_has_the_documented_defaults() -> None:
    command, _ = decode_command(
        b'{"type":"play_enhanced","data":{"track_id":7,"preset":"warm","intensity":1}}'
    )
    assert command == PlayEnhanced(track_id=7, preset="warm", intensity=1.0, start_seconds=0.0)


frames = st.builds(
    Frame,
    flags=st.integers(0, 127),
    stream=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**32 - 1),
    seq=st.integers(0, 2**32 - 1),
    position=st.integers(0, 2**64 - 1),
    generation=st.integers(0, 2**32 - 1),
    frames=st.integers(1, binary.MAX_CHUNK_FRAMES),
    format=st.sampled_from(sorted(binary.FORMATS.values())),
    channels=st.integers(1, 8),
)


def noise(frame: Frame) -> np.ndarray:
    rng = np.random.default_rng(frame.seq)
    return rng.uniform(-0.9, 0.9, (frame.channels, frame.frames)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(frames)
def test_frame_packed_and_unpacked_is_the_same(frame: Frame) -> None:
    samples = noise(frame)
    data = pack_frame(frame, samples)
    again, received = unpack_frame(data)
    assert again == frame
    if frame.format == 0:
        assert_array_equal(received, samples)
    else:
        # Half a step of rounding and a triangular dither of one step either way.
        assert np.abs(received - samples * 32768.0).max() <= 1.5
        assert data == pack_frame(frame, samples)


def test_frame_layout_is_the_documented_one() -> None:
    frame = Frame(0x41, 0x04030201, 0x08070605, 0x0C0B0A09, 0x1817161514131211, 0x1C1B1A19, 2, 0, 2)
    data = pack_frame(frame, np.array([[1, 2], [-1, -2]], np.float32))
    assert data[:32] == bytes.fromhex(
        "a5 01 41 20 01020304 05060708 090a0b0c 1112131415161718 191a1b1c 0200 00 02"
    )
    assert_array_equal(np.frombuffer(data, "<f4", offset=32), [1, -1, 2, -2])
    assert binary.HEADER_BYTES % 4 == 0


def test_dither_of_16_bits_is_triangular_and_unbiased() -> None:
    frame = Frame(0, 1, 1, 0, 0, 0, 4096, 1, 2)
    _, received = unpack_frame(pack_frame(frame, np.full((2, 4096), 0.25 / 32768, np.float32)))
    # 8192 draws of variance 1/6 + 1/12 step²: the mean is within 5 sigma of the input.
    assert abs(received.mean() - 0.25) < 5 * np.sqrt(0.25 / 8192)
    assert set(np.unique(received)) <= {-1, 0, 1}


def test_full_scale_does_not_wrap_in_16_bits() -> None:
    frame = Frame(0, 1, 1, 0, 0, 0, 512, 1, 2)
    x = np.stack([np.full(512, 2.0, np.float32), np.full(512, -2.0, np.float32)])
    _, received = unpack_frame(pack_frame(frame, x))
    assert (received[0] == 32767).all()
    assert (received[1] == -32768).all()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_a_frame_or_refused(data: bytes, looks_right: bool) -> None:
    if looks_right:
        data = bytes([0xA5, 1]) + data
    if (code := refusal(unpack_frame, data)) is not None:
        assert code == "bad_message"
    else:
        frame, samples = unpack_frame(data)
        assert samples.shape == (frame.channels, frame.frames)


def test_samples_that_do_not_fit_their_header_are_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        pack_frame(Frame(0, 1, 1, 0, 0, 0, 4, 0, 2), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="samples"):
        pack_frame(Frame(0, 1, 1, 0, 0, 0, 3, 0, 2), np.zeros((2, 3), np.float64))


def rows(heading: str) -> dict[str, list[str]]:
    """The table below a heading of the document: first column → other columns."""
    section = DOCUMENT.split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    cells = [[c.strip() for c in line.strip("| \n").split(" | ")] for line in table[0].splitlines()[2:]]
    return {cell[0].strip("`"): cell[1:] for cell in cells}


@pytest.mark.parametrize(
    ("heading", "kinds"), [("### Client → server", COMMANDS), ("### Server → client", EVENTS)]
)
def test_document_names_every_message_and_field(heading: str, kinds: dict[str, type]) -> None:
    table = rows(heading)
    assert set(table) == set(kinds)
    for name, kind in kinds.items():
        told = set(re.findall(r"`(\w+)`", " ".join(table[name])))
        fields = {f.encode_name for f in msgspec.structs.fields(kind)}
        if table[name][0] != "the same":
            assert fields <= told, name


def test_document_names_every_error_code() -> None:
    assert {code: cells[0] for code, cells in rows("### Error codes").items()} == ERRORS


def test_document_gives_every_offset() -> None:
    sizes = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
    at = 0
    for offset, cells in rows("## Binary frames").items():
        assert int(offset) == at
        at += sizes[cells[0]]
    assert at == binary.HEADER_BYTES
