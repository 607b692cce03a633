/* Batches of chunks to frames and back. Planes that stay raw are split straight into the frame and merged straight
 * out of it; only coded planes pass through scratch memory. */
#include <stdlib.h>

#include "core.h"
#include "frame.h"

/* Below this a plane table and a code header cost more than they can gain. */
enum { CODED_FROM_BYTES = 128 };

static int is_constant(const uint8_t *data, size_t length, size_t step) {
    return memcmp(data, data + step, length - step) == 0;
}

static void store_whole(ht_encode_job *job) {
    ht_frame_header(job->frame, job->length, job->width, job->floating, HT_DELTA_NONE, 1);
    size_t copied = job->header_only ? 0 : job->length;
    if (copied > 0) memcpy(job->frame + HT_HEADER_BYTES, job->data, copied);
    job->frame_bytes = HT_HEADER_BYTES + copied;
    job->zstd_planes = 0;
}

/* Effort 0 looks for one thing only, which costs nothing where it is absent: a chunk of one repeated element, or one
 * equal to its base. */
static int plan_without_sampling(const ht_encode_job *job, ht_plan *plan) {
    memset(plan, HT_CONSTANT, sizeof *plan);
    plan->delta = job->base != NULL && memcmp(job->data, job->base, job->length) == 0 ? HT_DELTA_XOR : HT_DELTA_NONE;
    return plan->delta == HT_DELTA_XOR || is_constant(job->data, job->length, (size_t)job->width);
}

static int stays_whole(const ht_plan *plan, int width) {
    for (int p = 0; p < width; p++)
        if (plan->codec[p] != HT_RAW) return 0;
    return 1;
}

/* Where each plane is split to: raw planes before the first coded one to their final place, the rest to scratch. */
static void place_planes(const ht_plan *plan, size_t count, int width, uint8_t *payload, uint8_t *scratch,
                         uint8_t **planes) {
    int direct = 1;
    for (int p = 0; p < width; p++) {
        direct = direct && plan->codec[p] == HT_RAW;
        planes[p] = (direct ? payload : scratch) + (size_t)p * count;
    }
}

/* Codes plane p to `out`, which has room for it raw; returns the bytes and corrects the plan to what was done. Sets
 * bit p of `zstd_planes` where zstd should still try. */
static size_t emit_plane(const ht_kernels *kernels, ht_plan *plan, int p, const uint8_t *plane, size_t count,
                         ht_scratch scratch, uint8_t *out, int *zstd_planes) {
    uint8_t *codec = &plan->codec[p];
    size_t bytes = 0, worth = count - count / 128;
    if (*codec == HT_CONSTANT && is_constant(plane, count, 1)) {
        *out = *plane;
        return 1;
    }
    if (*codec == HT_SEPTETS && ht_septets_pack(plane, count, out)) return ht_septet_bytes(count);
    if (*codec == HT_SPARSE || *codec == HT_CONSTANT)
        bytes = ht_sparse_encode(kernels, plane, count, plan->common[p], scratch, out, worth);
    if (bytes > 0) {
        *codec = HT_SPARSE;
        return bytes;
    }
    if (*codec != HT_ZSTD && *codec != HT_RAW && *codec != HT_CONSTANT) {
        int order0;
        bytes = ht_order0_encode(kernels, plane, count, scratch, plan->bits, out, worth, &order0);
        *codec = (uint8_t)order0;
    }
    if (bytes > 0) return bytes;
    *zstd_planes |= (*codec == HT_ZSTD || *codec == HT_CONSTANT) << p;
    *codec = HT_RAW;
    if (plane != out) memcpy(out, plane, count);
    return count;
}

/* The lowest version that has all codecs of the frame. */
static uint8_t version_of(const ht_plan *plan, int width, size_t count) {
    for (int p = 0; p < width; p++) {
        if (plan->codec[p] >= VERSION_1_CODECS) return HT_FRAME_VERSION;
        if (plan->codec[p] == HT_HUFFMAN && ht_segments_stagger(count)) return HT_FRAME_VERSION;
    }
    return 1;
}

static void encode(const ht_kernels *kernels, ht_encode_job *job, int effort, ht_scratch scratch) {
    ht_plan plan;
    uint8_t *planes[HT_MAX_WIDTH], *frame = job->frame;
    int width = job->width, zstd_planes = 0;
    size_t count = job->length / (size_t)width, whole = count * (size_t)width;
    size_t at = HT_HEADER_BYTES + PLANE_ENTRY_BYTES * (size_t)width;
    if (job->length < CODED_FROM_BYTES) return store_whole(job);
    if (effort > 0) ht_plan_chunk(kernels, job->data, job->base, count, width, job->floating, effort, &plan);
    else if (!plan_without_sampling(job, &plan)) return store_whole(job);
    if (stays_whole(&plan, width)) return store_whole(job);

    memcpy(frame + at, job->data + whole, job->length - whole);
    at += job->length - whole;
    place_planes(&plan, count, width, frame + at, scratch.planes, planes);
    if (width > 1 || plan.delta != HT_DELTA_NONE)
        kernels->split(job->data, job->base, count, width, ht_transform_of(plan.delta, job->floating, width), planes);
    else planes[0] = (uint8_t *)(uintptr_t)job->data; /* its own and only plane; planes are not written to */
    for (int p = 0; p < width; p++) {
        size_t bytes = emit_plane(kernels, &plan, p, planes[p], count, scratch, frame + at, &zstd_planes);
        ht_store_u32le(frame + HT_HEADER_BYTES + PLANE_ENTRY_BYTES * p,
                       (uint32_t)plan.codec[p] << PLANE_CODEC_SHIFT | (uint32_t)bytes);
        at += bytes;
    }
    if (zstd_planes == 0 && at >= HT_HEADER_BYTES + job->length) return store_whole(job);
    ht_frame_header(frame, job->length, width, job->floating, plan.delta, 0);
    frame[2] = version_of(&plan, width, count);
    job->frame_bytes = at;
    job->zstd_planes = zstd_planes;
}

