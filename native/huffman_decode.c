/* Bits to symbols. One table lookup takes HT_CODE_BITS bits and yields every whole symbol in them, up to six.
 *
 * A stream is read from its end. A lane's accumulator holds its next bits from bit 63 down, with a marker bit below
 * them: how many bits are used up is the number of zeros below the marker, so that the loop counts nothing. A lookup
 * must wait for the one before it in its lane, so eight lanes run at once: two groups of four, each of which fits the
 * registers. Fast loops stop while every store and load is certainly inside its buffer; the rest goes symbol by
 * symbol. A stream must be used up exactly. */
#include "core.h"

enum { LOOKUPS = 5, BYTES_PER_REFILL = 7 }; /* 5 x 11 bits <= 56 - 1, the fewest that a refill gives */

typedef struct {
    uint64_t bits; /* 0: the stream is too short for the fast loops */
    const uint8_t *in, *stream;
    uint8_t *out, *out_end;
    uint64_t left; /* bits, where `bits` is 0 */
} lane;

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

/* Where a lookup yields one value, which is known beforehand, nothing but the bits must wait for it: all eight lanes fit
 * the registers, and run in step. */
#define SINGLE(s, k)                                                                                                  \
    do {                                                                                                              \
        const ht_symbols *entry = &table[bits##s >> (64 - HT_CODE_BITS)];                                             \
        uint64_t count = entry->bits;                                                                                 \
        out##s[k] = entry->values[0];                                                                                 \
        bits##s <<= count & 63;                                                                                       \
    } while (0)

#define SINGLE_EIGHT(k)                                                                                               \
    SINGLE(0, k);                                                                                                     \
    SINGLE(1, k);                                                                                                     \
    SINGLE(2, k);                                                                                                     \
    SINGLE(3, k);                                                                                                     \
    SINGLE(4, k);                                                                                                     \
    SINGLE(5, k);                                                                                                     \
    SINGLE(6, k);                                                                                                     \
    SINGLE(7, k)

#define REFILL_LANE(s)                                                                                                \
    do {                                                                                                              \
        unsigned used = (unsigned)__builtin_ctzll(bits##s);                                                           \
        const uint8_t *at = in[s] - (used >> 3);                                                                      \
        HT_IN_REGISTER(at);                                                                                           \
        in[s] = at;                                                                                                   \
        bits##s = (ht_load_u64le(at) | 1) << (used & 7);                                                              \
    } while (0)

/* Three pointers and the segment's length address all eight lanes. */
HT_INLINE void single_rounds(const ht_symbols *table, lane *lanes, size_t rounds) {
    const uint8_t *in[HT_STREAMS];
    ptrdiff_t segment = lanes[1].out - lanes[0].out;
    uint8_t *out0 = lanes[0].out, *out3 = lanes[3].out, *out6 = lanes[6].out;
    uint64_t bits0 = lanes[0].bits, bits1 = lanes[1].bits, bits2 = lanes[2].bits, bits3 = lanes[3].bits;
    uint64_t bits4 = lanes[4].bits, bits5 = lanes[5].bits, bits6 = lanes[6].bits, bits7 = lanes[7].bits;
    for (int s = 0; s < HT_STREAMS; s++) {
        in[s] = lanes[s].in;
        lanes[s].out += LOOKUPS * rounds;
    }
#define out1 (out0 + segment)
#define out2 (out0 + 2 * segment)
#define out4 (out3 + segment)
#define out5 (out3 + 2 * segment)
#define out7 (out6 + segment)
    for (; rounds > 0; rounds--) {
        REFILL_LANE(0);
        REFILL_LANE(1);
        REFILL_LANE(2);
        REFILL_LANE(3);
        REFILL_LANE(4);
        REFILL_LANE(5);
        REFILL_LANE(6);
        REFILL_LANE(7);
        SINGLE_EIGHT(0);
        SINGLE_EIGHT(1);
        SINGLE_EIGHT(2);
        SINGLE_EIGHT(3);
        SINGLE_EIGHT(4);
        out0 += LOOKUPS;
        out3 += LOOKUPS;
        out6 += LOOKUPS;
    }
#undef out1
#undef out2
#undef out4
#undef out5
#undef out7
    for (int s = 0; s < HT_STREAMS; s++) lanes[s].in = in[s];
    lanes[0].bits = bits0, lanes[1].bits = bits1, lanes[2].bits = bits2, lanes[3].bits = bits3;
    lanes[4].bits = bits4, lanes[5].bits = bits5, lanes[6].bits = bits6, lanes[7].bits = bits7;
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
                      const size_t *lengths, uint8_t *data, size_t count) {
    lane lanes[HT_STREAMS];
    for (int s = 0; s < HT_STREAMS; s++) {
        size_t begin, segment = ht_segment(count, s, &begin);
        if (!open_lane(&lanes[s], streams[s], lengths[s], data + begin, segment)) return HT_BAD_STREAM;
    }
    for (;;) {
        size_t rounds = SIZE_MAX;
        for (int s = 0; s < HT_STREAMS; s++) {
            size_t safe = safe_rounds(&lanes[s]);
            rounds = safe < rounds ? safe : rounds;
        }
        if (rounds == 0) break;
        if (single) {
            single_rounds(table, lanes, rounds);
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
                              const uint8_t *const *streams, const size_t *lengths, uint8_t *data, size_t count) {
    return restore(table, single, code_lengths, streams, lengths, data, count);
}

#if defined(__x86_64__)
__attribute__((target("avx2,bmi,bmi2,lzcnt"))) int
ht_huffman_restore_avx2(const ht_symbols *table, int single, const uint8_t *code_lengths,
                        const uint8_t *const *streams, const size_t *lengths, uint8_t *data, size_t count) {
    return restore(table, single, code_lengths, streams, lengths, data, count);
}
#endif
