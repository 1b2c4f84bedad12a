/*
 * simd.h: which instruction set a kernel's hot loop runs on.
 *
 * A kernel that gains from wider units writes its loop once as an always-inline function over
 * AUR_LANES independent lanes and instantiates it with the target attributes below; create() picks
 * one by aur_simd_select(). Lanes never mix and contraction is off, so every variant gives the
 * same bits.
 */
#ifndef AUR_SIMD_H
#define AUR_SIMD_H

/* Frames (or segments) side by side in one pass: one 512-bit register, two of 256, four of 128. */
#define AUR_LANES 16

typedef enum { AUR_SIMD_BASELINE = 0, AUR_SIMD_AVX2 = 1, AUR_SIMD_AVX512 = 2 } aur_simd;

/* The widest variant this CPU runs, or a narrower one named by the environment variable
 * AURALIS_SIMD (baseline, avx2, avx512). An unknown or unsupported name is ignored. */
aur_simd aur_simd_select(void);
const char *aur_simd_name(aur_simd simd);

#if defined(__x86_64__) && defined(__GNUC__)
#define AUR_X86 1
#define AUR_TARGET_AVX2 __attribute__((target("avx2")))
/* GCC splits 512-bit loops in two unless told otherwise; clang does not know the word and would drop the
 * whole attribute. */
#if defined(__clang__)
#define AUR_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define AUR_TARGET_AVX512                                                                                    \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif
#endif

/*
 * AUR_VARIANTS(name, (parameters), (arguments)) instantiates the always-inline function `name` once
 * per instruction set and defines the table name_variants[], indexed by aur_simd.
 */
#ifdef AUR_X86
#define AUR_VARIANTS(name, parameters, arguments)                                                            \
    static void name##_baseline parameters {                                                                 \
        name arguments;                                                                                      \
    }                                                                                                        \
    AUR_TARGET_AVX2 static void name##_avx2 parameters {                                                     \
        name arguments;                                                                                      \
    }                                                                                                        \
    AUR_TARGET_AVX512 static void name##_avx512 parameters {                                                 \
        name arguments;                                                                                      \
    }                                                                                                        \
    static void(*const name##_variants[]) parameters = {name##_baseline, name##_avx2, name##_avx512};
#else
#define AUR_VARIANTS(name, parameters, arguments)                                                            \
    static void name##_baseline parameters {                                                                 \
        name arguments;                                                                                      \
    }                                                                                                        \
    static void(*const name##_variants[]) parameters = {name##_baseline};
#endif

#define AUR_INLINE static inline __attribute__((always_inline))

/* Promise that the iterations of the next loop are independent. */
#if defined(__clang__)
#define AUR_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define AUR_INDEPENDENT _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#endif

#endif
