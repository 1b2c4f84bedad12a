"""FeatureExtractor: samples in, Fingerprint out. The numbers are made in ``csrc/analysis.c``; here they
get their names.
"""

import math
import zlib

from libc.stddef cimport size_t

from auralis_core.csrc cimport (
    AUR_EINVAL,
    AUR_MAX_CHANNELS,
    AUR_OK,
    aur_analysis,
    aur_analysis_create,
    aur_analysis_destroy,
    aur_analysis_finish,
    aur_analysis_merge,
    aur_analysis_process,
    aur_analysis_result,
    aur_simd_name,
    aur_simd_select,
    aur_status,
)

from .errors import FingerprintError
from .schema import DIMENSIONS, FLOOR_DB, INDEX, Fingerprint

#: Seconds below which gating has no whole block to work on.
_SHORT_S = 0.4

#: Share of samples in flat tops from which a master counts as clipped.
_CLIPPED_SHARE = 1e-3

_BANDS = tuple(d.name for d in DIMENSIONS if d.group == "frequency")


def simd():
    """Name of the kernel variant new extractors and chains run on: baseline, avx2 or avx512."""
    return aur_simd_name(aur_simd_select()).decode()


cdef double _db(double amplitude):
    return max(20.0 * math.log10(amplitude), FLOOR_DB) if amplitude > 0.0 else FLOOR_DB


cdef double _bass_mid(double bass, double mid):
    if bass <= 0.0 or mid <= 0.0:
        return 0.0 if bass == mid else math.copysign(30.0, bass - mid)
    return min(max(10.0 * math.log10(bass / mid), -30.0), 30.0)


cdef object _fingerprint(const aur_analysis_result *r, int sample_rate, int channels):
    lufs = INDEX["lufs"]
    floor_lufs, top_lufs = DIMENSIONS[lufs].low, DIMENSIONS[lufs].high

    def loudness(double x):
        return min(max(x, floor_lufs), top_lufs)

    bands = [r.spectral.bands[i] for i in range(len(_BANDS))]
    named = dict(
        zip(_BANDS, bands),
        lufs=loudness(r.integrated),
        crest_db=r.levels.crest_db,
        bass_mid_ratio=_bass_mid(bands[0] + bands[1], bands[3]),
        tempo_bpm=r.temporal.tempo_bpm,
        rhythm_stability=r.temporal.rhythm_stability,
        transient_density=r.temporal.transient_density,
        silence_ratio=r.levels.silence_ratio,
        spectral_centroid=r.spectral.centroid,
        spectral_rolloff=r.spectral.rolloff,
        spectral_flatness=r.spectral.flatness,
        harmonic_ratio=r.harmonic_ratio,
        pitch_stability=r.pitch.stability,
        chroma_energy=r.chroma.energy,
        dynamic_range_variation=r.levels.dynamic_range_variation,
        loudness_variation_std=min(r.loudness_variation, 10.0),
        peak_consistency=r.levels.peak_consistency,
        stereo_width=r.levels.stereo_width,
        phase_correlation=r.levels.phase_correlation,
    )
    true_peak = _db(r.true_peak)
    extras = dict(
        true_peak_dbtp=true_peak,
        sample_peak_dbfs=_db(r.levels.sample_peak),
        loudness_range=r.loudness_range,
        momentary_max=loudness(r.momentary_max),
        short_term_max=loudness(r.short_term_max),
        plr_db=true_peak - named["lufs"] if r.true_peak > 0.0 else 0.0,
        tempo_alt=r.temporal.tempo_alt,
        tempo_confidence=r.temporal.tempo_confidence,
        flat_top_longest=float(r.levels.flat_top_longest),
        flat_top_share=r.levels.flat_top_share,
        peak_curvature=r.levels.peak_curvature,
        non_finite_samples=float(r.non_finite),
    )
    flags = []
    if r.levels.flat_top_share > _CLIPPED_SHARE:
        flags.append("clipped")
    if channels > 1 and r.dual_mono:
        flags.append("dual_mono")
    if r.spectral.active_frames == 0 or not r.harmonic_defined:
        flags.append("no_spectrum")
    if r.non_finite:
        flags.append("non_finite")
    if r.frames < _SHORT_S * sample_rate:
        flags.append("short")
    if r.levels.active_seconds <= 0.0:
        flags.append("silent")
    histogram = (<const unsigned char *>&r.levels.histogram[0])[: sizeof(r.levels.histogram)]
    return Fingerprint(
        values=tuple(named[d.name] for d in DIMENSIONS),
        extras=extras,
        ltas_db=tuple(r.spectral.ltas_db[i] for i in range(31)),
        # Level 9 because it is stored for good; the header's clock-free form keeps runs identical.
        histogram=zlib.compress(histogram, 9),
        detail_db=tuple(r.levels.detail_db[i] for i in range(32)),
        flags=tuple(flags),
        frames=r.frames,
        sample_rate=sample_rate,
        channels=channels,
    )