/* Returns 0 when there is no memory; free_scratch is due either way. */
static int take_scratch(ht_scratch *scratch, size_t longest, int encoding) {
    scratch->planes = malloc(longest + 1);
    scratch->folded = malloc(longest / 2 + 1);
    scratch->pairs = encoding ? malloc(HT_PAIRS * sizeof *scratch->pairs) : NULL;
    scratch->streams = encoding ? malloc(ht_ans_scratch_bytes(longest)) : NULL;
    if (encoding && (scratch->pairs == NULL || scratch->streams == NULL)) return 0;
    return scratch->planes != NULL && scratch->folded != NULL;
}

static void free_scratch(ht_scratch *scratch) {
    free(scratch->planes);
    free(scratch->folded);
    free(scratch->pairs);
    free(scratch->streams);
}

int ht_encode_batch(const ht_kernels *kernels, ht_encode_job *jobs, size_t count, int effort) {
    size_t longest = 0;
    ht_scratch scratch;
    for (size_t i = 0; i < count; i++) longest = jobs[i].length > longest ? jobs[i].length : longest;
    int able = take_scratch(&scratch, longest, 1);
    for (size_t i = 0; able && i < count; i++) encode(kernels, &jobs[i], effort, scratch);
    free_scratch(&scratch);
    return able ? HT_OK : HT_NO_MEMORY;
}

static int restore_plane(const ht_kernels *kernels, const ht_decode_job *job, const ht_plane *plane, size_t count,
                         const uint8_t *inflated, uint8_t *folded, uint8_t *scratch, const uint8_t **restored) {
    const uint8_t *coded = job->frame + plane->offset;
    *restored = scratch;
    switch (plane->codec) {
    case HT_CONSTANT: memset(scratch, *coded, count); return HT_OK;
    case HT_RAW: *restored = coded; return HT_OK;
    case HT_SEPTETS: return ht_septets_unpack(coded, plane->length, scratch, count);
    case HT_FOLDED: return ht_folded_decode(kernels, coded, plane->length, folded, scratch, count);
    case HT_ANS: return ht_ans_decode(kernels, coded, plane->length, scratch, count);
    case HT_SPARSE: return ht_sparse_decode(kernels, coded, plane->length, folded, scratch, count);
    case HT_HUFFMAN: return ht_huffman_decode(kernels, coded, plane->length, scratch, count);
    default: *restored = inflated; return inflated == NULL ? HT_NEEDS_ZSTD : HT_OK;
    }
}

static int decode(const ht_kernels *kernels, ht_decode_job *job, ht_scratch scratch) {
    ht_frame f;
    const uint8_t *planes[HT_MAX_WIDTH];
    int status = ht_frame_parse(job->frame, job->frame_bytes, &f, &job->plane);
    if (status != HT_OK) return status;
    if (f.raw_bytes != job->length) return HT_WRONG_LENGTH;
    if (f.stored) {
        if (f.raw_bytes > 0) memcpy(job->data, job->frame + HT_HEADER_BYTES, f.raw_bytes);
        return HT_OK;
    }
    if (f.delta != HT_DELTA_NONE && (job->base == NULL || job->base_bytes != f.raw_bytes)) return HT_NEEDS_BASE;
    int alone = f.width == 1 && f.delta == HT_DELTA_NONE; /* then the plane is the chunk */
    for (int p = 0; p < f.width; p++) {
        uint8_t *target = alone ? job->data : scratch.planes + (size_t)p * f.count;
        job->plane = p;
        status = restore_plane(kernels, job, &f.planes[p], f.count, job->inflated[p], scratch.folded, target, &planes[p]);
        if (status != HT_OK) return status;
    }
    job->plane = -1;
    int transform = ht_transform_of(f.delta, f.floating, f.width);
    if (planes[0] != job->data) kernels->merge(planes, job->base, f.count, f.width, transform, job->data);
    memcpy(job->data + f.raw_bytes - f.tail_bytes, job->frame + f.tail_offset, f.tail_bytes);
    return HT_OK;
}

void ht_decode_batch(const ht_kernels *kernels, ht_decode_job *jobs, size_t count) {
    size_t longest = 0;
    ht_scratch scratch;
    for (size_t i = 0; i < count; i++) longest = jobs[i].length > longest ? jobs[i].length : longest;
    int able = take_scratch(&scratch, longest, 0);
    for (size_t i = 0; i < count; i++) {
        jobs[i].plane = -1;
        jobs[i].status = able ? decode(kernels, &jobs[i], scratch) : HT_NO_MEMORY;
    }
    free_scratch(&scratch);
}
