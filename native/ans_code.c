/* The tables of the ANS coder: counts scaled to a power of two, the order of the states, and what both directions look
 * up for each step.
 *
 * Tabled asymmetric numeral systems (tANS): Duda, "Asymmetric numeral systems: entropy coding combining speed of
 * Huffman coding with compression rate of arithmetic coding", arXiv:1311.2540, 2013. The states are spread over the
 * values by the odd step of Collet's FSE (5/8 of the table and 3), which is as close to the entropy as exact spreads
 * are, within 0.1 %. All of it is whole numbers: every machine makes the same tables. */
#include "core.h"

enum { FRACTION_BITS = 16 };

int ht_ans_table_bits(size_t count) {
    return count >= HT_ANS_LARGE ? HT_ANS_MOST_BITS : count >= HT_ANS_LARGE / 4 ? HT_ANS_MOST_BITS - 1 : HT_ANS_LEAST_BITS;
}

/* What adding a state to value v gains, or taking one away costs: about its count by its states. */
static int best_of(const uint32_t *counts, const uint16_t *states, int add) {
    int best = -1;
    uint64_t count = 0, weight = 1;
    for (int v = 0; v < 256; v++) {
        if (states[v] == 0 || (!add && states[v] == 1)) continue;
        uint64_t w = 2 * (uint64_t)states[v] + (add ? 1 : 0) - (add ? 0 : 1);
        uint64_t ours = counts[v] * weight, theirs = count * w;
        if (best >= 0 && (add ? ours <= theirs : ours >= theirs)) continue;
        best = v;
        count = counts[v];
        weight = w;
    }
    return best;
}

/* states[v] of the 2^table_bits states for each value that occurs, at least one; needs that many. */
void ht_ans_scale(const uint32_t *counts, int table_bits, uint16_t *states) {
    uint64_t total = 0, common = 0;
    int64_t left = (int64_t)1 << table_bits;
    for (int v = 0; v < 256; v++) total += counts[v];
    /* The rare get one each, more than their share; the common ones divide what is left. */
    for (int v = 0; v < 256; v++) {
        int rare = (uint64_t)counts[v] << table_bits < total;
        states[v] = rare && counts[v] > 0;
        left -= states[v];
        if (!rare) common += counts[v];
    }
    int64_t room = left;
    for (int v = 0; v < 256; v++) {
        if ((uint64_t)counts[v] << table_bits < total) continue;
        uint64_t share = ((uint64_t)counts[v] * (uint64_t)room << FRACTION_BITS) / common;
        uint64_t whole = share >> FRACTION_BITS;
        /* Up from the geometric mean, where both neighbours cost the same. */
        whole += share * share > whole * (whole + 1) << (2 * FRACTION_BITS);
        states[v] = (uint16_t)(whole > 0 ? whole : 1);
        left -= states[v];
    }
    for (; left > 0; left--) states[best_of(counts, states, 1)]++;
    for (; left < 0; left++) states[best_of(counts, states, 0)]--;
}

/* order[i]: the value of state i. */
static void spread(const uint16_t *states, int table_bits, uint8_t *order) {
    uint32_t size = (uint32_t)1 << table_bits, step = (size >> 1) + (size >> 3) + 3, at = 0;
    for (int v = 0; v < 256; v++) {
        for (int i = 0; i < states[v]; i++) {
            order[at] = (uint8_t)v;
            at = (at + step) & (size - 1);
        }
    }
}

void ht_ans_encode_table(const uint16_t *states, int table_bits, ht_ans_encoder *e) {
    uint8_t order[1 << HT_ANS_MOST_BITS];
    uint16_t place[256];
    uint32_t size = (uint32_t)1 << table_bits, begin = 0;
    spread(states, table_bits, order);
    for (int v = 0; v < 256; v++) {
        uint32_t n = states[v];
        place[v] = (uint16_t)begin;
        /* From x = n 2^bits on a state gives one bit more: the sum's upper half counts them without a comparison. */
        uint32_t bits = n > 1 ? (uint32_t)table_bits - (31 - (uint32_t)__builtin_clz(n - 1)) : (uint32_t)table_bits;
        e->steps[v].bits = n > 0 ? (bits << 16) - (n << bits) : 0;
        e->steps[v].place = (int32_t)begin - (int32_t)n;
        begin += n;
    }
    for (uint32_t i = 0; i < size; i++) e->next[place[order[i]]++] = (uint16_t)(size + i);
}

void ht_ans_decode_table(const uint16_t *states, int table_bits, ht_ans_entry *table) {
    uint8_t order[1 << HT_ANS_MOST_BITS];
    uint16_t next[256];
    uint32_t size = (uint32_t)1 << table_bits;
    spread(states, table_bits, order);
    memcpy(next, states, sizeof next);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t x = next[order[i]]++, bits = (uint32_t)table_bits - (31 - (uint32_t)__builtin_clz(x));
        table[i] = (ht_ans_entry){(uint16_t)((x << bits) - size), order[i], (uint8_t)bits};
    }
}
