#include "temporal.h"

#include "onset.h"
#include "tempo.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS AUR_ONSET_BLOCK
#define MOMENT_ROWS 16u   /* 93 ms */
#define PAST 64u          /* rows kept in front of a block: smoothing and onsets look back */
#define ONSET_TAPS 25u    /* Hann, 145 ms: what is finer than this is no pulse */
#define ACCENT_TAPS 13u   /* Hann, 75 ms */
#define HOLD_SECONDS 2.0  /* pauses shorter than this are part of the music */
#define WAIT_ROWS 5u      /* 29 ms: least distance of two onsets */
#define AROUND_ROWS 17u   /* 99 ms each side: what an onset has to stand out from */
#define ONSET_ABOVE 0.42f /* by how much, of at most AUR_ONSET_BANDS */
#define ACTIVE_RANGE 1e-5 /* -50 dB from the 95th percentile */

/* Everything that later rows need to know about earlier ones. */
typedef struct {
    aur_onset_history history;
    float rows[AUR_ONSET_KINDS][PAST + BLOCK_ROWS]; /* the last PAST rows, then room for a block */
} carry;

/* MOMENT_ROWS rows, or fewer at the end of a signal: their loudest power and the onsets among them. */
typedef struct {
    float power;
    uint8_t rows, seam; /* seam: a signal begins here that was appended to music */
    uint16_t onsets;
} moment;

struct aur_temporal {
    aur_onset *onset;
    double row_rate;
    size_t frame, hop, history, block; /* samples; history = frame - hop precede each block */
    float onset_taps[ONSET_TAPS], accent_taps[ACCENT_TAPS];
    float *pending; /* history + block samples, `fill` of them filled */
    float *scratch; /* aur_onset's */
    size_t fill;
    int started, seam; /* seam: this signal was appended to music */
    carry carry;
    size_t earlier, earlier_moments; /* in kept and moments, of signals that this one was appended to */
    size_t rows;
    size_t capacity;              /* in rows: room for one block more than there are, always */
    float *kept[AUR_ONSET_KINDS]; /* smoothed, every second row */
    moment *moments;
    aur_status status;
};

static float *floats(size_t count) {
    float *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64);
    if (p) memset(p, 0, count * sizeof *p);
    return p;
}

static void hann(float *taps, size_t count, double scale) {
    for (size_t i = 0; i < count; i++)
        taps[i] = (float)(scale * (0.5 - 0.5 * cos(2.0 * AUR_PI * (double)(i + 1) / (double)(count + 1))));
}

/* Makes room for one more block, and `more` rows. */
static aur_status grow(aur_temporal *s, size_t more) {
    /* Moments never stand for more rows than MOMENT_ROWS, so they need the room of the rows at least. */
    const size_t needed = MOMENT_ROWS * s->earlier_moments + s->rows + BLOCK_ROWS + more;
    if (needed <= s->capacity) return AUR_OK;
    const size_t capacity = s->capacity ? needed + s->capacity : 32 * BLOCK_ROWS;
    for (size_t k = 0; k < AUR_ONSET_KINDS; k++) {
        float *kept = realloc(s->kept[k], capacity / 2 * sizeof *kept);
        if (!kept) return AUR_ENOMEM;
        s->kept[k] = kept;
    }
    moment *moments = realloc(s->moments, capacity / MOMENT_ROWS * sizeof *moments);
    if (!moments) return AUR_ENOMEM;
    s->moments = moments;
    s->capacity = capacity;
    return AUR_OK;
}

