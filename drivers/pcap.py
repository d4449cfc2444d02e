"""A device around a device that records what crosses it, in pcap format.

File header: magic 0xa1b2c3d4 (microseconds), version 2.4, zone, accuracy,
snaplen, link type 1 (Ethernet). Record: seconds, microseconds, bytes kept, bytes
on the wire. All in the machine's little-endian order.

A segment that the device is to cut is written as one record, before it is cut;
a checksum that the device is to fill in is written as it is, unfinished.
"""

import struct

from drivers.device import Wrapper
from stack.core.mem import copy

_RECORD = 16
_MAX_SNAPLEN = 262144


class Pcap(Wrapper):
    """out: has write(bytes). clock(): us since 1970, or since anything.

    snaplen: bytes kept of each packet. limit: bytes of `out` after which recording
    stops, and counts what it misses.
    """

    def __init__(self, inner, out, clock, snaplen=65535 + 18, limit=1 << 30):
        super().__init__(inner)
        self._out = out
        self._clock = clock
        self._snaplen = min(max(snaplen, 14), _MAX_SNAPLEN)
        self._buf = bytearray(_RECORD + 2048)
        self._left = limit - 24
        self._sink = None
        self.records = 0
        self.missed = 0
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, self._snaplen, 1))

    def rx(self, sink, budget):
        self._sink = sink
        return self.inner.rx(self._received, budget)

    def _received(self, f):
        self._record(f)
        self._sink(f)

    def tx(self, frame):
        # Recorded before: once taken the frame may be anybody's. One that is
        # refused comes again, so it is recorded only where there is room.
        if self.inner.tx_space() < 1:
            return self.inner.tx(frame)
        self._record(frame)
        return self.inner.tx(frame)

    def _record(self, f):
        n = f.end - f.off
        data = f.data_len
        kept = min(n + data, self._snaplen)
        if kept + _RECORD > self._left:
            self.missed += 1
            return
        buf = self._buf
        if kept + _RECORD > len(buf):
            self._buf = buf = bytearray(_RECORD + kept)
        head = min(n, kept)
        copy(buf, _RECORD, f.buf, f.off, head)
        if kept > head:
            copy(buf, _RECORD + head, f.data, f.data_off, kept - head)
        now = self._clock()
        struct.pack_into("<IIII", buf, 0, now // 1000000, now % 1000000, kept, n + data)
        self._out.write(memoryview(buf)[: _RECORD + kept])
        self._left -= _RECORD + kept
        self.records += 1
