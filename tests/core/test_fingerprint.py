"""measure: a path in, a Fingerprint out, within the caller's deadline whatever the decoder does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralis_core import AudioReadError, FingerprintError, fingerprint, fingerprint_array
from auralis_core.fingerprint import measure

RATE = 44100


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    path = tmp_path / "noise.wav"
    soundfile.write(
        path, (0.1 * rng.standard_normal((3 * RATE, 2))).astype(np.float32), RATE, subtype="FLOAT"
    )
    return path


def test_file_and_array_give_the_same_fingerprint(wav: Path) -> None:
    x, rate = soundfile.read(wav, dtype="float32")
    assert fingerprint(wav) == fingerprint_array(np.ascontiguousarray(x.T), rate)


def test_two_passes_are_equal_to_the_byte(wav: Path) -> None:
    assert repr(fingerprint(wav)) == repr(fingerprint(wav))


def test_costs_add_up(wav: Path) -> None:
    m = measure(wav)
    assert m.decode_s > 0
    assert m.analyse_s > 0
    assert m.decode_s + m.analyse_s == pytest.approx(m.total_s)


def test_deadline_that_is_not_reached_changes_nothing(wav: Path) -> None:
    assert measure(wav, deadline_s=60).fingerprint == fingerprint(wav)


def test_errors_come_through_the_deadlines_thread(tmp_path: Path) -> None:
    with pytest.raises(AudioReadError, match="No such file"):
        measure(tmp_path / "absent.wav", deadline_s=60)


def test_cancelled_measurement_is_a_typed_error(wav: Path) -> None:
    with pytest.raises(FingerprintError, match="cancelled"):
        measure(wav, cancelled=lambda: True)


@pytest.mark.parametrize("deadline", [0, -1.0, float("nan")])
def test_deadline_out_of_range_is_refused(wav: Path, deadline: float) -> None:
    with pytest.raises(ValueError, match="deadline_s"):
        measure(wav, deadline_s=deadline)


@pytest.mark.skipif(shutil.which("cc") is None, reason="the stalling drive is a small C library")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and /proc are Linux's")
def test_stalled_decoder_cannot_hold_the_caller(wav: Path, tmp_path: Path) -> None:
    # A drive that stops answering: read() of this one file blocks for ever after its first 64 KiB.
    source = tmp_path / "stall.c"
    source.write_text(
        textwrap.dedent("""
            #define _GNU_SOURCE
            #include <dlfcn.h>
            #include <stdio.h>
            #include <string.h>
            #include <unistd.h>
            ssize_t read(int fd, void *buffer, size_t n) {
                static size_t given;
                char link[64], path[4096] = {0};
                snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
                if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, "noise.wav")) {
                    if (given > 65536) for (;;) pause();
                    given += n;
                }
                return ((ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read"))(fd, buffer, n);
            }
        """)
    )
    library = tmp_path / "stall.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    script = textwrap.dedent(f"""
        import os, sys
        from auralis_core import FingerprintError
        from auralis_core.fingerprint import measure
        try:
            measure({str(wav)!r}, deadline_s=0.5)
        except FingerprintError as e:
            print(e, flush=True)
            os._exit(0)  # the stalled thread would hold a normal exit, as the drive holds it
    """)
    # The time-out is not the assertion: without the deadline the call would never return.
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"LD_PRELOAD": str(library), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "not measured within 0.5 s" in run.stdout
