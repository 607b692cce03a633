/* What the C files of this room share. Everything works on plain memory, allocates nothing unless it says so,
 * and knows nothing of Python. Layouts are little-endian on every machine. */
#ifndef HELIOTROPE_NATIVE_CORE_H
#define HELIOTROPE_NATIVE_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Keeps a compiler from taking a value through memory where the next load waits for it. */
#define HT_IN_REGISTER(pointer) __asm__("" : "+r"(pointer))
#define HT_INLINE static inline __attribute__((always_inline))

enum { HT_MAX_WIDTH = 8, HT_STREAMS = 8, HT_CODE_BITS = 11, HT_MAX_SYMBOLS_PER_LOOKUP = 6 };
enum { HT_HEADER_BYTES = 8, HT_FRAME_VERSION = 2, HT_MAX_CHUNK_BYTES = (1 << 28) - 1 };
enum { HT_HUFFMAN_MIN_SYMBOLS = 64, HT_PAIRS = 65536 };
enum { HT_ANS_MIN_VALUES = 64, HT_ANS_LEAST_BITS = 10, HT_ANS_MOST_BITS = 12, HT_ANS_LARGE = 32768 };
enum { HT_ANS_STREAMS = 3, HT_ANS_STATES = 6 };

/* What the receiver must combine a chunk with. The numbers are in the frame. */
enum ht_delta { HT_DELTA_NONE = 0, HT_DELTA_XOR = 1, HT_DELTA_DIFFERENCE = 2 };

/* How one plane is coded. The numbers are in the frame. */
enum ht_codec { HT_CONSTANT = 0, HT_RAW = 1, HT_HUFFMAN = 2, HT_ZSTD = 3, HT_SEPTETS = 4, HT_FOLDED = 5, HT_ANS = 6,
                HT_SPARSE = 7, HT_CODEC_COUNT };

/* What happens to an element before it is cut into bytes. */
enum ht_transform {
    HT_PLAIN,
    HT_ROTATE,     /* the sign bit goes to the bottom, so a float's exponent begins the top byte */
    HT_XOR,        /* against the base */
    HT_XOR_ROTATE,
    HT_DIFFERENCE, /* minus the base, sign folded into the lowest bit */
    HT_DIFFERENCE_ORDERED, /* the same on floats mapped to integers of the same order */
    HT_TRANSFORM_COUNT
};

/* Status codes; native/_core.pyx holds the one table of their texts. */
enum ht_status {
    HT_OK = 0,
    HT_BAD_MAGIC = -1,
    HT_BAD_VERSION = -2,
    HT_BAD_SHAPE = -3,
    HT_TRUNCATED = -4,
    HT_TRAILING_BYTES = -5,
    HT_BAD_PLANE = -6,
    HT_BAD_CODE = -7,
    HT_BAD_STREAM = -8,
    HT_WRONG_LENGTH = -9,
    HT_NEEDS_BASE = -10,
    HT_NEEDS_ZSTD = -11,
    HT_NO_MEMORY = -12
};

/* Memory that a batch's jobs share, one after another. */
typedef struct ht_scratch {
    uint8_t *planes; /* as long as the longest chunk */
    uint8_t *folded; /* half as long */
    uint64_t *pairs; /* HT_PAIRS entries; encoding only */
    uint8_t *streams; /* ht_ans_scratch_bytes of the longest chunk; encoding only */
} ht_scratch;

/* What a lookup of HT_CODE_BITS bits yields: up to HT_MAX_SYMBOLS_PER_LOOKUP whole values. All 8 bytes are stored as
 * they are; count and bits are loads of their own, because a processor does more loads at once than shifts. */
typedef struct ht_symbols {
    uint8_t values[6], bits, count;
} ht_symbols;

/* What coding a value by ANS takes: with its bits, the state becomes next[(state >> bits) + place]. */
typedef struct ht_ans_step {
    uint32_t bits; /* (state + this) >> 16 of them */
    int32_t place;
} ht_ans_step;

/* What decoding does in one of the states: the next is `next` plus so many bits. */
typedef struct ht_ans_entry {
    uint16_t next;
    uint8_t value, bits;
} ht_ans_entry;

typedef struct ht_ans_encoder {
    ht_ans_step steps[256];
    uint16_t next[1 << HT_ANS_MOST_BITS];
} ht_ans_encoder;

/* One set of kernels. Functions that take planes get `width` pointers of `count` bytes each; base may be NULL when
 * the transform uses none. */
