"""Fixtures every test room shares, and which worker runs which file."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

#: Files that one worker runs, in the order the workers take them: those that take longest begin first, and
#: never two browsers at a time, which would starve each other's sound. Every other file stands for itself.
FIRST = [
    ["server/test_page.py", "server/test_http_chromium.py"],
    ["test_wheel.py"],
    ["test_sanitize.py"],
    ["server/test_faults_remote.py"],
]
PLACE = {TESTS / name: place for place, names in enumerate(FIRST) for name in names}
assert all(path.is_file() for path in PLACE)

SHARED_AUDIO = TESTS.parents[1] / "shared" / "audio"


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Folder of real music beside the checkout; absent on a user's machine."""
    if not SHARED_AUDIO.is_dir():
        pytest.skip("no ../shared/audio beside this checkout")
    return SHARED_AUDIO


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: PLACE.get(item.path, len(FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Files stay whole, so that what a module's fixtures make is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name = nodeid.partition("::")[0]
            place = PLACE.get(config.rootpath / name)
            return name if place is None else FIRST[place][0]

    config.option.loadscopereorder = False  # the order of collection is meant
    return Files(config, log)
