/* The eight lanes of Huffman decoding, and the loop for codes of which a lookup yields one value. */
#ifndef HELIOTROPE_NATIVE_HUFFMAN_LANES_H
#define HELIOTROPE_NATIVE_HUFFMAN_LANES_H

#include "core.h"

enum { LOOKUPS = 5, BYTES_PER_REFILL = 7 }; /* 5 x 11 bits <= 56 - 1, the fewest that a refill gives */

typedef struct {
    uint64_t bits; /* 0: the stream is too short for the fast loops */
    const uint8_t *in, *stream;
    uint8_t *out, *out_end;
    uint64_t left; /* bits, where `bits` is 0 */
} lane;

/* Where a lookup yields one value, which is known beforehand, nothing but the bits must wait for it: all eight lanes fit
 * the registers, and run in step. */
#if defined(__x86_64__)
/* What the C below says, in registers only: compilers keep moving the accumulators to memory and back. */
#define SINGLE_BMI2(s, k)                                                                                             \
    do {                                                                                                              \
        uint64_t entry, count;                                                                                        \
        __asm__("mov %[bits], %[entry]\n\t"                                                                           \
                "shr %[shift], %[entry]\n\t"                                                                          \
                "movzbl 6(%[table], %[entry], 8), %k[count]\n\t"                                                      \
                "movzbl (%[table], %[entry], 8), %k[entry]\n\t"                                                       \
                "shlx %[count], %[bits], %[bits]\n\t"                                                                 \
                "movb %b[entry], %[to]"                                                                               \
                : [bits] "+r"(bits##s), [entry] "=&r"(entry), [count] "=&r"(count), [to] "=m"(out##s[k])             \
                : [table] "r"(table), [shift] "i"(64 - HT_CODE_BITS),                                                 \
                  "m"(*(const ht_symbols(*)[1 << HT_CODE_BITS])table)                                                 \
                : "cc");                                                                                              \
    } while (0)

#define REFILL_BMI2(s)                                                                                                \
    do {                                                                                                              \
        uint64_t at;                                                                                                  \
        __asm__("tzcnt %[bits], %[bits]\n\t"                                                                          \
                "mov %k[bits], %k[at]\n\t"                                                                            \
                "shr $3, %k[at]\n\t"                                                                                  \
                "neg %[at]\n\t"                                                                                       \
                "add %[in], %[at]\n\t"                                                                                \
                "and $7, %k[bits]\n\t"                                                                                \
                "mov %[at], %[in]\n\t"                                                                                \
                "mov (%[at]), %[at]\n\t"                                                                              \
                "or $1, %[at]\n\t"                                                                                    \
                "shlx %[bits], %[at], %[bits]"                                                                        \
                : [bits] "+r"(bits##s), [at] "=&r"(at), [in] "+m"(in[s])                                             \
                :                                                                                                     \
                : "cc", "memory");                                                                                    \
    } while (0)
#else
#define SINGLE_BMI2(s, k) (void)0
#define REFILL_BMI2(s) (void)0
#endif

#define SINGLE(s, k)                                                                                                  \
    do {                                                                                                              \
        if (bmi2) {                                                                                                   \
            SINGLE_BMI2(s, k);                                                                                        \
            break;                                                                                                    \
        }                                                                                                             \
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
        if (bmi2) {                                                                                                   \
            REFILL_BMI2(s);                                                                                           \
            break;                                                                                                    \
        }                                                                                                             \
        unsigned used = (unsigned)__builtin_ctzll(bits##s);                                                           \
        const uint8_t *at = in[s] - (used >> 3);                                                                      \
        HT_IN_REGISTER(at);                                                                                           \
        in[s] = at;                                                                                                   \
        bits##s = (ht_load_u64le(at) | 1) << (used & 7);                                                              \
    } while (0)

/* Three pointers and the segment's length address all eight lanes. */
HT_INLINE void ht_single_rounds(const ht_symbols *table, lane *lanes, size_t rounds, int bmi2) {
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

#endif
