# cython: language_level=3, boundscheck=False, wraparound=False
"""The C kernels, as Python calls: checks arguments, holds buffers, releases the GIL once around each batch and turns
status codes into errors. The typed surface is in _core.pyi; callers use heliotrope.native, not this module."""

from functools import partial
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.ref cimport PyObject, Py_XDECREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from .errors import MalformedFrame, MissingBase

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t) except NULL
    char *PyBytes_AS_STRING(PyObject *)
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1

cdef extern from "core.h" nogil:
    enum: HT_MAX_WIDTH, HT_STREAMS, HT_HEADER_BYTES, HT_FRAME_VERSION, HT_MAX_CHUNK_BYTES
    enum: HT_HUFFMAN, HT_ZSTD, HT_ANS, HT_SPARSE
    enum: HT_OK, HT_BAD_MAGIC, HT_BAD_VERSION, HT_BAD_SHAPE, HT_TRUNCATED, HT_TRAILING_BYTES, HT_BAD_PLANE
    enum: HT_BAD_CODE, HT_BAD_STREAM, HT_WRONG_LENGTH, HT_NEEDS_BASE, HT_NEEDS_ZSTD, HT_NO_MEMORY

    ctypedef struct ht_kernels:
        const char *name
        const char *split_name
        const char *histogram_name
        const char *huffman_name
        const char *ans_name
        void (*split)(const uint8_t *, const uint8_t *, size_t, int, int, uint8_t **) noexcept nogil
        void (*merge)(const uint8_t **, const uint8_t *, size_t, int, int, uint8_t *) noexcept nogil
        void (*histogram)(const uint8_t *, size_t, uint32_t (*)[256]) noexcept nogil

    ctypedef struct ht_plane:
        int codec
        size_t offset
        size_t length

    ctypedef struct ht_frame:
        size_t raw_bytes
        size_t count
        int width
        int floating
        int delta
        int stored
        ht_plane planes[8]

    ctypedef struct ht_encode_job:
        const uint8_t *data
        const uint8_t *base
        size_t length
        int width
        int floating
        int header_only
        uint8_t *frame
        size_t frame_bytes
        int zstd_planes

    ctypedef struct ht_decode_job:
        const uint8_t *frame
        size_t frame_bytes
        const uint8_t *base
        size_t base_bytes
        uint8_t *data
        size_t length
        const uint8_t *inflated[8]
        int status
        int plane

    const ht_kernels *ht_kernels_named(const char *)
    void ht_core_prepare()
    int ht_transform_of(int, int, int)
    void ht_sum_counts(uint32_t (*)[256], uint32_t *)
    double ht_entropy_bits(const uint32_t *, size_t)
    size_t ht_plane_encode(const ht_kernels *, int, const uint8_t *, size_t, uint8_t *)
    int ht_plane_decode(const ht_kernels *, int, const uint8_t *, size_t, uint8_t *, size_t)
    size_t ht_gear_cut(const uint8_t *, size_t, size_t, size_t, size_t)
    size_t ht_frame_bound(size_t)
    int ht_frame_parse(const uint8_t *, size_t, ht_frame *, int *)
    int ht_encode_batch(const ht_kernels *, ht_encode_job *, size_t, int)
    void ht_decode_batch(const ht_kernels *, ht_decode_job *, size_t)

FRAME_VERSION = HT_FRAME_VERSION
HEADER_BYTES = HT_HEADER_BYTES
MAX_CHUNK_BYTES = HT_MAX_CHUNK_BYTES

cdef dict CAUSES = {
    HT_BAD_MAGIC: "it does not begin with the frame mark",
    HT_BAD_VERSION: "its version is not known here",
    HT_BAD_SHAPE: "its shape byte or raw length is not allowed",
    HT_TRUNCATED: "it is shorter than its header says",
    HT_TRAILING_BYTES: "it is longer than its header says",
    HT_BAD_PLANE: "the codec or length of a plane is not allowed",
    HT_BAD_CODE: "the code of a plane is not complete",
    HT_BAD_STREAM: "a coded stream does not end where it should",
    HT_WRONG_LENGTH: "the output has another length than the chunk",
    HT_NEEDS_BASE: "it needs a base of the chunk's length",
    HT_NEEDS_ZSTD: "a zstd plane was not decompressed",
}