cdef class FeatureExtractor:
    """Measures a signal block by block in constant memory but for a few kilobytes a second.

    Parameters
    ----------
    sample_rate : int
        8000 to 192000 Hz.
    channels : int
        1 to 8, in WAVE order.

    Raises
    ------
    ValueError
        The rate or the channel count is out of range.
    """

    cdef aur_analysis *_state
    cdef bint _busy
    cdef bint _finished
    cdef readonly int sample_rate
    cdef readonly int channels
    cdef readonly unsigned long long frames

    def __cinit__(self, sample_rate, channels):
        if not isinstance(sample_rate, int) or not isinstance(channels, int):
            raise ValueError(f"sample_rate and channels must be ints, got {sample_rate!r} and {channels!r}")
        cdef aur_status status = aur_analysis_create(sample_rate, max(channels, 0), &self._state)
        if status == AUR_EINVAL:
            raise ValueError(
                f"sample_rate must be 8000–192000 and channels 1–{AUR_MAX_CHANNELS}, "
                f"got {sample_rate} and {channels}"
            )
        if status != AUR_OK:
            raise MemoryError
        self.sample_rate, self.channels = sample_rate, channels

    def __dealloc__(self):
        aur_analysis_destroy(self._state)

    def feed(self, const float[:, ::1] block not None):
        """Take in the next frames.

        Parameters
        ----------
        block : float32 array (channels, frames)
            C-contiguous; any number of frames. How the signal is cut never changes a bit of the
            result. Samples that are not finite are counted and measured as 0.

        Raises
        ------
        ValueError
            Wrong shape, dtype or layout, or the extractor has finished.
        RuntimeError
            Another thread is inside this extractor.
        """
        if block.shape[0] != self.channels:
            raise ValueError(f"block must have {self.channels} channels, got {block.shape[0]}")
        cdef size_t frames = block.shape[1]
        cdef const float *planes[AUR_MAX_CHANNELS]
        cdef aur_status status
        cdef int c
        self._enter()
        try:
            if frames == 0:
                return
            for c in range(self.channels):
                planes[c] = &block[c, 0]
            with nogil:
                status = aur_analysis_process(self._state, planes, frames)
            if status != AUR_OK:
                self._finished = True
                raise MemoryError("no memory for the history of this track")
            self.frames += frames
        finally:
            self._busy = False

    def merge(self, *others):
        """Go on as though the signals of `others` had been fed here, one behind the other.

        What was measured is joined in order; the samples are gone, so it differs at each seam, where no
        frame or block reaches across and the filters begin anew. Exact: counts of frames and of samples
        that are not finite, the sample peak, the histogram and `dual_mono`. ``docs/fingerprint.md`` says how
        near the rest comes. The others stay as they were; feeding and merging may go on.

        Parameters
        ----------
        *others : FeatureExtractor
            Of the same sample rate and channels; each measured the audio that follows the one before.

        Raises
        ------
        ValueError
            Rates or channels differ, one of them has finished, or an extractor is to follow itself.
        RuntimeError
            Another thread is inside one of them.
        """
        cdef FeatureExtractor other
        cdef aur_status status
        for extractor in others:
            if not isinstance(extractor, FeatureExtractor):
                raise TypeError(f"merge takes FeatureExtractors, got {type(extractor).__name__}")
            other = extractor
            if other is self:
                raise ValueError("a FeatureExtractor cannot follow itself")
            if (other.sample_rate, other.channels) != (self.sample_rate, self.channels):
                raise ValueError(
                    f"cannot merge {other.channels} channels at {other.sample_rate} Hz "
                    f"into {self.channels} at {self.sample_rate} Hz"
                )
            if other._finished:
                raise ValueError("an extractor to merge has finished")
        self._enter()
        try:
            for extractor in others:
                other = extractor
                other._enter()
                try:
                    with nogil:
                        status = aur_analysis_merge(self._state, other._state)
                finally:
                    other._busy = False
                if status != AUR_OK:
                    self._finished = True
                    raise MemoryError("no memory for the history of these tracks")
                self.frames += other.frames
        finally:
            self._busy = False

    def snapshot(self):
        """The fingerprint of what was fed so far; feeding may go on.

        Returns
        -------
        Fingerprint

        Raises
        ------
        FingerprintError
            Nothing was fed.
        """
        cdef aur_analysis_result result
        cdef aur_status status
        self._enter()
        try:
            if self.frames == 0:
                raise FingerprintError("there are no frames to measure")
            with nogil:
                status = aur_analysis_finish(self._state, &result)
            if status != AUR_OK:
                raise MemoryError("no memory to finish the measurement")
            return _fingerprint(&result, self.sample_rate, self.channels)
        finally:
            self._busy = False

    def finish(self):
        """The fingerprint of the whole signal; the extractor takes no more input. See `snapshot`."""
        fingerprint = self.snapshot()
        self._finished = True
        return fingerprint

    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("this FeatureExtractor is busy in another thread")
        if self._finished:
            raise ValueError("this FeatureExtractor has finished")
        self._busy = True
        return 0
