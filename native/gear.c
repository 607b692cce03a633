/* Content-defined boundaries with a gear hash (Xia et al., "FastCDC", USENIX ATC 2016).
 *
 * The hash is a function of the last 64 bytes alone, so equal content finds equal boundaries wherever it lies. A
 * boundary is where the hash is below a threshold; the threshold is lower before the average length and higher after
 * it, which narrows the spread of lengths. The table comes from splitmix64 with a fixed seed: boundaries are part of
 * what two nodes must agree on, and never change. */
#include "core.h"

enum { WINDOW = 64 };
static uint64_t gear[256];

void ht_gear_prepare(void) {
    uint64_t state = 0x68656c696f74726fULL; /* "heliotro" */
    for (int v = 0; v < 256; v++) {
        uint64_t z = state += 0x9e3779b97f4a7c15ULL;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        gear[v] = z ^ z >> 31;
    }
}

/* The first end in (from, to] whose hash is below the threshold, or 0. */
static size_t scan(const uint8_t *data, size_t from, size_t to, uint64_t *hash, uint64_t threshold) {
    uint64_t h = *hash;
    for (size_t i = from; i < to; i++) {
        h = (h << 1) + gear[data[i]];
        if (h < threshold) return i + 1;
    }
    *hash = h;
    return 0;
}

/* The length of the first chunk of `data`; needs 1 <= minimum < average < maximum. */
size_t ht_gear_cut(const uint8_t *data, size_t length, size_t minimum, size_t average, size_t maximum) {
    if (length <= minimum) return length;
    size_t end = length < maximum ? length : maximum, middle = average < end ? average : end;
    uint64_t hash = 0, expected = (uint64_t)(average - minimum);
    for (size_t i = minimum > WINDOW ? minimum - WINDOW : 0; i < minimum; i++) hash = (hash << 1) + gear[data[i]];
    size_t cut = scan(data, minimum, middle, &hash, UINT64_MAX / expected / 4);
    if (cut == 0) cut = scan(data, middle, end, &hash, expected < 4 ? UINT64_MAX : UINT64_MAX / expected * 4);
    return cut == 0 ? end : cut;
}
