/* Bits to values by tANS: a step looks up its state, which says the value and how many bits lead to the next state.
 *
 * A step must wait for the one before it of the same state, so six states take turns, two on each of three streams: as
 * many as fit the registers of x86-64. An accumulator holds the next bits from bit 0 up, with a marker bit above them:
 * how many are used up is the number of zeros above the marker. The fast loop stops while every load is certainly inside
 * its stream; the rest goes value by value. A stream must be used up exactly, and each state end where the encoder
 * began. */
#include "core.h"

enum { BYTES_PER_REFILL = 6 }; /* four steps of 12 bits <= 63 - 7, the fewest that a refill gives */

#define MARKER ((uint64_t)1 << 63)

typedef struct {
    uint64_t state[HT_ANS_STATES];
    const uint8_t *stream[HT_ANS_STREAMS], *end[HT_ANS_STREAMS];
    size_t at[HT_ANS_STREAMS]; /* bits used up */
} lanes;

HT_INLINE uint64_t refill(uint64_t bits, const uint8_t **in) {
    unsigned used = (unsigned)__builtin_clzll(bits);
    const uint8_t *at = *in + (used >> 3);
    HT_IN_REGISTER(at);
    *in = at;
    return (ht_load_u64le(at) | MARKER) >> (used & 7);
}

#if defined(__x86_64__)
/* What the C below says, in the fewest instructions: compilers spend half as many again on it, and this loop is what a
 * plane's decoding takes. */
