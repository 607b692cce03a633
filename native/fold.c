/* Planes below about two bits a byte: Huffman cannot give a value less than one bit, so two or four neighbours become
 * one byte first, which also halves or quarters the work.
 *
 *     lowest value | values per byte: 2 or 4 | u32: escapes | escaped values | Huffman block of the folded bytes
 *
 * A value's class is its distance from the lowest value; the highest class, 15 or 3, is an escape: the value itself
 * is in the list. Such planes are narrow: the upper bytes of differences are 0 or 1, with rare large ones. */
#include "core.h"

size_t ht_folded_bytes(size_t count, int per_byte) { return (count + (size_t)per_byte - 1) / (size_t)per_byte; }

HT_INLINE uint8_t class_of(uint8_t value, uint8_t low, uint8_t escape) {
    uint8_t distance = (uint8_t)(value - low);
    return distance < escape ? distance : escape;
}

static void fold_pairs(const uint8_t *data, size_t whole, uint8_t low, uint8_t *folded) {
    for (size_t i = 0; i < whole; i++)
        folded[i] = (uint8_t)(class_of(data[2 * i], low, 15) | class_of(data[2 * i + 1], low, 15) << 4);
}

static void fold_fours(const uint8_t *data, size_t whole, uint8_t low, uint8_t *folded) {
    for (size_t i = 0; i < whole; i++)
        folded[i] = (uint8_t)(class_of(data[4 * i], low, 3) | class_of(data[4 * i + 1], low, 3) << 2 |
                              class_of(data[4 * i + 2], low, 3) << 4 | class_of(data[4 * i + 3], low, 3) << 6);
}

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

void ht_fold(const uint8_t *data, size_t count, uint8_t low, int per_byte, uint8_t *folded) {
    size_t whole = count / (size_t)per_byte, done = whole * (size_t)per_byte;
    if (per_byte == 2) fold_pairs(data, whole, low, folded);
    else fold_fours(data, whole, low, folded);
    if (done == count) return;
    uint8_t last[4];
    memset(last, low, sizeof last);
    memcpy(last, data + done, count - done);
    if (per_byte == 2) fold_pairs(last, 1, low, folded + whole);
    else fold_fours(last, 1, low, folded + whole);
}

/* Whether any class in the eight folded bytes is the escape, that is, has all its bits set. */
HT_INLINE int has_escape(uint64_t eight, int per_byte) {
    uint64_t all = eight & eight >> 1;
    if (per_byte == 2) return (all & all >> 2 & 0x1111111111111111ULL) != 0;
    return (all & 0x5555555555555555ULL) != 0;
}

/* The first escaped value at or after `at`, or `count`. Escapes are rare: eight bytes are ruled out at a time. */
static size_t next_escape(const uint8_t *folded, size_t at, size_t count, int per_byte) {
    int bits = 8 / per_byte, escape = (1 << bits) - 1;
    size_t values = 8 * (size_t)per_byte;
    while (at < count) {
        const uint8_t *byte = folded + at / (size_t)per_byte;
        if (at % values == 0 && count - at >= values && !has_escape(ht_load_u64le(byte), per_byte)) {
            at += values;
            continue;
        }
        if ((*byte >> (bits * (int)(at % (size_t)per_byte)) & escape) == escape) return at;
        at++;
    }
    return count;
}

/* Returns the bytes written, or 0 when they would not be fewer than `capacity`. */
size_t ht_folded_encode(const ht_kernels *kernels, const uint8_t *data, size_t count, uint8_t low, int per_byte,
                        ht_scratch scratch, uint8_t *coded, size_t capacity) {
    size_t at = 6;
    ht_fold(data, count, low, per_byte, scratch.folded);
    for (size_t i = next_escape(scratch.folded, 0, count, per_byte); i < count && at < capacity;
         i = next_escape(scratch.folded, i + 1, count, per_byte))
        coded[at++] = data[i];
    if (at >= capacity) return 0;
    coded[0] = low;
    coded[1] = (uint8_t)per_byte;
    ht_store_u32le(coded + 2, (uint32_t)(at - 6));
    size_t block = ht_huffman_encode(kernels, scratch.folded, ht_folded_bytes(count, per_byte), scratch.pairs,
                                     coded + at, capacity - at);
    return block > 0 ? at + block : 0;
}

int ht_folded_decode(const ht_kernels *kernels, const uint8_t *coded, size_t coded_bytes, uint8_t *folded,
                     uint8_t *data, size_t count) {
    if (coded_bytes < 6 || (coded[1] != 2 && coded[1] != 4)) return HT_BAD_PLANE;
    int per_byte = coded[1];
    uint8_t low = coded[0];
    size_t escapes = ht_load_u32le(coded + 2), bytes = ht_folded_bytes(count, per_byte), used = 0;
    if (escapes > coded_bytes - 6) return HT_BAD_PLANE;
    int status = ht_huffman_decode(kernels, coded + 6 + escapes, coded_bytes - 6 - escapes, folded, bytes);
    if (status != HT_OK) return status;
    size_t whole = count / (size_t)per_byte, done = whole * (size_t)per_byte;
    uint8_t last[4];
    if (per_byte == 2) unfold_pairs(folded, whole, low, data);
    else unfold_fours(folded, whole, low, data);
    if (done < count) {
        if (per_byte == 2) unfold_pairs(folded + whole, 1, low, last);
        else unfold_fours(folded + whole, 1, low, last);
        memcpy(data + done, last, count - done);
    }
    for (size_t i = next_escape(folded, 0, count, per_byte); i < count;
         i = next_escape(folded, i + 1, count, per_byte)) {
        if (used == escapes) return HT_BAD_STREAM;
        data[i] = coded[6 + used++];
    }
    return used == escapes ? HT_OK : HT_BAD_STREAM;
}