aur_status aur_temporal_create(double sample_rate, aur_temporal **out) {
    *out = NULL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 96000.0)) return AUR_EINVAL;
    aur_temporal *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    aur_status status = aur_onset_create(sample_rate, &s->onset);
    if (status) {
        free(s);
        return status;
    }
    s->frame = s->onset->frame, s->hop = s->onset->hop;
    s->history = s->frame - s->hop;
    s->block = BLOCK_ROWS * s->hop;
    s->row_rate = sample_rate / (double)s->hop;
    hann(s->onset_taps, ONSET_TAPS, 2.0 / (ONSET_TAPS + 1));
    hann(s->accent_taps, ACCENT_TAPS, 2.0 / (ACCENT_TAPS + 1));
    s->pending = floats(s->history + s->block);
    s->scratch = floats(s->onset->scratch);
    if (!s->pending || !s->scratch) status = AUR_ENOMEM;
    if (!status) status = grow(s, 0);
    if (status) {
        aur_temporal_destroy(s);
        return status;
    }
    aur_temporal_reset(s);
    *out = s;
    return AUR_OK;
}

void aur_temporal_destroy(aur_temporal *s) {
    if (!s) return;
    aur_onset_destroy(s->onset);
    free(s->pending);
    free(s->scratch);
    for (size_t k = 0; k < AUR_ONSET_KINDS; k++)
        free(s->kept[k]);
    free(s->moments);
    free(s);
}

void aur_temporal_reset(aur_temporal *s) {
    memset(s->pending, 0, s->history * sizeof *s->pending);
    memset(&s->carry, 0, sizeof s->carry);
    s->fill = s->history;
    s->started = s->seam = 0;
    s->rows = s->earlier = s->earlier_moments = 0;
    s->status = AUR_OK;
}

/* A local maximum of onset strength that stands out from its surroundings. Rows from..to are known. */
static int is_onset(const float *onset, size_t r, size_t from, size_t to) {
    const size_t low = r - from < AROUND_ROWS ? from : r - AROUND_ROWS;
    const size_t high = to - r <= AROUND_ROWS ? to : r + AROUND_ROWS + 1;
    float sum = 0.0f;
    for (size_t i = low; i < high; i++) {
        sum += onset[i];
        if (i < r && i + WAIT_ROWS >= r && onset[i] >= onset[r]) return 0;
        if (i > r && i <= r + WAIT_ROWS && onset[i] > onset[r]) return 0;
    }
    return onset[r] >= sum / (float)(high - low) + ONSET_ABOVE;
}

/* Kept rows that feel how a signal rises out of nothing at its start: after music that is no event. */
static size_t spoilt_rows(const aur_temporal *s) {
    return (AUR_ONSET_LAG + s->frame / s->hop + ONSET_TAPS) / 2 + 1;
}

/*
 * Rows first .. first + count of the signal: kept smoothed, and searched for onsets. An onset needs
 * AROUND_ROWS rows after it to be judged, so the search lags behind, except at the end.
 */
static void advance(const aur_temporal *s, const float *pending, size_t first, size_t count, int end,
                    float *scratch, carry *c, moment *moments) {
    moments += s->earlier_moments;
    float total[BLOCK_ROWS];
    float *const rows[AUR_ONSET_KINDS] = {c->rows[AUR_ONSET] + PAST, c->rows[AUR_ONSET_LOW] + PAST,
                                          c->rows[AUR_ONSET_HIGH] + PAST};
    aur_onset_rows(s->onset, pending, count, scratch, &c->history, rows, total);
    for (size_t r = 0; r < count; r++) {
        moment *m = moments + (first + r) / MOMENT_ROWS;
        if ((first + r) % MOMENT_ROWS == 0) *m = (moment){.seam = s->seam && first + r == 0};
        m->rows++;
        if (total[r] > m->power) m->power = total[r];
    }
    for (size_t k = 0; k < AUR_ONSET_KINDS; k++) {
        const size_t taps = k == AUR_ONSET ? ONSET_TAPS : ACCENT_TAPS;
        const float *h = k == AUR_ONSET ? s->onset_taps : s->accent_taps;
        for (size_t i = 0; i < count / 2; i++) {
            const float *x = c->rows[k] + PAST + 2 * i + 2 - taps;
            float sum = 0.0f;
            for (size_t j = 0; j < taps; j++)
                sum += h[j] * x[j];
            const int spoilt = s->seam && first / 2 + i < spoilt_rows(s);
            s->kept[k][s->earlier + first / 2 + i] = spoilt ? 0.0f : sum;
        }
    }
    const size_t from = first < PAST ? PAST - first : 0, to = PAST + count;
    const size_t lag = end ? 0 : AROUND_ROWS;
    for (size_t at = from > PAST - AROUND_ROWS ? from : PAST - AROUND_ROWS; at + lag < to; at++)
        if (is_onset(c->rows[AUR_ONSET], at, from, to)) moments[(first + at - PAST) / MOMENT_ROWS].onsets++;
}

