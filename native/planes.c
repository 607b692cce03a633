/* Elements to byte planes and back: the reference that every faster version must equal.
 *
 * Plane p holds byte p (0 is the lowest) of every transformed element. A float's sign is rotated to the bottom so
 * that the exponent is not cut in two: in fp32 and bf16 the top plane is then exactly the exponent. Differences are
 * taken between integers of the same order as the floats (negative floats have their magnitude bits inverted), and
 * the sign of a difference goes to the lowest bit, where the noise is, so that small changes of either sign have
 * zeros in their upper planes. */
#include "core.h"

int ht_transform_of(int delta, int floating, int width) {
    floating = floating && width > 1; /* one plane: rotating the bits of a byte gains nothing */
    if (delta == HT_DELTA_XOR) return floating ? HT_XOR_ROTATE : HT_XOR;
    if (delta == HT_DELTA_DIFFERENCE) return floating ? HT_DIFFERENCE_ORDERED : HT_DIFFERENCE;
    return floating ? HT_ROTATE : HT_PLAIN;
}

HT_INLINE uint64_t mask_of(int width) { return ~(uint64_t)0 >> (64 - 8 * width); }

/* All ones below the top bit where the top bit is set, else zero. */
HT_INLINE uint64_t ordered(uint64_t x, int width) {
    uint64_t negative = x >> (8 * width - 1) & 1;
    return x ^ ((0 - negative) & (mask_of(width) >> 1));
}

HT_INLINE uint64_t rotate_up(uint64_t x, int width) {
    return (x << 1 | x >> (8 * width - 1)) & mask_of(width);
}

HT_INLINE uint64_t fold_sign(uint64_t x, int width) {
    uint64_t negative = x >> (8 * width - 1) & 1;
    return (x << 1 ^ (0 - negative)) & mask_of(width);
}

HT_INLINE uint64_t forward(uint64_t x, uint64_t b, int transform, int width) {
    switch (transform) {
    case HT_ROTATE: return rotate_up(x, width);
    case HT_XOR: return x ^ b;
    case HT_XOR_ROTATE: return rotate_up(x ^ b, width);
    case HT_DIFFERENCE: return fold_sign((x - b) & mask_of(width), width);
    case HT_DIFFERENCE_ORDERED: return fold_sign((ordered(x, width) - ordered(b, width)) & mask_of(width), width);
    default: return x;
    }
}

HT_INLINE uint64_t inverse(uint64_t y, uint64_t b, int transform, int width) {
    uint64_t rotated = y >> 1 | (y & 1) << (8 * width - 1);
    uint64_t unfolded = (y >> 1 ^ (0 - (y & 1))) & mask_of(width);
    switch (transform) {
    case HT_ROTATE: return rotated;
    case HT_XOR: return y ^ b;
    case HT_XOR_ROTATE: return rotated ^ b;
    case HT_DIFFERENCE: return (unfolded + b) & mask_of(width);
    case HT_DIFFERENCE_ORDERED: return ordered((unfolded + ordered(b, width)) & mask_of(width), width);
    default: return y;
    }
}

HT_INLINE int uses_base(int transform) { return transform != HT_PLAIN && transform != HT_ROTATE; }

HT_INLINE uint64_t load_element(const uint8_t *p, int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

HT_INLINE void split_loop(const uint8_t *data, const uint8_t *base, size_t count, int width, int transform,
                          uint8_t *const *planes) {
    for (size_t i = 0; i < count; i++) {
        uint64_t b = uses_base(transform) ? load_element(base + i * width, width) : 0;
        uint64_t y = forward(load_element(data + i * width, width), b, transform, width);
        for (int p = 0; p < width; p++) planes[p][i] = (uint8_t)(y >> (8 * p));
    }
}

HT_INLINE void merge_loop(const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform,
                          uint8_t *data) {
    for (size_t i = 0; i < count; i++) {
        uint64_t y = 0;
        for (int p = 0; p < width; p++) y |= (uint64_t)planes[p][i] << (8 * p);
        uint64_t b = uses_base(transform) ? load_element(base + i * width, width) : 0;
        uint64_t x = inverse(y, b, transform, width);
        for (int p = 0; p < width; p++) data[i * width + p] = (uint8_t)(x >> (8 * p));
    }
}

/* One loop per width and transform, so that the compiler sees both as constants. */
#define EACH_TRANSFORM(LOOP, W, ...)                                                                                  \
    switch (transform) {                                                                                              \
    case HT_ROTATE: LOOP(__VA_ARGS__, W, HT_ROTATE, target); return;                                                  \
    case HT_XOR: LOOP(__VA_ARGS__, W, HT_XOR, target); return;                                                        \
    case HT_XOR_ROTATE: LOOP(__VA_ARGS__, W, HT_XOR_ROTATE, target); return;                                          \
    case HT_DIFFERENCE: LOOP(__VA_ARGS__, W, HT_DIFFERENCE, target); return;                                          \
    case HT_DIFFERENCE_ORDERED: LOOP(__VA_ARGS__, W, HT_DIFFERENCE_ORDERED, target); return;                          \
    default: LOOP(__VA_ARGS__, W, HT_PLAIN, target); return;                                                          \
    }
#define EACH_WIDTH(LOOP, ...)                                                                                         \
    switch (width) {                                                                                                  \
    case 1: EACH_TRANSFORM(LOOP, 1, __VA_ARGS__)                                                                      \
    case 2: EACH_TRANSFORM(LOOP, 2, __VA_ARGS__)                                                                      \
    case 4: EACH_TRANSFORM(LOOP, 4, __VA_ARGS__)                                                                      \
    case 8: EACH_TRANSFORM(LOOP, 8, __VA_ARGS__)                                                                      \
    }

void ht_split_scalar(const uint8_t *data, const uint8_t *base, size_t count, int width, int transform,
                     uint8_t *const *target) {
    EACH_WIDTH(split_loop, data, base, count)
}

void ht_merge_scalar(const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform,
                     uint8_t *target) {
    EACH_WIDTH(merge_loop, planes, base, count)
}
