#include "harmonic.h"

#include <stdlib.h>
#include <string.h>

/*
 * Both medians run on a window of columns (frames) by rows (bins). The frequency median shares work:
 * eight neighbouring outputs have 24 of their 31 rows in common, four have 28, two have 30, so the
 * common part is sorted once and only the ranks that can still become the median are kept. That
 * takes 29 comparisons an output where a selection network of its own takes about 150.
 *
 * Magnitudes are never negative, and then IEEE floats order like their bit patterns: the networks run
 * on integers, for which every instruction set has a minimum and a maximum without rules for NaN.
 */
#define L AUR_LANES
#define TIME 15u
#define SIDE 7u          /* (TIME - 1) / 2 */
#define PAST (TIME - 1u) /* columns kept from batch to batch */
#define STRIDE 32u       /* columns of a row; PAST + L = 30 are used */
#define REACH 15         /* (31 - 1) / 2 rows to either side */
#define BLOCK 8u         /* neighbouring outputs that share a core */

struct aur_harmonic {
    size_t bins, blocks;
    void (*separate)(aur_harmonic *);
    /* What reset clears and a clone copies starts here. */
    size_t fresh;     /* columns filled beyond PAST */
    uint64_t taken;   /* decimated frames seen */
    int first, valid; /* output columns to count in this round: first .. valid - 1 */
    double harmonic, percussive;
    int32_t *rows;            /* bins x STRIDE, magnitudes as bit patterns */
    int32_t *sorted;          /* (blocks + 2) x BLOCK x L, each block of rows sorted */
    int32_t *percussive_rows; /* bins x L, the frequency medians */
};

#define LOW(a, b) ((a) < (b) ? (a) : (b))
#define HIGH(a, b) ((a) > (b) ? (a) : (b))
#define SWAP(a, b)                                                                                           \
    do {                                                                                                     \
        const int32_t low_ = LOW(a, b);                                                                      \
        b = HIGH(a, b);                                                                                      \
        a = low_;                                                                                            \
    } while (0)

/* Batcher's odd-even merge sort of 8: 19 exchanges. */
#define SORT8(v)                                                                                             \
    do {                                                                                                     \
        SWAP(v[0], v[1]);                                                                                    \
        SWAP(v[2], v[3]);                                                                                    \
        SWAP(v[4], v[5]);                                                                                    \
        SWAP(v[6], v[7]);                                                                                    \
        SWAP(v[0], v[2]);                                                                                    \
        SWAP(v[1], v[3]);                                                                                    \
        SWAP(v[4], v[6]);                                                                                    \
        SWAP(v[5], v[7]);                                                                                    \
        SWAP(v[1], v[2]);                                                                                    \
        SWAP(v[5], v[6]);                                                                                    \
        SWAP(v[0], v[4]);                                                                                    \
        SWAP(v[1], v[5]);                                                                                    \
        SWAP(v[2], v[6]);                                                                                    \
        SWAP(v[3], v[7]);                                                                                    \
        SWAP(v[2], v[4]);                                                                                    \
        SWAP(v[3], v[5]);                                                                                    \
        SWAP(v[1], v[2]);                                                                                    \
        SWAP(v[3], v[4]);                                                                                    \
        SWAP(v[5], v[6]);                                                                                    \
    } while (0)

#define SORT4(v)                                                                                             \
    do {                                                                                                     \
        SWAP(v[0], v[1]);                                                                                    \
        SWAP(v[2], v[3]);                                                                                    \
        SWAP(v[0], v[2]);                                                                                    \
        SWAP(v[1], v[3]);                                                                                    \
        SWAP(v[1], v[2]);                                                                                    \
    } while (0)

/* Half-cleaners: sort a bitonic sequence of 8, 4, 2. */
#define CLEAN2(v) SWAP(v[0], v[1])
#define CLEAN4(v)                                                                                            \
    do {                                                                                                     \
        SWAP(v[0], v[2]);                                                                                    \
        SWAP(v[1], v[3]);                                                                                    \
        SWAP(v[0], v[1]);                                                                                    \
        SWAP(v[2], v[3]);                                                                                    \
    } while (0)
