"""Meter: loudness and true peak of a stream. The kernels are csrc/loudness.c and csrc/truepeak.c."""

from libc.math cimport log10

from .csrc cimport (
    AUR_LOUDNESS_UNSCALED, AUR_MAX_CHANNELS, AUR_OK, aur_loudness, aur_loudness_clone, aur_loudness_create,
    aur_loudness_destroy, aur_loudness_integrated, aur_loudness_momentary, aur_loudness_momentary_max,
    aur_loudness_process, aur_loudness_range, aur_loudness_reset, aur_loudness_short_term,
    aur_loudness_short_term_max, aur_status, aur_truepeak, aur_truepeak_clone, aur_truepeak_create,
    aur_truepeak_destroy, aur_truepeak_maximum, aur_truepeak_process, aur_truepeak_reset,
)


cdef class Meter:
    """Streaming EBU R128 meter: loudness and true peak of everything fed so far.

    Readings do not depend on how the signal was cut into blocks, and may be taken at any moment.
    Silence reads −∞. A meter belongs to one thread at a time; a second one entering it is a
    `RuntimeError`. Samples that are not finite count as 0.

    Parameters
    ----------
    sample_rate : float
        8000 to 384000 Hz.
    channels : int
        1 to 8 in WAVE order. Surround channels weigh 1.41, the LFE of 6, 7 and 8 channels 0.
    compat : bool
        Leave the high-pass unscaled as libebur128 does, which drifts by +.003 dB at 44.1 kHz and
        −.027 dB at 192 kHz from what BS.1770 means at 48 kHz.

    Raises
    ------
    ValueError
        For a sample rate or channel count out of range.

    References
    ----------
    ITU-R BS.1770-5; EBU R 128, Tech 3341 and Tech 3342.
    """

    cdef aur_loudness *_loudness
    cdef aur_truepeak *_truepeak
    cdef readonly double sample_rate
    cdef readonly int channels
    cdef readonly bint compat
    cdef bint _busy

    def __cinit__(self, double sample_rate, int channels, bint compat=False):
        if not 8000.0 <= sample_rate <= 384000.0:
            raise ValueError(f"sample_rate must be 8000 to 384000 Hz, not {sample_rate:g}")
        if not 1 <= channels <= <int>AUR_MAX_CHANNELS:
            raise ValueError(f"channels must be 1 to {AUR_MAX_CHANNELS}, not {channels}")
        self.sample_rate = sample_rate
        self.channels = channels
        self.compat = compat
        if (
            aur_loudness_create(
                sample_rate, channels, NULL, AUR_LOUDNESS_UNSCALED if compat else 0, &self._loudness
            ) != AUR_OK
            or aur_truepeak_create(channels, &self._truepeak) != AUR_OK
        ):
            raise MemoryError

    def __dealloc__(self):
        aur_loudness_destroy(self._loudness)
        aur_truepeak_destroy(self._truepeak)

    def feed(self, block):
        """Measure one more block.

        Parameters
        ----------
        block : ndarray of float32, shape (channels, frames)
            C-contiguous; any number of frames, 0 included.

        Raises
        ------
        ValueError
            For another dtype, layout or number of channels.
        RuntimeError
            If another thread is using this meter.
        """
        cdef const float[:, ::1] x
        cdef const float *data[AUR_MAX_CHANNELS]
        cdef aur_status status
        cdef size_t frames
        cdef int c
        try:
            x = block
        except (ValueError, TypeError, BufferError) as e:
            raise ValueError(f"block must be float32, C-contiguous, shape (channels, frames): {e}") from None
        if x is None or x.shape[0] != self.channels:
            raise ValueError(
                f"block must have {self.channels} channels, not {None if x is None else x.shape[0]}"
            )
        self._enter()
        frames = x.shape[1]
        if frames == 0:
            return
        for c in range(self.channels):
            data[c] = &x[c, 0]
        self._busy = True
        with nogil:
            status = aur_loudness_process(self._loudness, data, frames)
            if status == AUR_OK:
                aur_truepeak_process(self._truepeak, data, frames)
        self._busy = False
        if status != AUR_OK:
            raise MemoryError("no memory for the meter's history; the block was not measured")

    def reset(self):
        """Forget everything fed."""
        self._enter()
        aur_loudness_reset(self._loudness)
        aur_truepeak_reset(self._truepeak)

    def clone(self):
        """An independent meter that has been fed the same signal."""
        self._enter()
        cdef Meter twin = Meter.__new__(Meter, self.sample_rate, self.channels, self.compat)
        aur_loudness_destroy(twin._loudness)
        aur_truepeak_destroy(twin._truepeak)
        twin._loudness = NULL
        twin._truepeak = NULL
        if (
            aur_loudness_clone(self._loudness, &twin._loudness) != AUR_OK
            or aur_truepeak_clone(self._truepeak, &twin._truepeak) != AUR_OK
        ):
            raise MemoryError
        return twin

    @property
    def integrated(self):
        """Integrated loudness in LUFS, both gates; ungated when less than 400 ms were fed."""
        self._enter()
        return aur_loudness_integrated(self._loudness)

    @property
    def momentary(self):
        """Loudness of the last 400 ms in LUFS."""
        self._enter()
        return aur_loudness_momentary(self._loudness)

    @property
    def short_term(self):
        """Loudness of the last 3 s in LUFS."""
        self._enter()
        return aur_loudness_short_term(self._loudness)

    @property
    def momentary_max(self):
        """Largest momentary loudness so far in LUFS, on a 10 ms grid."""
        self._enter()
        return aur_loudness_momentary_max(self._loudness)

    @property
    def short_term_max(self):
        """Largest short-term loudness so far in LUFS, on a 10 ms grid."""
        self._enter()
        return aur_loudness_short_term_max(self._loudness)

    @property
    def loudness_range(self):
        """Loudness range in LU (EBU Tech 3342); 0 when nothing passes its gates."""
        self._enter()
        return aur_loudness_range(self._loudness)

    @property
    def true_peak_dbtp(self):
        """Largest inter-sample peak of all channels so far in dBTP, as if silence followed."""
        self._enter()
        return 20.0 * log10(aur_truepeak_maximum(self._truepeak))

    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("this Meter is being used by another thread")
        return 0
