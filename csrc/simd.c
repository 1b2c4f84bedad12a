#include "simd.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"baseline", "avx2", "avx512"};

static aur_simd widest(void) {
#ifdef AUR_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return AUR_SIMD_AVX512;
    if (__builtin_cpu_supports("avx2")) return AUR_SIMD_AVX2;
#endif
    return AUR_SIMD_BASELINE;
}

aur_simd aur_simd_select(void) {
    const aur_simd best = widest();
    const char *wanted = getenv("AURALIS_SIMD");
    if (wanted)
        for (int i = 0; i <= (int)best; i++)
            if (strcmp(wanted, names[i]) == 0) return (aur_simd)i;
    return best;
}

const char *aur_simd_name(aur_simd simd) {
    return names[simd];
}