#define CLEAN8(v)                                                                                            \
    do {                                                                                                     \
        SWAP(v[0], v[4]);                                                                                    \
        SWAP(v[1], v[5]);                                                                                    \
        SWAP(v[2], v[6]);                                                                                    \
        SWAP(v[3], v[7]);                                                                                    \
        SWAP(v[0], v[2]);                                                                                    \
        SWAP(v[1], v[3]);                                                                                    \
        SWAP(v[4], v[6]);                                                                                    \
        SWAP(v[5], v[7]);                                                                                    \
        SWAP(v[0], v[1]);                                                                                    \
        SWAP(v[2], v[3]);                                                                                    \
        SWAP(v[4], v[5]);                                                                                    \
        SWAP(v[6], v[7]);                                                                                    \
    } while (0)

/*
 * One step of the descent: `mid` holds the 2n sorted candidates for the median of the core, `extra`
 * n sorted newcomers. Of the 3n, the n lowest and the n highest can no longer be the median; what
 * stays is max(mid[i], min(mid[i + n], extra[n - 1 - i])): the lower 2n by one half-cleaner, then
 * their upper n by another. It is bitonic, so n/2 log n exchanges sort it.
 */
#define NARROW(out, mid, extra, n)                                                                           \
    do {                                                                                                     \
        for (int i_ = 0; i_ < (n); i_++) {                                                                   \
            const int32_t kept_ = LOW(mid[i_ + (n)], extra[(n) - 1 - i_]);                                   \
            out[i_] = HIGH(mid[i_], kept_);                                                                  \
        }                                                                                                    \
    } while (0)

AUR_INLINE void sort_block(const int32_t *const *restrict row, int32_t *restrict out) {
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++) {
        int32_t v[8] = {row[0][l], row[1][l], row[2][l], row[3][l],
                        row[4][l], row[5][l], row[6][l], row[7][l]};
        SORT8(v);
        for (size_t i = 0; i < 8; i++)
            out[i * L + l] = v[i];
    }
}

/* Medians over 31 rows for the eight outputs o .. o + 7; row[0] is row o - 16, a, b, c the sorted rows
 * o - 8 .. o - 1, o .. o + 7, o + 8 .. o + 15. */
AUR_INLINE void medians_of_31(const int32_t *const *restrict row, const int32_t *restrict a,
                              const int32_t *restrict b, const int32_t *restrict c, int32_t *restrict out) {
#define ROW(k) row[16 + (k)][l]
/* Two outputs o, o + 1 share 30 rows: the four candidates, the two rows only these two have. */
#define PAIR(o, x, y)                                                                                        \
    do {                                                                                                     \
        int32_t more[2] = {x, y}, two[2];                                                                    \
        CLEAN2(more);                                                                                        \
        NARROW(two, four, more, 2);                                                                          \
        CLEAN2(two);                                                                                         \
        const int32_t left = LOW(two[1], ROW((o) - 15)), right = LOW(two[1], ROW((o) + 16));                 \
        out[(o) * L + l] = HIGH(two[0], left);                                                               \
        out[((o) + 1) * L + l] = HIGH(two[0], right);                                                        \
    } while (0)
/* Four outputs o .. o + 3 share 28 rows. */
#define HALF(o, x, y, z, w)                                                                                  \
    do {                                                                                                     \
        int32_t extra[4] = {x, y, z, w}, four[4];                                                            \
        SORT4(extra);                                                                                        \
        NARROW(four, core, extra, 4);                                                                        \
        CLEAN4(four);                                                                                        \
        PAIR(o, ROW((o) - 14), ROW((o) - 13));                                                               \
        PAIR((o) + 2, ROW((o) + 16), ROW((o) + 17));                                                         \
    } while (0)
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++) {
        int32_t low[8], high[8], core[8];
        for (int i = 0; i < 8; i++) { /* bitonic split of two sorted eights */
            const int32_t x = a[i * (int)L + (int)l], y = b[(7 - i) * (int)L + (int)l];
            low[i] = LOW(x, y);
            high[i] = HIGH(x, y);
        }
        CLEAN8(low);
        CLEAN8(high);
        for (int i = 0; i < 8; i++) { /* ranks 9..16 of the 24 */
            const int32_t kept = LOW(high[i], c[(7 - i) * (int)L + (int)l]);
            core[i] = HIGH(low[i], kept);
        }
        CLEAN8(core);
        HALF(0, ROW(-12), ROW(-11), ROW(-10), ROW(-9));
        HALF(4, ROW(16), ROW(17), ROW(18), ROW(19));
    }
