"""A Linux TAP interface as a device under MicroPython's unix port; drivers/tap.py is CPython's.

With the virtio_net_hdr before each packet (IFF_VNET_HDR): the kernel takes and gives 64 KB
segments and leaves checksums out, as with QEMU.
"""

import struct

import hw
import uos as os  # the port's own: `os` is the stack's, as in the image
from micropython import const

from drivers.device import Device, DeviceError
from drivers.dma import PACKET_MAX
from drivers.virtio_net.ring import tx_offload
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TSO6, CAP_TX_CSUM, Frame

_TUNSETIFF = const(0x400454CA)
_TUNSETOFFLOAD = const(0x400454D0)
_TUNSETVNETHDRSZ = const(0x400454D8)
_FLAGS = const(0x0002 | 0x1000 | 0x4000)  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_OFFLOADS = const(1 | 2 | 4)  # TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
_RDWR_NONBLOCK = const(0o4002)
_EAGAIN = const(11)

_HEADER = const(12)
_VOUCHED = const(3)  # NEEDS_CSUM | DATA_VALID
_GSO_MAX = const(65455)

_open = hw.libc.func("i", "open", "si")
_ioctl = hw.libc.func("i", "ioctl", "iLp")
_ioctl_int = hw.libc.func("i", "ioctl", "iLL")
_read = hw.libc.func("l", "read", "ipL")
_writev = hw.libc.func("l", "writev", "ipi")


class Tap(Device):
    """The TAP `ifname`, made if it is not there. DeviceError if it cannot be had."""

    driver = "tap"

    def __init__(self, ifname, name="eth0", mtu=1500):
        super().__init__(name, b"\x02" + os.urandom(5), mtu)
        self._fd = fd = _open("/dev/net/tun", _RDWR_NONBLOCK)
        request = bytearray(40)
        struct.pack_into("16sH", request, 0, ifname.encode(), _FLAGS)
        size = struct.pack("i", _HEADER)
        if (
            fd < 0
            or _ioctl(fd, _TUNSETIFF, request)
            or _ioctl(fd, _TUNSETVNETHDRSZ, size)
            or _ioctl_int(fd, _TUNSETOFFLOAD, _OFFLOADS)
        ):
            raise DeviceError("tap %s: errno %d" % (ifname, os.errno()))
        self.caps = CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4 | CAP_TSO6
        self.gso_max = _GSO_MAX
        self._buf = bytearray(PACKET_MAX)
        self._frame = Frame(self._buf)
        self._iov = bytearray(32)
        self._none = bytes(_HEADER)

    def fileno(self):
        return self._fd

    def rx(self, sink, budget):
        frame = self._frame
        buf = self._buf
        n = 0
        while n < budget:
            got = _read(self._fd, buf, len(buf))
            if got < 0:
                break
            if got < _HEADER + 14:
                self.stats.drop("tap.runt")
                continue
            frame.off = _HEADER
            frame.end = got
            frame.csum_ok = buf[0] & _VOUCHED != 0
            n += 1
            sink(frame)
        return n

    def tx(self, frame):
        buf = frame.buf
        off = frame.off - _HEADER
        buf[off : frame.off] = self._none
        if frame.csum_start:
            tx_offload(buf, frame.off, frame.csum_start, frame.csum_offset, frame.gso_size, 0)
        struct.pack_into("QQ", self._iov, 0, hw.addr(buf) + off, frame.end - off)
        pieces = 1
        if frame.data_len:
            at = hw.addr(frame.data) + frame.data_off
            struct.pack_into("QQ", self._iov, 16, at, frame.data_len)
            pieces = 2
        if _writev(self._fd, self._iov, pieces) < 0:
            if os.errno() == _EAGAIN:
                return False
            self.stats.drop("tap.tx")
        frame.release()
        return True