#define STEP_BMI2(k, s, out)                                                                                          \
    do {                                                                                                              \
        uint64_t entry, value;                                                                                        \
        __asm__("movzbl 3(%[table], %[state], 4), %k[entry]\n\t"                                                      \
                "movzbl 2(%[table], %[state], 4), %k[value]\n\t"                                                      \
                "movzwl (%[table], %[state], 4), %k[state]\n\t"                                                       \
                "movb %b[value], %[to]\n\t"                                                                           \
                "bzhi %[entry], %[bits], %[value]\n\t"                                                                \
                "shrx %[entry], %[bits], %[bits]\n\t"                                                                 \
                "add %[value], %[state]"                                                                              \
                : [state] "+r"(state##k), [bits] "+r"(bits##s), [entry] "=&r"(entry), [value] "=&r"(value),          \
                  [to] "=m"(out)                                                                                      \
                : [table] "r"(table), "m"(*(const ht_ans_entry(*)[1 << HT_ANS_MOST_BITS])table)                       \
                : "cc");                                                                                              \
    } while (0)
#else
#define STEP_BMI2(k, s, out) (void)0
#endif

#define STEP(k, s, out)                                                                                               \
    do {                                                                                                              \
        if (bmi2) {                                                                                                   \
            STEP_BMI2(k, s, out);                                                                                     \
            break;                                                                                                    \
        }                                                                                                             \
        const ht_ans_entry *entry = &table[state##k];                                                                 \
        unsigned count = entry->bits & 63;                                                                            \
        (out) = entry->value;                                                                                         \
        state##k = entry->next + (bits##s & (((uint64_t)1 << count) - 1));                                            \
        bits##s >>= count;                                                                                            \
    } while (0)

#define STEP_SIX(out)                                                                                                 \
    STEP(0, 0, (out)[0]);                                                                                             \
    STEP(1, 1, (out)[1]);                                                                                             \
    STEP(2, 2, (out)[2]);                                                                                             \
    STEP(3, 0, (out)[3]);                                                                                             \
    STEP(4, 1, (out)[4]);                                                                                             \
    STEP(5, 2, (out)[5])

/* How often twelve values can be restored without a look at the bounds. */
static size_t safe_rounds(const lanes *l, size_t left) {
    size_t rounds = left / 12;
    for (int s = 0; s < HT_ANS_STREAMS; s++) {
        size_t bytes = (size_t)(l->end[s] - l->stream[s]) - l->at[s] / 8;
        size_t safe = bytes < 8 ? 0 : (bytes - 8) / BYTES_PER_REFILL;
        rounds = safe < rounds ? safe : rounds;
    }
    return rounds;
}

HT_INLINE void restore_twelves(const ht_ans_entry *table, lanes *l, uint8_t *out, size_t rounds, int bmi2) {
    const uint8_t *in[HT_ANS_STREAMS];
    uint64_t begun[HT_ANS_STREAMS];
    for (int s = 0; s < HT_ANS_STREAMS; s++) {
        in[s] = l->stream[s] + l->at[s] / 8;
        begun[s] = MARKER >> (l->at[s] & 7);
    }
    uint64_t bits0 = begun[0], bits1 = begun[1], bits2 = begun[2];
    uint64_t state0 = l->state[0], state1 = l->state[1], state2 = l->state[2], state3 = l->state[3];
    uint64_t state4 = l->state[4], state5 = l->state[5];
    for (uint8_t *end = out + 12 * rounds; out < end; out += 12) {
        bits0 = refill(bits0, &in[0]);
        bits1 = refill(bits1, &in[1]);
        bits2 = refill(bits2, &in[2]);
        STEP_SIX(out);
        STEP_SIX(out + 6);
    }
    l->at[0] = 8 * (size_t)(in[0] - l->stream[0]) + (size_t)__builtin_clzll(bits0);
    l->at[1] = 8 * (size_t)(in[1] - l->stream[1]) + (size_t)__builtin_clzll(bits1);
    l->at[2] = 8 * (size_t)(in[2] - l->stream[2]) + (size_t)__builtin_clzll(bits2);
    l->state[0] = state0, l->state[1] = state1, l->state[2] = state2;
    l->state[3] = state3, l->state[4] = state4, l->state[5] = state5;
}

/* The next `wanted` bits of stream s; returns 0 when it has not so many. */
HT_INLINE int take(lanes *l, int s, unsigned wanted, uint64_t *bits) {
    size_t byte = l->at[s] / 8, have = 8 * (size_t)(l->end[s] - l->stream[s]) - l->at[s];
    uint64_t window = 0;
    if (wanted > have) return 0;
    for (size_t k = 0; 8 * (byte + k) < l->at[s] + wanted; k++) window |= (uint64_t)l->stream[s][byte + k] << (8 * k);
    *bits = window >> (l->at[s] & 7) & (((uint64_t)1 << wanted) - 1);
    l->at[s] += wanted;
    return 1;
}

/* Returns 0 when the stream has no mark or not both states. */
static int open_stream(lanes *l, int s, const uint8_t *stream, size_t length, unsigned table_bits) {
    l->stream[s] = stream;
    l->end[s] = stream + length;
    if (length == 0 || stream[0] == 0) return 0;
    l->at[s] = (size_t)__builtin_ctz(stream[0]) + 1;
    return take(l, s, table_bits, &l->state[s]) && take(l, s, table_bits, &l->state[s + HT_ANS_STREAMS]);
}

HT_INLINE int restore(const ht_ans_entry *table, int table_bits, const uint8_t *const *streams, const size_t *lengths,
                      uint8_t *data, size_t count, int bmi2) {
    lanes l;
    for (int s = 0; s < HT_ANS_STREAMS; s++)
        if (!open_stream(&l, s, streams[s], lengths[s], (unsigned)table_bits)) return HT_BAD_STREAM;
    size_t done = 0;
    for (size_t rounds; (rounds = safe_rounds(&l, count - done)) > 0; done += 12 * rounds)
        restore_twelves(table, &l, data + done, rounds, bmi2);
    for (; done < count; done++) {
        const ht_ans_entry *entry = &table[l.state[done % HT_ANS_STATES]];
        uint64_t bits;
        data[done] = entry->value;
        if (!take(&l, (int)(done % HT_ANS_STREAMS), entry->bits, &bits)) return HT_BAD_STREAM;
        l.state[done % HT_ANS_STATES] = entry->next + bits;
    }
    for (int k = 0; k < HT_ANS_STATES; k++)
        if (l.state[k] != 0) return HT_BAD_STREAM;
    for (int s = 0; s < HT_ANS_STREAMS; s++)
        if (l.at[s] != 8 * lengths[s]) return HT_BAD_STREAM;
    return HT_OK;
}

int ht_ans_restore_scalar(const ht_ans_entry *table, int table_bits, const uint8_t *const *streams,
                          const size_t *lengths, uint8_t *data, size_t count) {
    return restore(table, table_bits, streams, lengths, data, count, 0);
}

#if defined(__x86_64__)
__attribute__((target("avx2,bmi,bmi2,lzcnt"))) int ht_ans_restore_avx2(const ht_ans_entry *table, int table_bits,
                                                                       const uint8_t *const *streams,
                                                                       const size_t *lengths, uint8_t *data,
                                                                       size_t count) {
    return restore(table, table_bits, streams, lengths, data, count, 1);
}
#endif
