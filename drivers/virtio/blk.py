"""The virtio block device (virtio 1.2, section 5.2): sectors of a disk.

    read(sector, address, n) write(sector, address, n) flush()   0, or a negative errno
    discard(sector, count) write_zeroes(sector, count, unmap) serial()   OSError

One request at a time, waited for: first looking, then halted until the interrupt. What
a file system calls (by way of `drivers/volume.py`) never raises and allocates nothing:
an exception in its middle would leave the file system's C code torn, and the collector
calls it too, when it closes a forgotten file.

Sectors have 512 bytes whatever the device's block size (5.2.4); requests must be whole
blocks. A flush is awaited by the host's file (5.2.6.2) before it returns.

Not implemented: several queues, requests beside each other, secure erase (5.2.6),
lifetime, zoned devices, a capacity that changes while it is used.
"""

import struct

from micropython import const

from drivers.device import DeviceError
from drivers.virtio.request import RequestDevice

# 5.2.3 feature bits
_F_SIZE_MAX = const(1 << 1)
_F_SEG_MAX = const(1 << 2)
_F_RO = const(1 << 5)
_F_BLK_SIZE = const(1 << 6)
_F_FLUSH = const(1 << 9)
_F_DISCARD = const(1 << 13)
_F_WRITE_ZEROES = const(1 << 14)
_WANTED = const(1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 13 | 1 << 14)

# 5.2.4 device configuration
_CAPACITY = const(0)
_SIZE_MAX = const(8)
_SEG_MAX = const(12)
_BLK_SIZE = const(20)
_DISCARD_SECTORS = const(36)
_ZEROES_SECTORS = const(48)

# 5.2.6 requests: type, reserved, sector; then data; then a status byte
_IN = const(0)
_OUT = const(1)
_FLUSH = const(4)
_GET_ID = const(8)
_DISCARD = const(11)
_WRITE_ZEROES = const(13)
_HEADER = const(16)
_STATUS = const(16)  # where it lies in `_area`
_SEGMENT = const(24)  # one segment to discard or zero: sector, count, flags
_ID = const(40)
_ID_LEN = const(20)
_AREA = const(64)
_S_OK = const(0)
_S_UNSUPP = const(2)

_SECTOR = const(512)
_BLOCK_MAX = const(4096)  # the largest block that littlefs and FAT are told of
_DESCRIPTORS = const(64)  # of the queue: a header, a status, and up to this many parts less 2
_PIECE_MAX = const(1 << 20)  # bytes of one request

# A host whose own disk stands still answers late; after this it is taken for dead.
_PATIENCE_US = const(30_000_000)
_SPIN_US = const(200)  # look for so long before halting: most answers come sooner
_NAP_US = const(10_000)  # halted at most so long, should an interrupt be lost

_EIO = const(5)
_EINVAL = const(22)
_EROFS = const(30)
_EOPNOTSUPP = const(95)


