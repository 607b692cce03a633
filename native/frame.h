/* The numbers of the frame layout, for the two files that read and write it. */
#ifndef HELIOTROPE_NATIVE_FRAME_H
#define HELIOTROPE_NATIVE_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum {
    MAGIC_0 = 'H',
    MAGIC_1 = 0xF1,
    SHAPE_WIDTH_MASK = 3,
    SHAPE_FLOATING = 4,
    SHAPE_DELTA_SHIFT = 3,
    SHAPE_STORED = 32,
    SHAPE_BITS = 6,
    PLANE_ENTRY_BYTES = 4,
    PLANE_CODEC_SHIFT = 28,
    PLANE_LENGTH_MASK = (1 << 28) - 1,
    VERSION_1_CODECS = 6
};

void ht_frame_header(uint8_t *frame, size_t length, int width, int floating, int delta, int stored);

#endif