#undef HALF
#undef PAIR
#undef ROW
}

/* Median over columns l .. l + 14 of one row. */
AUR_INLINE void medians_of_15(const int32_t *restrict row, int32_t *restrict out) {
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++) {
        const int32_t *x = row + l;
        int32_t v[8] = {x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]};
        int32_t u[8] = {x[8], x[9], x[10], x[11], x[12], x[13], x[14], INT32_MAX};
        SORT8(v);
        SORT8(u);
        int32_t median = v[0]; /* rank 8 of both: the largest of the lower half of the bitonic split */
        for (int i = 1; i < 8; i++) {
            const int32_t low = LOW(v[i], u[7 - i]);
            median = HIGH(median, low);
        }
        out[l] = median;
    }
}

/* Index k of an array of n continued by reflection about its outer edges (d c b a | a b c d). */
static size_t mirrored(ptrdiff_t k, size_t n) {
    while (k < 0 || k >= (ptrdiff_t)n)
        k = k < 0 ? -1 - k : 2 * (ptrdiff_t)n - 1 - k;
    return (size_t)k;
}

AUR_INLINE void separate(aur_harmonic *s) {
    const int32_t *row[16 + BLOCK + 16];
    const ptrdiff_t block = BLOCK;
    /* sorted block i holds rows (i - 1) * 8 .. */
    for (size_t i = 0; i < s->blocks + 2; i++) {
        for (ptrdiff_t j = 0; j < block; j++)
            row[j] = s->rows + mirrored(((ptrdiff_t)i - 1) * block + j, s->bins) * STRIDE + SIDE;
        sort_block(row, s->sorted + i * BLOCK * L);
    }
    for (size_t i = 0; i < s->blocks; i++) {
        const ptrdiff_t o = (ptrdiff_t)i * block;
        for (ptrdiff_t j = 0; j < 16 + block + 16; j++)
            row[j] = s->rows + mirrored(o - 16 + j, s->bins) * STRIDE + SIDE;
        const int32_t *sorted = s->sorted + i * BLOCK * L;
        medians_of_31(row, sorted, sorted + BLOCK * L, sorted + 2 * BLOCK * L,
                      s->percussive_rows + i * BLOCK * L);
    }
    float harmonic[L] = {0}, percussive[L] = {0};
    for (size_t k = 0; k < s->bins; k++) {
        int32_t median[L];
        float x[L], h[L], p[L];
        medians_of_15(s->rows + k * STRIDE, median);
        memcpy(h, median, sizeof h);
        memcpy(p, s->percussive_rows + k * L, sizeof p);
        memcpy(x, s->rows + k * STRIDE + SIDE, sizeof x);
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            const float hh = h[l] * h[l], pp = p[l] * p[l];
            const float scale = x[l] / (hh + pp + 1e-30f); /* both 0: the bin goes to neither */
            const float eh = hh * scale, ep = pp * scale;
            harmonic[l] += eh * eh;
            percussive[l] += ep * ep;
        }
    }
    for (int l = 0; l < (int)L; l++)
        if (l + (int)SIDE >= s->first && l + (int)SIDE < s->valid) {
            s->harmonic += (double)harmonic[l];
            s->percussive += (double)percussive[l];
        }
}

AUR_VARIANTS(separate, (aur_harmonic * s), (s))

aur_status aur_harmonic_create(size_t bins, aur_harmonic **out) {
    *out = NULL;
    if (bins < 2 * REACH) return AUR_EINVAL;
    const size_t blocks = (bins + BLOCK - 1) / BLOCK, head = (sizeof(aur_harmonic) + 63) / 64 * 64;
    const size_t words = bins * STRIDE + (blocks + 2) * BLOCK * L + blocks * BLOCK * L;
    aur_harmonic *s = aligned_alloc(64, (head + words * sizeof(int32_t) + 63) / 64 * 64);
    if (!s) return AUR_ENOMEM;
    memset(s, 0, head + words * sizeof(int32_t));
    s->bins = bins;
    s->blocks = blocks;
    s->separate = separate_variants[aur_simd_select()];
    s->sorted = (int32_t *)((char *)s + head);
    s->percussive_rows = s->sorted + (blocks + 2) * BLOCK * L;
    s->rows = s->percussive_rows + blocks * BLOCK * L;
    aur_harmonic_reset(s);
    *out = s;
    return AUR_OK;
}

