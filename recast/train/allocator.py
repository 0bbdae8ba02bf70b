"""Freed memory on a CPU: each step of a training frees and takes the same gigabytes."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h, for mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER, LARGEST = -1, 2**31 - 1


def keep_freed_memory(library: ctypes.CDLL | None = None) -> bool:
    """Let this process keep what it frees, for its next use; whether that is so now.

    By default glibc gives blocks from 32 MiB back to the system at once, and the system has to clear every page of
    them anew. The peak is what it was; between peaks the process looks as large as it has been. It holds until the
    process ends. Where there is no glibc (macOS, musl, Windows) nothing is done. library: the C library.
    """
    try:
        opened = ctypes.CDLL(None) if library is None else library
    except (OSError, TypeError):  # of Windows, which has no name for the process itself
        return False
    if not (hasattr(opened, "gnu_get_libc_version") and hasattr(opened, "mallopt")):
        return False
    # A glibc that limits the threshold refuses it; without any mapping it takes all blocks from the heap as well.
    is_kept = opened.mallopt(M_MMAP_THRESHOLD, LARGEST) or opened.mallopt(M_MMAP_MAX, 0)
    return bool(is_kept and opened.mallopt(M_TRIM_THRESHOLD, NEVER))
