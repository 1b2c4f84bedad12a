"""Fixtures of the server's tests; what they are made of is in ``tests/serving.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """An empty folder of music with its dataset."""
    folder = tmp_path / "music"
    folder.mkdir()
    return Library(folder, tmp_path / "auralis.db")
