/* Values to bits by tANS: six states in turn, two for each of three streams.
 *
 * A plane is coded from its last value to its first, and the streams written from their ends down, so that the decoder
 * reads forward and meets the first value first. Value i is coded by state i % 6 to stream i % 3. Six, because the next
 * value of a state must wait for the one before it. An accumulator has a one bit on top of what it holds: how much that
 * is need not be counted. */
#include "core.h"

typedef struct {
    uint64_t bits[HT_ANS_STREAMS];
    uint32_t state[HT_ANS_STATES];
    uint8_t *out[HT_ANS_STREAMS];
} lanes;

#if defined(__x86_64__)
/* What the C below says, in the fewest instructions. */
#define PUT_BMI2(k, s, value)                                                                                         \
    do {                                                                                                              \
        uint64_t count, low;                                                                                          \
        const ht_ans_step *step = &e->steps[value];                                                                   \
        __asm__("mov %[gain], %k[count]\n\t"                                                                          \
                "add %k[state], %k[count]\n\t"                                                                        \
                "shr $16, %k[count]\n\t"                                                                              \
                "bzhi %[count], %[state], %[low]\n\t"                                                                 \
                "shlx %[count], %[bits], %[bits]\n\t"                                                                 \
                "shrx %[count], %[state], %[state]\n\t"                                                               \
                "or %[low], %[bits]\n\t"                                                                              \
                "add %[place], %k[state]\n\t"                                                                         \
                "movzwl (%[next], %[state], 2), %k[state]"                                                            \
                : [state] "+r"(state##k), [bits] "+r"(bits##s), [count] "=&r"(count), [low] "=&r"(low)                \
                : [gain] "m"(step->bits), [place] "m"(step->place), [next] "r"(e->next), "m"(e->next)                 \
                : "cc");                                                                                              \
    } while (0)
#else
#define PUT_BMI2(k, s, value) (void)0
#endif

#define PUT(k, s, value)                                                                                              \
    do {                                                                                                              \
        if (bmi2) {                                                                                                   \
            PUT_BMI2(k, s, value);                                                                                    \
            break;                                                                                                    \
        }                                                                                                             \
        const ht_ans_step *step = &e->steps[value];                                                                   \
        uint32_t count = ((uint32_t)state##k + step->bits) >> 16;                                                     \
        bits##s = bits##s << (count & 63) | (state##k & (((uint64_t)1 << (count & 63)) - 1));                         \
        state##k = e->next[(int64_t)(state##k >> (count & 63)) + step->place];                                        \
    } while (0)

/* All whole bytes; the 8 bytes stored reach below them. */
HT_INLINE uint64_t flush(uint64_t bits, uint8_t **out) {
    unsigned held = 63 - (unsigned)__builtin_clzll(bits);
    ht_store_u64le(*out - 8, bits << 1 << (63 - held));
    *out -= held >> 3;
    held &= 7;
    return (bits & (((uint64_t)1 << held) - 1)) | (uint64_t)1 << held;
}

HT_INLINE void put_one(const ht_ans_encoder *e, lanes *l, size_t i, uint8_t value, int bmi2) {
    uint64_t bits0 = l->bits[i % HT_ANS_STREAMS], state0 = l->state[i % HT_ANS_STATES];
    PUT(0, 0, value);
    l->bits[i % HT_ANS_STREAMS] = flush(bits0, &l->out[i % HT_ANS_STREAMS]);
    l->state[i % HT_ANS_STATES] = (uint32_t)state0;
}

#define PUT_SIX(at)                                                                                                   \
    PUT(5, 2, (at)[5]);                                                                                               \
    PUT(4, 1, (at)[4]);                                                                                               \
    PUT(3, 0, (at)[3]);                                                                                               \
    PUT(2, 2, (at)[2]);                                                                                               \
    PUT(1, 1, (at)[1]);                                                                                               \
    PUT(0, 0, (at)[0])

/* Twelve values at a time, four to each stream: with what a flush leaves, at most 7 + 4 x 12 bits and the mark. */
HT_INLINE void put_twelves(const uint8_t *data, size_t twelves, const ht_ans_encoder *e, lanes *l,
                           int bmi2) {
    uint64_t bits0 = l->bits[0], bits1 = l->bits[1], bits2 = l->bits[2];
    uint64_t state0 = l->state[0], state1 = l->state[1], state2 = l->state[2], state3 = l->state[3];
    uint64_t state4 = l->state[4], state5 = l->state[5];
    uint8_t *out0 = l->out[0], *out1 = l->out[1], *out2 = l->out[2];
    for (const uint8_t *at = data + 12 * twelves; at > data;) {
        at -= 12;
        PUT_SIX(at + 6);
        PUT_SIX(at);
        bits0 = flush(bits0, &out0);
        bits1 = flush(bits1, &out1);
        bits2 = flush(bits2, &out2);
    }
    l->out[0] = out0, l->out[1] = out1, l->out[2] = out2;
    l->bits[0] = bits0, l->bits[1] = bits1, l->bits[2] = bits2;
    l->state[0] = (uint32_t)state0, l->state[1] = (uint32_t)state1, l->state[2] = (uint32_t)state2;
    l->state[3] = (uint32_t)state3, l->state[4] = (uint32_t)state4, l->state[5] = (uint32_t)state5;
}

/* The two states that the decoder begins with, the first of them first, a one bit, and zeros down to a whole byte. */
HT_INLINE uint8_t *close_stream(lanes *l, int s, int table_bits) {
    uint64_t bits = l->bits[s], size = (uint64_t)1 << table_bits;
    uint8_t *out = l->out[s];
    bits = bits << table_bits | (l->state[s + HT_ANS_STREAMS] - size);
    bits = bits << table_bits | (l->state[s] - size);
    bits = flush(bits << 1 | 1, &out);
    unsigned held = 63 - (unsigned)__builtin_clzll(bits);
    if (held > 0) *--out = (uint8_t)(bits << (8 - held));
    return out;
}

HT_INLINE void encode(const uint8_t *data, size_t count, const ht_ans_encoder *e, int table_bits, uint8_t *const *ends,
                      uint8_t **begins, int bmi2) {
    lanes l;
    for (int s = 0; s < HT_ANS_STREAMS; s++) {
        l.bits[s] = 1;
        l.out[s] = ends[s];
        l.state[s] = l.state[s + HT_ANS_STREAMS] = (uint32_t)1 << table_bits;
    }
    for (; count % 12 != 0; count--) put_one(e, &l, count - 1, data[count - 1], bmi2);
    put_twelves(data, count / 12, e, &l, bmi2);
    for (int s = 0; s < HT_ANS_STREAMS; s++) begins[s] = close_stream(&l, s, table_bits);
}

void ht_ans_streams_scalar(const uint8_t *data, size_t count, const ht_ans_encoder *e, int table_bits,
                           uint8_t *const *ends, uint8_t **begins) {
    encode(data, count, e, table_bits, ends, begins, 0);
}

#if defined(__x86_64__)
/* The same with BMI2's shifts, which need no fixed count register, and its masks. */
__attribute__((target("avx2,bmi,bmi2,lzcnt"))) void ht_ans_streams_avx2(const uint8_t *data, size_t count,
                                                                        const ht_ans_encoder *e, int table_bits,
                                                                        uint8_t *const *ends, uint8_t **begins) {
    encode(data, count, e, table_bits, ends, begins, 1);
}
#endif
