/* Symbols to bits, four streams side by side so that the processor always has independent work.
 *
 * A segment is coded from its last symbol to its first and its stream written forward, so that the decoder, which
 * reads a stream from its end, meets the first symbol first and each code from its first bit. The accumulator takes
 * new codes at the top and moves the older ones down. A code's length rides in the low byte of its table entry: as
 * the shift count it needs no extraction, and OR-ed along it is shifted out below before it could reach the bits that
 * a flush stores (at most 7 + 4 x 11). A last one bit marks where the stream ends. */
#include "core.h"

#define PUT(s, entry)                                                                                                 \
    do {                                                                                                              \
        uint64_t code = (entry);                                                                                      \
        bits##s = bits##s >> (code & 63) | code;                                                                      \
        held##s += code; /* only its low byte is meant: the rest is cut off at the flush */                           \
    } while (0)

#define FLUSH(s)                                                                                                      \
    do {                                                                                                              \
        ht_store_u64le(out##s, bits##s >> (-held##s & 63));                                                           \
        out##s += (held##s & 255) >> 3;                                                                               \
        held##s &= 7;                                                                                                 \
    } while (0)

#define PUT4(s)                                                                                                       \
    do {                                                                                                              \
        const uint8_t *four = end##s - i;                                                                             \
        PUT(s, codes[four[-1]]);                                                                                      \
        PUT(s, codes[four[-2]]);                                                                                      \
        PUT(s, codes[four[-3]]);                                                                                      \
        PUT(s, codes[four[-4]]);                                                                                      \
        FLUSH(s);                                                                                                     \
    } while (0)

#define PUT2PAIRS(s)                                                                                                  \
    do {                                                                                                              \
        uint32_t four = ht_load_u32le(end##s - i - 4);                                                                \
        PUT(s, pairs[four >> 16]);                                                                                    \
        PUT(s, pairs[four & 0xffff]);                                                                                 \
        FLUSH(s);                                                                                                     \
    } while (0)

#define STREAM(s)                                                                                                     \
    size_t begin##s, length##s = ht_segment(count, segment, first + s, &begin##s);                                             \
    const uint8_t *end##s = data + begin##s + length##s;                                                              \
    uint8_t *out##s = streams[first + s];                                                                             \
    uint64_t bits##s = 0, held##s = 0

/* The first `left` symbols of a segment and the mark, byte by byte: an 8-byte store here would run into the next
 * stream. */
static void finish(const uint8_t *segment, size_t left, const uint64_t *codes, uint64_t bits, uint64_t held,
                   uint8_t *out) {
    bits = held > 0 ? bits >> (64 - held) : 0;
    while (left > 0) {
        uint64_t code = codes[segment[--left]], length = code & 63;
        bits |= code >> (64 - length) << held;
        for (held += length; held >= 8; held -= 8, bits >>= 8) *out++ = (uint8_t)bits;
    }
    *out = (uint8_t)(bits | 1u << held);
}

HT_INLINE void encode_four(const uint8_t *data, size_t count, const uint64_t *codes, const uint64_t *pairs,
                           uint8_t *const *streams, int first) {
    size_t segment = ht_segment_bytes(count, ht_segments_stagger(count));
    STREAM(0);
    STREAM(1);
    STREAM(2);
    STREAM(3);
    size_t i = 0;
    /* 64 symbols are at least 64 bits: while so many are left, 8 bytes are left in each stream. */
    for (; pairs != NULL && i + 4 + 64 <= length3; i += 4) {
        PUT2PAIRS(0);
        PUT2PAIRS(1);
        PUT2PAIRS(2);
        PUT2PAIRS(3);
    }
    for (; i + 4 + 64 <= length3; i += 4) {
        PUT4(0);
        PUT4(1);
        PUT4(2);
        PUT4(3);
    }
    finish(data + begin0, length0 - i, codes, bits0, held0, out0);
    finish(data + begin1, length1 - i, codes, bits1, held1, out1);
    finish(data + begin2, length2 - i, codes, bits2, held2, out2);
    finish(data + begin3, length3 - i, codes, bits3, held3, out3);
}

void ht_huffman_streams_scalar(const uint8_t *data, size_t count, const uint64_t *codes, const uint64_t *pairs,
                               uint8_t *const *streams) {
    for (int first = 0; first < HT_STREAMS; first += 4) encode_four(data, count, codes, pairs, streams, first);
}

#if defined(__x86_64__)
/* The same with three-operand shifts (BMI2), which need no fixed count register. */
__attribute__((target("avx2,bmi,bmi2,lzcnt"))) void ht_huffman_streams_avx2(const uint8_t *data, size_t count,
                                                                            const uint64_t *codes,
                                                                            const uint64_t *pairs,
                                                                            uint8_t *const *streams) {
    for (int first = 0; first < HT_STREAMS; first += 4) encode_four(data, count, codes, pairs, streams, first);
}
#endif
