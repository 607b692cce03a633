/* One plane as an ANS block:
 *
 *     lowest value | highest value | table bits | states of each value between them | 2 x u32: bytes of streams 0 and 1 |
 *     stream 0 | stream 1 | stream 2
 *
 * The states are numbers in Elias's gamma code of one more (zeros, then the number from its highest bit), bits from the
 * lowest up. Value i is in stream i % 3. A stream's length is known only when it is written, so the streams are
 * written to scratch memory first. */
#include "core.h"

enum { FIXED_BYTES = 3, SIZES_BYTES = 4 * (HT_ANS_STREAMS - 1), STREAM_SLACK = 24 };

/* Room for what count values take at most: table bits for each, two states and the mark, and wide stores. */
size_t ht_ans_scratch_bytes(size_t count) {
    size_t values = (count + HT_ANS_STREAMS - 1) / HT_ANS_STREAMS;
    return HT_ANS_STREAMS * (values + values / 2 + STREAM_SLACK);
}

static unsigned gamma_bits(uint32_t number) { return 2 * (31 - (unsigned)__builtin_clz(number + 1)) + 1; }

static size_t states_bytes(const uint16_t *states, int low, int high) {
    size_t bits = 0;
    for (int v = low; v <= high; v++) bits += gamma_bits(states[v]);
    return (bits + 7) / 8;
}

static void put_bit(uint8_t *bytes, size_t at, uint32_t bit) { bytes[at / 8] |= (uint8_t)((bit & 1) << (at & 7)); }

static void write_states(const uint16_t *states, int low, int high, uint8_t *coded) {
    size_t at = 0;
    memset(coded, 0, states_bytes(states, low, high));
    for (int v = low; v <= high; v++) {
        uint32_t number = (uint32_t)states[v] + 1;
        int top = 31 - __builtin_clz(number);
        at += (size_t)top;
        for (int bit = top; bit >= 0; bit--) put_bit(coded, at++, number >> bit);
    }
}

/* Returns the bytes read, or 0 when they are cut short or do not make up the table. */
static size_t read_states(const uint8_t *coded, size_t coded_bytes, int low, int high, int table_bits,
                          uint16_t *states) {
    size_t at = 0, end = 8 * coded_bytes;
    uint32_t sum = 0, size = (uint32_t)1 << table_bits;
    memset(states, 0, 256 * sizeof *states);
    for (int v = low; v <= high; v++) {
        int top = 0;
        while (at < end && (coded[at / 8] >> (at & 7) & 1) == 0) top++, at++;
        if (top > table_bits || end - at < (size_t)top + 1) return 0;
        uint32_t number = 0;
        for (int bit = top; bit >= 0; bit--, at++) number = number << 1 | (coded[at / 8] >> (at & 7) & 1);
        if (number - 1 > size - sum) return 0;
        sum += number - 1;
        states[v] = (uint16_t)(number - 1);
    }
    if (sum != size || states[low] == 0 || states[high] == 0) return 0;
    if ((at & 7) != 0 && coded[at / 8] >> (at & 7) != 0) return 0;
    return (at + 7) / 8;
}

/* Returns the bytes written, or 0 when they would not be fewer than `capacity` or there is nothing to gain. counts: of
 * the whole plane; scratch: ht_ans_scratch_bytes(count). */
size_t ht_ans_encode(const ht_kernels *kernels, const uint8_t *data, size_t count, const uint32_t *counts,
                     uint8_t *scratch, uint8_t *coded, size_t capacity) {
    uint16_t states[256];
    ht_ans_encoder encoder;
    uint8_t *ends[HT_ANS_STREAMS], *begins[HT_ANS_STREAMS];
    int low = 0, high = 255, table_bits = ht_ans_table_bits(count);
    if (count < HT_ANS_MIN_VALUES) return 0;
    while (low < 255 && counts[low] == 0) low++;
    while (high > low && counts[high] == 0) high--;
    if (low == high) return 0;
    ht_ans_scale(counts, table_bits, states);
    size_t head = FIXED_BYTES + states_bytes(states, low, high), lane = ht_ans_scratch_bytes(count) / HT_ANS_STREAMS;
    ht_ans_encode_table(states, table_bits, &encoder);
    for (int s = 0; s < HT_ANS_STREAMS; s++) ends[s] = scratch + (size_t)(s + 1) * lane;
    kernels->ans_streams(data, count, &encoder, table_bits, ends, begins);
    size_t total = head + SIZES_BYTES, at = head;
    for (int s = 0; s < HT_ANS_STREAMS; s++) total += (size_t)(ends[s] - begins[s]);
    if (total >= capacity) return 0;
    coded[0] = (uint8_t)low;
    coded[1] = (uint8_t)high;
    coded[2] = (uint8_t)table_bits;
    write_states(states, low, high, coded + FIXED_BYTES);
    for (int s = 0; s < HT_ANS_STREAMS - 1; s++, at += 4) ht_store_u32le(coded + at, (uint32_t)(ends[s] - begins[s]));
    for (int s = 0; s < HT_ANS_STREAMS; s++) {
        memcpy(coded + at, begins[s], (size_t)(ends[s] - begins[s]));
        at += (size_t)(ends[s] - begins[s]);
    }
    return total;
}

int ht_ans_decode(const ht_kernels *kernels, const uint8_t *coded, size_t coded_bytes, uint8_t *data, size_t count) {
    uint16_t states[256];
    ht_ans_entry table[1 << HT_ANS_MOST_BITS];
    const uint8_t *streams[HT_ANS_STREAMS];
    size_t bytes[HT_ANS_STREAMS], at = FIXED_BYTES;
    if (coded_bytes < FIXED_BYTES || coded[0] >= coded[1]) return HT_BAD_CODE;
    int table_bits = coded[2];
    if (table_bits < HT_ANS_LEAST_BITS || table_bits > HT_ANS_MOST_BITS) return HT_BAD_CODE;
    size_t read = read_states(coded + at, coded_bytes - at, coded[0], coded[1], table_bits, states);
    if (read == 0) return HT_BAD_CODE;
    at += read;
    if (coded_bytes - at < SIZES_BYTES) return HT_BAD_STREAM;
    const uint8_t *sizes = coded + at;
    at += SIZES_BYTES;
    for (int s = 0; s < HT_ANS_STREAMS; s++) {
        bytes[s] = s < HT_ANS_STREAMS - 1 ? ht_load_u32le(sizes + 4 * s) : coded_bytes - at;
        if (bytes[s] > coded_bytes - at) return HT_BAD_STREAM;
        streams[s] = coded + at;
        at += bytes[s];
    }
    ht_ans_decode_table(states, table_bits, table);
    return kernels->ans_restore(table, table_bits, streams, bytes, data, count);
}
