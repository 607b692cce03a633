/* One plane through one coder, with scratch memory of its own: for tests and measurements. */
#include <stdlib.h>

#include "core.h"

static size_t encode(const ht_kernels *kernels, int codec, const uint8_t *data, size_t count, ht_scratch scratch,
                     uint8_t *coded) {
    uint32_t counts[HT_STREAMS][256], sum[256];
    uint8_t lengths[256];
    int common = 0;
    kernels->histogram(data, count, counts);
    ht_sum_counts(counts, sum);
    if (codec == HT_ANS) return ht_ans_encode(kernels, data, count, sum, scratch.streams, coded, count);
    for (int v = 1; v < 256; v++) common = sum[v] > sum[common] ? v : common;
    if (codec == HT_SPARSE) return ht_sparse_encode(kernels, data, count, (uint8_t)common, scratch, coded, count);
    ht_code_lengths(sum, lengths);
    return ht_huffman_encode(kernels, data, count, counts, lengths, scratch.pairs, coded, count);
}

/* coded has room for count bytes. Returns the bytes written, or 0 when they would not be fewer or there is no memory. */
size_t ht_plane_encode(const ht_kernels *kernels, int codec, const uint8_t *data, size_t count, uint8_t *coded) {
    ht_scratch s = {NULL, malloc(count / 2 + 1), malloc(HT_PAIRS * sizeof(uint64_t)), malloc(ht_ans_scratch_bytes(count))};
    int able = s.folded != NULL && s.pairs != NULL && s.streams != NULL;
    size_t bytes = able ? encode(kernels, codec, data, count, s, coded) : 0;
    free(s.folded);
    free(s.pairs);
    free(s.streams);
    return bytes;
}

int ht_plane_decode(const ht_kernels *kernels, int codec, const uint8_t *coded, size_t coded_bytes, uint8_t *data,
                    size_t count) {
    if (codec == HT_HUFFMAN) return ht_huffman_decode(kernels, coded, coded_bytes, data, count);
    if (codec == HT_ANS) return ht_ans_decode(kernels, coded, coded_bytes, data, count);
    uint8_t *scratch = malloc(count / 2 + 1);
    int status = scratch ? ht_sparse_decode(kernels, coded, coded_bytes, scratch, data, count) : HT_NO_MEMORY;
    free(scratch);
    return status;
}
