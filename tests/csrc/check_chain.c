/* The mastering kernels over edge sizes, rates and samples: nothing out of bounds, nothing not finite,
 * pieces equal whole, clones and restored states continue, forged states do no damage. */
#include "chain.h"
#include "crossfade.h"
#include "curve.h"
#include "declip.h"
#include "limiter.h"
#include "lwrp.h"
#include "pow2.h"
#include "restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 5000
#define CHECK(what)                                                                                          \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #what);                                                \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static float input[AUR_MAX_CHANNELS][FRAMES], whole[AUR_MAX_CHANNELS][FRAMES],
    parts[AUR_MAX_CHANNELS][FRAMES];

static void fill_input(void) {
    uint32_t seed = 1;
    for (unsigned c = 0; c < AUR_MAX_CHANNELS; c++)
        for (size_t i = 0; i < FRAMES; i++) {
            seed = seed * 1664525u + 1013904223u;
            input[c][i] = (float)(int32_t)seed / 1.5e9f * (i % 700 < 90 ? 1.0f : 0.05f);
        }
    input[0][17] = NAN;
    input[0][18] = INFINITY;
    input[0][19] = -3e38f;
    input[0][20] = 1e-44f;
}

static int check_powers(void) {
    for (double x = 1e-30; x < 1e30; x *= 1.037) {
        CHECK(fabs(aur_log2f((float)x) - log2((float)x)) < 1e-5);
        const float y = (float)log10(x);
        CHECK(fabs(aur_exp2f(y) / exp2(y) - 1.0) < 1e-6);
    }
    CHECK(aur_log2f(1.0f) == 0.0f && aur_exp2f(0.0f) == 1.0f);
    return 0;
}

static int check_chain(const aur_chain_params *p, double rate, unsigned channels) {
    static const size_t sizes[] = {0, 1, 15, 16, 17, 255, 256, 257, 1, 0, 999};
    const float *in[AUR_MAX_CHANNELS];
    float *out[AUR_MAX_CHANNELS];
    aur_chain *a, *b;
    CHECK(aur_chain_create(p, rate, channels, &a) == AUR_OK);
    for (unsigned c = 0; c < channels; c++) {
        in[c] = input[c];
        out[c] = whole[c];
    }
    aur_chain_process(a, in, out, FRAMES);
    aur_chain_destroy(a);
    CHECK(aur_chain_create(p, rate, channels, &a) == AUR_OK);
    for (size_t done = 0, k = 0; done < FRAMES; k++) {
        size_t n = sizes[k % (sizeof sizes / sizeof *sizes)];
        n = n < FRAMES - done ? n : FRAMES - done;
        for (unsigned c = 0; c < channels; c++) {
            in[c] = input[c] + done;
            out[c] = parts[c] + done;
        }
        aur_chain_process(a, in, out, n);
        if (k % 5 == 0) {
            CHECK(aur_chain_clone(a, &b) == AUR_OK);
            aur_chain_inherit(b, a, 1);
            aur_chain_destroy(a);
            a = b;
        }
        done += n;
    }
    aur_chain_record r;
    aur_chain_measured(a, &r);
    CHECK(isfinite(r.lufs_in) && isfinite(r.crest_out) && isfinite(r.gain_reduction_db));
    aur_chain_destroy(a);
    for (unsigned c = 0; c < channels; c++) {
        CHECK(memcmp(whole[c], parts[c], sizeof whole[c]) == 0);
        for (size_t i = 0; i < FRAMES; i++)
            CHECK(isfinite(whole[c][i]));
    }
    return 0;
}

/* Bytes of which the digest in front says they are whole may still be anybody's. */
static int check_forged(const aur_chain_params *p, double rate, unsigned channels) {
    static unsigned char good[1 << 20], forged[1 << 20];
    const float *in[AUR_MAX_CHANNELS];
    float *out[AUR_MAX_CHANNELS];
    for (unsigned c = 0; c < channels; c++) {
        in[c] = input[c];
        out[c] = parts[c];
    }
    aur_chain *a;
    uint32_t seed = 7;
    CHECK(aur_chain_create(p, rate, channels, &a) == AUR_OK);
    aur_chain_process(a, in, out, FRAMES);
    const size_t size = aur_chain_snapshot_size(a);
    CHECK(size <= sizeof good);
    aur_chain_save(a, good);
    CHECK(aur_chain_restore(&a, good, size - 1) == AUR_EINVAL);
    CHECK(aur_chain_restore(&a, good, size + 1) == AUR_EINVAL);
    for (int trial = 0; trial < 60; trial++) {
        memcpy(forged, good, size);
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            forged[(seed >> 8) % size] ^= (unsigned char)(1u << (seed & 7));
            if (trial % 2) memset(forged + (seed >> 8) % (size - 8), trial % 4 == 1 ? 0xff : 0x7f, 8);
        }
        if (aur_chain_restore(&a, forged, size) == AUR_OK) aur_chain_process(a, in, out, 700);
    }
    CHECK(aur_chain_restore(&a, good, size) == AUR_OK);
    aur_chain_save(a, forged);
    CHECK(memcmp(good, forged, size) == 0);
    aur_chain_destroy(a);
    return 0;
}

