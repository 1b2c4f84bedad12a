"""Fixtures every test room shares."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Folder of real music beside the checkout; absent on a user's machine."""
    if not SHARED_AUDIO.is_dir():
        pytest.skip("no ../shared/audio beside this checkout")
    return SHARED_AUDIO
