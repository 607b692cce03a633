/* The core without Python, for processors that are emulated: decodes and encodes the golden vectors, and compares
 * the fastest kernel with the reference on random planes. Usage: foreign_check KERNEL NAME.hex ... */
#include <stdio.h>
#include <stdlib.h>

#include "core.h"

enum { ROOM = 1 << 16, MOST_ELEMENTS = 200 };

static uint8_t data[ROOM], base[ROOM], frame[ROOM], output[ROOM];
static int failures;

static void expect(int holds, const char *what, const char *where) {
    if (holds) return;
    printf("%s: %s\n", where, what);
    failures++;
}

/* One line of hexadecimal digits. */
static size_t read_line(FILE *file, uint8_t *bytes) {
    size_t count = 0;
    char digits[3] = {0};
    for (int c = fgetc(file); c != '\n' && c != EOF; c = fgetc(file)) {
        digits[0] = (char)c;
        digits[1] = (char)fgetc(file);
        if (count < ROOM) bytes[count++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return count;
}

static void check_golden(const ht_kernels *kernels, const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return expect(0, "cannot be opened", path);
    size_t length = read_line(file, data), base_bytes = read_line(file, base), frame_bytes = read_line(file, frame);
    fclose(file);
    ht_frame parsed;
    int plane;
    expect(ht_frame_parse(frame, frame_bytes, &parsed, &plane) == HT_OK, "is not parsed", path);
    ht_decode_job back = {.frame = frame, .frame_bytes = frame_bytes, .data = output, .length = length};
    ht_encode_job job = {.data = data, .length = length, .width = parsed.width, .floating = parsed.floating};
    if (base_bytes > 0) back.base = job.base = base;
    back.base_bytes = base_bytes;
    ht_decode_batch(kernels, &back, 1);
    if (back.status == HT_NEEDS_ZSTD) return; /* zstd planes are Python's */
    expect(back.status == HT_OK && memcmp(output, data, length) == 0, "decodes to something else", path);
    if (strstr(path, "folded") || strstr(path, "even_segments")) return; /* of version 1: only decoded */
    job.frame = malloc(ht_frame_bound(length));
    expect(ht_encode_batch(kernels, &job, 1, 1) == HT_OK, "is not encoded", path);
    expect(job.frame_bytes == frame_bytes && memcmp(job.frame, frame, frame_bytes) == 0, "encodes otherwise", path);
    free(job.frame);
}

static void check_planes(const ht_kernels *kernels, const ht_kernels *reference, int width, int transform, size_t n) {
    static uint8_t expected[HT_MAX_WIDTH][ROOM], found[HT_MAX_WIDTH][ROOM];
    uint8_t *to[HT_MAX_WIDTH], *from[HT_MAX_WIDTH];
    const uint8_t *chunk = data + n % 13, *against = base + n % 7, *merged[HT_MAX_WIDTH];
    for (int i = 0; i < ROOM; i++) {
        data[i] = (uint8_t)rand();
        base[i] = (uint8_t)rand();
    }
    for (int p = 0; p < width; p++) {
        to[p] = expected[p];
        merged[p] = from[p] = found[p] + 2 * p + 1;
    }
    reference->split(chunk, against, n, width, transform, to);
    kernels->split(chunk, against, n, width, transform, from);
    for (int p = 0; p < width; p++) expect(memcmp(to[p], from[p], n) == 0, "differs from the reference", "split");
    kernels->merge(merged, against, n, width, transform, output + 3);
    expect(memcmp(output + 3, chunk, n * (size_t)width) == 0, "does not undo split", "merge");
}

int main(int argc, char **argv) {
    ht_core_prepare();
    const ht_kernels *kernels = argc > 1 ? ht_kernels_named(argv[1]) : NULL, *reference = ht_kernels_named("scalar");
    if (kernels == NULL) return 2;
    for (int i = 2; i < argc; i++) check_golden(kernels, argv[i]);
    for (int transform = 0; transform < HT_TRANSFORM_COUNT; transform++)
        for (int width = 1; width <= HT_MAX_WIDTH; width *= 2)
            for (size_t n = 0; n < MOST_ELEMENTS; n += 1 + n / 40)
                check_planes(kernels, reference, width, transform, n);
    printf("%s: %d failures\n", kernels->name, failures);
    return failures > 0;
}
