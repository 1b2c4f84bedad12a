"""Imports point one way. The tables are the house; an edge they do not name is a wall broken through."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: C file (.h and .c together): the headers of ours it may include, `common` and `simd` understood.
C = {
    "common": "",
    "simd": "",
    "snapshot": "",
    "peak": "",
    "activity": "",
    "biquad": "",
    "fft": "",
    "framing": "",
    "kaiser": "",
    "decimate": "kaiser",
    "envelope": "kaiser",
    "truepeak": "kaiser peak",
    "loudness": "peak",
    "saturation": "peak",
    "pow2": "",
    "detail": "pow2",
    "levels": "activity detail peak saturation",
    "bands": "",
    "turn": "",
    "spectral": "activity bands fft turn",
    "harmonic": "",
    "pitch": "activity fft framing",
    "chroma": "fft framing",
    "tempo": "fft",
    "onset": "fft",
    "temporal": "onset tempo",
    "analysis": "chroma decimate harmonic levels loudness pitch spectral temporal truepeak",
    "lwrp": "",
    "crossfade": "",
    "running": "biquad peak snapshot",
    "restore": "pow2 snapshot",
    "curve": "",
    "declip": "snapshot",
    "leveller": "lwrp running",
    "limiter": "envelope peak pow2 snapshot",
    "chain": "biquad curve declip leveller limiter restore running",
}

#: Module of the core: the modules of the core it may import, `errors` and `schema` understood.
CORE = {
    "errors": "",
    "schema": "",
    "csrc": "",
    "atomic": "",
    "mpeg": "",
    "ogg": "",
    "quantise": "",
    "levels": "csrc",
    "temporal": "csrc",
    "meter": "csrc",
    "features": "csrc",
    "lwrp": "csrc",
    "crossfade": "csrc",
    "chain": "csrc",
    "formats": "",
    "writing": "atomic formats quantise",
    "audio": "formats mpeg ogg writing",
    "fingerprint": "audio features",
    "sidecar": "atomic",
    "migrations": "",
    "copies": "atomic migrations",
    "faults": "",
    "opening": "copies faults",
    "database": "copies faults opening",
    "salvage": "migrations",
    "dataset": "database migrations opening salvage",
    "similar": "dataset",
    "tags": "",
    "library": "audio dataset fingerprint sidecar tags",
    "tone": "chain",
    "amplitudes": "",
    "restoration": "amplitudes",
    "plan": "amplitudes lwrp restoration tone",
    "render": "audio chain crossfade plan",
    "fit": "render",
    "export": "audio features fingerprint plan render sidecar",
    "pieces": "audio plan render",
    "wavefile": "audio export pieces plan quantise",
    "flac": "",
    "plot": "audio chain features fingerprint plan render",
    "bench": "audio features fingerprint plan render",
    "checkup": "copies faults migrations opening",
    "doctor": "audio checkup features fingerprint library sidecar",
    "album": "audio features fit library lwrp plan sidecar tags",
    "terminal": "",
    "cli": "__init__ album bench dataset doctor export fingerprint library plot similar terminal",
    "__init__": "chain crossfade features fingerprint lwrp meter plan render",
}

#: Module of the server: the modules of the server it may import.
SERVER = {
    "__init__": "",
    "config": "",
    "refusal": "",
    "commands": "refusal",
    "events": "",
    "bodies": "events",
    "protocol": "commands events refusal",
    "binary": "refusal",
    "pacing": "",
    "demo_score": "",
    "demo": "demo_score",
    "security": "config",
    "client": "binary commands events protocol",
    "part": "binary",
    "seam": "part",
    "programme": "part seam",
    "cutter": "binary part programme",
    "reports": "binary events part",
    "outbox": "events protocol",
    "threads": "",
    "rpc": "",
    "worker": "rpc threads",
    "remote": "config rpc",
    "breaker": "",
    "spread": "breaker config remote",
    "analyst": "",
    "tally": "bodies breaker",
    "stores": "tally",
    "makers": "analyst breaker config remote tally",
    "sources": "bodies config makers stores tally threads",
    "admission": "refusal",
    "studio": "admission refusal sources",
    "upcoming": "commands events part refusal studio threads",
    "line": "commands outbox",
    "orders": "commands events outbox",
    "epochs": "commands",
    "inquiry": "events part sources",
    "playback": "binary commands cutter epochs events inquiry line outbox pacing part programme refusal "
    "reports studio threads upcoming",
    "stream": "binary commands cutter events line orders outbox part playback programme refusal studio "
    "threads upcoming",
    "parking": "commands refusal stream threads",
    "session": "binary commands events line outbox parking protocol refusal stream studio threads",
    "scanner": "config sources",
    "news": "events scanner session",
    "http_stream": "refusal sources studio threads",
    "http_library": "bodies scanner studio",
    "lag": "",
    "load": "binary commands protocol",
    "soak": "binary client commands events lag load",
    "bench": "binary client commands load soak",
    "metrics": "studio",
    "app": "admission bodies config events http_library http_stream lag metrics news parking refusal "
    "scanner security session sources studio",
    "visit": "config remote",
    "cli": "app bench config demo load spread visit worker",
    "__main__": "cli",
}

#: What the server may know of the core beyond the public names.
CORE_SEEN_BY_SERVER = {
    *("audio", "cli", "crossfade", "dataset", "doctor", "features", "fingerprint", "fit", "flac"),
    *("library", "pieces", "render", "sidecar", "similar", "tags", "wavefile"),
}

#: A dependency with one owner: nobody else imports it.
OWNERS = {
    "soundfile": {f"auralis_core/{name}.py" for name in ("audio", "flac", "formats", "writing")},
    "sqlite3": {
        f"auralis_core/{name}.py"
        for name in ("checkup", "copies", "database", "dataset", "faults", "migrations", "opening", "salvage")
    },
    "msgspec": {f"server/{name}.py" for name in ("bodies", "commands", "events", "protocol")},
    "prometheus_client": {"server/metrics.py"},
    "distributed": {"server/spread.py", "server/cli.py"},
    "grpc": {"server/worker.py", "server/remote.py"},
    "tinytag": {"auralis_core/tags.py"},
}

NEVER_IN_CORE = {"asyncio", "aiohttp", "grpc", "auralis_server", "server"}


def modules(folder: str) -> list[Path]:
    return sorted(p for suffix in ("py", "pyx") for p in (ROOT / folder).glob(f"*.{suffix}"))


def imported(path: Path) -> set[str]:
    """Dotted names a module imports anywhere, its own package spelled out; `cimport` counts as import."""
    package = "auralis_core" if path.parent.name == "auralis_core" else "auralis_server"
    text = path.read_text()
    if path.suffix == ".pyx":
        names = re.findall(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", text, re.MULTILINE)
        found = {a or b for a, b in names}
        return {package + n if n.startswith(".") else n for n in found}
    result: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            result.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            # `from . import x` names a module or, from the package itself, one of its own values.
            result.update(f"{base}.{a.name}" if base == package else base for a in node.names)
    return result


def inner(names: Iterable[str], package: str) -> set[str]:
    """The modules of `package` among dotted names; a value taken from the package itself is `__init__`."""
    result = set()
    for name in names:
        if name == package:
            result.add("__init__")
        elif name.startswith(package + "."):
            module = name.split(".")[1]
            folder = ROOT / ("server" if package == "auralis_server" else package)
            known = any((folder / f"{module}{s}").exists() for s in (".py", ".pyx", ".pxd", ""))
            result.add(module if known else "__init__")
    return result


def assert_edges(name: str, found: set[str], table: dict[str, str], free: str) -> None:
    assert name in table, f"{name} has no room in the table"
    extra = found - set(table[name].split()) - set(free.split()) - {name}
    assert not extra, f"{name} may not reach for {sorted(extra)}"


def test_tables_have_no_way_back() -> None:
    for table in (C, CORE, SERVER):
        above: set[str] = set()
        for name, edges in table.items():
            assert set(edges.split()) - {"__init__"} <= above, f"{name} reaches down the page"
            above.add(name)


@pytest.mark.parametrize("stem", sorted({p.stem for p in (ROOT / "csrc").glob("*.[ch]")}))
def test_kernel_includes_only_what_lies_above_it(stem: str) -> None:
    found: set[str] = set()
    for path in (ROOT / "csrc").glob(f"{stem}.[ch]"):
        text = path.read_text()
        found |= set(re.findall(r'^\s*#\s*include\s+"(\w+)\.h"', text, re.MULTILINE))
        assert not re.search(r"#\s*include\s+<(Python|stdio)\.h>", text), f"{path.name} knows too much"
    assert_edges(stem, found, C, "common simd")


@pytest.mark.parametrize("path", modules("auralis_core"), ids=lambda p: p.name)
def test_core_module_imports_only_what_lies_above_it(path: Path) -> None:
    names = imported(path)
    assert not {n.split(".")[0] for n in names} & NEVER_IN_CORE
    assert_edges(path.stem, inner(names, "auralis_core"), CORE, "errors schema")


@pytest.mark.parametrize("path", modules("server"), ids=lambda p: p.name)
def test_server_module_imports_only_what_lies_above_it(path: Path) -> None:
    names = imported(path)
    assert_edges(path.stem, inner(names, "auralis_server"), SERVER, "")
    assert inner(names, "auralis_core") <= CORE_SEEN_BY_SERVER | {"__init__", "errors", "schema", "lwrp"}


def test_generators_protocol_knows_the_core_and_what_protoc_made_and_nothing_else() -> None:
    names = imported(ROOT / "server" / "rpc" / "codec.py")
    assert names <= {
        "__future__",
        "base64",
        "numpy",
        "numpy.typing",
        "auralis_core",
        "auralis_server.fingerprint_pb2",
    }


@pytest.mark.parametrize("path", [*modules("auralis_core"), *modules("server")], ids=lambda p: p.name)
def test_dependency_with_one_owner_is_imported_by_it_alone(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    for name in {n.split(".")[0] for n in imported(path)} & set(OWNERS):
        assert place in OWNERS[name], f"{place} imports {name}"


def test_no_extension_needs_numpy_headers() -> None:
    for path in [*(ROOT / "auralis_core").glob("*.pyx"), *(ROOT / "auralis_core").glob("*.pxd")]:
        assert "cimport numpy" not in path.read_text()


def test_one_file_names_the_c_headers() -> None:
    for path in modules("auralis_core"):
        assert "cdef extern" not in path.read_text(), f"{path.name} declares C of its own"
