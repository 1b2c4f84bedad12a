"""The mastering chain as a stateful object. Every sample it touches is touched in ``csrc/chain.c``.

Which parameters a track gets is ``plan.py``; where in the file a chain stands, and the crossfade
between two of them, is ``render.py``.
"""

import numpy as np

from auralis_core.csrc cimport (
    AUR_CHAIN_MAX_BANDS,
    AUR_EINVAL,
    AUR_EQ_HIGH_SHELF,
    AUR_EQ_LOW_SHELF,
    AUR_EQ_PEAKING,
    AUR_MAX_CHANNELS,
    AUR_OK,
    aur_chain,
    aur_chain_create,
    aur_chain_destroy,
    aur_chain_latency,
    aur_chain_params,
    aur_chain_process,
    aur_eq_band,
)

_KINDS = {"peaking": AUR_EQ_PEAKING, "low_shelf": AUR_EQ_LOW_SHELF, "high_shelf": AUR_EQ_HIGH_SHELF}


cdef class Chain:
    """Restore → EQ → gain → width → limiter with state carried from call to call.

    Parameters
    ----------
    plan : MasteringPlan
        What to do; fixed for the life of the chain.
    sample_rate : int
        8000 to 192000 Hz.
    channels : int
        1 to 8.

    Raises
    ------
    ValueError
        The rate, the channel count or the number of EQ bands is out of range.
    """

    cdef aur_chain *_state
    cdef bint _busy
    cdef readonly int channels
    cdef readonly int sample_rate

    def __cinit__(self, plan, sample_rate, channels):
        cdef aur_chain_params p
        if len(plan.eq) > AUR_CHAIN_MAX_BANDS:
            raise ValueError(f"plan.eq has {len(plan.eq)} bands, at most {AUR_CHAIN_MAX_BANDS} fit")
        p.fill = plan.fill
        p.bands = len(plan.eq)
        for i, band in enumerate(plan.eq):
            p.band[i] = aur_eq_band(_KINDS[band.kind], band.f0_hz, band.q, band.gain_db)
        p.gain_db = plan.gain_db
        p.level = plan.level_target is not None
        p.level_target = plan.level_target or 0.0
        p.level_strength = plan.level_strength
        p.width = plan.width
        p.limit = plan.ceiling is not None
        p.ceiling_db = plan.ceiling or 0.0
        self.channels, self.sample_rate = channels, sample_rate
        cdef int status = aur_chain_create(&p, sample_rate, max(channels, 0), &self._state)
        if status == AUR_EINVAL:
            raise ValueError(f"sample_rate must be 8000–192000 and channels 1–{AUR_MAX_CHANNELS}, "
                             f"got {sample_rate} and {channels}")
        if status != AUR_OK:
            raise MemoryError

    def __dealloc__(self):
        aur_chain_destroy(self._state)

    @property
    def latency(self):
        """Frames by which the output lags the input; the same for every plan at one rate."""
        return aur_chain_latency(self._state)

    def process(self, const float[:, ::1] x not None):
        """Process the next frames.

        Parameters
        ----------
        x : float32 array (channels, frames)
            Any number of frames; how the signal is cut up never changes an output bit.

        Returns
        -------
        float32 array (channels, frames)
            The processed signal, `latency` frames late.
        """
        if x.shape[0] != self.channels:
            raise ValueError(f"x must have {self.channels} channels, got {x.shape[0]}")
        y = np.empty((x.shape[0], x.shape[1]), np.float32)
        cdef float[:, ::1] out = y
        cdef size_t frames = x.shape[1]
        cdef const float *pi[AUR_MAX_CHANNELS]
        cdef float *po[AUR_MAX_CHANNELS]
        cdef int c
        if frames == 0:
            return y
        for c in range(self.channels):
            pi[c], po[c] = &x[c, 0], &out[c, 0]
        if self._busy:
            raise RuntimeError("this Chain is already processing in another thread")
        self._busy = True
        with nogil:
            aur_chain_process(self._state, pi, po, frames)
        self._busy = False
        return y
