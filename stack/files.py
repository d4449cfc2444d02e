"""The file systems of a boot that need no disk: / in memory, the ROMFS
of an initrd at /app, the roots at /etc/ssl."""

import os

from micropython import const

_BLOCK = const(4096)


class RamBlocks:
    """A block device in memory, for VfsLfs2: 0 or a negative errno, and like drivers.volume's
    under the scheduler's lock, so that Ctrl-C never leaves littlefs in the middle of a write."""

    def __init__(self, buf, hw):
        self._buf = buf
        self._copy = hw.copy
        self._lock = hw.lock
        self._unlock = hw.unlock

    # No jump before the lock and behind the unlock: jumps are where Ctrl-C comes in.

    def readblocks(self, block, buf, off=0):
        self._lock()
        r = self._move(False, block * _BLOCK + off, buf)
        self._unlock()
        return r

    def writeblocks(self, block, buf, off=0):
        self._lock()
        r = self._move(True, block * _BLOCK + off, buf)
        self._unlock()
        return r

    def ioctl(self, op, _arg):
        self._lock()
        r = 0
        if op == 4:
            r = len(self._buf) // _BLOCK
        elif op == 5:
            r = _BLOCK
        self._unlock()
        return r

    def _move(self, write, at, buf):
        n = len(buf)
        if at < 0 or at + n > len(self._buf):
            return -22  # EINVAL
        if write:
            self._copy(self._buf, at, buf, 0, n)
        else:
            self._copy(buf, 0, self._buf, at, n)
        return 0


def ram_disk_size(ram):
    """1/128 of memory, from 256 KB to 8 MB, in whole blocks. Touching a fresh MB costs 4 ms."""
    n = ram >> 7
    return min(max(n, 256 << 10), 8 << 20) // _BLOCK * _BLOCK


def mount_ram(hw):
    """A fresh file system in memory at /."""
    import vfs

    blocks = RamBlocks(hw.dma(ram_disk_size(hw.ram())), hw)
    vfs.VfsLfs2.mkfs(blocks, readsize=256, progsize=256)
    vfs.mount(vfs.VfsLfs2(blocks, readsize=256, progsize=256, mtime=True), "/")


def mount_initrd(hw, say):
    """The initrd, a ROMFS, read-only at /app. True if there is one."""
    image = hw.initrd()
    if image is None:
        return False
    import vfs

    try:
        vfs.mount(vfs.VfsRom(image), "/app", readonly=True)
    except OSError:
        say("initrd: not a ROMFS image; ignored")
        return False
    return True


def mount_roots():
    """Mozilla's roots, frozen as a ROMFS, at /etc/ssl. They are read where they lie."""
    try:
        import cacerts
    except ImportError:
        return
    import vfs

    vfs.mount(vfs.VfsRom(memoryview(cacerts.ROMFS)), "/etc/ssl", readonly=True)


def is_file(path):
    try:
        return os.stat(path)[0] & 0x8000 != 0
    except OSError:
        return False