void aur_temporal_process(aur_temporal *s, const float *mono, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    while (!s->started && frames && *mono == 0.0f)
        mono++, frames--;
    if (frames) s->started = 1;
    while (frames && !s->status) {
        const size_t room = s->history + s->block - s->fill, n = frames < room ? frames : room;
        memcpy(s->pending + s->fill, mono, n * sizeof *mono);
        s->fill += n, mono += n, frames -= n;
        if (n < room) break;
        advance(s, s->pending, s->rows, BLOCK_ROWS, 0, s->scratch, &s->carry, s->moments);
        for (size_t k = 0; k < AUR_ONSET_KINDS; k++)
            memmove(s->carry.rows[k], s->carry.rows[k] + BLOCK_ROWS, PAST * sizeof(float));
        memcpy(s->pending, s->pending + s->block, s->history * sizeof *mono);
        s->fill = s->history;
        s->rows += BLOCK_ROWS;
        s->status = grow(s, 0);
    }
    aur_restore_denormals(env);
}

/* Whole rows in the block begun. */
static size_t waiting(const aur_temporal *s) {
    return (s->fill - s->history) / s->hop;
}

static size_t moments_of(size_t rows) {
    return (rows + MOMENT_ROWS - 1) / MOMENT_ROWS;
}

/* Ends the signal so far, and goes on with `rows` of nothing. */
static void conclude(aur_temporal *s, size_t fresh, size_t nothing) {
    advance(s, s->pending, s->rows, fresh, 1, s->scratch, &s->carry, s->moments);
    s->earlier += (s->rows + fresh) / 2;
    s->earlier_moments += moments_of(s->rows + fresh);
    for (size_t k = 0; k < AUR_ONSET_KINDS; k++)
        memset(s->kept[k] + s->earlier, 0, nothing / 2 * sizeof(float));
    s->earlier += nothing / 2;
    for (size_t rows = nothing; rows;) {
        const size_t n = rows < MOMENT_ROWS ? rows : MOMENT_ROWS;
        s->moments[s->earlier_moments++] = (moment){.rows = (uint8_t)n};
        rows -= n;
    }
    s->rows = 0;
}

