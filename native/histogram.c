/* How often each byte value occurs, and what that says about the size after coding. */
#include "core.h"

enum { SAMPLE_LOGS = 4096 };
static float count_log2[SAMPLE_LOGS + 1]; /* c * log2(c) */

/* log2 of a number of at least 1 without libm, which a statically linked interpreter need not bring: the exponent, and
 * the mantissa's logarithm as 2 atanh((m - 1) / (m + 1)) / ln 2. Wrong by less than 1e-7. */
static double log2_of(uint64_t number) {
    int exponent = 63 - __builtin_clzll(number);
    double x = (double)number / (double)((uint64_t)1 << exponent);
    double z = (x - 1) / (x + 1), square = z * z, sum = 0;
    for (int k = 13; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    return exponent + 2.885390081777927 * z * sum;
}

void ht_entropy_prepare(void) {
    for (int c = 1; c <= SAMPLE_LOGS; c++) count_log2[c] = (float)(c * log2_of((uint64_t)c));
}

/* The segments are counted side by side: neighbours are often equal, and an increment must not wait for the one
 * before it. */
void ht_histogram_scalar(const uint8_t *data, size_t count, uint32_t (*counts)[256]) {
    const uint8_t *segment[HT_STREAMS];
    size_t length[HT_STREAMS], i = 0, begin, bytes = ht_segment_bytes(count, ht_segments_stagger(count));
    memset(counts, 0, HT_STREAMS * sizeof *counts);
    for (int s = 0; s < HT_STREAMS; s++) {
        length[s] = ht_segment(count, bytes, s, &begin);
        segment[s] = data + begin;
    }
    for (; i + 4 <= length[HT_STREAMS - 1]; i += 4) {
        uint32_t four[HT_STREAMS];
        for (int s = 0; s < HT_STREAMS; s++) four[s] = ht_load_u32le(segment[s] + i);
        for (int shift = 0; shift < 32; shift += 8)
            for (int s = 0; s < HT_STREAMS; s++) counts[s][(uint8_t)(four[s] >> shift)]++;
    }
    for (int s = 0; s < HT_STREAMS; s++)
        for (size_t j = i; j < length[s]; j++) counts[s][segment[s][j]]++;
}

void ht_sum_counts(uint32_t (*counts)[256], uint32_t *sum) {
    for (int v = 0; v < 256; v++) {
        sum[v] = 0;
        for (int s = 0; s < HT_STREAMS; s++) sum[v] += counts[s][v];
    }
}

/* Shannon's order-0 entropy in bits per byte. */
double ht_entropy_bits(const uint32_t *counts, size_t total) {
    double sum = 0;
    if (total == 0) return 0;
    for (int v = 0; v < 256; v++)
        if (counts[v] > 0) sum += counts[v] * log2_of(counts[v]);
    double bits = log2_of(total) - sum / (double)total;
    return bits > 1e-12 ? bits : 0; /* else it is rounding */
}

/* The same from a sample of at most SAMPLE_LOGS bytes, with Miller's and Madow's correction: a small sample misses
 * rare values, so its own entropy is too low by about (values seen - 1) / (2 n ln 2). */
double ht_sample_entropy_bits(const uint32_t *counts, size_t sampled, size_t population) {
    double sum = 0;
    int seen = 0;
    if (sampled == 0) return 0;
    for (int v = 0; v < 256; v++) {
        sum += count_log2[counts[v]];
        seen += counts[v] > 0;
    }
    double bits = (count_log2[sampled] - sum) / (double)sampled;
    if (sampled < population) bits += (seen - 1) * 0.7213475204444817 / (double)sampled;
    return bits < 0 ? 0 : bits > 8 ? 8 : bits;
}
