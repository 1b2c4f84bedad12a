"""OnsetTracker: the temporal kernel on its own. What the numbers mean is in ``csrc/temporal.h``."""

from libc.stdint cimport uint64_t

from .csrc cimport (
    AUR_EINVAL,
    AUR_OK,
    aur_status,
    aur_temporal,
    aur_temporal_create,
    aur_temporal_destroy,
    aur_temporal_finish,
    aur_temporal_process,
    aur_temporal_result,
)


cdef class OnsetTracker:
    cdef aur_temporal *_state
    cdef bint _busy

    def __cinit__(self, double sample_rate):
        cdef aur_status status = aur_temporal_create(sample_rate, &self._state)
        if status == AUR_EINVAL:
            raise ValueError(f"sample_rate must be 8000 to 96000 Hz, got {sample_rate:g}")
        if status != AUR_OK:
            raise MemoryError

    def __dealloc__(self):
        aur_temporal_destroy(self._state)

    def feed(self, const float[::1] mono not None):
        if self._busy:
            raise RuntimeError("this tracker is busy in another thread")
        cdef size_t frames = mono.shape[0]
        cdef const float *samples = &mono[0] if frames else NULL
        self._busy = True
        with nogil:
            aur_temporal_process(self._state, samples, frames)
        self._busy = False

    def result(self):
        if self._busy:
            raise RuntimeError("this tracker is busy in another thread")
        cdef aur_temporal_result out
        cdef aur_status status
        self._busy = True
        with nogil:
            status = aur_temporal_finish(self._state, &out)
        self._busy = False
        if status != AUR_OK:
            raise MemoryError
        return out
