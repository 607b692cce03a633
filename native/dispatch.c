/* Which kernels this processor can run. */
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const ht_kernels scalar = {
    .name = "scalar",
    .split = ht_split_scalar,
    .merge = ht_merge_scalar,
    .histogram = ht_histogram_scalar,
    .huffman_streams = ht_huffman_streams_scalar,
    .huffman_restore = ht_huffman_restore_scalar,
    .ans_streams = ht_ans_streams_scalar,
    .ans_restore = ht_ans_restore_scalar,
    .split_name = "scalar",
    .histogram_name = "scalar",
    .huffman_name = "scalar",
    .ans_name = "scalar",
};

#if defined(__x86_64__)
static const ht_kernels avx2 = {
    .name = "avx2",
    .split = ht_split_avx2,
    .merge = ht_merge_avx2,
    .histogram = ht_histogram_scalar,
    .huffman_streams = ht_huffman_streams_avx2,
    .huffman_restore = ht_huffman_restore_avx2,
    .ans_streams = ht_ans_streams_avx2,
    .ans_restore = ht_ans_restore_avx2,
    .split_name = "avx2",
    .histogram_name = "scalar",
    .huffman_name = "avx2",
    .ans_name = "avx2",
};

/* Whether the system saves the wide registers when it switches threads: XCR0's bits for SSE and AVX state. */
static int saves_wide_registers(void) {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

/* Every processor with AVX2 that is still in use has BMI2 and LZCNT too; the check costs nothing. Asked of the processor
   itself: __builtin_cpu_supports needs a part of the compiler's library that not every compiler has. */
static const ht_kernels *fastest(void) {
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return &scalar;
    if (!(ecx & bit_OSXSAVE) || !(ecx & bit_AVX) || !saves_wide_registers()) return &scalar;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return &scalar;
    if (!(ebx & bit_AVX2) || !(ebx & bit_BMI) || !(ebx & bit_BMI2)) return &scalar;
    if (!__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) || !(ecx & bit_LZCNT)) return &scalar;
    return &avx2;
}
#elif defined(__aarch64__)
static const ht_kernels neon = {
    .name = "neon",
    .split = ht_split_neon,
    .merge = ht_merge_neon,
    .histogram = ht_histogram_scalar,
    .huffman_streams = ht_huffman_streams_scalar,
    .huffman_restore = ht_huffman_restore_scalar,
    .ans_streams = ht_ans_streams_scalar,
    .ans_restore = ht_ans_restore_scalar,
    .split_name = "neon",
    .histogram_name = "scalar",
    .huffman_name = "scalar",
    .ans_name = "scalar",
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
