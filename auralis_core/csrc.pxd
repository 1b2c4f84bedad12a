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
cdef extern from "loudness.h" nogil:
    enum:
        AUR_LOUDNESS_UNSCALED
    ctypedef struct aur_loudness:
        pass
    aur_status aur_loudness_create(double sample_rate, unsigned channels, const double *weights,
                                   unsigned flags, aur_loudness **out)
    aur_status aur_loudness_clone(const aur_loudness *state, aur_loudness **out)
    void aur_loudness_destroy(aur_loudness *state)
    void aur_loudness_reset(aur_loudness *state)
    aur_status aur_loudness_reserve(aur_loudness *state, size_t frames)
    aur_status aur_loudness_process(aur_loudness *state, const float *const *data, size_t frames)
    double aur_loudness_momentary(const aur_loudness *state)
    double aur_loudness_short_term(const aur_loudness *state)
    double aur_loudness_momentary_max(const aur_loudness *state)
    double aur_loudness_short_term_max(const aur_loudness *state)
    double aur_loudness_integrated(const aur_loudness *state)
    double aur_loudness_range(const aur_loudness *state)
    double aur_loudness_variation(const aur_loudness *state)

# truepeak.h
cdef extern from "truepeak.h" nogil:
    ctypedef struct aur_truepeak:
        pass
    aur_status aur_truepeak_create(unsigned channels, aur_truepeak **out)
    aur_status aur_truepeak_clone(const aur_truepeak *state, aur_truepeak **out)
    void aur_truepeak_destroy(aur_truepeak *state)
    void aur_truepeak_reset(aur_truepeak *state)
    void aur_truepeak_process(aur_truepeak *state, const float *const *data, size_t frames)
    double aur_truepeak_maximum(const aur_truepeak *state)

# levels.h
cdef extern from "levels.h" nogil:
    enum:
        AUR_LEVELS_BINS
    ctypedef struct aur_levels:
        pass
    ctypedef struct aur_levels_result:
        double crest_db
        double silence_ratio
        double dynamic_range_variation
        double peak_consistency
        double stereo_width
        double phase_correlation
        double active_seconds
        double sample_peak
        uint64_t frames
        uint64_t flat_top_longest
        uint64_t flat_top_total
        double flat_top_share
        double peak_curvature
        double detail_db[32]
        uint64_t histogram[2048]
    aur_status aur_levels_create(double sample_rate, aur_levels **out)
    aur_status aur_levels_clone(const aur_levels *state, aur_levels **out)
    void aur_levels_destroy(aur_levels *state)
    void aur_levels_reset(aur_levels *state)
    aur_status aur_levels_process(aur_levels *state, const float *const *raw, const float *const *hp,
                                  size_t frames)
    void aur_levels_finish(const aur_levels *state, aur_levels_result *out)

# temporal.h
cdef extern from "temporal.h" nogil:
    ctypedef struct aur_temporal:
        pass
    ctypedef struct aur_temporal_result:
        double tempo_bpm
        double tempo_alt
        double tempo_confidence
        double rhythm_stability
        double transient_density
        uint64_t onsets
        double active_s
    aur_status aur_temporal_create(double sample_rate, aur_temporal **out)
    void aur_temporal_destroy(aur_temporal *state)
    void aur_temporal_reset(aur_temporal *state)
    void aur_temporal_process(aur_temporal *state, const float *mono, size_t frames)
    aur_status aur_temporal_finish(const aur_temporal *state, aur_temporal_result *out)

# analysis.h
cdef extern from "analysis.h" nogil:
    ctypedef struct aur_spectral_result:
        double bands[7]
        double ltas_db[31]
        double centroid
        double rolloff
        double flatness
        uint64_t frames
        uint64_t active_frames
    ctypedef struct aur_pitch_result:
        double stability
        double voiced_share
    ctypedef struct aur_chroma_result:
        double energy
        double tuning_cents
        double chroma[12]
    ctypedef struct aur_analysis_result:
        uint64_t frames
        uint64_t non_finite
        int dual_mono
        double integrated
        double momentary_max
        double short_term_max
        double loudness_range
        double loudness_variation
        double true_peak
        aur_levels_result levels
        aur_spectral_result spectral
        aur_temporal_result temporal
        aur_pitch_result pitch
        aur_chroma_result chroma
        double harmonic_ratio
        int harmonic_defined
    ctypedef struct aur_analysis:
        pass
    aur_status aur_analysis_create(double sample_rate, unsigned channels, aur_analysis **out)
    void aur_analysis_destroy(aur_analysis *state)
    aur_status aur_analysis_process(aur_analysis *state, const float *const *data, size_t frames)
    aur_status aur_analysis_merge(aur_analysis *state, const aur_analysis *next)
    aur_status aur_analysis_finish(const aur_analysis *state, aur_analysis_result *out)

