/* What the fuzzers share: bytes in blocks of exactly their length, so that the sanitizer sees every overrun. */
#ifndef HELIOTROPE_FUZZ_H
#define HELIOTROPE_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "core.h"

enum { MOST_RAW_BYTES = 1 << 20 }; /* a frame of ten bytes may name 256 MiB: allowed, but of no use here */

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static inline uint8_t *exactly(const uint8_t *from, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) abort();
    if (from != NULL && size > 0) memcpy(copy, from, size);
    return copy;
}

static inline void demand(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* The reference, and the fastest of this machine: they must agree on everything, refusals included. */
static const char *const KERNELS[] = {"scalar", "auto"};

#endif
