#include "levels.h"

#include "activity.h"
#include "detail.h"
#include "peak.h"
#include "saturation.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_ROWS = 10,
    LONG_BLOCKS = 30,
    LANES = 8,        /* of doubles */
    ROW_ROOM = 3841,  /* frames of the longest row, at 384 kHz */
    FIRST_ROOM = 8192 /* blocks there is room for from the start */
};
static const double SILENT = 1e-6; /* power at -60 dBFS, for silence_ratio alone */

/* Energies and peak of a stretch of the high-passed signal. */
typedef struct {
    double peak, ll, rr, lr;
} stretch;

typedef void row_energies(const float *, const float *, size_t, stretch *);

/* Frames of signals that this one was appended to. */
typedef struct {
    uint64_t frames, judged, silent; /* all, in whole rows, in silent ones */
} past;

struct aur_levels {
    double rate;
    row_energies *energies;
    past before;
    uint64_t lead;                /* frames of digital silence in front, before the grids begin */
    uint64_t frame, row, row_end; /* after the lead: next frame, its row, first frame of the row after */
    uint64_t silent_frames;       /* in whole rows */
    stretch block;                /* whole rows of the block in progress */
    float raw[2][ROW_ROOM], hp[2][ROW_ROOM]; /* the row in progress */
    aur_saturation saturation;
    aur_detail detail;

    stretch *blocks;
    double *scratch; /* as many doubles */
    size_t count, room;
};

AUR_INLINE void sum_row(const float *restrict l, const float *restrict r, size_t n, stretch *out) {
    double ll[LANES] = {0}, rr[LANES] = {0}, lr[LANES] = {0};
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const double a = l[i + k], b = r[i + k];
            ll[k] += a * a;
            rr[k] += b * b;
            lr[k] += a * b;
        }
    for (size_t i = whole; i < n; i++) {
        const double a = l[i], b = r[i];
        ll[i - whole] += a * a;
        rr[i - whole] += b * b;
        lr[i - whole] += a * b;
    }
    *out = (stretch){0};
    for (size_t k = 0; k < LANES; k++) {
        out->ll += ll[k];
        out->rr += rr[k];
        out->lr += lr[k];
    }
    const uint32_t pl = aur_peak_bits(l, n), pr = aur_peak_bits(r, n);
    out->peak = aur_peak_value(pl > pr ? pl : pr);
}

static void energies_baseline(const float *l, const float *r, size_t n, stretch *out) {
    sum_row(l, r, n, out);
}
#ifdef AUR_X86
AUR_TARGET_AVX2 static void energies_avx2(const float *l, const float *r, size_t n, stretch *out) {
    sum_row(l, r, n, out);
}
AUR_TARGET_AVX512 static void energies_avx512(const float *l, const float *r, size_t n, stretch *out) {
    sum_row(l, r, n, out);
}
#endif

aur_status aur_levels_create(double sample_rate, aur_levels **out) {
    if (!(sample_rate >= 8000.0 && sample_rate <= 384000.0)) return AUR_EINVAL;
    aur_levels *s = calloc(1, sizeof *s);
    stretch *blocks = malloc(FIRST_ROOM * (sizeof *blocks + sizeof *s->scratch));
    if (!s || !blocks) {
        free(s);
        free(blocks);
        return AUR_ENOMEM;
    }
    s->rate = sample_rate;
    s->energies = energies_baseline;
#ifdef AUR_X86
    const aur_simd simd = aur_simd_select();
    if (simd == AUR_SIMD_AVX2) s->energies = energies_avx2;
    if (simd == AUR_SIMD_AVX512) s->energies = energies_avx512;
#endif
    s->blocks = blocks;
    s->room = FIRST_ROOM;
    s->scratch = (double *)(blocks + s->room);
    aur_levels_reset(s);
    *out = s;
    return AUR_OK;
}

aur_status aur_levels_clone(const aur_levels *state, aur_levels **out) {
    aur_levels *s = malloc(sizeof *s);
    stretch *blocks = malloc(state->room * (sizeof *blocks + sizeof *s->scratch));
    if (!s || !blocks) {
        free(s);
        free(blocks);
        return AUR_ENOMEM;
    }
    *s = *state;
    s->blocks = blocks;
    s->scratch = (double *)(blocks + s->room);
    memcpy(blocks, state->blocks, s->count * sizeof *blocks);
    *out = s;
    return AUR_OK;
}

void aur_levels_destroy(aur_levels *state) {
    if (state) free(state->blocks);
    free(state);
}

/* Rows begin at the nearest frame to every 10 ms. */
static uint64_t row_begin(const aur_levels *s, uint64_t row) {
    return (uint64_t)floor((double)row * s->rate / 100.0 + 0.5);
}

