/* Byte planes with NEON: 16 elements a step, the same transforms as planes.c. The structure loads and stores
 * (LD2, LD4) cut elements into planes by themselves; elements pass through a block on the stack, which stays in the
 * first cache, so that the transform can treat them whole. */
#include "core.h"

#if defined(__aarch64__)
#include <arm_neon.h>

enum { BLOCK = 16 };

HT_INLINE int uses_base(int transform) { return transform != HT_PLAIN && transform != HT_ROTATE; }

/* The transforms of one element width, on vectors of bytes. */
#define TRANSFORMS(BITS, VECTOR)                                                                                      \
    HT_INLINE VECTOR load##BITS(const uint8_t *p) { return vreinterpretq_u##BITS##_u8(vld1q_u8(p)); }                 \
    HT_INLINE VECTOR negative##BITS(VECTOR x) {                                                                       \
        return vreinterpretq_u##BITS##_s##BITS(vshrq_n_s##BITS(vreinterpretq_s##BITS##_u##BITS(x), BITS - 1));        \
    }                                                                                                                 \
    HT_INLINE VECTOR ordered##BITS(VECTOR x) {                                                                        \
        return veorq_u##BITS(x, vshrq_n_u##BITS(negative##BITS(x), 1));                                               \
    }                                                                                                                 \
    HT_INLINE VECTOR rotate_up##BITS(VECTOR x) {                                                                      \
        return vorrq_u##BITS(vshlq_n_u##BITS(x, 1), vshrq_n_u##BITS(x, BITS - 1));                                    \
    }                                                                                                                 \
    HT_INLINE VECTOR rotate_down##BITS(VECTOR y) {                                                                    \
        return vorrq_u##BITS(vshrq_n_u##BITS(y, 1), vshlq_n_u##BITS(y, BITS - 1));                                    \
    }                                                                                                                 \
    HT_INLINE VECTOR fold##BITS(VECTOR x) { return veorq_u##BITS(vshlq_n_u##BITS(x, 1), negative##BITS(x)); }         \
    HT_INLINE VECTOR unfold##BITS(VECTOR y) {                                                                         \
        return veorq_u##BITS(vshrq_n_u##BITS(y, 1), negative##BITS(vshlq_n_u##BITS(y, BITS - 1)));                    \
    }                                                                                                                 \
    HT_INLINE VECTOR forward##BITS(VECTOR x, VECTOR b, int transform) {                                               \
        switch (transform) {                                                                                          \
        case HT_ROTATE: return rotate_up##BITS(x);                                                                    \
        case HT_XOR: return veorq_u##BITS(x, b);                                                                      \
        case HT_XOR_ROTATE: return rotate_up##BITS(veorq_u##BITS(x, b));                                              \
        case HT_DIFFERENCE: return fold##BITS(vsubq_u##BITS(x, b));                                                   \
        case HT_DIFFERENCE_ORDERED: return fold##BITS(vsubq_u##BITS(ordered##BITS(x), ordered##BITS(b)));             \
        default: return x;                                                                                            \
        }                                                                                                             \
    }                                                                                                                 \
    HT_INLINE VECTOR inverse##BITS(VECTOR y, VECTOR b, int transform) {                                               \
        switch (transform) {                                                                                          \
        case HT_ROTATE: return rotate_down##BITS(y);                                                                  \
        case HT_XOR: return veorq_u##BITS(y, b);                                                                      \
        case HT_XOR_ROTATE: return veorq_u##BITS(rotate_down##BITS(y), b);                                            \
        case HT_DIFFERENCE: return vaddq_u##BITS(unfold##BITS(y), b);                                                 \
        case HT_DIFFERENCE_ORDERED: return ordered##BITS(vaddq_u##BITS(unfold##BITS(y), ordered##BITS(b)));           \
        default: return y;                                                                                            \
        }                                                                                                             \
    }                                                                                                                 \
    HT_INLINE void forward_block##BITS(const uint8_t *data, const uint8_t *base, int transform, uint8_t *block) {     \
        for (int k = 0; k < BLOCK * BITS / 8; k += 16) {                                                              \
            VECTOR b = uses_base(transform) ? load##BITS(base + k) : vdupq_n_u##BITS(0);                              \
            vst1q_u8(block + k, vreinterpretq_u8_u##BITS(forward##BITS(load##BITS(data + k), b, transform)));         \
        }                                                                                                             \
    }                                                                                                                 \
    HT_INLINE void inverse_block##BITS(const uint8_t *block, const uint8_t *base, int transform, uint8_t *data) {     \
        for (int k = 0; k < BLOCK * BITS / 8; k += 16) {                                                              \
            VECTOR b = uses_base(transform) ? load##BITS(base + k) : vdupq_n_u##BITS(0);                              \
            vst1q_u8(data + k, vreinterpretq_u8_u##BITS(inverse##BITS(load##BITS(block + k), b, transform)));         \
        }                                                                                                             \
    }

