/* Any bytes as a chunk: coded by every kernel to the same frame, never longer than allowed, and decoded to itself.
 * The first byte gives width, type, effort and whether there is a base; a base is a chunk of which some bytes differ. */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    ht_core_prepare();
    return 0;
}

static ht_encode_job code(const ht_kernels *kernels, uint8_t shape, const uint8_t *data, const uint8_t *base, size_t n) {
    ht_encode_job job = {.data = data, .base = base, .length = n, .width = 1 << (shape & 3), .floating = shape >> 2 & 1};
    job.frame = exactly(NULL, ht_frame_bound(n));
    demand(ht_encode_batch(kernels, &job, 1, shape >> 3 & 3) == HT_OK, "a chunk is not coded");
    demand(job.zstd_planes != 0 || job.frame_bytes <= n + HT_HEADER_BYTES, "a frame grew");
    demand(job.frame_bytes <= ht_frame_bound(n), "a frame passed its room");
    return job;
}

static void undo(const ht_kernels *kernels, const ht_encode_job *job) {
    uint8_t *frame = exactly(job->frame, job->frame_bytes), *back = exactly(NULL, job->length);
    ht_decode_job decoding = {.frame = frame, .frame_bytes = job->frame_bytes, .data = back, .length = job->length};
    decoding.base = job->base;
    decoding.base_bytes = job->base == NULL ? 0 : job->length;
    ht_decode_batch(kernels, &decoding, 1);
    demand(decoding.status == HT_OK && memcmp(back, job->data, job->length) == 0, "a chunk does not come back");
    free(back);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 2) return 0;
    uint8_t shape = input[0], stride = input[1];
    size_t length = size - 2;
    uint8_t *data = exactly(input + 2, length), *base = NULL;
    if (shape & 32) {
        base = exactly(data, length);
        for (size_t i = stride; i < length; i += 1 + stride) base[i] = (uint8_t)(base[i] + (shape >> 6));
    }
    ht_encode_job jobs[2];
    for (int k = 0; k < 2; k++) jobs[k] = code(ht_kernels_named(KERNELS[k]), shape, data, base, length);
    demand(jobs[0].frame_bytes == jobs[1].frame_bytes, "the kernels code to different lengths");
    demand(memcmp(jobs[0].frame, jobs[1].frame, jobs[0].frame_bytes) == 0, "the kernels code to different bytes");
    for (int k = 0; k < 2; k++) undo(ht_kernels_named(KERNELS[k]), &jobs[1 - k]);
    for (int k = 0; k < 2; k++) free(jobs[k].frame);
    free(base);
    free(data);
    return 0;
}
