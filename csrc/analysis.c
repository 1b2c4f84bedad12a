#include "analysis.h"

#include "decimate.h"
#include "harmonic.h"
#include "loudness.h"
#include "truepeak.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 2048u           /* frames: all scratch stays in the second-level cache */
#define ANALYSIS_RATE 80000.0 /* above this the spectra are taken from a decimated signal */
#define PITCH_RATE 11025.0
#define HIGH_PASS_HZ 5.0

typedef struct {
    double in, out; /* of the frame before */
} high_pass_state;

struct aur_analysis {
    double sample_rate;
    unsigned channels;
    uint64_t frames, non_finite;
    uint64_t lead; /* frames of digital silence in front of everything */
    int started, dual_mono;
    double pole; /* of the high-pass */
    high_pass_state high_pass[2];
    aur_loudness *loudness;
    aur_truepeak *truepeak;
    aur_levels *levels;
    aur_spectral *spectral;
    aur_harmonic *harmonic;
    aur_temporal *temporal;
    aur_pitch *pitch;
    aur_chroma *chroma;
    aur_decimate *to_analysis[2], *to_pitch, *to_chroma;
    float clean[AUR_MAX_CHANNELS][BLOCK], passed[2][BLOCK], analysis[2][BLOCK], mono[BLOCK], low[BLOCK];
};

/* y = x - x1 + pole * y1: one pole, one zero at DC. Both channels at once, because each waits for its own
 * last value and the two waits overlap. */
static void high_pass(double pole, int first, high_pass_state *state, const float *const in[2],
                      float (*out)[BLOCK], size_t frames) {
    high_pass_state l = state[0], r = state[1];
    /* The first sound is taken as the offset that was always there: DC stays silent from the start. */
    if (first && frames) l.in = in[0][0], r.in = in[1][0];
    for (size_t i = 0; i < frames; i++) {
        const double xl = in[0][i], xr = in[1][i];
        l.out = xl - l.in + pole * l.out;
        r.out = xr - r.in + pole * r.out;
        l.in = xl;
        r.in = xr;
        out[0][i] = (float)l.out;
        out[1][i] = (float)r.out;
    }
    state[0] = l;
    state[1] = r;
}

/* Frames of digital silence that the block begins with. */
static size_t silence(const float *const in[2], size_t frames) {
    size_t n = 0;
    while (n < frames && in[0][n] == 0.0f && in[1][n] == 0.0f)
        n++;
    return n;
}

/* Adding x * 0 is NaN exactly when some x is not finite. */
static int all_finite(const float *x, size_t n) {
    float sum[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++)
            sum[l] += x[i + l] * 0.0f;
    for (; i < n; i++)
        sum[0] += x[i] * 0.0f;
    for (size_t l = 0; l < 16; l++)
        if (sum[l] != 0.0f) return 0;
    return 1;
}

/* The block as it will be analysed: the input itself, or a copy with zeros where it is not finite. */
static const float *sanitised(aur_analysis *s, unsigned channel, const float *in, size_t frames) {
    if (all_finite(in, frames)) return in;
    float *out = s->clean[channel];
    for (size_t i = 0; i < frames; i++) {
        const int finite = isfinite(in[i]) != 0;
        s->non_finite += !finite;
        out[i] = finite ? in[i] : 0.0f;
    }
    return out;
}

static unsigned analysis_factor(double sample_rate) {
    return sample_rate > 2.0 * ANALYSIS_RATE ? 4 : sample_rate > ANALYSIS_RATE ? 2 : 1;
}

static unsigned pitch_factor(double analysis_rate) {
    const double factor = analysis_rate / PITCH_RATE;
    return factor < 2.0 ? 1 : (unsigned)factor;
}

