/* What every vector version of the planes has in common; included by each after its own split_loop and merge_loop,
 * which take whole blocks and say how many elements they took. Here: one loop per width and transform, so that the
 * compiler sees both as constants, and the reference for what is left. Width 1 is all left: bytes are their own
 * plane, and the reference's loop vectorises as it is. */
#ifndef PLANES_TARGET
#define PLANES_TARGET
#endif

#define EACH_TRANSFORM(LOOP, W, ...)                                                                                  \
    switch (transform) {                                                                                              \
    case HT_ROTATE: return LOOP(__VA_ARGS__, W, HT_ROTATE);                                                           \
    case HT_XOR: return LOOP(__VA_ARGS__, W, HT_XOR);                                                                 \
    case HT_XOR_ROTATE: return LOOP(__VA_ARGS__, W, HT_XOR_ROTATE);                                                   \
    case HT_DIFFERENCE: return LOOP(__VA_ARGS__, W, HT_DIFFERENCE);                                                   \
    case HT_DIFFERENCE_ORDERED: return LOOP(__VA_ARGS__, W, HT_DIFFERENCE_ORDERED);                                   \
    default: return LOOP(__VA_ARGS__, W, HT_PLAIN);                                                                   \
    }

PLANES_TARGET static size_t split_blocks(const uint8_t *data, const uint8_t *base, size_t count, int width,
                                         int transform, uint8_t *const *planes) {
    if (width == 2) EACH_TRANSFORM(split_loop, 2, data, base, count, planes)
    if (width == 4) EACH_TRANSFORM(split_loop, 4, data, base, count, planes)
    if (width == 8) EACH_TRANSFORM(split_loop, 8, data, base, count, planes)
    return 0;
}

PLANES_TARGET static size_t merge_blocks(const uint8_t *const *planes, const uint8_t *base, size_t count, int width,
                                         int transform, uint8_t *data) {
    if (width == 2) EACH_TRANSFORM(merge_loop, 2, planes, base, count, data)
    if (width == 4) EACH_TRANSFORM(merge_loop, 4, planes, base, count, data)
    if (width == 8) EACH_TRANSFORM(merge_loop, 8, planes, base, count, data)
    return 0;
}

static void split_all(const uint8_t *data, const uint8_t *base, size_t count, int width, int transform,
                      uint8_t *const *planes) {
    size_t done = split_blocks(data, base, count, width, transform, planes);
    uint8_t *rest[HT_MAX_WIDTH];
    for (int p = 0; p < width; p++) rest[p] = planes[p] + done;
    if (done < count)
        ht_split_scalar(data + done * width, base ? base + done * width : base, count - done, width, transform, rest);
}

static void merge_all(const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform,
                      uint8_t *data) {
    size_t done = merge_blocks(planes, base, count, width, transform, data);
    const uint8_t *rest[HT_MAX_WIDTH];
    for (int p = 0; p < width; p++) rest[p] = planes[p] + done;
    if (done < count)
        ht_merge_scalar(rest, base ? base + done * width : base, count - done, width, transform, data + done * width);
}
