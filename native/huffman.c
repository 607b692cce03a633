/* One plane as a Huffman block:
 *
 *     lowest value | highest value | code lengths, 4 bits each, low nibble first | 7 x u32: bytes of streams 0 to 6 |
 *     stream 0 | ... | stream 7
 *
 * Stream s codes segment s of the plane (ht_segment). Where the segments are staggered, the highest value comes before the
 * lowest. Nothing is ever written beyond the exact size, which is known
 * before the first bit, because the segments have their own histograms. */
#include "core.h"

enum { SEVERAL_SYMBOLS_FROM = 8192, SEVERAL_SYMBOLS_BELOW_BITS = 5, BYTES_PER_PAIR = 8 };

static size_t stream_bytes(const uint32_t *counts, const uint8_t *lengths) {
    uint64_t bits = 0;
    for (int v = 0; v < 256; v++) bits += (uint64_t)counts[v] * lengths[v];
    return (size_t)(bits / 8 + 1); /* with the end mark */
}

static size_t write_lengths(const uint8_t *lengths, int low, int high, int staggered, uint8_t *coded) {
    coded[0] = (uint8_t)(staggered ? high : low);
    coded[1] = (uint8_t)(staggered ? low : high);
    size_t bytes = ((size_t)(high - low) + 2) / 2;
    memset(coded + 2, 0, bytes);
    for (int v = low; v <= high; v++) coded[2 + (v - low) / 2] |= (uint8_t)(lengths[v] << (4 * ((v - low) & 1)));
    return 2 + bytes;
}

/* Returns the bytes written, or 0 when they would not be fewer than `capacity` or there is nothing to gain. counts: of each
 * segment (ht_kernels.histogram); lengths: the code's (ht_code_lengths). */
size_t ht_huffman_encode(const ht_kernels *kernels, const uint8_t *data, size_t count, uint32_t (*counts)[256],
                         const uint8_t *lengths, uint64_t *pairs, uint8_t *coded, size_t capacity) {
    uint8_t *streams[HT_STREAMS];
    size_t bytes[HT_STREAMS];
    if (count < HT_HUFFMAN_MIN_SYMBOLS) return 0;
    int low = 0, high = 255, used = 0;
    for (int v = 0; v < 256; v++) used += lengths[v] > 0;
    if (used < 2) return 0;
    while (lengths[low] == 0) low++;
    while (lengths[high] == 0) high--;
    size_t header = 2 + ((size_t)(high - low) + 2) / 2 + 4 * (HT_STREAMS - 1), total = header;
    for (int s = 0; s < HT_STREAMS; s++) total += bytes[s] = stream_bytes(counts[s], lengths);
    if (total >= capacity) return 0;
    size_t at = write_lengths(lengths, low, high, ht_segments_stagger(count), coded);
    for (int s = 0; s < HT_STREAMS - 1; s++, at += 4) ht_store_u32le(coded + at, (uint32_t)bytes[s]);
    for (int s = 0; s < HT_STREAMS; s++) {
        streams[s] = coded + at;
        at += bytes[s];
    }
    uint64_t codes[256];
    ht_encode_table(lengths, codes);
    if ((size_t)used * (size_t)used > count / BYTES_PER_PAIR) pairs = NULL; /* the table would cost more than it saves */
    if (pairs != NULL) ht_pair_table(codes, pairs);
    kernels->huffman_streams(data, count, codes, pairs, streams);
    return total;
}

/* Returns the size of the header, or 0 when it is cut short or its lengths are no complete code. */
static size_t read_lengths(const uint8_t *coded, size_t coded_bytes, uint8_t *lengths, int *staggered) {
    memset(lengths, 0, 256);
    if (coded_bytes < 2 || coded[0] == coded[1]) return 0;
    *staggered = coded[0] > coded[1];
    int low = coded[*staggered], high = coded[!*staggered];
    size_t bytes = ((size_t)(high - low) + 2) / 2;
    if (coded_bytes < 2 + bytes) return 0;
    for (int v = low; v <= high; v++) lengths[v] = coded[2 + (v - low) / 2] >> (4 * ((v - low) & 1)) & 15;
    if ((high - low) % 2 == 0 && coded[1 + bytes] >> 4 != 0) return 0;
    return ht_code_is_complete(lengths) ? 2 + bytes : 0;
}

int ht_huffman_decode(const ht_kernels *kernels, const uint8_t *coded, size_t coded_bytes, uint8_t *data,
                      size_t count) {
    uint8_t code_lengths[256];
    int staggered;
    ht_symbols table[1 << HT_CODE_BITS];
    const uint8_t *streams[HT_STREAMS];
    size_t bytes[HT_STREAMS], at = read_lengths(coded, coded_bytes, code_lengths, &staggered);
    if (at == 0) return HT_BAD_CODE;
    if (coded_bytes - at < 4 * (HT_STREAMS - 1)) return HT_BAD_STREAM;
    const uint8_t *sizes = coded + at;
    at += 4 * (HT_STREAMS - 1);
    for (int s = 0; s < HT_STREAMS; s++) {
        bytes[s] = s < HT_STREAMS - 1 ? ht_load_u32le(sizes + 4 * s) : coded_bytes - at;
        if (bytes[s] > coded_bytes - at) return HT_BAD_STREAM;
        streams[s] = coded + at;
        at += bytes[s];
    }
    int single = count < SEVERAL_SYMBOLS_FROM || 8 * coded_bytes > SEVERAL_SYMBOLS_BELOW_BITS * count;
    ht_decode_table(code_lengths, !single, table);
    size_t segment = ht_segment_bytes(count, staggered);
    return kernels->huffman_restore(table, single, code_lengths, streams, bytes, data, count, segment);
}