aur_status aur_analysis_create(double sample_rate, unsigned channels, aur_analysis **out) {
    *out = NULL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 192000.0)) return AUR_EINVAL;
    if (channels < 1 || channels > AUR_MAX_CHANNELS) return AUR_EINVAL;
    aur_analysis *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    s->sample_rate = sample_rate;
    s->channels = channels;
    s->dual_mono = 1;
    s->pole = exp(-2.0 * AUR_PI * HIGH_PASS_HZ / sample_rate);
    const unsigned factor = analysis_factor(sample_rate);
    const double rate = sample_rate / factor, pitch_rate = rate / pitch_factor(rate);
    /* 20 kHz must pass to the spectra, 3 kHz to pitch, 2.1 kHz to chroma. */
    const double pass = aur_clamp(20000.0 / rate, 0.1, 0.455);
    aur_status status = aur_loudness_create(sample_rate, channels, NULL, 0, &s->loudness);
    if (!status) status = aur_truepeak_create(channels, &s->truepeak);
    if (!status) status = aur_levels_create(sample_rate, &s->levels);
    if (!status) status = aur_spectral_create(rate, &s->spectral);
    if (!status) status = aur_harmonic_create(aur_spectral_bins(s->spectral), &s->harmonic);
    if (!status) status = aur_temporal_create(rate, &s->temporal);
    if (!status) status = aur_pitch_create(pitch_rate, &s->pitch);
    if (!status) status = aur_chroma_create(pitch_rate > 10000.0 ? pitch_rate / 2.0 : pitch_rate, &s->chroma);
    for (int c = 0; c < 2 && !status; c++)
        status = aur_decimate_create(factor, pass, &s->to_analysis[c]);
    if (!status) status = aur_decimate_create(pitch_factor(rate), 0.3, &s->to_pitch);
    if (!status) status = aur_decimate_create(pitch_rate > 10000.0 ? 2 : 1, 0.4, &s->to_chroma);
    if (status) {
        aur_analysis_destroy(s);
        return status;
    }
    *out = s;
    return AUR_OK;
}

void aur_analysis_destroy(aur_analysis *s) {
    if (!s) return;
    aur_loudness_destroy(s->loudness);
    aur_truepeak_destroy(s->truepeak);
    aur_levels_destroy(s->levels);
    aur_spectral_destroy(s->spectral);
    aur_harmonic_destroy(s->harmonic);
    aur_temporal_destroy(s->temporal);
    aur_pitch_destroy(s->pitch);
    aur_chroma_destroy(s->chroma);
    for (int c = 0; c < 2; c++)
        aur_decimate_destroy(s->to_analysis[c]);
    aur_decimate_destroy(s->to_pitch);
    aur_decimate_destroy(s->to_chroma);
    free(s);
}

static void take_spectra(aur_spectral *spectral, aur_harmonic *harmonic) {
    const unsigned frames = aur_spectral_run(spectral);
    if (frames) aur_harmonic_process(harmonic, aur_spectral_magnitudes(spectral), frames);
}

static aur_status process_block(aur_analysis *s, const float *const *in, size_t frames) {
    aur_status status = aur_loudness_process(s->loudness, in, frames);
    if (status) return status;
    aur_truepeak_process(s->truepeak, in, frames);
    const float *raw[2] = {in[0], s->channels > 1 ? in[1] : in[0]};
    if (s->dual_mono) s->dual_mono = memcmp(raw[0], raw[1], frames * sizeof(float)) == 0;
    /* But for loudness, whose gates BS.1770 counts from the first frame, everything begins with the first
     * sound: digital silence in front moves no grid. */
    const size_t lead = s->started ? 0 : silence(raw, frames);
    if (lead) status = aur_levels_process(s->levels, raw, raw, lead);
    s->lead += lead;
    if (status || lead == frames) return status;
    raw[0] += lead, raw[1] += lead, frames -= lead;
    high_pass(s->pole, !s->started, s->high_pass, raw, s->passed, frames);
    s->started = 1;
    status = aur_levels_process(s->levels, raw, (const float *const[]){s->passed[0], s->passed[1]}, frames);
    if (status) return status;

    size_t n = 0;
    for (int c = 0; c < 2; c++)
        n = aur_decimate_process(s->to_analysis[c], s->passed[c], frames, s->analysis[c]);
    for (size_t taken = 0; taken < n;) {
        taken += aur_spectral_feed(s->spectral, s->analysis[0] + taken, s->analysis[1] + taken, n - taken);
        if (aur_spectral_ready(s->spectral)) take_spectra(s->spectral, s->harmonic);
    }
    for (size_t i = 0; i < n; i++)
        s->mono[i] = 0.5f * (s->analysis[0][i] + s->analysis[1][i]);
    aur_temporal_process(s->temporal, s->mono, n);
    n = aur_decimate_process(s->to_pitch, s->mono, n, s->low);
    aur_pitch_process(s->pitch, s->low, n);
    n = aur_decimate_process(s->to_chroma, s->low, n, s->mono);
    aur_chroma_process(s->chroma, s->mono, n);
    return AUR_OK;
}

