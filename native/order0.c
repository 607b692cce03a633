/* One list of values by whichever order-0 coder suits its counts: Huffman where it comes close to the entropy, because it
 * is the faster one, ANS where whole bits are too coarse. */
#include "core.h"

/* ANS must save this share of the plane, or that of the whole chunk: it takes up to twice the time at both ends. The
 * second is what keeps a chunk within about a percent of its entropy where nearly all its bits are one plane's. */
static const double ans_gain_of_plane = 0.02, ans_gain_of_chunk = 0.012;

enum { ANS_HEADER_BYTES = 64 }; /* about: what short lists must earn back */

static int ans_pays(const uint32_t *counts, const uint8_t *lengths, size_t count, double chunk_bits) {
    uint64_t huffman = 0;
    for (int v = 0; v < 256; v++) huffman += (uint64_t)counts[v] * lengths[v];
    double saved = (double)huffman - ht_entropy_bits(counts, count) * (double)count - 8 * ANS_HEADER_BYTES;
    double of_plane = ans_gain_of_plane * (double)huffman, of_chunk = ans_gain_of_chunk * chunk_bits * (double)count;
    return saved > (of_plane < of_chunk ? of_plane : of_chunk);
}

/* chunk_bits: expected of all planes together, for each element. Returns the bytes written and sets *codec, or returns 0
 * when they would not be fewer than `capacity`. */
size_t ht_order0_encode(const ht_kernels *kernels, const uint8_t *data, size_t count, ht_scratch scratch,
                        double chunk_bits, uint8_t *coded, size_t capacity, int *codec) {
    uint32_t counts[HT_STREAMS][256], sum[256];
    uint8_t lengths[256];
    if (count < HT_HUFFMAN_MIN_SYMBOLS) return 0;
    kernels->histogram(data, count, counts);
    ht_sum_counts(counts, sum);
    if (ht_code_lengths(sum, lengths) < 2) return 0;
    if (ans_pays(sum, lengths, count, chunk_bits)) {
        *codec = HT_ANS;
        size_t bytes = ht_ans_encode(kernels, data, count, sum, scratch.streams, coded, capacity);
        if (bytes > 0) return bytes;
    }
    *codec = HT_HUFFMAN;
    return ht_huffman_encode(kernels, data, count, counts, lengths, scratch.pairs, coded, capacity);
}
