"""Levels: level statistics of a stereo stream. The kernels are csrc/levels.c and csrc/saturation.c.

The fingerprint's pass calls the same kernels directly; this class is for measuring them alone.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from .csrc cimport (
    AUR_OK, aur_levels, aur_levels_clone, aur_levels_create, aur_levels_destroy, aur_levels_finish,
    aur_levels_process, aur_levels_reset, aur_levels_result, aur_status,
)


cdef class Levels:
    """Crest, silence, variation, stereo image, histogram and evidence of clipping.

    Parameters
    ----------
    sample_rate : float
        8000 to 384000 Hz.

    Raises
    ------
    ValueError
        For a sample rate out of range.
    """

    cdef aur_levels *_levels
    cdef bint _busy

    def __cinit__(self, double sample_rate):
        if not 8000.0 <= sample_rate <= 384000.0:
            raise ValueError(f"sample_rate must be 8000 to 384000 Hz, not {sample_rate:g}")
        if aur_levels_create(sample_rate, &self._levels) != AUR_OK:
            raise MemoryError

    def __dealloc__(self):
        aur_levels_destroy(self._levels)

    def feed(self, raw, high_passed):
        """Measure one more block.

        Parameters
        ----------
        raw, high_passed : ndarray of float32, shape (2, frames)
            The finite signal, and the same frames after the 5 Hz high-pass; C-contiguous.

        Raises
        ------
        ValueError
            For another dtype, layout or shape.
        RuntimeError
            If another thread is using this object.
        """
        cdef const float[:, ::1] x
        cdef const float[:, ::1] y
        cdef const float *r[2]
        cdef const float *h[2]
        cdef aur_status status
        cdef size_t frames
        cdef int c
        try:
            x = raw
            y = high_passed
        except (ValueError, TypeError, BufferError) as e:
            raise ValueError(
                f"raw and high_passed must be float32, C-contiguous, shape (2, frames): {e}"
            ) from None
        if x is None or y is None or x.shape[0] != 2 or y.shape[0] != 2 or x.shape[1] != y.shape[1]:
            raise ValueError("raw and high_passed must both have shape (2, frames)")
        self._enter()
        frames = x.shape[1]
        if frames == 0:
            return
        for c in range(2):
            r[c] = &x[c, 0]
            h[c] = &y[c, 0]
        self._busy = True
        with nogil:
            status = aur_levels_process(self._levels, r, h, frames)
        self._busy = False
        if status != AUR_OK:
            raise MemoryError("no memory for the history of levels; the block was not measured")

    def reset(self):
        """Forget everything fed."""
        self._enter()
        aur_levels_reset(self._levels)

    def clone(self):
        """An independent object that has been fed the same signal."""
        self._enter()
        cdef Levels twin = Levels.__new__(Levels, 48000.0)
        aur_levels_destroy(twin._levels)
        twin._levels = NULL
        if aur_levels_clone(self._levels, &twin._levels) != AUR_OK:
            raise MemoryError
        return twin

    def finish(self):
        """Everything measured so far, by the names of ``aur_levels_result``; may be called at any prefix.

        Returns
        -------
        dict
            Floats and ints; ``histogram`` is 2048 native uint64 counts as bytes.
        """
        cdef aur_levels_result r
        self._enter()
        aur_levels_finish(self._levels, &r)
        return {
            "crest_db": r.crest_db,
            "silence_ratio": r.silence_ratio,
            "dynamic_range_variation": r.dynamic_range_variation,
            "peak_consistency": r.peak_consistency,
            "stereo_width": r.stereo_width,
            "phase_correlation": r.phase_correlation,
            "active_seconds": r.active_seconds,
            "sample_peak": r.sample_peak,
            "frames": r.frames,
            "flat_top_longest": r.flat_top_longest,
            "flat_top_total": r.flat_top_total,
            "flat_top_share": r.flat_top_share,
            "peak_curvature": r.peak_curvature,
            "detail_db": [r.detail_db[k] for k in range(32)],
            "histogram": PyBytes_FromStringAndSize(<char *>r.histogram, sizeof(r.histogram)),
        }

    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("this Levels object is being used by another thread")
        return 0
