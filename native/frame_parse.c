/* The frame's layout, read with distrust. README.md draws it. */
#include "core.h"
#include "frame.h"

size_t ht_frame_bound(size_t length) { return HT_HEADER_BYTES + PLANE_ENTRY_BYTES * HT_MAX_WIDTH + length; }

void ht_frame_header(uint8_t *frame, size_t length, int width, int floating, int delta, int stored) {
    int log2_width = width == 1 ? 0 : width == 2 ? 1 : width == 4 ? 2 : 3;
    frame[0] = MAGIC_0;
    frame[1] = MAGIC_1;
    frame[2] = 1; /* the caller's to raise */
    frame[3] = (uint8_t)(log2_width | (floating ? SHAPE_FLOATING : 0) | delta << SHAPE_DELTA_SHIFT |
                         (stored ? SHAPE_STORED : 0));
    ht_store_u32le(frame + 4, (uint32_t)length);
}

static int parse_planes(const uint8_t *frame, size_t frame_bytes, ht_frame *f, int *plane) {
    size_t at = HT_HEADER_BYTES + PLANE_ENTRY_BYTES * (size_t)f->width;
    int codecs = frame[2] == 1 ? VERSION_1_CODECS : HT_CODEC_COUNT;
    if (frame_bytes < at || frame_bytes - at < f->tail_bytes) return HT_TRUNCATED;
    f->tail_offset = at;
    at += f->tail_bytes;
    for (int p = 0; p < f->width; p++) {
        uint32_t entry = ht_load_u32le(frame + HT_HEADER_BYTES + PLANE_ENTRY_BYTES * p);
        ht_plane *q = &f->planes[p];
        q->codec = (int)(entry >> PLANE_CODEC_SHIFT);
        q->length = entry & PLANE_LENGTH_MASK;
        q->offset = at;
        *plane = p;
        if (q->codec >= codecs || q->length == 0) return HT_BAD_PLANE;
        if (q->length > (q->codec == HT_CONSTANT ? 1 : f->count)) return HT_BAD_PLANE;
        if (q->codec == HT_RAW && q->length != f->count) return HT_BAD_PLANE;
        if (frame_bytes - at < q->length) return HT_TRUNCATED;
        at += q->length;
    }
    *plane = -1;
    return at == frame_bytes ? HT_OK : HT_TRAILING_BYTES;
}

int ht_frame_parse(const uint8_t *frame, size_t frame_bytes, ht_frame *f, int *plane) {
    memset(f, 0, sizeof *f);
    *plane = -1;
    if (frame_bytes < HT_HEADER_BYTES) return HT_TRUNCATED;
    if (frame[0] != MAGIC_0 || frame[1] != MAGIC_1) return HT_BAD_MAGIC;
    if (frame[2] < 1 || frame[2] > HT_FRAME_VERSION) return HT_BAD_VERSION;
    f->width = 1 << (frame[3] & SHAPE_WIDTH_MASK);
    f->floating = (frame[3] & SHAPE_FLOATING) != 0;
    f->delta = frame[3] >> SHAPE_DELTA_SHIFT & 3;
    f->stored = (frame[3] & SHAPE_STORED) != 0;
    f->raw_bytes = ht_load_u32le(frame + 4);
    if (frame[3] >> SHAPE_BITS != 0 || f->delta > HT_DELTA_DIFFERENCE || f->raw_bytes > HT_MAX_CHUNK_BYTES)
        return HT_BAD_SHAPE;
    f->count = f->raw_bytes / (size_t)f->width;
    f->tail_bytes = f->raw_bytes % (size_t)f->width;
    if (!f->stored) return f->count == 0 ? HT_BAD_SHAPE : parse_planes(frame, frame_bytes, f, plane);
    if (f->delta != HT_DELTA_NONE) return HT_BAD_SHAPE;
    f->tail_offset = HT_HEADER_BYTES;
    if (frame_bytes - HT_HEADER_BYTES < f->raw_bytes) return HT_TRUNCATED;
    return frame_bytes - HT_HEADER_BYTES == f->raw_bytes ? HT_OK : HT_TRAILING_BYTES;
}