# lwrp.h
cdef extern from "lwrp.h" nogil:
    ctypedef enum aur_region:
        AUR_COMPRESSED_LOUD
        AUR_DYNAMIC_LOUD
        AUR_QUIET
    ctypedef struct aur_decision:
        aur_region region
        double expansion
        double gain_db
    aur_status aur_lwrp_decide(double lufs, double crest_db, aur_decision *out)
    aur_status aur_lwrp_decide_many(const double *lufs, const double *crest_db, aur_decision *out, size_t n)

# crossfade.h
cdef extern from "crossfade.h" nogil:
    ctypedef enum aur_fade_law:
        AUR_FADE_EQUAL_GAIN
        AUR_FADE_EQUAL_POWER
        AUR_FADE_CORRELATION
    double aur_crossfade_correlation(const float *const *a, const float *const *b, unsigned channels,
                                     size_t frames)
    void aur_crossfade(aur_fade_law law, double r, const float *const *a, const float *const *b,
                       float *const *out, unsigned channels, size_t start, size_t frames, size_t length)

# limiter.h
cdef extern from "limiter.h" nogil:
    ctypedef struct aur_limiter:
        pass
    aur_status aur_limiter_create(double ceiling_db, double sample_rate, unsigned channels, aur_limiter **out)
    aur_status aur_limiter_clone(const aur_limiter *state, aur_limiter **out)
    void aur_limiter_destroy(aur_limiter *state)
    void aur_limiter_reset(aur_limiter *state)
    size_t aur_limiter_latency(const aur_limiter *state)
    float aur_limiter_process(aur_limiter *state, const float *const *x, float *const *y, size_t frames)

# chain.h
cdef extern from "chain.h" nogil:
    enum:
        AUR_CHAIN_MAX_BANDS
    ctypedef enum aur_eq_kind:
        AUR_EQ_PEAKING
        AUR_EQ_LOW_SHELF
        AUR_EQ_HIGH_SHELF
    ctypedef struct aur_eq_band:
        aur_eq_kind kind
        double f0
        double q
        double gain_db
    ctypedef struct aur_chain_params:
        double depth
        double top
        const float *curve
        double clip
        double clip_blur
        double clip_rise
        double fill
        double lift_db
        double held
        unsigned bands
        aur_eq_band *band
        double gain_db
        int level
        double level_target
        double level_strength
        double width
        int limit
        double ceiling_db
    ctypedef struct aur_chain_record:
        double lufs_in
        double crest_in
        double lufs_out
        double crest_out
        double gain_db
        double gain_reduction_db
    ctypedef struct aur_chain:
        pass
    aur_status aur_chain_create(const aur_chain_params *params, double sample_rate, unsigned channels,
                                aur_chain **out)
    aur_status aur_chain_clone(const aur_chain *state, aur_chain **out)
    void aur_chain_destroy(aur_chain *state)
    enum:
        AUR_CHAIN_SNAPSHOT
    size_t aur_chain_snapshot_size(const aur_chain *state)
    void aur_chain_save(const aur_chain *state, unsigned char *bytes)
    aur_status aur_chain_restore(aur_chain **state, const unsigned char *bytes, size_t size)
    void aur_chain_inherit(aur_chain *state, const aur_chain *src, int same_place)
    void aur_chain_measured(const aur_chain *state, aur_chain_record *out)
    double aur_chain_band_db(const aur_eq_band *band, double sample_rate, double f)
    size_t aur_chain_latency(const aur_chain *state)
    void aur_chain_process(aur_chain *state, const float *const *x, float *const *y, size_t frames)