class VirtioBlk(RequestDevice):
    """`sectors` of 512 bytes in blocks of `block` bytes; `readonly`. DeviceError."""

    driver = "virtio-blk"

    def __init__(self, hw, transport, name="vda"):
        self.name = name
        self._area = hw.dma(_AREA)
        self._at = hw.addr(self._area)
        self._lock = hw.lock
        self._unlock = hw.unlock
        self._addr = hw.addr
        self._now = hw.ticks_us
        self._wait = hw.wait
        self._pack = struct.pack_into
        self.halting = True  # False: no interrupt will come any more, only look
        super().__init__(hw, transport, _WANTED, (_DESCRIPTORS,))
        self._queue = self._queues[0]

    def _configure(self):
        f = self.features
        self.sectors = self._config(_CAPACITY, 8)
        if self.sectors >> 53:
            raise DeviceError("virtio: a disk of 2^%d sectors" % (len(bin(self.sectors)) - 3))
        self.readonly = f & _F_RO != 0
        self.block = b = self._config(_BLK_SIZE, 4) if f & _F_BLK_SIZE else _SECTOR
        if not _SECTOR <= b <= _BLOCK_MAX or b & (b - 1):
            raise DeviceError("virtio: a disk with blocks of %d bytes" % b)
        part = self._config(_SIZE_MAX, 4) if f & _F_SIZE_MAX else _PIECE_MAX
        parts = self._config(_SEG_MAX, 4) if f & _F_SEG_MAX else 1
        # A part that is no whole block would cut a request within one.
        self._part = part = min(part, _PIECE_MAX) // b * b
        room = min(self._transport.queue_size(0), _DESCRIPTORS) - 2
        parts = min(max(parts, 1), room)
        self._piece = min(part * parts, _PIECE_MAX)
        if self._piece <= 0:
            raise DeviceError("virtio: a disk that takes less than a block at once")

    # ---- requests, 5.2.6 ----

    def _request(self, kind, sector, address, n, writable):
        """One request with n bytes at `address`; 0 or a negative errno."""
        if self.error is not None:
            return -_EIO
        area, at, q = self._area, self._at, self._queue
        self._pack("<IIQ", area, 0, kind, 0, sector)
        area[_STATUS] = 0xFF
        room = n + 1 if writable else 1
        q.add(at, _HEADER, False)
        while n > 0:
            part = n if n < self._part else self._part
            q.add(address, part, writable)
            address += part
            n -= part
        q.add(at + _STATUS, 1, True)
        q.submit()
        q.kick()
        try:
            if not self._await():
                self.stop("no answer in %d s" % (_PATIENCE_US // 1_000_000))
                return -_EIO
        except DeviceError as e:
            self.stop(str(e))
            return -_EIO
        status = area[_STATUS]
        if status == _S_OK and q.length == room:
            return 0
        # 2.7.8: nothing may be assumed of bytes beyond the length that was written.
        return -_EOPNOTSUPP if status == _S_UNSUPP else -_EIO

    def _await(self):
        """Until the one request is done; False if that takes too long."""
        q, now = self._queue, self._now
        began = now()
        while q.take() < 0:
            t = now()
            if t - began >= _PATIENCE_US:
                return False
            if t - began > _SPIN_US and self.halting:
                if not q.interrupts(True):
                    self._wait(t + _NAP_US)
                q.interrupts(False)
                self._transport.config_changed()
        return True

    def _transfer(self, kind, sector, address, n):
        """Bytes in or out, in as many requests as the device's limits want."""
        if n < 0 or sector < 0 or n % self.block or sector * _SECTOR % self.block:
            return -_EINVAL
        if sector + n // _SECTOR > self.sectors:
            return -_EINVAL
        self._lock()
        r = 0
        while n > 0 and r == 0:
            piece = n if n < self._piece else self._piece
            r = self._request(kind, sector, address, piece, kind == _IN)
            sector += piece // _SECTOR
            address += piece
            n -= piece
        self._unlock()
        return r

    def read(self, sector, address, n):
        """n bytes from `sector` on to memory at `address`; 0 or a negative errno."""
        return self._transfer(_IN, sector, address, n)

    def write(self, sector, address, n):
        """n bytes from memory at `address` to `sector` and on; 0 or a negative errno."""
        if self.readonly:
            return -_EROFS
        return self._transfer(_OUT, sector, address, n)

    def flush(self):
        """All that was written is on the host's disk when this returns 0. 5.2.6.2.

        A device that does not offer to flush has written through (5.2.6.1)."""
        if not self.features & _F_FLUSH or self.readonly:
            return 0
        self._lock()
        r = self._request(_FLUSH, 0, 0, 0, False)
        self._unlock()
        return r

    # ---- for programs ----

    def serial(self):
        """The device's name for itself, up to 20 characters. 5.2.6."""
        self._checked(_GET_ID, 0, self._at + _ID, _ID_LEN, True)
        end = _ID
        while end < _ID + _ID_LEN and self._area[end]:
            end += 1
        return bytes(self._area[_ID:end]).decode()

    def discard(self, sector, count):
        """The device may forget what these sectors hold. OSError(EOPNOTSUPP) if it cannot."""
        self._segments(_DISCARD, _F_DISCARD, _DISCARD_SECTORS, sector, count, 0)

    def write_zeroes(self, sector, count, unmap=False):
        """Make these sectors read as zeroes; unmap: perhaps without keeping room for them."""
        self._segments(_WRITE_ZEROES, _F_WRITE_ZEROES, _ZEROES_SECTORS, sector, count, int(unmap))

    def _segments(self, kind, feature, limit_at, sector, count, flags):
        if not self.features & feature:
            raise OSError(_EOPNOTSUPP)
        if self.readonly:
            raise OSError(_EROFS)
        if sector < 0 or count < 0 or sector + count > self.sectors:
            raise OSError(_EINVAL)
        most = self._config(limit_at, 4)
        if not most:
            raise OSError(_EOPNOTSUPP)
        while count:
            n = min(count, most)
            self._pack("<QII", self._area, _SEGMENT, sector, n, flags)
            self._checked(kind, 0, self._at + _SEGMENT, 16, False)
            sector += n
            count -= n

    def _checked(self, kind, sector, address, n, writable):
        self._lock()
        r = self._request(kind, sector, address, n, writable)
        self._unlock()
        if r:
            raise OSError(-r)