ht_core_prepare()
cdef const ht_kernels *active = ht_kernels_named(b"auto")
cdef uint8_t nothing = 0


cdef class Buffers:
    """Holds the buffers of one batch until it is done."""

    cdef Py_buffer *views
    cdef Py_ssize_t held, room

    def __cinit__(self, Py_ssize_t room):
        self.views = <Py_buffer *>calloc(max(room, 1), sizeof(Py_buffer))
        self.room = room
        if self.views == NULL:
            raise MemoryError

    def __dealloc__(self):
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])
        free(self.views)

    cdef uint8_t *take(self, object owner, bint writable, size_t *length) except NULL:
        cdef Py_buffer *view = &self.views[self.held]
        assert self.held < self.room
        PyObject_GetBuffer(owner, view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held += 1
        length[0] = <size_t>view.len
        return <uint8_t *>view.buf if view.len > 0 else &nothing


cdef object refusal(int status, str frame, int plane):
    if status == HT_NO_MEMORY:
        return MemoryError("cannot code a batch: no memory for its scratch space; use smaller batches")
    where = f"{frame}, plane {plane}" if plane >= 0 else frame
    kind = MissingBase if status == HT_NEEDS_BASE else MalformedFrame
    remedy = "give the base it was coded against" if status == HT_NEEDS_BASE else "ask the sender for it again"
    return kind(f"cannot decode {where}: {CAUSES[status]}; {remedy}")


cdef const ht_kernels *named(str kernel) except NULL:
    found = ht_kernels_named(kernel.encode())
    if found == NULL:
        raise LookupError(kernel)
    return found


def select(str kernel):
    """Makes `kernel` the one that encode and decode use; LookupError when this machine cannot run it."""
    global active
    active = named(kernel)


def kernels():
    """Operation -> the implementation that runs it."""
    huffman, ans, split = active.huffman_name.decode(), active.ans_name.decode(), active.split_name.decode()
    return {"split": split, "merge": split, "histogram": active.histogram_name.decode(),
            "huffman_encode": huffman, "huffman_decode": huffman, "ans_encode": ans, "ans_decode": ans,
            "boundaries": "scalar"}


def check_width(int width):
    if width not in (1, 2, 4, 8):
        raise ValueError(f"cannot code a chunk: width is {width}; give 1, 2, 4 or 8 bytes")


def encode_batch(list chunks, int effort, bint header_only):
    """[(data, width, floating, base or None)] -> [(frame, planes that zstd should still shrink, as bits)].

    header_only: a chunk that is stored whole gives HEADER_BYTES, and its data belongs behind them."""
    cdef Py_ssize_t count = len(chunks), i
    cdef Buffers held = Buffers(2 * count)
    cdef size_t base_bytes
    cdef int status
    cdef ht_encode_job *jobs = <ht_encode_job *>calloc(max(count, 1), sizeof(ht_encode_job))
    cdef PyObject **frames = <PyObject **>calloc(max(count, 1), sizeof(PyObject *))
    try:
        if jobs == NULL or frames == NULL:
            raise MemoryError
        for i in range(count):
            data, width, floating, base = chunks[i]
            check_width(width)
            jobs[i].width = width
            jobs[i].floating = bool(floating)
            jobs[i].header_only = header_only
            jobs[i].data = held.take(data, False, &jobs[i].length)
            if jobs[i].length > HT_MAX_CHUNK_BYTES:
                raise ValueError(f"cannot code chunk {i}: data has {jobs[i].length} bytes; "
                                 f"cut it to at most {HT_MAX_CHUNK_BYTES}")
            if base is not None:
                jobs[i].base = held.take(base, False, &base_bytes)
                if base_bytes != jobs[i].length:
                    raise ValueError(f"cannot code chunk {i}: base has {base_bytes} bytes and data "
                                     f"{jobs[i].length}; give a base of equal length or None")
            frames[i] = PyBytes_FromStringAndSize(NULL, ht_frame_bound(jobs[i].length))
            jobs[i].frame = <uint8_t *>PyBytes_AS_STRING(frames[i])
        with nogil:
            status = ht_encode_batch(active, jobs, count, effort)
        if status != HT_OK:
            raise refusal(status, "batch", -1)
        coded = []
        for i in range(count):
            _PyBytes_Resize(&frames[i], jobs[i].frame_bytes)
            coded.append((<object>frames[i], jobs[i].zstd_planes))
        return coded
    finally:
        if frames != NULL:
            for i in range(count):
                Py_XDECREF(frames[i])
        free(frames)
        free(jobs)


def decode_batch(list frames, list outputs, list bases, dict inflated):
    """Writes each frame's chunk to its output. inflated: {frame index: {plane: decompressed bytes}}."""
    cdef Py_ssize_t count = len(frames), i
    cdef Buffers held = Buffers(3 * count + sum([len(planes) for planes in inflated.values()]))
    cdef size_t plane_bytes
    cdef ht_decode_job *jobs = <ht_decode_job *>calloc(max(count, 1), sizeof(ht_decode_job))
    try:
        if jobs == NULL:
            raise MemoryError
        for i in range(count):
            jobs[i].frame = held.take(frames[i], False, &jobs[i].frame_bytes)
            jobs[i].data = held.take(outputs[i], True, &jobs[i].length)
            if bases[i] is not None:
                jobs[i].base = held.take(bases[i], False, &jobs[i].base_bytes)
            for plane, data in inflated.get(i, {}).items():
                jobs[i].inflated[<int>plane] = held.take(data, False, &plane_bytes)
                if plane_bytes != jobs[i].length // planes_of(jobs[i].frame, jobs[i].frame_bytes):
                    raise ValueError(f"cannot decode frame {i}: plane {plane} has {plane_bytes} decompressed bytes")
        with nogil:
            ht_decode_batch(active, jobs, count)
        for i in range(count):
            if jobs[i].status != HT_OK:
                raise refusal(jobs[i].status, f"frame {i}", jobs[i].plane)
    finally:
        free(jobs)


cdef size_t planes_of(const uint8_t *frame, size_t frame_bytes):
    cdef ht_frame f
    cdef int plane
    return f.width if ht_frame_parse(frame, frame_bytes, &f, &plane) == HT_OK else 1


def zstd_planes(list frames):
    """[(frame index, plane, offset of its coded bytes, their length, the plane's own length)] of all zstd planes."""
    cdef Py_ssize_t count = len(frames), i
    cdef Buffers held = Buffers(count)
    cdef const uint8_t *data
    cdef size_t length
    cdef ht_frame f
    cdef int plane, status, p
    found = []
    for i in range(count):
        data = held.take(frames[i], False, &length)
        status = ht_frame_parse(data, length, &f, &plane)
        if status != HT_OK:
            raise refusal(status, f"frame {i}", plane)
        if f.stored:
            continue
        for p in range(f.width):
            if f.planes[p].codec == HT_ZSTD:
                found.append((i, p, f.planes[p].offset, f.planes[p].length, f.count))
    return found


def parse(object frame):
    """(raw bytes, width, floating, delta, stored, [(codec, offset, length) per plane]) of one frame."""
    cdef Buffers held = Buffers(1)
    cdef size_t length
    cdef ht_frame f
    cdef int plane
    cdef const uint8_t *data = held.take(frame, False, &length)
    cdef int status = ht_frame_parse(data, length, &f, &plane)
    if status != HT_OK:
        raise refusal(status, "frame", plane)
    planes = [] if f.stored else [(f.planes[p].codec, f.planes[p].offset, f.planes[p].length) for p in range(f.width)]
    return f.raw_bytes, f.width, bool(f.floating), f.delta, bool(f.stored), planes


def boundaries(object data, size_t minimum, size_t average, size_t maximum):
    """End offsets of content-defined chunks; needs 1 <= minimum < average < maximum."""
    cdef Buffers held = Buffers(1)
    cdef size_t length, at = 0, cut
    cdef const uint8_t *start = held.take(data, False, &length)
    ends = []
    while at < length:
        with nogil:
            cut = ht_gear_cut(start + at, length - at, minimum, average, maximum)
        at += cut
        ends.append(at)
    return ends


def split(object data, int width, bint floating, int delta, object base, str kernel):
    """The byte planes of the whole elements of `data`."""
    check_width(width)
    cdef Buffers held = Buffers(2 + width)
    cdef size_t length, base_bytes = 0, plane_bytes
    cdef const ht_kernels *chosen = named(kernel)
    cdef const uint8_t *source = held.take(data, False, &length)
    cdef const uint8_t *against = NULL
    cdef uint8_t *targets[8]
    cdef size_t count = length // <size_t>width
    cdef int p
    if delta != 0:
        against = held.take(base, False, &base_bytes)
        if base_bytes != length:
            raise ValueError(f"cannot split: base has {base_bytes} bytes and data {length}; give equal lengths")
    planes = [bytearray(count) for _ in range(width)]
    for p in range(width):
        targets[p] = held.take(planes[p], True, &plane_bytes)
    with nogil:
        chosen.split(source, against, count, width, ht_transform_of(delta, floating, width), targets)
    return planes


def merge(list planes, bint floating, int delta, object base, object output, str kernel):
    """The inverse of split, into `output`."""
    cdef int width = len(planes), p
    check_width(width)
    cdef Buffers held = Buffers(2 + width)
    cdef size_t length, base_bytes = 0, plane_bytes
    cdef const ht_kernels *chosen = named(kernel)
    cdef uint8_t *target = held.take(output, True, &length)
    cdef const uint8_t *against = NULL
    cdef const uint8_t *sources[8]
    cdef size_t count = length // <size_t>width
    if delta != 0:
        against = held.take(base, False, &base_bytes)
        if base_bytes != length:
            raise ValueError(f"cannot merge: base has {base_bytes} bytes and output {length}; give equal lengths")
    for p in range(width):
        sources[p] = held.take(planes[p], False, &plane_bytes)
        if plane_bytes != count:
            raise ValueError(f"cannot merge: plane {p} has {plane_bytes} bytes; give {count}")
    with nogil:
        chosen.merge(sources, against, count, width, ht_transform_of(delta, floating, width), target)


def histogram(object data, str kernel):
    """256 counts."""
    cdef Buffers held = Buffers(1)
    cdef size_t length
    cdef uint32_t counts[HT_STREAMS][256]
    cdef uint32_t total[256]
    cdef const ht_kernels *chosen = named(kernel)
    cdef const uint8_t *source = held.take(data, False, &length)
    with nogil:
        chosen.histogram(source, length, counts)
        ht_sum_counts(counts, total)
    return [total[v] for v in range(256)]


def entropy(object data):
    """Order-0 entropy of `data` in bits per byte."""
    cdef Buffers held = Buffers(1)
    cdef size_t length
    cdef uint32_t counts[HT_STREAMS][256]
    cdef uint32_t total[256]
    cdef const uint8_t *source = held.take(data, False, &length)
    cdef double bits
    with nogil:
        active.histogram(source, length, counts)
        ht_sum_counts(counts, total)
        bits = ht_entropy_bits(total, length)
    return bits


def plane_encode(int codec, object data, str kernel):
    """One plane by one coder, or None when that is not shorter."""
    cdef size_t length
    cdef Buffers held = Buffers(2)
    cdef const ht_kernels *chosen = named(kernel)
    cdef const uint8_t *source = held.take(data, False, &length)
    coded = bytearray(length)
    cdef uint8_t *target = held.take(coded, True, &length)
    with nogil:
        length = ht_plane_encode(chosen, codec, source, length, target)
    return bytes(memoryview(coded)[:length]) if length > 0 else None


def plane_decode(int codec, object coded, object output, str kernel):
    cdef Buffers held = Buffers(2)
    cdef size_t length, count
    cdef int status
    cdef const ht_kernels *chosen = named(kernel)
    cdef const uint8_t *source = held.take(coded, False, &length)
    cdef uint8_t *target = held.take(output, True, &count)
    with nogil:
        status = ht_plane_decode(chosen, codec, source, length, target, count)
    if status != HT_OK:
        raise refusal(status, "plane", -1)


huffman_encode, huffman_decode = partial(plane_encode, HT_HUFFMAN), partial(plane_decode, HT_HUFFMAN)
ans_encode, ans_decode = partial(plane_encode, HT_ANS), partial(plane_decode, HT_ANS)
sparse_encode, sparse_decode = partial(plane_encode, HT_SPARSE), partial(plane_decode, HT_SPARSE)