typedef struct ht_kernels {
    const char *name;
    void (*split)(const uint8_t *data, const uint8_t *base, size_t count, int width, int transform,
                  uint8_t *const *planes);
    void (*merge)(const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform,
                  uint8_t *data);
    /* One histogram for each of the HT_STREAMS segments that the Huffman coder makes of a plane. */
    void (*histogram)(const uint8_t *data, size_t count, uint32_t (*counts)[256]);
    /* pairs: NULL, or the codes of two neighbouring values at once (ht_pair_table). */
    void (*huffman_streams)(const uint8_t *data, size_t count, const uint64_t *codes, const uint64_t *pairs,
                            uint8_t *const *streams);
    /* single: no entry of the table yields more than one value. */
    int (*huffman_restore)(const ht_symbols *table, int single, const uint8_t *code_lengths,
                           const uint8_t *const *streams, const size_t *lengths, uint8_t *data, size_t count,
                           size_t segment);
    /* Streams are written down from their ends; begins: result. */
    void (*ans_streams)(const uint8_t *data, size_t count, const ht_ans_encoder *encoder, int table_bits,
                        uint8_t *const *ends, uint8_t **begins);
    int (*ans_restore)(const ht_ans_entry *table, int table_bits, const uint8_t *const *streams, const size_t *lengths,
                       uint8_t *data, size_t count);
    const char *split_name, *histogram_name, *huffman_name, *ans_name;
} ht_kernels;

/* dispatch.c */
const ht_kernels *ht_kernels_named(const char *name); /* NULL: this machine or build cannot run it */
void ht_core_prepare(void);                             /* once, before anything else */

/* planes.c: the reference; planes_avx2.c and planes_neon.c say the same thing faster */
int ht_transform_of(int delta, int floating, int width);
void ht_split_scalar(const uint8_t *, const uint8_t *, size_t, int, int, uint8_t *const *);
void ht_merge_scalar(const uint8_t *const *, const uint8_t *, size_t, int, int, uint8_t *);
void ht_split_avx2(const uint8_t *, const uint8_t *, size_t, int, int, uint8_t *const *);
void ht_merge_avx2(const uint8_t *const *, const uint8_t *, size_t, int, int, uint8_t *);
void ht_split_neon(const uint8_t *, const uint8_t *, size_t, int, int, uint8_t *const *);
void ht_merge_neon(const uint8_t *const *, const uint8_t *, size_t, int, int, uint8_t *);

/* histogram.c */
void ht_entropy_prepare(void);
void ht_histogram_scalar(const uint8_t *, size_t, uint32_t (*)[256]);
void ht_sum_counts(uint32_t (*counts)[256], uint32_t *sum); /* over the segments */
double ht_entropy_bits(const uint32_t *counts, size_t total);
double ht_sample_entropy_bits(const uint32_t *counts, size_t sampled, size_t population);

/* huffman_code.c */
int ht_segments_stagger(size_t count); /* whether the encoder staggers the segments of a plane */
size_t ht_segment_bytes(size_t count, int staggered);
size_t ht_segment(size_t count, size_t segment, int stream, size_t *begin);
int ht_code_lengths(const uint32_t *counts, uint8_t *lengths);
int ht_code_is_complete(const uint8_t *lengths);
void ht_encode_table(const uint8_t *lengths, uint64_t *codes);
void ht_pair_table(const uint64_t *codes, uint64_t *pairs);
void ht_decode_table(const uint8_t *lengths, int several_symbols, ht_symbols *table);

/* huffman.c, huffman_encode.c, huffman_decode.c */
/* pairs: NULL, or scratch of HT_PAIRS */
size_t ht_huffman_encode(const ht_kernels *, const uint8_t *data, size_t count, uint32_t (*counts)[256],
                         const uint8_t *lengths, uint64_t *pairs, uint8_t *coded, size_t capacity);
int ht_huffman_decode(const ht_kernels *, const uint8_t *coded, size_t coded_bytes, uint8_t *data, size_t count);
void ht_huffman_streams_scalar(const uint8_t *, size_t, const uint64_t *, const uint64_t *, uint8_t *const *);
void ht_huffman_streams_avx2(const uint8_t *, size_t, const uint64_t *, const uint64_t *, uint8_t *const *);
int ht_huffman_restore_scalar(const ht_symbols *, int, const uint8_t *, const uint8_t *const *, const size_t *,
                              uint8_t *, size_t, size_t);
int ht_huffman_restore_avx2(const ht_symbols *, int, const uint8_t *, const uint8_t *const *, const size_t *,
                            uint8_t *, size_t, size_t);

/* ans_code.c */
int ht_ans_table_bits(size_t count);
void ht_ans_scale(const uint32_t *counts, int table_bits, uint16_t *states);
void ht_ans_encode_table(const uint16_t *states, int table_bits, ht_ans_encoder *encoder);
void ht_ans_decode_table(const uint16_t *states, int table_bits, ht_ans_entry *table);

/* ans.c, ans_encode.c, ans_decode.c */
size_t ht_ans_scratch_bytes(size_t count);
size_t ht_ans_encode(const ht_kernels *, const uint8_t *data, size_t count, const uint32_t *counts, uint8_t *scratch,
                     uint8_t *coded, size_t capacity);
