/* Planes of nearly one value: where the others are, and what they are.
 *
 *     the common value | codec of the gaps, codec of the values << 4 | u32: gaps | u32: values |
 *     u32: bytes of the coded gaps | coded gaps | coded values
 *
 * A gap is how many common values come before the next other one; 255 is as many and no value after them. Where the
 * others fall by chance, gaps are distributed geometrically, and coding them one by one takes no more than the plane's
 * own entropy, at the cost of the others only. Gaps and values are coded as planes are (raw, one value, Huffman, ANS). */
#include "core.h"

enum { HEADER_BYTES = 14, LONGEST_GAP = 255, MOST_SHARE = 5, FEWEST_VALUES = 256, VALUE_BITS = 8 };

typedef struct {
    uint8_t *gaps, *values;
    size_t gap_count, value_count;
} lists;

static size_t most_values(size_t count) { return count / MOST_SHARE; }

static size_t most_gaps(size_t count) { return count / MOST_SHARE + count / LONGEST_GAP + 1; }

/* The highest bit of each byte that is not 0. */
HT_INLINE uint64_t bytes_set(uint64_t x) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7fULL;
    return (((x & low) + low) | x) & ~low;
}

/* Returns 0 when there are too many. */
HT_INLINE int append(lists *l, size_t gap, uint8_t value, size_t most) {
    if (l->value_count == most) return 0;
    for (; gap >= LONGEST_GAP; gap -= LONGEST_GAP) l->gaps[l->gap_count++] = LONGEST_GAP;
    l->gaps[l->gap_count++] = (uint8_t)gap;
    l->values[l->value_count++] = value;
    return 1;
}

static int collect(const uint8_t *data, size_t count, uint8_t common, lists *l) {
    uint64_t all = common * 0x0101010101010101ULL;
    size_t i = 0, next = 0, most = most_values(count);
    for (; i + 8 <= count; i += 8) {
        for (uint64_t others = bytes_set(ht_load_u64le(data + i) ^ all); others != 0; others &= others - 1) {
            size_t at = i + (size_t)__builtin_ctzll(others) / 8;
            if (!append(l, at - next, data[at], most)) return 0;
            next = at + 1;
        }
    }
    for (; i < count; i++) {
        if (data[i] == common) continue;
        if (!append(l, i - next, data[i], most)) return 0;
        next = i + 1;
    }
    return 1;
}

static size_t encode_list(const ht_kernels *kernels, const uint8_t *list, size_t count, ht_scratch scratch,
                          uint8_t *coded, size_t capacity, int *codec) {
    size_t bytes = ht_order0_encode(kernels, list, count, scratch, VALUE_BITS, coded, count < capacity ? count : capacity,
                                    codec);
    if (bytes > 0) return bytes;
    *codec = HT_RAW;
    if (count > 0 && memcmp(list, list + 1, count - 1) == 0) {
        *codec = HT_CONSTANT;
        count = 1;
    }
    if (count > capacity) return SIZE_MAX;
    memcpy(coded, list, count);
    return count;
}

/* Returns the bytes written, or 0 when they would not be fewer than `capacity` or the plane has too many others. */
size_t ht_sparse_encode(const ht_kernels *kernels, const uint8_t *data, size_t count, uint8_t common,
                        ht_scratch scratch, uint8_t *coded, size_t capacity) {
    lists l = {scratch.folded, scratch.folded + most_gaps(count), 0, 0};
    if (count < FEWEST_VALUES || capacity < HEADER_BYTES || !collect(data, count, common, &l)) return 0;
    int gap_codec, value_codec;
    size_t room = capacity - HEADER_BYTES;
    uint8_t *at = coded + HEADER_BYTES;
    size_t gaps = encode_list(kernels, l.gaps, l.gap_count, scratch, at, room, &gap_codec);
    if (gaps >= room) return 0;
    size_t values = encode_list(kernels, l.values, l.value_count, scratch, at + gaps, room - gaps, &value_codec);
    if (values >= room - gaps) return 0;
    coded[0] = common;
    coded[1] = (uint8_t)(gap_codec | value_codec << 4);
    ht_store_u32le(coded + 2, (uint32_t)l.gap_count);
    ht_store_u32le(coded + 6, (uint32_t)l.value_count);
    ht_store_u32le(coded + 10, (uint32_t)gaps);
    return HEADER_BYTES + gaps + values;
}

static int decode_list(const ht_kernels *kernels, int codec, const uint8_t *coded, size_t bytes, uint8_t *list,
                       size_t count) {
    switch (codec) {
    case HT_CONSTANT:
        if (bytes != 1 || count == 0) return HT_BAD_PLANE;
        memset(list, *coded, count);
        return HT_OK;
    case HT_RAW:
        if (bytes != count) return HT_BAD_PLANE;
        memcpy(list, coded, count);
        return HT_OK;
    case HT_HUFFMAN: return ht_huffman_decode(kernels, coded, bytes, list, count);
    case HT_ANS: return ht_ans_decode(kernels, coded, bytes, list, count);
    default: return HT_BAD_PLANE;
    }
}

/* Returns 0 unless every gap and value finds its place in the plane. */
static int scatter(const lists *l, uint8_t *data, size_t count) {
    size_t at = 0, used = 0;
    for (size_t i = 0; i < l->gap_count; i++) {
        at += l->gaps[i];
        if (at >= count) return 0;
        if (l->gaps[i] == LONGEST_GAP) continue;
        if (used == l->value_count) return 0;
        data[at++] = l->values[used++];
    }
    return used == l->value_count;
}

/* scratch: count / 2 + 1 bytes. */
int ht_sparse_decode(const ht_kernels *kernels, const uint8_t *coded, size_t coded_bytes, uint8_t *scratch,
                     uint8_t *data, size_t count) {
    if (coded_bytes < HEADER_BYTES || count < FEWEST_VALUES) return HT_BAD_PLANE;
    lists l = {scratch, scratch + most_gaps(count), ht_load_u32le(coded + 2), ht_load_u32le(coded + 6)};
    size_t bytes = ht_load_u32le(coded + 10), room = coded_bytes - HEADER_BYTES;
    if (l.gap_count > most_gaps(count) || l.value_count > most_values(count) || bytes > room) return HT_BAD_PLANE;
    const uint8_t *at = coded + HEADER_BYTES;
    int status = decode_list(kernels, coded[1] & 15, at, bytes, l.gaps, l.gap_count);
    if (status == HT_OK) status = decode_list(kernels, coded[1] >> 4, at + bytes, room - bytes, l.values, l.value_count);
    if (status != HT_OK) return status;
    memset(data, coded[0], count);
    return scatter(&l, data, count) ? HT_OK : HT_BAD_STREAM;
}
