"""Reads and writes that leave no trace in the page cache, where the kernel offers that.

A checkpoint is read once and may be larger than the memory: through the cache it would push out what the node's jobs
use. Every page of it would come from the free memory first, too: on a virtual machine that gives free memory back to
its host that costs more than anything else on the data path (docs/transfer.md). Linux 6.14 knows RWF_DONTCACHE: what is
in the cache already is used and stays, what was not is dropped once it was read or written out. An older kernel or
another file system refuses the flag, and gets the usual call.

Source: include/uapi/linux/fs.h and the manual page preadv2(2).
"""

from __future__ import annotations

import errno
import os

_RWF_DONTCACHE = 0x80


def read(handle: int, buffer: memoryview, offset: int) -> int:
    """As ``os.preadv`` into one buffer. Raises OSError."""
    try:
        return os.preadv(handle, [buffer], offset, _RWF_DONTCACHE)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return os.preadv(handle, [buffer], offset)


def write(handle: int, data: memoryview, offset: int) -> int:
    """As ``os.pwrite``. Raises OSError."""
    try:
        return os.pwritev(handle, [data], offset, _RWF_DONTCACHE)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return os.pwrite(handle, data, offset)