aur_status aur_harmonic_clone(const aur_harmonic *state, aur_harmonic **out) {
    const aur_status status = aur_harmonic_create(state->bins, out);
    if (status != AUR_OK) return status;
    aur_harmonic_append(*out, state);
    return AUR_OK;
}

void aur_harmonic_destroy(aur_harmonic *state) {
    free(state);
}

void aur_harmonic_reset(aur_harmonic *s) {
    s->fresh = 0;
    s->taken = 0;
    s->first = PAST; /* nothing left of the first frame counts */
    s->harmonic = s->percussive = 0.0;
}

/* The columns before the first frame, once enough frames are there to mirror. */
static void mirror_start(aur_harmonic *s, size_t frames) {
    for (size_t k = 0; k < s->bins; k++) {
        int32_t *row = s->rows + k * STRIDE;
        for (size_t c = 0; c < PAST; c++)
            row[c] = row[PAST + mirrored((ptrdiff_t)c - (ptrdiff_t)PAST, frames)];
    }
}

static void round_of_columns(aur_harmonic *s, size_t valid) {
    s->valid = (int)valid;
    s->separate(s);
    s->first = SIDE;
    for (size_t k = 0; k < s->bins; k++) {
        int32_t *row = s->rows + k * STRIDE;
        memmove(row, row + L, PAST * sizeof *row);
    }
}

void aur_harmonic_process(aur_harmonic *s, const float *magnitudes, unsigned frames) {
    const unsigned columns = (frames + 1) / 2;
    for (size_t k = 0; k < s->bins; k++) {
        int32_t *row = s->rows + k * STRIDE + PAST + s->fresh;
        const float *in = magnitudes + k * L;
        for (unsigned c = 0; c < columns; c++)
            memcpy(&row[c], &in[2 * c], sizeof *row);
    }
    s->fresh += columns;
    s->taken += columns;
    if (s->fresh < L) return;
    if (s->taken == s->fresh) mirror_start(s, s->fresh);
    round_of_columns(s, SIDE + L);
    s->fresh = 0;
}

void aur_harmonic_flush(aur_harmonic *s) {
    if (!s->taken) return;
    if (s->taken == s->fresh) mirror_start(s, s->fresh);
    /* Columns 0 .. end - 1 are real (or mirrored start); outputs wait from SIDE (or PAST) on. */
    size_t end = PAST + s->fresh;
    for (size_t k = 0; k < s->bins; k++) {
        int32_t *row = s->rows + k * STRIDE;
        for (size_t c = end; c < STRIDE; c++)
            row[c] = row[end - 1 - mirrored((ptrdiff_t)(c - end), end)];
    }
    while ((int)end > s->first) {
        const size_t stop = end < SIDE + L ? end : SIDE + L;
        round_of_columns(s, stop);
        if (end <= SIDE + L) break;
        end -= L;
        /* The shift brought in nothing new: mirror again around the same last frame. */
        for (size_t k = 0; k < s->bins; k++) {
            int32_t *row = s->rows + k * STRIDE;
            for (size_t c = end; c < STRIDE; c++)
                row[c] = row[end - 1 - mirrored((ptrdiff_t)(c - end), end)];
        }
    }
}

void aur_harmonic_append(aur_harmonic *s, const aur_harmonic *next) {
    aur_harmonic_flush(s);
    s->fresh = next->fresh, s->taken = next->taken, s->first = next->first;
    s->harmonic += next->harmonic, s->percussive += next->percussive;
    memcpy(s->rows, next->rows, s->bins * STRIDE * sizeof *s->rows);
}

double aur_harmonic_ratio(const aur_harmonic *s, int *defined) {
    const double total = s->harmonic + s->percussive;
    *defined = total > 0.0;
    return *defined ? s->harmonic / total : 0.5;
}
