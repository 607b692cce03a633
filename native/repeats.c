/* Whether bytes repeat each other in strings, as text, code and logs do: what an order-0 coder cannot see and zstd
 * can. */
#include "core.h"

enum { WINDOWS = 2, WINDOW_BYTES = 4096, STRING_BYTES = 8, TABLE_BITS = 12, REPEATING_SHARE = 16 };

/* How many of the window's strings of 8 bytes occurred earlier in it (the latest of each hash is remembered). */
static size_t count_repeats(const uint8_t *data, size_t length) {
    uint16_t latest[1 << TABLE_BITS] = {0};
    size_t repeats = 0;
    for (size_t i = 0; i + STRING_BYTES <= length; i++) {
        uint64_t string = ht_load_u64le(data + i);
        size_t slot = (size_t)(string * 0x9e3779b97f4a7c15ULL >> (64 - TABLE_BITS));
        size_t before = latest[slot];
        repeats += before != 0 && ht_load_u64le(data + before - 1) == string;
        latest[slot] = (uint16_t)(i + 1);
    }
    return repeats;
}

/* More than one string in 16: far beyond chance where bytes have 2.5 bits or more, and a sure gain for zstd. */
int ht_repeats_itself(const uint8_t *data, size_t length) {
    size_t window = length < WINDOW_BYTES ? length : WINDOW_BYTES, repeats = 0;
    for (size_t w = 1; w <= WINDOWS; w++) repeats += count_repeats(data + (length - window) / (WINDOWS + 1) * w, window);
    return repeats > WINDOWS * window / REPEATING_SHARE;
}
