/* The prefix code: lengths of at most HT_CODE_BITS from counts, canonical codes from lengths, and the two tables.
 *
 * Codes are canonical: ordered by (length, value), read from the highest bit. Lengths are optimal under the limit
 * (package-merge: Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990). */
#include "core.h"

enum { TABLE_SIZE = 1 << HT_CODE_BITS, CACHE_LINE = 64, HALF_PAGE = 2048, STAGGERED_FROM = 32768 };

/* Equal segments a multiple of a page (or half of one) apart would all lie on the same lines of the cache and drive each
 * other out of it: half the speed, measured, on planes whose size is a power of two. One line more, and they do not
 * meet. */
static size_t even_segment(size_t count) { return (count + HT_STREAMS - 1) / HT_STREAMS; }

int ht_segments_stagger(size_t count) {
    return count >= STAGGERED_FROM && (even_segment(count) + CACHE_LINE) % HALF_PAGE < 2 * CACHE_LINE;
}

size_t ht_segment_bytes(size_t count, int staggered) { return even_segment(count) + (staggered ? CACHE_LINE : 0); }

size_t ht_segment(size_t count, size_t segment, int stream, size_t *begin) {
    *begin = segment * (size_t)stream < count ? segment * (size_t)stream : count;
    return count - *begin < segment ? count - *begin : segment;
}

/* The values that occur, the rarest first: a radix sort, because 256 calls of a comparison cost more than the rest. */
static int sort_by_count(const uint32_t *counts, uint8_t *order) {
    uint8_t other[256], *from = order, *to = other;
    uint32_t most = 0;
    int used = 0;
    for (int v = 0; v < 256; v++) {
        if (counts[v] > 0) order[used++] = (uint8_t)v;
        most |= counts[v];
    }
    for (int shift = 0; shift < 32 && most >> shift != 0; shift += 8) {
        uint16_t place[257] = {0};
        for (int i = 0; i < used; i++) place[(counts[from[i]] >> shift & 255) + 1]++;
        for (int d = 0; d < 256; d++) place[d + 1] += place[d];
        for (int i = 0; i < used; i++) to[place[counts[from[i]] >> shift & 255]++] = from[i];
        uint8_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order) memcpy(order, from, (size_t)used);
    return used;
}

/* One round of package-merge: pairs of `items` become packages, merged by weight with the single symbols. Returns
 * how many items there are then; symbol[i] says which of them are single symbols. */
static int package_merge(uint64_t *items, int count, const uint64_t *weights, int used, uint8_t *symbol) {
    uint64_t merged[512];
    int pairs = count / 2, p = 0, s = 0, n = 0;
    while (p < pairs || s < used) {
        int take = p == pairs || (s < used && weights[s] <= items[2 * p] + items[2 * p + 1]);
        symbol[n] = (uint8_t)take;
        if (take) {
            merged[n++] = weights[s++];
        } else {
            merged[n++] = items[2 * p] + items[2 * p + 1];
            p++;
        }
    }
    memcpy(items, merged, (size_t)n * sizeof *merged);
    return n;
}

/* Returns the number of values that occur; with fewer than two there is no code and all lengths are 0. */
int ht_code_lengths(const uint32_t *counts, uint8_t *lengths) {
    uint8_t order[256], symbol[HT_CODE_BITS][512];
    uint64_t weights[256], items[512];
    int used = sort_by_count(counts, order);
    memset(lengths, 0, 256);
    if (used < 2) return used;
    for (int i = 0; i < used; i++) weights[i] = counts[order[i]];
    int count = 0;
    for (int level = 0; level < HT_CODE_BITS; level++) count = package_merge(items, count, weights, used, symbol[level]);
    int wanted = 2 * used - 2;
    for (int level = HT_CODE_BITS - 1; level >= 0 && wanted > 0; level--) {
        int singles = 0;
        for (int i = 0; i < wanted; i++) singles += symbol[level][i];
        for (int i = 0; i < singles; i++) lengths[order[i]]++;
        wanted = 2 * (wanted - singles);
    }
    return used;
}

