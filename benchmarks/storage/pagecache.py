"""The kernel's page cache: what of a file is in it, how to empty it of a file, how to go past it."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from pathlib import Path

PAGE = mmap.PAGESIZE


def drop(fd: int, offset: int = 0, length: int = 0) -> None:
    """Let go of a file's pages, or of those of a range; only what is on the disk already goes."""
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def go_direct(fd: int) -> bool:
    """Make all further input and output of a descriptor go past the page cache; False where that cannot be."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError:
        return False
    return True


def resident_pages(fd: int) -> int:
    """Return how many of a file's pages are in the cache, by mincore(2). The kernel tells the file's owner only."""
    length = os.fstat(fd).st_size
    if length == 0:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        pages = ctypes.create_string_buffer(-(-length // PAGE))
        if libc.mincore(address, length, pages):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(page & 1 for page in pages.raw)
    finally:
        libc.munmap(address, length)


def file_system(path: Path) -> str:
    """Return the type of the file system a folder is on, such as ``ext4``, ``nfs4`` or ``tmpfs``."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split()[4].replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, after.split()[0]
    return kind
