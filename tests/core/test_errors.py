"""Errors carry the file they are about, in one line, through threads and processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import auralis_core
from auralis_core import AuralisError, SidecarError

CHILDREN = [
    *("AudioReadError", "AudioFormatError", "FingerprintError", "GeneratorError"),
    *("SidecarError", "DatasetError", "StateError"),
]


@pytest.mark.parametrize("name", CHILDREN)
def test_error_names_its_file_and_survives_pickling(name: str) -> None:
    kind = getattr(auralis_core, name)
    assert issubclass(kind, AuralisError)
    for path in ("a/b.wav", Path("a/b.wav")):
        e = pickle.loads(pickle.dumps(kind("is broken", path)))
        assert type(e) is kind
        assert (str(e), e.message, e.path) == ("a/b.wav: is broken", "is broken", "a/b.wav")
    assert (str(kind("is broken")), kind("x").path) == ("is broken", None)


def test_sidecar_error_keeps_its_kind_through_pickling() -> None:
    e = pickle.loads(pickle.dumps(SidecarError("is old", "a.25d", "stale")))
    assert (e.kind, e.path) == ("stale", "a.25d")