int ht_ans_decode(const ht_kernels *, const uint8_t *coded, size_t coded_bytes, uint8_t *data, size_t count);
void ht_ans_streams_scalar(const uint8_t *, size_t, const ht_ans_encoder *, int, uint8_t *const *, uint8_t **);
void ht_ans_streams_avx2(const uint8_t *, size_t, const ht_ans_encoder *, int, uint8_t *const *, uint8_t **);
int ht_ans_restore_scalar(const ht_ans_entry *, int, const uint8_t *const *, const size_t *, uint8_t *, size_t);
int ht_ans_restore_avx2(const ht_ans_entry *, int, const uint8_t *const *, const size_t *, uint8_t *, size_t);

/* order0.c */
size_t ht_order0_encode(const ht_kernels *, const uint8_t *data, size_t count, ht_scratch, double chunk_bits,
                        uint8_t *coded, size_t capacity, int *codec);

/* sparse.c */
size_t ht_sparse_encode(const ht_kernels *, const uint8_t *data, size_t count, uint8_t common, ht_scratch,
                        uint8_t *coded, size_t capacity);
int ht_sparse_decode(const ht_kernels *, const uint8_t *coded, size_t coded_bytes, uint8_t *scratch, uint8_t *data,
                     size_t count);

/* plane.c */
size_t ht_plane_encode(const ht_kernels *, int codec, const uint8_t *data, size_t count, uint8_t *coded);
int ht_plane_decode(const ht_kernels *, int codec, const uint8_t *coded, size_t coded_bytes, uint8_t *data, size_t count);

/* septets.c */
size_t ht_septet_bytes(size_t count);
int ht_septets_pack(const uint8_t *data, size_t count, uint8_t *coded);
int ht_septets_unpack(const uint8_t *coded, size_t coded_bytes, uint8_t *data, size_t count);

/* fold.c */
size_t ht_folded_bytes(size_t count, int per_byte);
int ht_folded_decode(const ht_kernels *, const uint8_t *coded, size_t coded_bytes, uint8_t *folded, uint8_t *data,
                     size_t count);

/* gear.c */
void ht_gear_prepare(void);
size_t ht_gear_cut(const uint8_t *data, size_t length, size_t minimum, size_t average, size_t maximum);

/* repeats.c */
int ht_repeats_itself(const uint8_t *data, size_t length);

/* plan.c */
typedef struct ht_plan {
    int delta;
    uint8_t codec[HT_MAX_WIDTH];
    double bits; /* expected of an element, all planes together */
    uint8_t common[HT_MAX_WIDTH]; /* the most frequent value, where the codec is HT_SPARSE or HT_CONSTANT */
} ht_plan;
void ht_plan_chunk(const ht_kernels *, const uint8_t *data, const uint8_t *base, size_t count, int width, int floating,
                   int effort, ht_plan *plan);

/* frame.c: one chunk to one frame and back; README.md draws the layout */
typedef struct ht_plane {
    int codec;
    size_t offset, length; /* of the coded bytes inside the frame */
} ht_plane;

typedef struct ht_frame {
    size_t raw_bytes, count, tail_offset, tail_bytes; /* tail: what is left over after whole elements */
    int width, floating, delta, stored;
    ht_plane planes[HT_MAX_WIDTH];
} ht_frame;

typedef struct ht_encode_job {
    const uint8_t *data, *base;
    size_t length;
    int width, floating;
    int header_only;     /* of a chunk stored whole, the frame's payload is left to the caller: it is the data itself */
    uint8_t *frame;      /* room for ht_frame_bound(length) bytes */
    size_t frame_bytes;  /* result */
    int zstd_planes;     /* result: a bit for each plane left raw although zstd would shrink it well */
} ht_encode_job;

typedef struct ht_decode_job {
    const uint8_t *frame;
    size_t frame_bytes;
    const uint8_t *base;
    size_t base_bytes;
    uint8_t *data;
    size_t length;
    const uint8_t *inflated[HT_MAX_WIDTH]; /* zstd planes, already decompressed by the caller */
    int status;                            /* result */
    int plane;                             /* result: the plane the status is about, or -1 */
} ht_decode_job;

size_t ht_frame_bound(size_t length);
int ht_frame_parse(const uint8_t *frame, size_t frame_bytes, ht_frame *parsed, int *plane);
int ht_encode_batch(const ht_kernels *, ht_encode_job *jobs, size_t count, int effort); /* allocates scratch */
void ht_decode_batch(const ht_kernels *, ht_decode_job *jobs, size_t count);            /* allocates scratch */

HT_INLINE uint64_t ht_load_u64le(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

HT_INLINE void ht_store_u64le(uint8_t *p, uint64_t value) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(p, &value, 8);
}

HT_INLINE uint32_t ht_load_u32le(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

HT_INLINE void ht_store_u32le(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (8 * i));
}

#endif
