/* Any bytes as a frame: refused or decoded, by every kernel alike; what was decoded is coded and decoded again. */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    ht_core_prepare();
    return 0;
}

static void code_again(const ht_kernels *kernels, const ht_frame *f, const uint8_t *data, const uint8_t *base) {
    ht_encode_job job = {.data = data, .base = base, .length = f->raw_bytes, .width = f->width};
    job.floating = f->floating;
    job.frame = exactly(NULL, ht_frame_bound(f->raw_bytes));
    demand(ht_encode_batch(kernels, &job, 1, 1) == HT_OK, "a chunk is not coded");
    demand(job.zstd_planes != 0 || job.frame_bytes <= f->raw_bytes + HT_HEADER_BYTES, "a frame grew");
    uint8_t *frame = exactly(job.frame, job.frame_bytes), *back = exactly(NULL, f->raw_bytes);
    ht_decode_job undo = {.frame = frame, .frame_bytes = job.frame_bytes, .data = back, .length = f->raw_bytes};
    undo.base = base;
    undo.base_bytes = f->raw_bytes;
    ht_decode_batch(kernels, &undo, 1);
    demand(undo.status == HT_OK && memcmp(back, data, f->raw_bytes) == 0, "a chunk does not come back");
    free(back);
    free(frame);
    free(job.frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    ht_frame f;
    int plane, status[2];
    uint8_t *data[2];
    int parsed = ht_frame_parse(input, size, &f, &plane);
    if (parsed == HT_OK && f.raw_bytes > MOST_RAW_BYTES) return 0;
    size_t length = parsed == HT_OK ? f.raw_bytes : 64;
    uint8_t *frame = exactly(input, size), *base = exactly(NULL, length), *inflated = exactly(NULL, length);
    for (size_t i = 0; i < length; i++) base[i] = (uint8_t)(i * 37), inflated[i] = (uint8_t)(i >> 3);
    for (int k = 0; k < 2; k++) {
        data[k] = exactly(NULL, length);
        ht_decode_job job = {.frame = frame, .frame_bytes = size, .data = data[k], .length = length};
        job.base = base;
        job.base_bytes = length;
        for (int p = 0; p < HT_MAX_WIDTH; p++) job.inflated[p] = inflated; /* planes are never longer than the chunk */
        ht_decode_batch(ht_kernels_named(KERNELS[k]), &job, 1);
        status[k] = job.status;
    }
    demand(status[0] == status[1], "the kernels do not agree on a refusal");
    demand(parsed == HT_OK || status[0] == parsed, "parsing and decoding do not agree");
    if (status[0] == HT_OK) {
        demand(memcmp(data[0], data[1], length) == 0, "the kernels decode to different bytes");
        code_again(ht_kernels_named("auto"), &f, data[0], base);
    }
    free(data[0]);
    free(data[1]);
    free(inflated);
    free(base);
    free(frame);
    return 0;
}
