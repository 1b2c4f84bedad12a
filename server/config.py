"""What the operator decides, once, before the server starts. Reads no file and no environment."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from auralis_core.dataset import default_path

#: Every fingerprint source there is, in the order of preference that suits a full node.
SOURCES = ("database", "sidecar", "local", "remote")

#: The sources of a node that knows no workers.
OWN_SOURCES = SOURCES[:3]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteConfig:
    """How to reach the workers.

    Parameters
    ----------
    targets : str
        ``HOST:PORT,…`` or one gRPC target such as ``dns:///workers:50051``, which may name many.
    token : str, optional
        What the workers ask for.
    ca : bytes, optional
        Certificates (PEM) that may sign the workers'; turns TLS on.
    shared : Path, optional
        Folder that the workers see as their root: files below it are named instead of sent.
    wait_s : float
        How long a scan waits for any worker to be there.
    """

    targets: str
    token: str | None = None
    ca: bytes | None = None
    shared: Path | None = None
    wait_s: float = 20.0

    def __post_init__(self) -> None:
        names = [name.strip() for name in self.targets.split(",")]
        bare = [name for name in names if "//" not in name]
        if (len(bare) < len(names) and len(names) > 1) or not all(map(_is_address, bare)):
            raise ValueError(f"remote: {self.targets!r} is not HOST:PORT,… or one dns:/// target")


def _is_address(name: str) -> bool:
    host, _, port = name.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Settings of one server process.

    Parameters
    ----------
    dirs : tuple of Path
        Library roots. No file outside them is ever opened for a client.
    host, port : str, int
        Address to bind. Anything but a loopback address makes a token required.
    db : Path
        The dataset.
    sources : tuple of str
        Fingerprint sources in the order they are asked; members of :data:`SOURCES`.
    remote : RemoteConfig, optional
        The workers that the source "remote" asks.
    sidecars : bool
        Write a ``.25d`` file beside a track whose fingerprint was computed here.
    sidecar_dir : Path, optional
        Where those files go when the folder of the music may not be written to.
    token : str, optional
        Shared secret of all clients; made and kept beside `db` when one is needed and none is given.
    allowed_hosts : tuple of str
        Further names this server is known by, e.g. behind a proxy.
    scan : bool
        Index and analyse the library in the background after start.
    park_s : float
        A stream whose socket dropped waits this many seconds for its client; 0: not at all.
    stall_s : float
        A socket that accepts no byte for this many seconds is closed.
    analysis_budget_s : float
        Longest time spent on finding one fingerprint.
    render_share : float
        Part of every core that streams may take; listeners beyond that are told to come back later.
    measure_wait_s : float
        How long `stream.wav` and `stream.flac` of a track without a fingerprint may wait for one.
    """

    dirs: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8765
    db: Path | None = None
    sources: tuple[str, ...] = OWN_SOURCES
    remote: RemoteConfig | None = None
    sidecars: bool = True
    sidecar_dir: Path | None = None
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    scan: bool = True
    park_s: float = 60.0
    stall_s: float = 60.0
    analysis_budget_s: float = 60.0
    render_share: float = 0.8
    measure_wait_s: float = 10.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.sources if name not in SOURCES]
        if unknown:
            raise ValueError(f"sources: unknown {', '.join(unknown)}; known are {', '.join(SOURCES)}")
        if ("remote" in self.sources) != (self.remote is not None):
            raise ValueError("sources: remote is one of them exactly when there are workers to ask")
        if not self.render_share > 0:
            raise ValueError(f"render_share: {self.render_share} is not positive")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: {self.port} is not in 0…65535")

    @property
    def database(self) -> Path:
        """The dataset's path, the default filled in."""
        return self.db if self.db is not None else default_path()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False
