/* Planes below about two bits a byte: Huffman cannot give a value less than one bit, so two or four neighbours became
 * one byte first. Frames of version 1 have them; since version 2 the encoder leaves such planes to ANS, which takes a
 * fifth fewer bits.
 *
 *     lowest value | values per byte: 2 or 4 | u32: escapes | escaped values | Huffman block of the folded bytes
 *
 * A value's class is its distance from the lowest value; the highest class, 15 or 3, is an escape: the value itself
 * is in the list. Such planes are narrow: the upper bytes of differences are 0 or 1, with rare large ones. */
#include "core.h"

enum { HEADER_BYTES = 6 };

size_t ht_folded_bytes(size_t count, int per_byte) { return (count + (size_t)per_byte - 1) / (size_t)per_byte; }

static void unfold_pairs(const uint8_t *folded, size_t whole, uint8_t low, uint8_t *data) {
    for (size_t i = 0; i < whole; i++) {
        data[2 * i] = (uint8_t)(low + (folded[i] & 15));
        data[2 * i + 1] = (uint8_t)(low + (folded[i] >> 4));
    }
}

static void unfold_fours(const uint8_t *folded, size_t whole, uint8_t low, uint8_t *data) {
    for (size_t i = 0; i < whole; i++) {
        data[4 * i] = (uint8_t)(low + (folded[i] & 3));
        data[4 * i + 1] = (uint8_t)(low + (folded[i] >> 2 & 3));
        data[4 * i + 2] = (uint8_t)(low + (folded[i] >> 4 & 3));
        data[4 * i + 3] = (uint8_t)(low + (folded[i] >> 6));
    }
}

/* Eight folded bytes from `at`, with zeros, which are no escapes, after the end. */
HT_INLINE uint64_t load_eight(const uint8_t *folded, size_t at, size_t bytes) {
    uint8_t rest[8] = {0};
    if (at + 8 <= bytes) return ht_load_u64le(folded + at);
    memcpy(rest, folded + at, bytes - at);
    return ht_load_u64le(rest);
}

/* One bit, the lowest of its class, for each class that is the escape: for each whose bits are all set. */
HT_INLINE uint64_t escapes_among(uint64_t eight, int per_byte) {
    uint64_t all = eight & eight >> 1;
    return per_byte == 2 ? all & all >> 2 & 0x1111111111111111ULL : all & 0x5555555555555555ULL;
}

/* Puts the escaped values in their places; returns 0 when there are not exactly `count` escapes or one lies beyond the plane. */
HT_INLINE int put_escapes(uint8_t *data, size_t plane_bytes, const uint8_t *folded, int per_byte,
                          const uint8_t *values, size_t count) {
    size_t bytes = ht_folded_bytes(plane_bytes, per_byte), used = 0;
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t escapes = escapes_among(load_eight(folded, at, bytes), per_byte);
        for (; escapes != 0; escapes &= escapes - 1) {
            size_t i = at * (size_t)per_byte + (size_t)(__builtin_ctzll(escapes) * per_byte / 8);
            if (used == count || i >= plane_bytes) return 0;
            data[i] = values[used++];
        }
    }
    return used == count;
}

static void unfold(const uint8_t *folded, size_t count, uint8_t low, int per_byte, uint8_t *data) {
    size_t whole = count / (size_t)per_byte, done = whole * (size_t)per_byte;
    uint8_t last[4];
    if (per_byte == 2) unfold_pairs(folded, whole, low, data);
    else unfold_fours(folded, whole, low, data);
    if (done == count) return;
    if (per_byte == 2) unfold_pairs(folded + whole, 1, low, last);
    else unfold_fours(folded + whole, 1, low, last);
    memcpy(data + done, last, count - done);
}

int ht_folded_decode(const ht_kernels *kernels, const uint8_t *coded, size_t coded_bytes, uint8_t *folded,
                     uint8_t *data, size_t count) {
    if (coded_bytes < HEADER_BYTES || (coded[1] != 2 && coded[1] != 4)) return HT_BAD_PLANE;
    int per_byte = coded[1];
    size_t escapes = ht_load_u32le(coded + 2);
    if (escapes > coded_bytes - HEADER_BYTES) return HT_BAD_PLANE;
    const uint8_t *values = coded + HEADER_BYTES;
    int status = ht_huffman_decode(kernels, values + escapes, coded_bytes - HEADER_BYTES - escapes, folded,
                                   ht_folded_bytes(count, per_byte));
    if (status != HT_OK) return status;
    unfold(folded, count, coded[0], per_byte, data);
    int exact = per_byte == 2 ? put_escapes(data, count, folded, 2, values, escapes)
                              : put_escapes(data, count, folded, 4, values, escapes);
    return exact ? HT_OK : HT_BAD_STREAM;
}
