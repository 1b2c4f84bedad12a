# Every C signature the extensions use. The only file that names a C header.

from libc.stdint cimport uint32_t, uint64_t

# common.h
cdef extern from "common.h" nogil:
    ctypedef enum aur_status:
        AUR_OK
        AUR_EINVAL
        AUR_ENOMEM
    enum:
        AUR_MAX_CHANNELS

# simd.h
cdef extern from "simd.h" nogil:
    ctypedef enum aur_simd:
        AUR_SIMD_BASELINE
        AUR_SIMD_AVX2
        AUR_SIMD_AVX512
    aur_simd aur_simd_select()
    const char *aur_simd_name(aur_simd simd)

# biquad.h

# loudness.h

# truepeak.h

# levels.h

# temporal.h

# features.h

# lwrp.h

# crossfade.h

# limiter.h

# chain.h
