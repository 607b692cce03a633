/* Any bytes as one coded plane of any length: a Huffman block, septets, folded values, an ANS block, or sparse lists. The first byte chooses. */
#include "fuzz.h"

enum { MOST_VALUES = 1 << 16 };

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    ht_core_prepare();
    return 0;
}

static int decode(const ht_kernels *kernels, int codec, const uint8_t *coded, size_t size, uint8_t *plane, size_t n) {
    if (codec == 0) return ht_huffman_decode(kernels, coded, size, plane, n);
    if (codec == 1) return ht_septets_unpack(coded, size, plane, n);
    if (codec == 3) return ht_ans_decode(kernels, coded, size, plane, n);
    uint8_t *scratch = exactly(NULL, n / 2 + 1);
    int status = codec == 2 ? ht_folded_decode(kernels, coded, size, scratch, plane, n)
                            : ht_sparse_decode(kernels, coded, size, scratch, plane, n);
    free(scratch);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 4) return 0;
    int codec = input[0] % 5, status[2];
    size_t values = 1 + (input[1] | (size_t)input[2] << 8) % MOST_VALUES;
    uint8_t *coded = exactly(input + 3, size - 3), *planes[2];
    for (int k = 0; k < 2; k++) {
        planes[k] = exactly(NULL, values);
        status[k] = decode(ht_kernels_named(KERNELS[k]), codec, coded, size - 3, planes[k], values);
    }
    demand(status[0] == status[1], "the kernels do not agree on a refusal");
    if (status[0] == HT_OK) demand(memcmp(planes[0], planes[1], values) == 0, "the kernels decode to different bytes");
    free(planes[0]);
    free(planes[1]);
    free(coded);
    return 0;
}
