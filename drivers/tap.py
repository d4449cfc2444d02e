"""A Linux TAP interface as a device, for the stack under CPython (Documentation/networking/tuntap).

With `offloads` each packet carries a virtio_net_hdr (IFF_VNET_HDR), so the
kernel takes and gives 64 KB segments and leaves checksums out, as with QEMU.

Only for CPython on Linux. Not implemented: several queues.
"""

import fcntl
import os
import select
import struct

from drivers.device import Device, DeviceError
from drivers.dma import PACKET_MAX
from drivers.virtio_net.ring import tx_offload
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TSO6, CAP_TX_CSUM, Frame

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_OFFLOADS = 1 | 2 | 4  # TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6

_HEADER = 12
_VOUCHED = 3  # NEEDS_CSUM | DATA_VALID
_GSO_MAX = 65455


class Tap(Device):
    """The TAP interface `ifname`, made if it is not there. DeviceError if it cannot be had.

    `fileno()` is readable when rx would find something: wait for that, or poll_at.
    """

    driver = "tap"

    def __init__(self, ifname, name="eth0", mac=None, mtu=1500, offloads=False, stats=None):
        super().__init__(name, mac or b"\x02" + os.urandom(5), mtu, stats)
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR if offloads else 0)
        why = None
        try:
            self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            request = struct.pack("16sH22x", ifname.encode(), flags)
            self.ifname = fcntl.ioctl(self._fd, _TUNSETIFF, request)[:16].rstrip(b"\0").decode()
            if offloads:
                fcntl.ioctl(self._fd, _TUNSETVNETHDRSZ, struct.pack("i", _HEADER))
                fcntl.ioctl(self._fd, _TUNSETOFFLOAD, _OFFLOADS)
        except OSError as e:
            why = e.strerror
        if why is not None:
            raise DeviceError("tap %s: %s" % (ifname, why))
        self._header = _HEADER if offloads else 0
        if offloads:
            self.caps = CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4 | CAP_TSO6
            self.gso_max = _GSO_MAX
        self._buf = bytearray(PACKET_MAX)
        self._views = [memoryview(self._buf)]
        self._frame = Frame(self._buf)

    def fileno(self):
        return self._fd

    def rx(self, sink, budget):
        frame = self._frame
        h = self._header
        n = 0
        while n < budget and self.error is None:
            try:
                got = os.readv(self._fd, self._views)
            except BlockingIOError:
                break
            except OSError as e:
                self._fail(e)
                break
            if got < h + 14:
                self.stats.drop("tap.runt")
                continue
            frame.off = h
            frame.end = got
            frame.csum_ok = h > 0 and self._buf[0] & _VOUCHED != 0
            n += 1
            sink(frame)
        return n

    def tx(self, frame):
        if self.error is not None:
            frame.release()
            return True
        off = frame.off - self._header
        if self._header:
            frame.buf[off : frame.off] = bytes(_HEADER)
            if frame.csum_start:
                tx_offload(
                    frame.buf, frame.off, frame.csum_start, frame.csum_offset, frame.gso_size, 0
                )
        pieces = [memoryview(frame.buf)[off : frame.end]]
        if frame.data_len:
            pieces.append(memoryview(frame.data)[frame.data_off : frame.data_off + frame.data_len])
        try:
            os.writev(self._fd, pieces)
        except BlockingIOError:
            return False
        except OSError as e:
            # The interface is down (EIO): lost on the wire. Gone (EBADFD): an error.
            self.stats.drop("tap.tx")
            if e.errno != 5:
                self._fail(e)
        frame.release()
        return True

    def sleep(self):
        return self.error is None and bool(select.select([self._fd], [], [], 0)[0])

    def _fail(self, e):
        self.error = "tap %s: %s" % (self.ifname, e.strerror)
        self.link_up = False

    def stop(self):
        if self.link_up:
            os.close(self._fd)
        self.link_up = False
        self.error = self.error or "stopped"