/* Whether every bit pattern begins with exactly one code (Kraft's sum is one), so that no table entry stays empty. */
int ht_code_is_complete(const uint8_t *lengths) {
    uint32_t sum = 0;
    for (int v = 0; v < 256; v++) {
        if (lengths[v] > HT_CODE_BITS) return 0;
        if (lengths[v] > 0) sum += (uint32_t)TABLE_SIZE >> lengths[v];
    }
    return sum == TABLE_SIZE;
}

/* The first code of each length, and the values in canonical order. */
static void canonical(const uint8_t *lengths, uint32_t *first, uint8_t *values, int *begin) {
    int count[HT_CODE_BITS + 2] = {0};
    uint32_t code = 0;
    for (int v = 0; v < 256; v++) count[lengths[v]]++;
    begin[1] = 0;
    for (int l = 1; l <= HT_CODE_BITS; l++) {
        first[l] = code;
        code = (code + (uint32_t)count[l]) << 1;
        begin[l + 1] = begin[l] + count[l];
    }
    int next[HT_CODE_BITS + 2];
    memcpy(next, begin, sizeof next);
    for (int v = 0; v < 256; v++)
        if (lengths[v] > 0) values[next[lengths[v]]++] = (uint8_t)v;
}

/* codes[v]: the code from bit 63 downward, its length in the lowest byte. */
void ht_encode_table(const uint8_t *lengths, uint64_t *codes) {
    uint32_t first[HT_CODE_BITS + 2];
    uint8_t values[256];
    int begin[HT_CODE_BITS + 2];
    canonical(lengths, first, values, begin);
    memset(codes, 0, 256 * sizeof *codes);
    for (int l = 1; l <= HT_CODE_BITS; l++)
        for (int i = begin[l]; i < begin[l + 1]; i++)
            codes[values[i]] = (uint64_t)(first[l] + (uint32_t)(i - begin[l])) << (64 - l) | (uint64_t)l;
}

/* pairs[first | second << 8]: both codes as one. Only pairs of values that have codes are written, so that few used
 * values touch little memory. */
void ht_pair_table(const uint64_t *codes, uint64_t *pairs) {
    uint8_t values[256];
    int used = 0;
    for (int v = 0; v < 256; v++)
        if (codes[v] != 0) values[used++] = (uint8_t)v;
    for (int j = 0; j < used; j++) {
        uint64_t second = codes[values[j]], *row = pairs + 256 * (size_t)values[j];
        for (int i = 0; i < used; i++) {
            uint64_t first = codes[values[i]];
            row[values[i]] = first + (((second & ~(uint64_t)255) >> (first & 63)) | (second & 255));
        }
    }
}

typedef struct {
    ht_symbols *table;
    const uint8_t *values;
    const int *begin;
    int symbol_limit;
} table_builder;

/* Fills table[at ...] for what follows a prefix of `symbols` values in `bits` bits: every value whose code still fits
 * extends the prefix; where none fits, the entry is the prefix itself. Canonical order makes both contiguous. */
static void fill(const table_builder *b, uint32_t at, uint64_t values, int symbols, int bits) {
    uint32_t end = at + ((uint32_t)TABLE_SIZE >> bits);
    if (symbols < b->symbol_limit) {
        for (int l = 1; l <= HT_CODE_BITS - bits; l++) {
            uint32_t step = (uint32_t)TABLE_SIZE >> (bits + l);
            for (int i = b->begin[l]; i < b->begin[l + 1]; i++, at += step)
                fill(b, at, values | (uint64_t)b->values[i] << (8 * symbols), symbols + 1, bits + l);
        }
    }
    uint8_t entry[8];
    ht_store_u64le(entry, values | (uint64_t)bits << 48 | (uint64_t)symbols << 56);
    for (; at < end; at++) memcpy(&b->table[at], entry, 8);
}

/* Building the table for several values a lookup pays for planes of a few thousand bytes and more. */
void ht_decode_table(const uint8_t *lengths, int several_symbols, ht_symbols *table) {
    uint32_t first[HT_CODE_BITS + 2];
    uint8_t values[256];
    int begin[HT_CODE_BITS + 2];
    canonical(lengths, first, values, begin);
    table_builder b = {table, values, begin, several_symbols ? HT_MAX_SYMBOLS_PER_LOOKUP : 1};
    fill(&b, 0, 0, 0, 0);
}
