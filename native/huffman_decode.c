/* Bits to symbols. One table lookup takes HT_CODE_BITS bits and yields every whole symbol in them, up to six.
 *
 * A stream is read from its end. A lane's accumulator holds its next bits from bit 63 down, with a marker bit below
 * them: how many bits are used up is the number of zeros below the marker, so that the loop counts nothing. A lookup
 * must wait for the one before it in its lane, so eight lanes run at once: two groups of four, each of which fits the
 * registers. Fast loops stop while every store and load is certainly inside its buffer; the rest goes symbol by
 * symbol. A stream must be used up exactly. */
#include "core.h"
#include "huffman_lanes.h"

#define REFILL(s)                                                                                                     \
    do {                                                                                                              \
        unsigned used = (unsigned)__builtin_ctzll(bits##s);                                                           \
        in##s -= used >> 3;                                                                                           \
        bits##s = (ht_load_u64le(in##s) | 1) << (used & 7);                                                           \
    } while (0)

#define LOOK_UP(s)                                                                                                    \
    do {                                                                                                              \
        const ht_symbols *entry = &table[bits##s >> (64 - HT_CODE_BITS)];                                             \
        memcpy(out##s, entry, 8);                                                                                     \
        out##s += entry->count;                                                                                       \
        bits##s <<= entry->bits & 63;                                                                                 \
    } while (0)

#define LOOK_UP_FOUR                                                                                                  \
    LOOK_UP(0);                                                                                                       \
    LOOK_UP(1);                                                                                                       \
    LOOK_UP(2);                                                                                                       \
    LOOK_UP(3)

#define OPEN(s)                                                                                                       \
    uint64_t bits##s = lanes[s].bits;                                                                                 \
    const uint8_t *in##s = lanes[s].in;                                                                               \
    uint8_t *out##s = lanes[s].out

#define CLOSE(s)                                                                                                      \
    lanes[s].bits = bits##s;                                                                                          \
    lanes[s].in = in##s;                                                                                              \
    lanes[s].out = out##s

HT_INLINE void round_of_four(const ht_symbols *table, lane *lanes) {
    OPEN(0);
    OPEN(1);
    OPEN(2);
    OPEN(3);
    REFILL(0);
    REFILL(1);
    REFILL(2);
    REFILL(3);
    LOOK_UP_FOUR;
    LOOK_UP_FOUR;
    LOOK_UP_FOUR;
    LOOK_UP_FOUR;
    LOOK_UP_FOUR;
    CLOSE(0);
    CLOSE(1);
    CLOSE(2);
    CLOSE(3);
}

/* How many rounds are safe: each moves back by at most 7 bytes, writes at most 30 and stores 2 beyond them. */
HT_INLINE size_t safe_rounds(const lane *l) {
    size_t readable = (size_t)(l->in - l->stream), writable = (size_t)(l->out_end - l->out);
    if (l->bits == 0 || writable < 8) return 0;
    size_t by_input = readable / BYTES_PER_REFILL;
    size_t by_output = (writable - 8) / (LOOKUPS * HT_MAX_SYMBOLS_PER_LOOKUP);
    return by_input < by_output ? by_input : by_output;
}

/* Returns 0 when the stream has no end mark. */
static int open_lane(lane *l, const uint8_t *stream, size_t length, uint8_t *out, size_t count) {
    if (length == 0 || stream[length - 1] == 0) return 0;
    unsigned used = (unsigned)__builtin_clz(stream[length - 1]) - 23; /* zeros above the mark, and the mark */
    *l = (lane){0, stream, stream, out, out + count, 8 * (uint64_t)length - used};
    if (length >= 8) {
        l->in = stream + length - 8;
        l->bits = (ht_load_u64le(l->in) | 1) << used;
    }
    return 1;
}

/* The last symbols of a stream, as if zeros came before its begin. */
static int finish(const ht_symbols *table, const uint8_t *code_lengths, const lane *l) {
    uint64_t left = l->left;
    if (l->bits != 0) left = 8 * (uint64_t)(l->in - l->stream) + 64 - (uint64_t)__builtin_ctzll(l->bits);
    for (uint8_t *out = l->out; out < l->out_end; out++) {
        uint8_t window[8] = {0};
        size_t bytes = (size_t)(left + 7) / 8, taken = bytes < 8 ? bytes : 8;
        memcpy(window + 8 - taken, l->stream + bytes - taken, taken);
        uint64_t bits = ht_load_u64le(window) << (8 * bytes - left);
        *out = table[bits >> (64 - HT_CODE_BITS)].values[0];
        if (code_lengths[*out] > left) return HT_BAD_STREAM;
        left -= code_lengths[*out];
    }
    return left == 0 ? HT_OK : HT_BAD_STREAM;
}

HT_INLINE void finish_fast(const ht_symbols *table, lane *l) {
    for (size_t rounds; (rounds = safe_rounds(l)) > 0;) {
        const lane *lanes = l;
        OPEN(0);
        for (; rounds > 0; rounds--) {
            REFILL(0);
            for (int k = 0; k < LOOKUPS; k++) LOOK_UP(0);
        }
        l->bits = bits0;
        l->in = in0;
        l->out = out0;
    }
}

HT_INLINE int restore(const ht_symbols *table, int single, const uint8_t *code_lengths, const uint8_t *const *streams,
                      const size_t *lengths, uint8_t *data, size_t count, size_t segment, int bmi2) {
    lane lanes[HT_STREAMS];
    for (int s = 0; s < HT_STREAMS; s++) {
        size_t begin, length = ht_segment(count, segment, s, &begin);
        if (!open_lane(&lanes[s], streams[s], lengths[s], data + begin, length)) return HT_BAD_STREAM;
    }
    for (;;) {
        size_t rounds = SIZE_MAX;
        for (int s = 0; s < HT_STREAMS; s++) {
            size_t safe = safe_rounds(&lanes[s]);
            rounds = safe < rounds ? safe : rounds;
        }
        if (rounds == 0) break;
        if (single) {
            ht_single_rounds(table, lanes, rounds, bmi2);
            continue;
        }
        for (; rounds > 0; rounds--) {
            round_of_four(table, lanes);
            round_of_four(table, lanes + 4);
        }
    }
    for (int s = 0; s < HT_STREAMS; s++) {
        finish_fast(table, &lanes[s]);
        int status = finish(table, code_lengths, &lanes[s]);
        if (status != HT_OK) return status;
    }
    return HT_OK;
}

int ht_huffman_restore_scalar(const ht_symbols *table, int single, const uint8_t *code_lengths,
                              const uint8_t *const *streams, const size_t *lengths, uint8_t *data, size_t count,
                              size_t segment) {
    return restore(table, single, code_lengths, streams, lengths, data, count, segment, 0);
}

#if defined(__x86_64__)
__attribute__((target("avx2,bmi,bmi2,lzcnt"))) int
ht_huffman_restore_avx2(const ht_symbols *table, int single, const uint8_t *code_lengths,
                        const uint8_t *const *streams, const size_t *lengths, uint8_t *data, size_t count,
                              size_t segment) {
    return restore(table, single, code_lengths, streams, lengths, data, count, segment, 1);
}
#endif
