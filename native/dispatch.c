/* Which kernels this processor can run. */
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core.h"

static const ht_kernels scalar = {
    .name = "scalar",
    .split = ht_split_scalar,
    .merge = ht_merge_scalar,
    .histogram = ht_histogram_scalar,
    .huffman_streams = ht_huffman_streams_scalar,
    .huffman_restore = ht_huffman_restore_scalar,
    .split_name = "scalar",
    .histogram_name = "scalar",
    .huffman_name = "scalar",
};

#if defined(__x86_64__)
static const ht_kernels avx2 = {
    .name = "avx2",
    .split = ht_split_avx2,
    .merge = ht_merge_avx2,
    .histogram = ht_histogram_scalar,
    .huffman_streams = ht_huffman_streams_avx2,
    .huffman_restore = ht_huffman_restore_avx2,
    .split_name = "avx2",
    .histogram_name = "scalar",
    .huffman_name = "avx2",
};

/* Older compilers do not know the word "lzcnt" for __builtin_cpu_supports. */
static int has_lzcnt(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT) != 0;
}

/* Every processor with AVX2 that is still in use has BMI2 and LZCNT too; the check is made once. */
static const ht_kernels *fastest(void) {
    static const ht_kernels *found;
    if (found == NULL) {
        __builtin_cpu_init();
        int able = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
        found = able && has_lzcnt() ? &avx2 : &scalar;
    }
    return found;
}
#elif defined(__aarch64__)
static const ht_kernels neon = {
    .name = "neon",
    .split = ht_split_neon,
    .merge = ht_merge_neon,
    .histogram = ht_histogram_scalar,
    .huffman_streams = ht_huffman_streams_scalar,
    .huffman_restore = ht_huffman_restore_scalar,
    .split_name = "neon",
    .histogram_name = "scalar",
    .huffman_name = "scalar",
};

static const ht_kernels *fastest(void) { return &neon; } /* part of the base architecture */
#else
static const ht_kernels *fastest(void) { return &scalar; }
#endif

const ht_kernels *ht_kernels_named(const char *name) {
    const ht_kernels *best = fastest();
    if (strcmp(name, "auto") == 0 || strcmp(name, best->name) == 0) return best;
    return strcmp(name, "scalar") == 0 ? &scalar : NULL;
}

void ht_core_prepare(void) {
    ht_entropy_prepare();
    ht_gear_prepare();
}
