"""The committed gRPC modules are what protoc makes of the proto, and a fingerprint survives as a message."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
from auralis_server.rpc import codec
from auralis_server.rpc import fingerprint_pb2 as pb
from serving import music

from auralis_core import Fingerprint, FingerprintError, fingerprint_array, sidecar

ROOT = Path(__file__).resolve().parents[2]
GENERATED = [f"fingerprint_pb2{end}" for end in (".py", ".pyi", "_grpc.py", "_grpc.pyi")]


@pytest.fixture(scope="module")
def fp() -> Fingerprint:
    return fingerprint_array(music(3), 44100)


def test_committed_modules_are_what_the_proto_generates(tmp_path: Path) -> None:
    try:
        tools = version("grpcio-tools")
    except PackageNotFoundError:
        pytest.skip("grpcio-tools is not installed")
    stamp = f"GRPC_GENERATED_VERSION = '{tools}'"
    if stamp not in (ROOT / "server/rpc/fingerprint_pb2_grpc.py").read_text():
        pytest.skip(f"grpcio-tools {tools} is not the release that generated the modules")
    (tmp_path / "auralis_server").symlink_to(ROOT / "server")
    out = tmp_path / "out"
    out.mkdir()
    outs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    plugin = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).with_name('protoc-gen-mypy_grpc')}"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}", plugin, *outs]
    subprocess.run([*command, "auralis_server/rpc/fingerprint.proto"], check=True, capture_output=True)
    for name in GENERATED:
        fresh = (out / "auralis_server" / "rpc" / name).read_text()
        assert (ROOT / "server" / "rpc" / name).read_text() == fresh, f"{name} is not what the proto says"


def test_fingerprint_survives_the_wire_to_the_last_bit(fp: Fingerprint, tmp_path: Path) -> None:
    back = codec.unpack(pb.Fingerprint.FromString(codec.pack(fp).SerializeToString()))
    assert back == fp
    assert json.dumps(back.to_dict()) == json.dumps(fp.to_dict())
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"any")
    stored = [sidecar.write(audio, each).read_bytes() for each in (fp, back)]
    assert stored[0] == stored[1]


@pytest.mark.parametrize("channels", [1, 2, 6, 7, 8])
def test_samples_survive_the_wire_to_the_last_bit(channels: int) -> None:
    frames = codec.block_frames(channels)
    x = np.random.default_rng(0).standard_normal((channels, frames)).astype(np.float32)
    x[0, :3] = [np.nan, np.inf, -0.0]
    pcm = codec.pack_pcm(x)
    assert len(pcm) <= codec.BLOCK_BYTES
    assert len(pb.Block(pcm=pcm).SerializeToString()) <= codec.MESSAGE_BYTES
    back = codec.unpack_pcm(pcm, channels)
    assert back.flags.c_contiguous
    assert back.tobytes() == x.tobytes()


@pytest.mark.parametrize("pcm", [b"", bytes(7), bytes(codec.BLOCK_BYTES + 8)])
def test_samples_that_are_no_whole_frames_are_refused(pcm: bytes) -> None:
    with pytest.raises(ValueError, match="pcm"):
        codec.unpack_pcm(pcm, 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.values.pop(),
        lambda m: m.values.append(0.0),
        lambda m: m.values.__setitem__(0, float("nan")),
        lambda m: m.values.__setitem__(7, -71.0),
        lambda m: m.extras.pop("plr_db"),
        lambda m: m.extras.update(plr_db=float("inf")),
        lambda m: m.ltas_db.pop(),
        lambda m: setattr(m, "histogram", b"rubbish"),
        lambda m: setattr(m, "sample_rate", 0),
        lambda m: m.flags.append("splendid"),
        lambda m: m.Clear(),
    ],
)
def test_message_that_is_no_fingerprint_is_refused(fp: Fingerprint, spoil: object) -> None:
    message = codec.pack(fp)
    spoil(message)  # type: ignore[operator]
    with pytest.raises(FingerprintError):
        codec.unpack(message)


def test_message_larger_than_any_fingerprint_cannot_arrive(fp: Fingerprint) -> None:
    assert len(codec.pack(fp).SerializeToString()) < 16 * 1024 < codec.ANSWER_BYTES
