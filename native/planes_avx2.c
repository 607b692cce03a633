/* Byte planes with AVX2: 32 elements a step, the same transforms as planes.c.
 *
 * A vector's low half comes from the first 16 elements of the block and its high half from the last 16, because
 * AVX2 shuffles stay inside a half: each plane then comes out as 32 bytes in order. Inside a half, one byte shuffle
 * groups the planes and a small transposition across `width` vectors collects them. */
#include "core.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define VECTOR HT_INLINE TARGET __m256i

VECTOR add(__m256i a, __m256i b, int width) {
    return width == 2 ? _mm256_add_epi16(a, b) : width == 4 ? _mm256_add_epi32(a, b) : _mm256_add_epi64(a, b);
}

VECTOR subtract(__m256i a, __m256i b, int width) {
    return width == 2 ? _mm256_sub_epi16(a, b) : width == 4 ? _mm256_sub_epi32(a, b) : _mm256_sub_epi64(a, b);
}

VECTOR shift_up(__m256i a, int by, int width) {
    return width == 2 ? _mm256_slli_epi16(a, by) : width == 4 ? _mm256_slli_epi32(a, by) : _mm256_slli_epi64(a, by);
}

VECTOR shift_down(__m256i a, int by, int width) {
    return width == 2 ? _mm256_srli_epi16(a, by) : width == 4 ? _mm256_srli_epi32(a, by) : _mm256_srli_epi64(a, by);
}

/* All ones in each element whose top bit is set. */
VECTOR negative(__m256i a, int width) {
    __m256i zero = _mm256_setzero_si256();
    return width == 2   ? _mm256_cmpgt_epi16(zero, a)
           : width == 4 ? _mm256_cmpgt_epi32(zero, a)
                        : _mm256_cmpgt_epi64(zero, a);
}

VECTOR ordered(__m256i a, int width) { return _mm256_xor_si256(a, shift_down(negative(a, width), 1, width)); }

VECTOR rotate_up(__m256i a, int width) {
    return _mm256_or_si256(add(a, a, width), shift_down(a, 8 * width - 1, width));
}

VECTOR rotate_down(__m256i a, int width) {
    return _mm256_or_si256(shift_down(a, 1, width), shift_up(a, 8 * width - 1, width));
}

VECTOR fold_sign(__m256i a, int width) { return _mm256_xor_si256(add(a, a, width), negative(a, width)); }

VECTOR unfold_sign(__m256i a, int width) {
    return _mm256_xor_si256(shift_down(a, 1, width), negative(shift_up(a, 8 * width - 1, width), width));
}

VECTOR forward(__m256i x, __m256i b, int transform, int width) {
    switch (transform) {
    case HT_ROTATE: return rotate_up(x, width);
    case HT_XOR: return _mm256_xor_si256(x, b);
    case HT_XOR_ROTATE: return rotate_up(_mm256_xor_si256(x, b), width);
    case HT_DIFFERENCE: return fold_sign(subtract(x, b, width), width);
    case HT_DIFFERENCE_ORDERED: return fold_sign(subtract(ordered(x, width), ordered(b, width), width), width);
    default: return x;
    }
}

VECTOR inverse(__m256i y, __m256i b, int transform, int width) {
    switch (transform) {
    case HT_ROTATE: return rotate_down(y, width);
    case HT_XOR: return _mm256_xor_si256(y, b);
    case HT_XOR_ROTATE: return _mm256_xor_si256(rotate_down(y, width), b);
    case HT_DIFFERENCE: return add(unfold_sign(y, width), b, width);
    case HT_DIFFERENCE_ORDERED: return ordered(add(unfold_sign(y, width), ordered(b, width), width), width);
    default: return y;
    }
}

VECTOR load_halves(const uint8_t *low, const uint8_t *high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
                                   _mm_loadu_si128((const __m128i *)high), 1);
}

HT_INLINE TARGET void store_halves(uint8_t *low, uint8_t *high, __m256i v) {
    _mm_storeu_si128((__m128i *)low, _mm256_castsi256_si128(v));
    _mm_storeu_si128((__m128i *)high, _mm256_extracti128_si256(v, 1));
}

