"""QEMU's fw_cfg device: files that the host hands over (QEMU's docs/specs/fw_cfg.rst).

    FwCfg(hw)              the device at the PC's ports; DeviceError where there is none
    names() -> [str]       of all files, sorted
    read(name) -> bytes    OSError(ENOENT), OSError(EFBIG)

A host gives a file of its own by `-fw_cfg name=opt/org.example/name,file=PATH`, or
`string=TEXT`. Read through DMA where the device has it, else a byte at a time.

Not implemented: writing, fw_cfg over MMIO.
"""

import struct

from micropython import const

from drivers.device import DeviceError

_SELECTOR = const(0x510)
_DATA = const(0x511)
_DMA_HIGH = const(0x514)
_DMA_LOW = const(0x518)

_KEY_SIGNATURE = const(0x0000)
_KEY_ID = const(0x0001)
_KEY_DIRECTORY = const(0x0019)
_ID_DMA = const(2)

_CONTROL_ERROR = const(1)
_CONTROL_READ = const(2)
_CONTROL_SELECT = const(8)

_ENTRY = const(64)  # size u32, key u16, reserved u16, name[56]; big-endian
_FILES_MAX = const(1024)  # QEMU itself makes some 40; 64 KB of directory
_SIZE_MAX = const(4 << 20)  # of a file; it is read into the heap

_ENOENT = const(2)
_EIO = const(5)
_EFBIG = const(27)


class FwCfg:
    def __init__(self, hw):
        self._hw = hw
        self._dma = False
        if self._read(_KEY_SIGNATURE, 4) != b"QEMU":
            raise DeviceError("fw_cfg: not there")
        self._dma = self._read(_KEY_ID, 4)[0] & _ID_DMA != 0
        self._files = None

    def _read(self, key, n):
        if self._dma:
            return self._read_dma(key, n)
        hw = self._hw
        hw.outw(_SELECTOR, key)
        return bytes([hw.inb(_DATA) for _ in range(n)])

    def _read_dma(self, key, n):
        """One request: control, length, address, all big-endian. Done when control is 0."""
        hw = self._hw
        buf = bytearray(n)
        at = hw.addr(buf)
        ask = bytearray(struct.pack(">IIQ", key << 16 | _CONTROL_SELECT | _CONTROL_READ, n, at))
        where = hw.addr(ask)
        hw.outl(_DMA_HIGH, _swap(where >> 32))
        hw.outl(_DMA_LOW, _swap(where & 0xFFFFFFFF))
        # QEMU has done it before the write returns.
        if struct.unpack_from(">I", ask, 0)[0]:
            raise OSError(_EIO)
        return bytes(buf)

    def _directory(self):
        if self._files is None:
            count = struct.unpack(">I", self._read(_KEY_DIRECTORY, 4))[0]
            if count > _FILES_MAX:
                raise DeviceError("fw_cfg: %d files" % count)
            listing = self._read(_KEY_DIRECTORY, 4 + count * _ENTRY)
            self._files = {}
            for i in range(count):
                size, key, _, name = struct.unpack_from(">IHH56s", listing, 4 + i * _ENTRY)
                end = name.find(b"\0")
                self._files[(name if end < 0 else name[:end]).decode()] = key, size
        return self._files

    def names(self):
        """The names of all files, sorted."""
        return sorted(self._directory())

    def read(self, name):
        """The bytes of a file."""
        if name not in self._directory():
            raise OSError(_ENOENT)
        key, size = self._files[name]
        if size > _SIZE_MAX:
            raise OSError(_EFBIG)
        return self._read(key, size)


def _swap(v):
    return int.from_bytes(v.to_bytes(4, "little"), "big")
