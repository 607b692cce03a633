/* Planes whose lowest bit never changes and whose other seven are noise: the lowest plane of floats that are all of
 * one sign (an optimizer's second moment), since the sign was rotated there. Huffman would find the same seven bits
 * at a fifth of the speed.
 *
 *     the constant bit | seven bits of each byte, packed from the lowest bit up
 */
#include "core.h"

size_t ht_septet_bytes(size_t count) { return 1 + count - count / 8; }

static uint64_t squeeze(uint64_t x) {
    x = x >> 1 & 0x7f7f7f7f7f7f7f7fULL;
    x = (x & 0x007f007f007f007fULL) | (x & 0x7f007f007f007f00ULL) >> 1;
    x = (x & 0x00003fff00003fffULL) | (x & 0x3fff00003fff0000ULL) >> 2;
    return (x & 0x0fffffffULL) | (x & 0x0fffffff00000000ULL) >> 4;
}

static uint64_t spread(uint64_t x) {
    x = (x & 0x0fffffffULL) | (x & 0x00fffffff0000000ULL) << 4;
    x = (x & 0x00003fff00003fffULL) | (x & 0x0fffc0000fffc000ULL) << 2;
    x = (x & 0x007f007f007f007fULL) | (x & 0x3f803f803f803f80ULL) << 1;
    return x << 1;
}

/* Writes exactly ht_septet_bytes(count); returns 0 when the lowest bit does change. */
int ht_septets_pack(const uint8_t *data, size_t count, uint8_t *coded) {
    uint64_t constant = (data[0] & 1) * 0x0101010101010101ULL, changed = 0;
    uint8_t *out = coded + 1;
    size_t i = 0;
    *coded = data[0] & 1;
    for (; i + 16 <= count; i += 8, out += 7) { /* a group more remains, so the eighth byte stored is still ours */
        uint64_t x = ht_load_u64le(data + i);
        changed |= x ^ constant;
        ht_store_u64le(out, squeeze(x));
    }
    for (size_t n; i < count; i += n, out += 7) {
        uint8_t group[8], packed[8];
        n = count - i < 8 ? count - i : 8;
        memset(group, (int)(constant & 1), 8);
        memcpy(group, data + i, n);
        uint64_t x = ht_load_u64le(group);
        changed |= x ^ constant;
        ht_store_u64le(packed, squeeze(x));
        memcpy(out, packed, n < 8 ? n : 7);
    }
    return (changed & 0x0101010101010101ULL) == 0;
}

int ht_septets_unpack(const uint8_t *coded, size_t coded_bytes, uint8_t *data, size_t count) {
    if (coded_bytes != ht_septet_bytes(count) || *coded > 1) return HT_BAD_PLANE;
    uint64_t constant = *coded * 0x0101010101010101ULL;
    const uint8_t *in = coded + 1;
    size_t i = 0;
    for (; i + 16 <= count; i += 8, in += 7) ht_store_u64le(data + i, spread(ht_load_u64le(in)) | constant);
    for (size_t n; i < count; i += n, in += 7) {
        uint8_t group[8] = {0}, restored[8];
        n = count - i < 8 ? count - i : 8;
        memcpy(group, in, n < 8 ? n : 7);
        ht_store_u64le(restored, spread(ht_load_u64le(group)) | constant);
        memcpy(data + i, restored, n);
    }
    return HT_OK;
}
