"""A stretch of a disk as a block device of MicroPython's `vfs`.

    readblocks(block, buf, off=0)  writeblocks(block, buf, off=0)  ioctl(op, arg)

They return 0 or a negative errno and never raise, and hold the scheduler's lock from
their first bytecode to their last: Ctrl-C or a timer's callback in their middle would
leave the file system's C code torn.

`LfsVolume` adds the one thing that littlefs 2.8 leaves to its disk: that a file's data
is there before the commit that names it.
"""

from micropython import const

SECTOR = const(512)

# extmod/vfs.h
_DEINIT = const(2)
_SYNC = const(3)
_COUNT = const(4)
_SIZE = const(5)
_ERASE = const(6)

_EIO = const(5)
_EINVAL = const(22)


class Volume:
    """`sectors` from `first` of `disk`, in blocks of `block` bytes."""

    kind = "unknown"  # what is on it, where somebody has looked

    def __init__(self, hw, disk, name, first, sectors, block=0):
        self.hw = hw
        self.disk = disk
        self.name = name
        self.first = first
        self.sectors = sectors
        self.block = block or disk.block
        self._lock = hw.lock
        self._unlock = hw.unlock
        self._addr = hw.addr

    @property
    def readonly(self):
        return self.disk.readonly

    def __repr__(self):
        return "<%s: %s, %d KB>" % (self.name, self.kind, self.sectors >> 1)

    # No jump before the lock and behind the unlock: jumps are where Ctrl-C comes in.

    def readblocks(self, block, buf, off=0):
        self._lock()
        r = self._move(False, block * self.block + off, buf)
        self._unlock()
        return r

    def writeblocks(self, block, buf, off=0):
        self._lock()
        r = self._write(block, buf, off)
        self._unlock()
        return r

    def ioctl(self, op, arg):
        self._lock()
        r = self._ioctl(op, arg)
        self._unlock()
        return r

    def _move(self, write, at, buf):
        n = len(buf)
        if at % SECTOR or at < 0 or (at + n) // SECTOR > self.sectors:
            return -_EINVAL
        sector = self.first + at // SECTOR
        if write:
            return self.disk.write(sector, self._addr(buf), n)
        return self.disk.read(sector, self._addr(buf), n)

    def _write(self, block, buf, off):
        return self._move(True, block * self.block + off, buf)

    def _ioctl(self, op, arg):
        if op == _SYNC or op == _DEINIT:
            return self.disk.flush()
        if op == _COUNT:
            return self.sectors * SECTOR // self.block
        if op == _SIZE:
            return self.block
        return 0

    def read(self, at, n):
        """n bytes from byte `at` on, both whole blocks of the disk. OSError."""
        buf = bytearray(n)
        self._lock()
        r = self._move(False, at, buf)
        self._unlock()
        if r:
            raise OSError(-r)
        return buf


class LfsVolume(Volume):
    """A volume for littlefs, in its blocks.

    littlefs ends each commit with a sync, but has none between writing a file's data and
    committing the metadata that points there. A disk may keep what it was given since the
    last flush in any order: the commit could outlive its data, and with it what the file
    held before. So before the first write that may be a commit, data is flushed.

    What may be a commit: all but filling an erased block from its start on, unless it
    starts like a metadata block. That has a revision count of 4 bytes, then a tag whose
    highest bit is 0 when valid, xored with ones (littlefs's SPEC.md, "Metadata pairs"). Data
    that looks like it costs a flush.
    """

    kind = "littlefs"

    def __init__(self, hw, disk, name, first, sectors, block=4096):
        super().__init__(hw, disk, name, first, sectors, block)
        self._erased = -1  # block erased last
        self._filling = -1  # block of data being written, and how far
        self._filled = 0
        self._loose = False  # data was written since the last flush

    def _write(self, block, buf, off):
        data = (
            off == self._filled
            if block == self._filling
            else off == 0 and block == self._erased and not buf[4] & 0x80
        )
        if data:
            self._filling = block
            self._filled = off + len(buf)
            self._loose = True
        else:
            self._filling = -1
            if self._loose:
                r = self._sync()
                if r:
                    return r
        return self._move(True, block * self.block + off, buf)

    def _sync(self):
        r = self.disk.flush()
        if r == 0:
            self._loose = False
        return r

    def _ioctl(self, op, arg):
        if op == _ERASE:
            self._erased = arg
            # Filled again from its start.
            if arg == self._filling:
                self._filling = -1
            return 0
        if op == _SYNC or op == _DEINIT:
            return self._sync()
        return super()._ioctl(op, arg)