/* Inside a half: bytes of elements -> bytes of planes, and back. */
VECTOR group(__m256i v, int width) {
    __m128i order = width == 2   ? _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)
                    : width == 4 ? _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
                                 : _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}

VECTOR ungroup(__m256i v, int width) { return group(v, width == 2 ? 8 : width == 8 ? 2 : 4); }

HT_INLINE TARGET void transpose2(__m256i *v) {
    __m256i a = _mm256_unpacklo_epi64(v[0], v[1]);
    v[1] = _mm256_unpackhi_epi64(v[0], v[1]);
    v[0] = a;
}

HT_INLINE TARGET void transpose4(__m256i *v) {
    __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
    __m256i c = _mm256_unpacklo_epi32(v[2], v[3]), d = _mm256_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm256_unpacklo_epi64(a, c);
    v[1] = _mm256_unpackhi_epi64(a, c);
    v[2] = _mm256_unpacklo_epi64(b, d);
    v[3] = _mm256_unpackhi_epi64(b, d);
}

HT_INLINE TARGET void transpose8(__m256i *v) {
    __m256i pairs[8], quads[8];
    for (int i = 0; i < 4; i++) {
        pairs[i] = _mm256_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        pairs[4 + i] = _mm256_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int h = 0; h < 2; h++) {
        for (int i = 0; i < 2; i++) {
            quads[4 * h + i] = _mm256_unpacklo_epi32(pairs[4 * h + 2 * i], pairs[4 * h + 2 * i + 1]);
            quads[4 * h + 2 + i] = _mm256_unpackhi_epi32(pairs[4 * h + 2 * i], pairs[4 * h + 2 * i + 1]);
        }
    }
    for (int i = 0; i < 4; i++) {
        v[2 * i] = _mm256_unpacklo_epi64(quads[2 * i], quads[2 * i + 1]);
        v[2 * i + 1] = _mm256_unpackhi_epi64(quads[2 * i], quads[2 * i + 1]);
    }
}

HT_INLINE TARGET void transpose(__m256i *v, int width) {
    if (width == 2) transpose2(v);
    else if (width == 4) transpose4(v);
    else transpose8(v);
}

HT_INLINE int uses_base(int transform) { return transform != HT_PLAIN && transform != HT_ROTATE; }

HT_INLINE TARGET size_t split_loop(const uint8_t *data, const uint8_t *base, size_t count, uint8_t *const *planes,
                                   int width, int transform) {
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m256i v[8];
        for (int k = 0; k < width; k++) {
            size_t low = i * width + 16 * k, high = low + 16 * width;
            __m256i b = _mm256_setzero_si256();
            if (uses_base(transform)) b = load_halves(base + low, base + high);
            v[k] = group(forward(load_halves(data + low, data + high), b, transform, width), width);
        }
        transpose(v, width);
        for (int k = 0; k < width; k++) _mm256_storeu_si256((__m256i *)(planes[k] + i), v[k]);
    }
    return i;
}

HT_INLINE TARGET size_t merge_loop(const uint8_t *const *planes, const uint8_t *base, size_t count, uint8_t *data,
                                   int width, int transform) {
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m256i v[8];
        for (int k = 0; k < width; k++) v[k] = _mm256_loadu_si256((const __m256i *)(planes[k] + i));
        transpose(v, width);
        for (int k = 0; k < width; k++) {
            size_t low = i * width + 16 * k, high = low + 16 * width;
            __m256i b = _mm256_setzero_si256();
            if (uses_base(transform)) b = load_halves(base + low, base + high);
            store_halves(data + low, data + high, inverse(ungroup(v[k], width), b, transform, width));
        }
    }
    return i;
}

#define PLANES_TARGET TARGET
#include "planes_simd.h"

void ht_split_avx2(const uint8_t *data, const uint8_t *base, size_t count, int width, int transform,
                   uint8_t *const *planes) {
    split_all(data, base, count, width, transform, planes);
}

void ht_merge_avx2(const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform,
                   uint8_t *data) {
    merge_all(planes, base, count, width, transform, data);
}
#endif
