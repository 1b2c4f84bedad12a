"""The mastering chain, and its limiter alone, as stateful objects.

Every sample they touch is touched in ``csrc/chain.c`` and the kernels it calls. Which parameters a
track gets is ``plan.py``; where in the file a chain stands, and the crossfade between two of them, is
``render.py``.
"""

import struct
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from libc.string cimport memset

from auralis_core.csrc cimport (
    AUR_CHAIN_MAX_BANDS,
    AUR_CHAIN_SNAPSHOT,
    AUR_EINVAL,
    AUR_ENOMEM,
    AUR_EQ_HIGH_SHELF,
    AUR_EQ_LOW_SHELF,
    AUR_EQ_PEAKING,
    AUR_MAX_CHANNELS,
    AUR_OK,
    aur_chain,
    aur_chain_band_db,
    aur_chain_clone,
    aur_chain_create,
    aur_chain_destroy,
    aur_chain_inherit,
    aur_chain_latency,
    aur_chain_measured,
    aur_chain_params,
    aur_chain_process,
    aur_chain_record,
    aur_chain_restore,
    aur_chain_save,
    aur_chain_snapshot_size,
    aur_eq_band,
    aur_limiter,
    aur_limiter_clone,
    aur_limiter_create,
    aur_limiter_destroy,
    aur_limiter_latency,
    aur_limiter_process,
    aur_limiter_reset,
)

from .errors import StateError

#: In front of a saved state: magic number (which tells the byte order), version, sample rate, channels, digest
#: of the parameters, digest of the rest. The state itself follows.
_HEADER = struct.Struct("=IHHI8s8s")
_MAGIC = 0x43525541

_KINDS = {"peaking": AUR_EQ_PEAKING, "low_shelf": AUR_EQ_LOW_SHELF, "high_shelf": AUR_EQ_HIGH_SHELF}


class Measured(NamedTuple):
    """Short-term (3 s) loudness and crest into and out of a chain, its gain, the limiter's reduction."""

    lufs_in: float
    crest_in: float
    lufs_out: float
    crest_out: float
    gain_db: float
    gain_reduction_db: float


def _digest(data):
    return blake2b(data, digest_size=8).digest()


def eq_response_db(eq, double sample_rate, frequencies):
    """What the bands of a plan's EQ do together, in dB at each frequency (float64 array, Hz)."""
    cdef const double[::1] f = np.ascontiguousarray(frequencies, np.float64)
    total = np.zeros(f.shape[0])
    cdef double[::1] out = total
    cdef aur_eq_band b
    cdef Py_ssize_t i
    for band in eq:
        b = aur_eq_band(_KINDS[band.kind], band.f0_hz, band.q, band.gain_db)
        for i in range(f.shape[0]):
            out[i] += aur_chain_band_db(&b, sample_rate, f[i])
    return total