aur_status aur_analysis_process(aur_analysis *s, const float *const *in, size_t frames) {
    const aur_fpenv saved = aur_flush_denormals();
    aur_status status = AUR_OK;
    for (size_t done = 0; done < frames && !status;) {
        const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
        const float *block[AUR_MAX_CHANNELS];
        for (unsigned c = 0; c < s->channels; c++)
            block[c] = sanitised(s, c, in[c] + done, n);
        status = process_block(s, block, n);
        s->frames += n;
        done += n;
    }
    aur_restore_denormals(saved);
    return status;
}

/* The state of everything that runs from sample to sample. */
static void resume(aur_analysis *s, const aur_analysis *from) {
    s->started |= from->started;
    memcpy(s->high_pass, from->high_pass, sizeof s->high_pass);
    for (int c = 0; c < 2; c++)
        aur_decimate_resume(s->to_analysis[c], from->to_analysis[c]);
    aur_decimate_resume(s->to_pitch, from->to_pitch);
    aur_decimate_resume(s->to_chroma, from->to_chroma);
}

aur_status aur_analysis_merge(aur_analysis *s, const aur_analysis *next) {
    if (!next->frames) return AUR_OK;
    const uint64_t silence = s->started ? next->lead : 0;
    aur_status status = aur_loudness_append(s->loudness, next->loudness);
    if (!status) status = aur_levels_append(s->levels, next->levels, silence);
    if (status) return status;
    if (!s->started) s->lead += next->lead;
    aur_truepeak_append(s->truepeak, next->truepeak);
    s->frames += next->frames;
    s->non_finite += next->non_finite;
    s->dual_mono &= next->dual_mono;

    const aur_fpenv saved = aur_flush_denormals();
    if (aur_spectral_waiting(s->spectral)) take_spectra(s->spectral, s->harmonic);
    aur_spectral_append(s->spectral, next->spectral);
    aur_harmonic_append(s->harmonic, next->harmonic);
    aur_pitch_append(s->pitch, next->pitch);
    aur_chroma_append(s->chroma, next->chroma);
    aur_temporal_append(s->temporal, next->temporal, silence / analysis_factor(s->sample_rate));
    resume(s, next);
    aur_restore_denormals(saved);
    return AUR_OK;
}

aur_status aur_analysis_finish(const aur_analysis *s, aur_analysis_result *out) {
    const aur_fpenv saved = aur_flush_denormals();
    *out = (aur_analysis_result){
        .frames = s->frames,
        .non_finite = s->non_finite,
        .dual_mono = s->dual_mono,
        .integrated = aur_loudness_integrated(s->loudness),
        .momentary_max = aur_loudness_momentary_max(s->loudness),
        .short_term_max = aur_loudness_short_term_max(s->loudness),
        .loudness_range = aur_loudness_range(s->loudness),
        .loudness_variation = aur_loudness_variation(s->loudness),
        .true_peak = aur_truepeak_maximum(s->truepeak),
    };
    aur_levels_finish(s->levels, &out->levels);
    /* Kernels that work in batches take in their last frames; on copies, so that more may follow. */
    aur_spectral *spectral = NULL;
    aur_harmonic *harmonic = NULL;
    aur_pitch *pitch = NULL;
    aur_chroma *chroma = NULL;
    aur_status status = aur_temporal_finish(s->temporal, &out->temporal);
    if (!status) status = aur_spectral_clone(s->spectral, &spectral);
    if (!status) status = aur_harmonic_clone(s->harmonic, &harmonic);
    if (!status) status = aur_pitch_clone(s->pitch, &pitch);
    if (!status) status = aur_chroma_clone(s->chroma, &chroma);
    if (!status) {
        take_spectra(spectral, harmonic);
        aur_spectral_finish(spectral, &out->spectral);
        aur_harmonic_flush(harmonic);
        out->harmonic_ratio = aur_harmonic_ratio(harmonic, &out->harmonic_defined);
        aur_pitch_flush(pitch);
        status = aur_pitch_finish(pitch, &out->pitch);
        aur_chroma_flush(chroma);
        aur_chroma_finish(chroma, &out->chroma);
    }
    aur_spectral_destroy(spectral);
    aur_harmonic_destroy(harmonic);
    aur_pitch_destroy(pitch);
    aur_chroma_destroy(chroma);
    aur_restore_denormals(saved);
    return status;
}