TRANSFORMS(16, uint16x8_t)
TRANSFORMS(32, uint32x4_t)
TRANSFORMS(64, uint64x2_t)

HT_INLINE void cut(const uint8_t *block, int width, uint8_t *const *planes, size_t i) {
    if (width == 2) {
        uint8x16x2_t v = vld2q_u8(block);
        for (int p = 0; p < 2; p++) vst1q_u8(planes[p] + i, v.val[p]);
    } else if (width == 4) {
        uint8x16x4_t v = vld4q_u8(block);
        for (int p = 0; p < 4; p++) vst1q_u8(planes[p] + i, v.val[p]);
    } else { /* LD4 leaves planes p and p + 4 by turns */
        uint8x16x4_t low = vld4q_u8(block), high = vld4q_u8(block + 64);
        for (int p = 0; p < 4; p++) {
            vst1q_u8(planes[p] + i, vuzp1q_u8(low.val[p], high.val[p]));
            vst1q_u8(planes[p + 4] + i, vuzp2q_u8(low.val[p], high.val[p]));
        }
    }
}

HT_INLINE void join(const uint8_t *const *planes, size_t i, int width, uint8_t *block) {
    if (width == 2) {
        uint8x16x2_t v;
        for (int p = 0; p < 2; p++) v.val[p] = vld1q_u8(planes[p] + i);
        vst2q_u8(block, v);
    } else if (width == 4) {
        uint8x16x4_t v;
        for (int p = 0; p < 4; p++) v.val[p] = vld1q_u8(planes[p] + i);
        vst4q_u8(block, v);
    } else {
        uint8x16x4_t low, high;
        for (int p = 0; p < 4; p++) {
            uint8x16_t a = vld1q_u8(planes[p] + i), b = vld1q_u8(planes[p + 4] + i);
            low.val[p] = vzip1q_u8(a, b);
            high.val[p] = vzip2q_u8(a, b);
        }
        vst4q_u8(block, low);
        vst4q_u8(block + 64, high);
    }
}

HT_INLINE size_t split_loop(const uint8_t *data, const uint8_t *base, size_t count, uint8_t *const *planes, int width,
                            int transform) {
    uint8_t block[BLOCK * HT_MAX_WIDTH];
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK) {
        const uint8_t *from = data + i * width, *against = uses_base(transform) ? base + i * width : base;
        if (width == 2) forward_block16(from, against, transform, block);
        else if (width == 4) forward_block32(from, against, transform, block);
        else forward_block64(from, against, transform, block);
        cut(block, width, planes, i);
    }
    return i;
}

HT_INLINE size_t merge_loop(const uint8_t *const *planes, const uint8_t *base, size_t count, uint8_t *data, int width,
                            int transform) {
    uint8_t block[BLOCK * HT_MAX_WIDTH];
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK) {
        uint8_t *to = data + i * width;
        const uint8_t *against = uses_base(transform) ? base + i * width : base;
        join(planes, i, width, block);
        if (width == 2) inverse_block16(block, against, transform, to);
        else if (width == 4) inverse_block32(block, against, transform, to);
        else inverse_block64(block, against, transform, to);
    }
    return i;
}

#include "planes_simd.h"

void ht_split_neon(const uint8_t *data, const uint8_t *base, size_t count, int width, int transform,
                   uint8_t *const *planes) {
    split_all(data, base, count, width, transform, planes);
}

void ht_merge_neon(const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform,
                   uint8_t *data) {
    merge_all(planes, base, count, width, transform, data);
}
#endif