void aur_levels_reset(aur_levels *s) {
    s->before = (past){0};
    s->lead = s->frame = s->row = s->silent_frames = 0;
    s->row_end = row_begin(s, 1);
    s->block = (stretch){0};
    s->saturation = (aur_saturation){0};
    s->detail = (aur_detail){0};
    s->count = 0;
}

/* Makes room for as many blocks more. */
static aur_status reserve(aur_levels *s, double more) {
    const double needed = (double)s->count + more;
    if (needed <= (double)s->room) return AUR_OK;
    const double room = needed + (double)s->room;
    if (room > 4294967296.0) return AUR_ENOMEM; /* 13 years */
    stretch *blocks = malloc((size_t)room * (sizeof *blocks + sizeof *s->scratch));
    if (!blocks) return AUR_ENOMEM;
    memcpy(blocks, s->blocks, s->count * sizeof *blocks);
    free(s->blocks);
    s->room = (size_t)room;
    s->blocks = blocks;
    s->scratch = (double *)(blocks + s->room);
    return AUR_OK;
}

static void add(stretch *to, const stretch *part) {
    to->ll += part->ll;
    to->rr += part->rr;
    to->lr += part->lr;
    if (part->peak > to->peak) to->peak = part->peak;
}

static int silent(const stretch *row, double frames) {
    return row->ll < SILENT * frames && row->rr < SILENT * frames;
}

static void finish_row(aur_levels *s, const float *const raw[2], const float *const hp[2], size_t n) {
    stretch row;
    s->energies(hp[0], hp[1], n, &row);
    if (silent(&row, (double)n)) s->silent_frames += n;
    add(&s->block, &row);
    if (s->row % BLOCK_ROWS == 0)
        for (int c = 0; c < 2; c++) {
            aur_saturation_maxima(&s->saturation, raw[c], n);
            aur_detail_row(&s->detail, raw[c], n);
        }
    s->row++;
    s->row_end = row_begin(s, s->row + 1);
    if (s->row % BLOCK_ROWS == 0) {
        s->blocks[s->count++] = s->block;
        s->block = (stretch){0};
    }
}

aur_status aur_levels_process(aur_levels *s, const float *const raw[2], const float *const hp[2],
                              size_t frames) {
    const aur_status status = reserve(s, 2.0 + (double)frames * 10.0 / s->rate);
    if (status != AUR_OK) return status;
    size_t done = 0;
    while (!s->frame && done < frames && raw[0][done] == 0.0f && raw[1][done] == 0.0f)
        done++;
    s->lead += done;
    for (int c = 0; c < 2; c++)
        s->saturation.histogram[c][0] += done;
    while (done < frames) {
        const uint64_t begin = row_begin(s, s->row);
        const size_t length = (size_t)(s->row_end - begin), held = (size_t)(s->frame - begin);
        const size_t n = frames - done < length - held ? frames - done : length - held;
        const float *r[2] = {raw[0] + done, raw[1] + done}, *h[2] = {hp[0] + done, hp[1] + done};
        for (size_t at = 0; at < n; at += AUR_SATURATION_RUN) {
            const float *const part[2] = {r[0] + at, r[1] + at};
            aur_saturation_process(&s->saturation, part,
                                   n - at < AUR_SATURATION_RUN ? n - at : AUR_SATURATION_RUN);
        }
        if (n < length)
            for (int c = 0; c < 2; c++) {
                memcpy(s->raw[c] + held, r[c], n * sizeof **r);
                memcpy(s->hp[c] + held, h[c], n * sizeof **h);
                r[c] = s->raw[c];
                h[c] = s->hp[c];
            }
        done += n;
        s->frame += n;
        if (s->frame == s->row_end) finish_row(s, r, h, length);
    }
    return AUR_OK;
}

aur_status aur_levels_append(aur_levels *s, const aur_levels *next, uint64_t silence) {
    const size_t silent = (size_t)((double)silence * 10.0 / s->rate + 0.5);
    const aur_status status = reserve(s, (double)silent + (double)next->count);
    if (status != AUR_OK) return status;
    memset(s->blocks + s->count, 0, silent * sizeof *s->blocks);
    memcpy(s->blocks + s->count + silent, next->blocks, next->count * sizeof *s->blocks);
    s->count += silent + next->count;
    s->before.frames += next->before.frames + s->lead + s->frame;
    s->before.judged += next->before.judged + s->lead + row_begin(s, s->row);
    s->before.silent += next->before.silent + s->lead + s->silent_frames;
    s->lead = next->lead, s->silent_frames = next->silent_frames;
    s->frame = next->frame, s->row = next->row, s->row_end = next->row_end;
    s->block = next->block;
    memcpy(s->raw, next->raw, sizeof s->raw);
    memcpy(s->hp, next->hp, sizeof s->hp);
    aur_saturation_append(&s->saturation, &next->saturation);
    aur_detail_append(&s->detail, &next->detail);
    return AUR_OK;
}