void aur_temporal_append(aur_temporal *s, const aur_temporal *next, uint64_t silence) {
    if (!s->status) s->status = next->status;
    if (s->status) return;
    const aur_fpenv env = aur_flush_denormals();
    const size_t fresh = waiting(s), left = (s->fill - s->history) % s->hop + (s->rows + fresh) % 2 * s->hop;
    const size_t nothing = (size_t)((double)(left + silence) / (2.0 * (double)s->hop) + 0.5) * 2;
    const int music = s->started || s->earlier > 0;
    const size_t moments = next->earlier_moments + next->rows / MOMENT_ROWS;
    s->status = grow(s, nothing + (moments + 3) * MOMENT_ROWS); /* three that may not be full */
    if (!s->status) {
        conclude(s, fresh, nothing);
        for (size_t k = 0; k < AUR_ONSET_KINDS; k++)
            memcpy(s->kept[k] + s->earlier, next->kept[k], (next->earlier + next->rows / 2) * sizeof(float));
        memcpy(s->moments + s->earlier_moments, next->moments, moments * sizeof *s->moments);
        const size_t rows = next->earlier + next->rows / 2, spoilt = spoilt_rows(s);
        for (size_t k = 0; k < AUR_ONSET_KINDS && music; k++)
            memset(s->kept[k] + s->earlier, 0, (rows < spoilt ? rows : spoilt) * sizeof(float));
        if (music && moments) s->moments[s->earlier_moments].seam = 1;
        s->seam = next->seam || (music && !next->earlier_moments);
        s->earlier += next->earlier, s->earlier_moments += next->earlier_moments, s->rows = next->rows;
        s->carry = next->carry;
        memcpy(s->pending, next->pending, (s->history + s->block) * sizeof *s->pending);
        s->fill = next->fill, s->started = next->started;
        s->status = grow(s, 0);
    }
    aur_restore_denormals(env);
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/*
 * Onsets in music, over the time there is music: from moments within ACTIVE_RANGE of the 95th
 * percentile of those that are not silent, on through pauses shorter than HOLD_SECONDS.
 */
static void density(const aur_temporal *s, const moment *moments, size_t count, float *sorted,
                    aur_temporal_result *out) {
    const size_t hold = (size_t)(HOLD_SECONDS * s->row_rate);
    size_t audible = 0, active = 0, held = 0;
    for (size_t i = 0; i < count; i++)
        if (moments[i].power > 0.0f) sorted[audible++] = moments[i].power;
    if (!audible) return;
    qsort(sorted, audible, sizeof *sorted, by_value);
    const float least = ACTIVE_RANGE * sorted[(size_t)(0.95 * (double)(audible - 1))];
    for (size_t i = 0; i < count; i++) {
        const size_t span = moments[i].rows;
        if (moments[i].power >= least) {
            out->onsets += moments[i].onsets - (uint64_t)(moments[i].seam && moments[i].onsets);
            held = hold + span;
        }
        active += held < span ? held : span;
        held -= held < span ? held : span;
    }
    if (!active) return;
    out->active_s = (double)active / s->row_rate;
    out->transient_density = aur_clamp((double)out->onsets / out->active_s / 10.0, 0.0, 1.0);
}

/* The rows of the block begun go where the next block will put its own, so nothing that counts changes. */
aur_status aur_temporal_finish(const aur_temporal *s, aur_temporal_result *out) {
    memset(out, 0, sizeof *out);
    if (s->status) return s->status;
    const size_t fresh = waiting(s), count = s->earlier_moments + s->rows / MOMENT_ROWS;
    const size_t room = count + BLOCK_ROWS / MOMENT_ROWS;
    float *scratch = floats(s->onset->scratch), *sorted = floats(room);
    moment *moments = malloc(room * sizeof *moments);
    carry *c = malloc(sizeof *c);
    aur_status status = scratch && sorted && moments && c ? AUR_OK : AUR_ENOMEM;
    if (!status) {
        const aur_fpenv env = aur_flush_denormals();
        memcpy(moments, s->moments, count * sizeof *moments);
        memcpy(c, &s->carry, sizeof *c);
        advance(s, s->pending, s->rows, fresh, 1, scratch, c, moments);
        density(s, moments, count + moments_of(fresh), sorted, out);
        aur_restore_denormals(env);
        aur_tempo tempo;
        status = aur_tempo_estimate(&(aur_tempo_rows){s->kept[AUR_ONSET], s->kept[AUR_ONSET_LOW],
                                                      s->kept[AUR_ONSET_HIGH],
                                                      s->earlier + (s->rows + fresh) / 2, s->row_rate / 2.0},
                                    &tempo);
        if (!status) {
            out->tempo_bpm = tempo.bpm;
            out->tempo_alt = tempo.alt;
            out->tempo_confidence = tempo.confidence;
            out->rhythm_stability = tempo.stability;
        }
    }
    free(scratch);
    free(sorted);
    free(moments);
    free(c);
    return status;
}