cdef class Chain:
    """Curve → declip → fill → EQ → gain and leveller → width → limiter, with state carried from call to call.

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
        The rate or the channel count is out of range, or the plan has too many EQ bands.
    """

    cdef aur_chain *_state
    cdef bint _busy
    cdef readonly object plan
    cdef readonly int channels
    cdef readonly int sample_rate
    cdef bytes _parameters  # their digest

    def __cinit__(self, plan, sample_rate, channels):
        cdef aur_chain_params p
        memset(&p, 0, sizeof(p))  # what lies between the fields counts in the digest
        if len(plan.eq) > AUR_CHAIN_MAX_BANDS:
            raise ValueError(f"plan.eq has {len(plan.eq)} bands, at most {AUR_CHAIN_MAX_BANDS} fit")
        p.depth, p.top, p.fill = plan.depth, plan.top, plan.fill
        p.clip, p.clip_blur, p.clip_rise = plan.clip, plan.clip_blur, plan.clip_rise
        p.lift_db, p.held = plan.lift_db, plan.held
        p.bands = len(plan.eq)
        for i, band in enumerate(plan.eq):
            p.band[i].kind = _KINDS[band.kind]
            p.band[i].f0, p.band[i].q, p.band[i].gain_db = band.f0_hz, band.q, band.gain_db
        p.gain_db = plan.gain_db
        p.level = plan.level_target is not None
        p.level_target = plan.level_target or 0.0
        p.level_strength = plan.level_strength
        p.width = plan.width
        p.limit = plan.ceiling is not None
        p.ceiling_db = plan.ceiling or 0.0
        self.plan, self.sample_rate, self.channels = plan, sample_rate, channels
        cdef const float[::1] curve = np.array(plan.curve, np.float32)
        self._parameters = _digest((<unsigned char *> &p)[:sizeof(p)] + bytes(curve))
        if plan.curve:
            p.curve = &curve[0]
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

    @property
    def measured(self):
        """`Measured` up to the frames processed last."""
        cdef aur_chain_record r
        aur_chain_measured(self._state, &r)
        return Measured(r.lufs_in, r.crest_in, r.lufs_out, r.crest_out, r.gain_db, r.gain_reduction_db)

    def process(self, const float[:, ::1] x not None):
        """Process the next frames.

        Parameters
        ----------
        x : float32 array (channels, frames)
            Any number of frames; how the signal is cut up never changes an output bit. Samples that
            are not finite count as 0.

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
        if frames:
            for c in range(self.channels):
                pi[c], po[c] = &x[c, 0], &out[c, 0]
            self._enter()
            with nogil:
                aur_chain_process(self._state, pi, po, frames)
            self._busy = False
        return y

    def clone(self):
        """A second chain that continues exactly as this one would."""
        cdef Chain other = Chain(self.plan, self.sample_rate, self.channels)
        cdef aur_chain *state
        self._enter()
        cdef int status = aur_chain_clone(self._state, &state)
        self._busy = False
        if status == AUR_ENOMEM:
            raise MemoryError
        aur_chain_destroy(other._state)
        other._state = state
        return other

    def save(self):
        """What the chain has heard, as bytes: a few 10 kB that `restore` of an equal chain continues from.

        They are for chains of the same version of the library on the same kind of machine.
        """
        cdef bytearray state
        cdef unsigned char[::1] out
        self._enter()
        state = bytearray(aur_chain_snapshot_size(self._state))
        out = state
        aur_chain_save(self._state, &out[0])
        self._busy = False
        return _HEADER.pack(_MAGIC, AUR_CHAIN_SNAPSHOT, self.channels, self.sample_rate, self._parameters,
                            _digest(state)) + state

    def restore(self, data):
        """Continue where the chain that `save` was called on stood then, bit for bit.

        Parameters
        ----------
        data : bytes-like
            From `save` of a chain of the same plan, sample rate and channels.

        Raises
        ------
        StateError
            `data` is nothing of the kind: foreign, damaged, of another version, or of another chain. This
            chain is then as it was.
        """
        cdef const unsigned char[::1] state
        cdef int status
        header, rest = memoryview(data)[:_HEADER.size], memoryview(data)[_HEADER.size:]
        if len(header) < _HEADER.size or len(rest) == 0:
            raise StateError("too short for the state of a chain")
        magic, version, channels, rate, parameters, digest = _HEADER.unpack(header)
        if magic != _MAGIC:
            raise StateError("not the state of a chain, or from a machine of another byte order")
        if version != AUR_CHAIN_SNAPSHOT:
            raise StateError(f"state of version {version}, this library reads {AUR_CHAIN_SNAPSHOT}")
        if (rate, channels) != (self.sample_rate, self.channels):
            raise StateError(f"state of a chain for {rate} Hz and {channels} channels, this one runs at "
                             f"{self.sample_rate} Hz with {self.channels}")
        if parameters != self._parameters:
            raise StateError("state of a chain with another plan")
        if digest != _digest(rest):
            raise StateError("damaged: the state does not match its digest")
        state = rest
        self._enter()
        status = aur_chain_restore(&self._state, &state[0], state.shape[0])
        self._busy = False
        if status == AUR_EINVAL:
            raise StateError("not a state this chain can be in")
        if status != AUR_OK:
            raise MemoryError

    def inherit(self, Chain other not None, bint same_place):
        """Take over what `other`'s leveller has learned about the track, if both have one.

        With `same_place`, both chains have just heard the same frames, and the measurement of the input
        is taken over too.
        """
        if (self.channels, self.sample_rate) != (other.channels, other.sample_rate):
            raise ValueError("other runs at another rate or channel count")
        aur_chain_inherit(self._state, other._state, same_place)

    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("this Chain is already processing in another thread")
        self._busy = True
        return 0


cdef class Limiter:
    """Look-ahead true-peak limiter: `latency` frames late, bit-exact where nothing is over.

    Parameters
    ----------
    sample_rate : int
        8000 to 192000 Hz.
    channels : int
        1 to 8, all under one gain.
    ceiling : float
        Highest true peak of the output, dBTP, −60…0.

    Raises
    ------
    ValueError
        An argument is out of range.
    """

    cdef aur_limiter *_state
    cdef bint _busy
    cdef double _sample_rate, _ceiling
    cdef readonly int channels
    #: Largest gain reduction of the last `process` call, dB ≥ 0.
    cdef readonly double gain_reduction_db

    def __cinit__(self, sample_rate, channels, ceiling=-1.0):
        cdef int status = aur_limiter_create(ceiling, sample_rate, max(channels, 0), &self._state)
        if status == AUR_EINVAL:
            raise ValueError(f"sample_rate must be 8000–192000, channels 1–{AUR_MAX_CHANNELS} and ceiling "
                             f"−60…0 dBTP, got {sample_rate}, {channels} and {ceiling}")
        if status != AUR_OK:
            raise MemoryError
        self.channels = channels
        self._sample_rate, self._ceiling = sample_rate, ceiling

    def __dealloc__(self):
        aur_limiter_destroy(self._state)

    @property
    def latency(self):
        """Frames by which the output lags the input."""
        return aur_limiter_latency(self._state)

    def process(self, const float[:, ::1] x not None):
        """Limit the next frames: float32 (channels, frames) → the same shape, `latency` frames late."""
        if x.shape[0] != self.channels:
            raise ValueError(f"x must have {self.channels} channels, got {x.shape[0]}")
        y = np.empty((x.shape[0], x.shape[1]), np.float32)
        cdef float[:, ::1] out = y
        cdef size_t frames = x.shape[1]
        cdef const float *pi[AUR_MAX_CHANNELS]
        cdef float *po[AUR_MAX_CHANNELS]
        cdef float least = 1.0
        cdef int c
        if frames:
            for c in range(self.channels):
                pi[c], po[c] = &x[c, 0], &out[c, 0]
            if self._busy:
                raise RuntimeError("this Limiter is already processing in another thread")
            self._busy = True
            with nogil:
                least = aur_limiter_process(self._state, pi, po, frames)
            self._busy = False
        self.gain_reduction_db = -20.0 * np.log10(max(least, 1e-6)) if least < 1.0 else 0.0
        return y

    def clone(self):
        """A second limiter that continues exactly as this one would."""
        cdef Limiter other = Limiter(self._sample_rate, self.channels, self._ceiling)
        cdef aur_limiter *state
        if self._busy:
            raise RuntimeError("this Limiter is already processing in another thread")
        if aur_limiter_clone(self._state, &state) != AUR_OK:
            raise MemoryError
        aur_limiter_destroy(other._state)
        other._state = state
        return other

    def reset(self):
        """Forget everything heard."""
        aur_limiter_reset(self._state)