static int check_refusals(void) {
    aur_chain_params p = {.top = 1.0, .width = 1.0};
    aur_chain *c;
    aur_limiter *l;
    aur_restore *r;
    aur_declip *x;
    aur_decision d = {AUR_QUIET, 7.0, 7.0};
    CHECK(aur_chain_create(&p, 7999.0, 2, &c) == AUR_EINVAL);
    CHECK(aur_chain_create(&p, NAN, 2, &c) == AUR_EINVAL);
    CHECK(aur_chain_create(&p, 44100.0, 0, &c) == AUR_EINVAL);
    p.depth = 99.0;
    CHECK(aur_chain_create(&p, 44100.0, 2, &c) == AUR_EINVAL);
    static const double blurs[] = {-1e-9, 0.51, NAN, INFINITY};
    for (size_t i = 0; i < sizeof blurs / sizeof *blurs; i++) {
        p = (aur_chain_params){.top = 1.0, .width = 1.0, .clip = 0.5, .clip_blur = blurs[i]};
        CHECK(aur_chain_create(&p, 44100.0, 2, &c) == AUR_EINVAL);
    }
    CHECK(aur_limiter_create(1.0, 44100.0, 2, &l) == AUR_EINVAL);
    CHECK(aur_restore_create(&(aur_restore_params){1.1, 0.0, 1.0}, 44100.0, 2, &r) == AUR_EINVAL);
    CHECK(aur_restore_create(&(aur_restore_params){0.5, 12.1, 1.0}, 44100.0, 2, &r) == AUR_EINVAL);
    CHECK(aur_restore_create(&(aur_restore_params){0.5, 3.0, 0.0}, 44100.0, 2, &r) == AUR_EINVAL);
    const float steep[AUR_CURVE_NODES] = {[AUR_CURVE_NODES - 1] = NAN};
    aur_curve bent;
    CHECK(aur_curve_init(&(aur_curve_params){0.0, 0.0, NULL}, &bent) == AUR_EINVAL);
    CHECK(aur_curve_init(&(aur_curve_params){0.0, 1.0, steep}, &bent) == AUR_EINVAL);
    CHECK(aur_lwrp_decide(NAN, 9.0, &d) == AUR_EINVAL && d.expansion == 7.0);
    CHECK(aur_declip_create(&(aur_declip_params){0.0, 0.0, 0.2, 9}, 44100.0, 2, &x) == AUR_EINVAL);
    CHECK(aur_declip_create(&(aur_declip_params){NAN, 0.9, 0.2, 9}, 44100.0, 2, &x) == AUR_EINVAL);
    CHECK(aur_declip_create(&(aur_declip_params){1.0, 1.1, 0.2, 9}, 44100.0, 2, &x) == AUR_EINVAL);
    CHECK(aur_declip_create(&(aur_declip_params){1.0, 0.9, 1.1, 9}, 44100.0, 2, &x) == AUR_EINVAL);
    CHECK(aur_declip_create(&(aur_declip_params){1.0, 0.9, 0.2, 9}, 44100.0, 9, &x) == AUR_EINVAL);
    CHECK(aur_declip_create(&(aur_declip_params){1.0, 0.9, 0.2, 0}, 44100.0, 2, &x) == AUR_EINVAL);
    aur_declip_destroy(NULL);
    aur_chain_destroy(NULL);
    aur_limiter_destroy(NULL);
    aur_restore_destroy(NULL);
    return 0;
}

static int check_crossfade(void) {
    const float *a[1] = {input[1]}, *b[1] = {input[2]};
    float *out[1] = {whole[0]};
    for (size_t length = 0; length < 40; length += 13)
        for (size_t start = 0; start < 50; start += 7)
            aur_crossfade(AUR_FADE_CORRELATION, 0.5, a, b, out, 1, start, 20, length);
    aur_crossfade(AUR_FADE_EQUAL_GAIN, 0.0, a, b, out, 1, 5, 20, 5);
    CHECK(memcmp(whole[0], input[2], 20 * sizeof(float)) == 0);
    return 0;
}

int main(void) {
    static const double rates[] = {8000.0, 44100.0, 96000.0, 192000.0};
    static const unsigned channels[] = {1, 2, 3, 8};
    static float curve[AUR_CURVE_NODES];
    for (unsigned k = 0; k < AUR_CURVE_NODES; k++)
        curve[k] = 1.0f + 0.01f * (float)k;
    aur_chain_params p = {.clip = 0.5,
                          .clip_blur = 0.03,
                          .clip_rise = 0.3,
                          .curve = curve,
                          .depth = 0.7,
                          .top = 0.9,
                          .fill = 0.3,
                          .lift_db = 4.0,
                          .held = 0.5,
                          .bands = 2,
                          .gain_db = 6.0,
                          .level = 1,
                          .level_target = -14.0,
                          .level_strength = 1.0,
                          .width = 1.2,
                          .limit = 1,
                          .ceiling_db = -1.0};
    p.band[0] = (aur_eq_band){AUR_EQ_LOW_SHELF, 100.0, 0.7, 2.0};
    p.band[1] = (aur_eq_band){AUR_EQ_HIGH_SHELF, 9000.0, 0.7, -2.0};
    const aur_chain_params dry = {.top = 1.0, .width = 1.0}, fade = {.top = 1.0, .depth = 1.0, .width = 1.0};
    fill_input();
    if (check_powers() || check_refusals() || check_crossfade()) return 1;
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++)
            if (check_forged(&p, rates[i], channels[k]) || check_forged(&dry, rates[i], channels[k]) ||
                check_chain(&p, rates[i], channels[k]) || check_chain(&dry, rates[i], channels[k]) ||
                check_chain(&fade, rates[i], channels[k]))
                return 1;
    return 0;
}
