"""Whole frames for programs: net.raw and net.capture."""

from stack.api import _runtime
from stack.core import errors
from stack.core.errors import POLLIN

_HEADER = b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(8)  # pcap: microseconds, version 2.4


class Raw:
    """Send and receive Ethernet frames of an interface. Works with select, and in `with`.

    ethertype: only frames of this type (0: all). accept: a function of a Frame, at its
    Ethernet header, called for each. outgoing: see what we send, too.
    """

    def __init__(self, iface, ethertype=0, accept=None, outgoing=False, snaplen=65549):
        self._rt = rt = _runtime.current()
        self._poll_entry = None
        rt.lock()
        try:
            self._ep = iface.raw(ethertype, accept, outgoing, snaplen)
        finally:
            rt.unlock()
        self.mac = iface.mac.to_bytes(6, "big")
        self.events = self._ep.events

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, frame):
        """Send a frame, bytes from the destination address on. How many; OSError(EAGAIN)."""
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            n = self._ep.send(frame, 0, len(frame), now)
            if n < 0:
                raise OSError(errors.EAGAIN)
            rt.kick(now)
            return n
        finally:
            rt.unlock()

    def recv(self, timeout=None):
        """The next frame, bytes; None after `timeout` seconds."""
        return self._rt.run(self.steps_recv(timeout))

    def steps_recv(self, timeout):
        from stack.api._streams import deadline_of

        rt = self._rt
        deadline = deadline_of(rt, timeout)
        while True:
            rt.lock()
            try:
                n = self._ep.recv_into(rt.scratch, 0, len(rt.scratch))
                if n >= 0:
                    return bytes(rt.scratch_view[:n])
            finally:
                rt.unlock()
            if rt.now() >= deadline:
                return None
            yield self._ep, POLLIN, deadline

    @property
    def when(self):
        """When the last frame came, us since boot."""
        return self._ep.when

    @property
    def length(self):
        """How long the last frame was on the wire."""
        return self._ep.length

    @property
    def drops(self):
        return self._ep.drops

    def poll_attach(self, waker):
        self._ep.waker = waker

    def poll_detach(self, _waker):
        self._ep.waker = None

    def close(self):
        rt = self._rt
        rt.lock()
        self._ep.close()
        rt.unlock()


def capture(iface, count, seconds, file, snaplen):
    """Show or write frames until Ctrl-C, so many, or so many seconds. How many there were."""
    rt = _runtime.current()
    out = open(file, "wb") if isinstance(file, str) else file
    offset_us = rt.hw.unix_us() - rt.now()
    end = rt.now() + int(seconds * 1000000)
    seen = 0
    if out is not None:
        out.write(_HEADER + _u32(snaplen) + _u32(1))
    try:
        with Raw(iface, outgoing=True, snaplen=snaplen) as raw:
            while not count or seen < count:
                left = (end - rt.now()) / 1000000 if seconds else None
                if left is not None and left <= 0:
                    break
                frame = raw.recv(left)
                if frame is None:
                    break
                seen += 1
                if out is None:
                    print(line(frame, raw.when - 0, raw.length))
                else:
                    t = raw.when + offset_us
                    out.write(_u32(t // 1000000) + _u32(t % 1000000))
                    out.write(_u32(len(frame)) + _u32(raw.length) + frame)
    except KeyboardInterrupt:
        pass
    finally:
        if isinstance(file, str):
            out.close()
    return seen


def _u32(v):
    return (v & 0xFFFFFFFF).to_bytes(4, "little")


def _mac(b):
    return ":".join(["%02x" % x for x in b])


def _ip(b, o):
    return "%d.%d.%d.%d" % (b[o], b[o + 1], b[o + 2], b[o + 3])


def _u16(b, o):
    return b[o] << 8 | b[o + 1]


def line(b, when, length):
    """A frame in a line, as tcpdump would."""
    head = "%d.%06d " % (when // 1000000, when % 1000000)
    kind = _u16(b, 12) if len(b) >= 14 else 0
    if kind == 0x0800 and len(b) >= 34:
        return head + _ip_line(b)
    if kind == 0x0806 and len(b) >= 42:
        if _u16(b, 20) == 1:
            return head + "ARP who-has %s tell %s" % (_ip(b, 38), _ip(b, 28))
        return head + "ARP %s is-at %s" % (_ip(b, 28), _mac(b[22:28]))
    if kind in (0x86DD, 0x8100):
        from stack.wire import pretty

        return head + pretty.frame(b)
    return head + "%s > %s type %04x length %d" % (_mac(b[6:12]), _mac(b[0:6]), kind, length)


def _ip_line(b):
    o = 14 + (b[14] & 15) * 4
    proto = b[23]
    size = _u16(b, 16) - (o - 14)
    src = _ip(b, 26)
    dst = _ip(b, 30)
    if _u16(b, 20) & 0x1FFF or len(b) < o + 8 or proto not in (6, 17, 1):
        return "IP %s > %s: proto %d length %d" % (src, dst, proto, size)
    if proto == 1:
        names = {0: "echo reply", 3: "unreachable", 8: "echo request", 11: "time exceeded"}
        return "IP %s > %s: ICMP %s length %d" % (src, dst, names.get(b[o], b[o]), size)
    ends = "IP %s.%d > %s.%d: " % (src, _u16(b, o), dst, _u16(b, o + 2))
    if proto == 17:
        return ends + "UDP length %d" % (size - 8)
    if len(b) < o + 20:
        return ends + "TCP"
    flags = "".join([c for i, c in enumerate("FSRP.UEW") if b[o + 13] >> i & 1])
    seq = _u16(b, o + 4) << 16 | _u16(b, o + 6)
    ack = _u16(b, o + 8) << 16 | _u16(b, o + 10)
    n = size - (b[o + 12] >> 4) * 4
    return ends + "[%s] seq %d ack %d win %d length %d" % (flags, seq, ack, _u16(b, o + 14), n)
