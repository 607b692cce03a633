/* How to code a chunk, decided on a sample of it: which delta, and which codec for each plane.
 *
 * A sample is RUNS short runs of neighbouring elements, spread evenly; trying the codecs instead would cost more than
 * the coding itself on planes that do not shrink. */
#include "core.h"

enum { RUNS = 16, SAMPLE_MOST = 4096, SAMPLE_LEAST = 1024, SAMPLE_SHARE = 128 };

/* A plane this close to 8 bits stays raw: coding it costs time at both ends and gains next to nothing. */
static double raw_from_bits(int effort) { return effort >= 2 ? 7.92 : 7.80; }

/* A plane of seven bits, when hardly less than seven. */
static double septets_from_bits(int effort) { return effort >= 2 ? 6.97 : 6.85; }

/* From this share of one value on, only the others are coded: their places cost least then, and the time is theirs. */
static const double sparse_from_share = 0.88;

/* Small planes go to zstd below this: its headers are shorter than a code's lengths. */
static const double small_zstd_below_bits = 1.5;
enum { SMALL_PLANE = 4096 };

/* From here on strings of 8 bytes do not repeat by chance. */
static const double repeats_tell_from_bits = 2.5;

/* Nor do they from here on: text, logs and programs have fewer bits, and the search takes longer than the bytes' coding
 * may be held up. */
static const double repeats_tell_below_bits = 6.5;

/* A base must gain at least this share, because using it ties the frame to what the receiver holds. */
static const double delta_gain_ratio = 0.98;

typedef struct {
    const ht_kernels *kernels;
    const uint8_t *data, *base;
    size_t count, sampled;
    int width, floating, effort;
} sample;

static void split_sample(const sample *s, int transform, uint8_t planes[HT_MAX_WIDTH][SAMPLE_MOST]) {
    uint8_t *target[HT_MAX_WIDTH];
    int whole = s->sampled == s->count;
    size_t runs = whole ? 1 : RUNS, run = s->sampled / runs;
    for (size_t r = 0; r < runs; r++) {
        size_t at = whole ? 0 : (s->count - run) / (RUNS - 1) * r;
        for (int p = 0; p < s->width; p++) target[p] = planes[p] + r * run;
        s->kernels->split(s->data + at * s->width, s->base ? s->base + at * s->width : NULL, run, s->width, transform,
                          target);
    }
}

/* Chooses the codec of plane p from its sample; returns the bits per value to expect. */
static double choose(const sample *s, const uint32_t *counts, int p, ht_plan *plan) {
    size_t seen = 0, odd = 0, lowest = 256, highest = 0, most = 0;
    for (size_t v = 0; v < 256; v++) {
        if (counts[v] == 0) continue;
        seen++;
        odd += v & 1 ? counts[v] : 0;
        lowest = v < lowest ? v : lowest;
        highest = v;
        if (counts[v] > most) {
            most = counts[v];
            plan->common[p] = (uint8_t)v;
        }
    }
    double bits = ht_sample_entropy_bits(counts, s->sampled, s->count);
    double huffman = bits + 8 * (38 + (double)(highest - lowest) / 2) / (double)s->count; /* with its header */
    int small = s->count < SMALL_PLANE, one_bit_fixed = odd == 0 || odd == s->sampled;
    plan->codec[p] = HT_RAW;
    if (seen == 1) plan->codec[p] = HT_CONSTANT;
    else if (small && bits < small_zstd_below_bits) plan->codec[p] = HT_ZSTD;
    else if ((double)most >= sparse_from_share * (double)s->sampled) plan->codec[p] = HT_SPARSE;
    else if (one_bit_fixed && huffman > septets_from_bits(s->effort)) plan->codec[p] = HT_SEPTETS;
    else if (huffman < raw_from_bits(s->effort)) plan->codec[p] = HT_HUFFMAN;
    return plan->codec[p] == HT_RAW ? 8 : plan->codec[p] == HT_SEPTETS ? 7 : bits;
}

/* Plans all planes for one delta; returns the expected bits per element. */
static double assess(const sample *s, int delta, ht_plan *plan) {
    uint8_t planes[HT_MAX_WIDTH][SAMPLE_MOST];
    uint32_t counts[HT_STREAMS][256], sum[256];
    double total = 0;
    plan->delta = delta;
    split_sample(s, ht_transform_of(delta, s->floating, s->width), planes);
    for (int p = 0; p < s->width; p++) {
        s->kernels->histogram(planes[p], s->sampled, counts);
        ht_sum_counts(counts, sum);
        total += choose(s, sum, p, plan);
    }
    plan->bits = total;
    return total;
}

void ht_plan_chunk(const ht_kernels *kernels, const uint8_t *data, const uint8_t *base, size_t count, int width,
                   int floating, int effort, ht_plan *plan) {
    size_t sampled = count / SAMPLE_SHARE;
    sampled = sampled < SAMPLE_LEAST ? SAMPLE_LEAST : sampled > SAMPLE_MOST ? SAMPLE_MOST : sampled;
    sampled = count < sampled ? count : sampled / RUNS * RUNS;
    sample s = {kernels, data, NULL, count, sampled, width, floating, effort};
    double least = assess(&s, HT_DELTA_NONE, plan);
    int telling = width == 1 && plan->codec[0] == HT_HUFFMAN && least >= repeats_tell_from_bits;
    telling = telling && least < repeats_tell_below_bits;
    if (telling && ht_repeats_itself(data, count)) plan->codec[0] = HT_ZSTD;
    if (base == NULL) return;
    s.base = base;
    least *= delta_gain_ratio;
    for (int delta = HT_DELTA_XOR; delta <= HT_DELTA_DIFFERENCE; delta++) {
        ht_plan other;
        double bits = assess(&s, delta, &other);
        if (bits >= least) continue;
        least = bits;
        *plan = other;
    }
}