static double power(const stretch *b, double frames) {
    return (b->ll + b->rr) / (2.0 * frames);
}

/* Frames in blocks first .. last - 1. */
static double frames_in(const aur_levels *s, size_t first, size_t last) {
    return (double)(row_begin(s, last * BLOCK_ROWS) - row_begin(s, first * BLOCK_ROWS));
}

/* The power above which a block is active. */
static double gate_of(const aur_levels *s) {
    for (size_t i = 0; i < s->count; i++)
        s->scratch[i] = power(&s->blocks[i], frames_in(s, i, i + 1));
    return aur_activity_gate(s->scratch, s->count);
}

/* Running mean and deviation (Welford). */
typedef struct {
    double count, mean, squares;
} spread;

static void note(spread *d, double x) {
    const double delta = x - d->mean;
    d->count += 1.0;
    d->mean += delta / d->count;
    d->squares += delta * (x - d->mean);
}

static double deviation(const spread *d) {
    return d->count > 0.0 ? sqrt(d->squares / d->count) : 0.0;
}

void aur_levels_finish(const aur_levels *s, aur_levels_result *out) {
    memset(out, 0, sizeof *out);

    /* A signal shorter than one block is one short block, and one row if shorter than that. */
    const size_t held = (size_t)(s->frame - row_begin(s, s->row));
    stretch rest, only = s->block;
    s->energies(s->hp[0], s->hp[1], held, &rest);
    add(&only, &rest);
    const int brief = s->count == 0;
    const stretch *blocks = brief ? &only : s->blocks;
    const size_t count = brief ? s->frame > 0 : s->count;
    const double gate = gate_of(s);

    uint64_t judged = s->before.judged + s->lead + row_begin(s, s->row);
    uint64_t quiet = s->before.silent + s->lead + s->silent_frames;
    if (s->row == 0) {
        judged += held;
        if (silent(&rest, (double)held)) quiet += held;
    }
    out->silence_ratio = judged > 0 ? (double)quiet / (double)judged : 1.0;

    spread crest = {0}, peaks = {0}, ranges = {0};
    stretch pool = {0}, part = {0};
    double active_frames = 0.0, part_frames = 0.0;
    size_t part_blocks = 0;
    for (size_t i = 0; i < count; i++) {
        const double frames = brief ? (double)s->frame : frames_in(s, i, i + 1);
        const double p = power(&blocks[i], frames);
        if (p > gate) {
            note(&crest, aur_db(blocks[i].peak) - aur_power_db(p));
            note(&peaks, aur_db(blocks[i].peak));
            add(&pool, &blocks[i]);
            active_frames += frames;
        }
        add(&part, &blocks[i]);
        part_frames += frames;
        part_blocks++;
        const int whole = part_blocks == LONG_BLOCKS, short_one = count < LONG_BLOCKS && i + 1 == count;
        if (whole || short_one) {
            const double long_power = power(&part, part_frames);
            if (long_power > gate) note(&ranges, aur_db(part.peak) - aur_power_db(long_power));
            part = (stretch){0};
            part_frames = 0.0;
            part_blocks = 0;
        }
    }
    out->crest_db = aur_clamp(crest.mean, 0.0, 40.0);
    out->dynamic_range_variation = aur_clamp(deviation(&ranges) / 6.0, 0.0, 1.0);
    out->peak_consistency = peaks.count > 0.0 ? 1.0 / (1.0 + deviation(&peaks) / 3.0) : 0.0;
    const double both = pool.ll + pool.rr, cross = sqrt(pool.ll) * sqrt(pool.rr);
    out->stereo_width = both > 0.0 ? aur_clamp((both - 2.0 * pool.lr) / (2.0 * both), 0.0, 1.0) : 0.0;
    out->phase_correlation = cross > 0.0 ? aur_clamp(pool.lr / cross, -1.0, 1.0) : 1.0;
    out->active_seconds = active_frames / s->rate;

    out->sample_peak = s->saturation.peak;
    out->frames = s->before.frames + s->lead + s->frame;
    aur_saturation_flat_tops(&s->saturation, &out->flat_top_total, &out->flat_top_longest);
    if (out->frames > 0) out->flat_top_share = (double)out->flat_top_total / (2.0 * (double)out->frames);
    out->peak_curvature = aur_saturation_curvature(&s->saturation);
    aur_detail_finish(&s->detail, out->detail_db);
    for (unsigned k = 0; k < AUR_LEVELS_BINS; k++)
        out->histogram[k] = s->saturation.histogram[0][k] + s->saturation.histogram[1][k];
}
