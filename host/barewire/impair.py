"""A link that loses, repeats, delays, reorders and corrupts frames, by a seed.

The kernels we run on have no netem, so this is a process between QEMU's `-netdev dgram` (a
frame a datagram) and a TAP on the bridge. The fate of the n-th frame of a direction depends
on the seed, the direction and n alone. It writes a capture as seen at the guest's end.

Run by `Link` as `python -I impair.py GUEST_FD TAP_FD CONTROL_FD OPTIONS`, stdlib only.
Control datagrams: b"G"+frame goes to the guest as it is, b"?" asks for the counters (JSON);
the end of the control socket ends the process.
"""

import heapq
import json
import os
import random
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

FATES = ("loss", "duplicate", "reorder", "corrupt", "delay", "mark")
REORDER_HOLD_S = 0.005  # a frame taken out of order goes on after so long at the latest
STALL_MS = 1000
BATCH = 64


class Impairment:
    """What happens to frames, as probabilities 0..1 a frame, the same in both directions.

    loss: gone. duplicate: sent twice. reorder: held back until 1 to 8 later frames have
    passed (5 ms at most). corrupt: one byte of it is changed, which every Internet checksum
    that covers the byte sees. delay: held for up to `delay_ms`. mark: a packet that is ECN-capable
    gets the mark of congestion (RFC 3168). latency_ms: every frame."""

    def __init__(
        self, seed=1, loss=0.0, duplicate=0.0, reorder=0.0, corrupt=0.0,
        delay=0.0, delay_ms=5.0, latency_ms=0.0, mark=0.0,
    ):  # fmt: skip
        self.options = {
            "seed": seed, "loss": loss, "duplicate": duplicate, "reorder": reorder,
            "corrupt": corrupt, "delay": delay, "delay_ms": delay_ms, "latency_ms": latency_ms,
            "mark": mark,
        }  # fmt: skip

    def __repr__(self):
        return f"Impairment({', '.join(f'{k}={v}' for k, v in self.options.items() if v)})"


class Link:
    """The running link. `guest_fd` is for QEMU; `counters()`, `inject(frame)`, `stop()`."""

    def __init__(self, space, tap_fd, impairment, pcap, pcap_limit=0):
        self.impairment = impairment or Impairment()
        self.pcap = Path(pcap)
        # Made in the namespace, whose net.unix.max_dgram_qlen is raised from 10.
        guest = space.socketpair()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control, self._final = ours, None
        ours.settimeout(30)
        self._guest_socket = guest[0]
        self.guest_fd = guest[0].fileno()
        options = dict(self.impairment.options, pcap=str(pcap), pcap_limit=pcap_limit)
        fds = [guest[1].fileno(), tap_fd, theirs.fileno()]
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__)), *map(str, fds), json.dumps(options)],
            pass_fds=fds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        guest[1].close()
        theirs.close()

    def counters(self):
        """Frames and fates so far: {"from_guest": {"frames": n, "loss": n, ...}, "to_guest": {}}
        as a dict. RuntimeError when the link has ended."""
        if self._final is None:
            self._control.send(b"?")
            data = self._control.recv(65536)
            if not data:
                raise RuntimeError("the link ended by itself")
            return json.loads(data)
        return self._final

    def inject(self, frame):
        """Put a frame (bytes) on the wire to the guest; blocks while the guest does not read."""
        self._control.send(b"G" + frame)

    def stop(self):
        """End the link; its counters stay readable. May be called again."""
        if self._final is None:
            try:
                final = self.counters()
            except (OSError, RuntimeError):
                final = {}
            self._final = final
            self._control.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            # The descriptor is the lab's now, as a tap's would be.
            self._guest_socket.detach()


class Direction:
    """One way of the link: decides each frame's fate and sends what is due."""

    def __init__(self, options, way, send):
        self.rng = random.Random(f"{options['seed']} {way}")
        self.send = send
        self.count = dict.fromkeys(("frames", *FATES, "overflow"), 0)
        self.latency_s = options["latency_ms"] / 1000
        self.delay_s = options["delay_ms"] / 1000
        edges, total = [], 0.0
        for fate in FATES:
            total += options[fate]
            edges.append((total, fate))
        self.edges, self.total = edges, total
        self.held = []  # [frames still to pass, due time, frame]: reordered
        self.later = []  # heap of (due time, number, frame): delayed

    def frame(self, data):
        count = self.count
        count["frames"] += 1
        r = self.rng.random()
        if r >= self.total:
            self.emit(data)
        else:
            fate = next(name for edge, name in self.edges if r < edge)
            count[fate] += 1
            getattr(self, fate)(data)
        if self.held:
            self.pass_held()

    def loss(self, data):
        pass

    def duplicate(self, data):
        self.emit(data)
        self.emit(data)

    def corrupt(self, data):
        data = bytearray(data)
        data[self.rng.randrange(len(data))] ^= self.rng.randrange(1, 256)
        self.emit(bytes(data))

    def mark(self, data):
        self.emit(congested(data))

    def reorder(self, data):
        self.held.append([self.rng.randint(1, 8) + 1, time.monotonic() + REORDER_HOLD_S, data])

    def delay(self, data):
        self.push(data, self.rng.random() * self.delay_s)

    def push(self, data, seconds):
        heapq.heappush(self.later, (time.monotonic() + seconds, self.count["frames"], data))

    def emit(self, data):
        if self.latency_s:
            self.push(data, self.latency_s)
        else:
            self.send(data)

    def pass_held(self):
        for item in self.held:
            item[0] -= 1
        for item in [i for i in self.held if i[0] <= 0]:
            self.held.remove(item)
            self.emit(item[2])

    def due(self):
        """Send what is due; seconds until the next is, or None."""
        now = time.monotonic()
        for item in [i for i in self.held if i[1] <= now]:
            self.held.remove(item)
            self.emit(item[2])
        while self.later and self.later[0][0] <= now:
            self.send(heapq.heappop(self.later)[2])
        times = [i[1] for i in self.held] + [i[0] for i in self.later[:1]]
        return max(0.0, min(times) - now) if times else None


def congested(frame):
    """The frame with "congestion experienced" in its IPv4 header, if that is ECN-capable."""
    if frame[12:14] != b"\x08\x00" or frame[15] & 3 in (0, 3):
        return frame
    b = bytearray(frame)
    before = b[14] << 8 | b[15]
    b[15] |= 3
    # RFC 1624: HC' = ~(~HC + ~m + m')
    total = (~(b[24] << 8 | b[25]) & 0xFFFF) + (~before & 0xFFFF) + (b[14] << 8 | b[15])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    b[24], b[25] = ~total >> 8 & 0xFF, ~total & 0xFF
    return bytes(b)


def pump(guest, tap, control, options, pcap):
    """Carry frames both ways until the control socket ends."""

    stalled = False
    writable = select.poll()
    writable.register(guest, select.POLLOUT)

    def to_guest(data):
        nonlocal stalled
        pcap.write(data)
        while True:
            try:
                guest.send(data, socket.MSG_DONTWAIT)
                stalled = False
                return
            except BlockingIOError:
                # The guest's ring is full: hold the line, as flow control on a wire would. A
                # guest that takes nothing for a second is not there; then frames are lost.
                if stalled or not writable.poll(STALL_MS):
                    stalled = True
                    into.count["overflow"] += 1
                    return
            except OSError:  # QEMU has gone
                return

    def to_switch(data):
        try:
            os.write(tap, data)
        except OSError:  # too short to be a frame after all, or the tap is gone
            pass

    out, into = Direction(options, "out", to_switch), Direction(options, "in", to_guest)
    guest_fd, control_fd = guest.fileno(), control.fileno()
    poll = select.poll()
    for fd in (guest_fd, tap, control_fd):
        poll.register(fd, select.POLLIN)
    while True:
        waits = [w for w in (out.due(), into.due()) if w is not None]
        for fd, _ in poll.poll(min(waits) * 1000 + 0.5 if waits else None):
            if fd == control_fd:
                message = control.recv(70000)
                if not message:
                    return
                if message == b"?":
                    control.send(
                        json.dumps({"from_guest": out.count, "to_guest": into.count}).encode()
                    )
                else:
                    to_guest(message[1:])
            elif fd == guest_fd:
                for _ in range(BATCH):
                    try:
                        data = guest.recv(70000, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        break
                    pcap.write(data)
                    out.frame(data)
            else:
                for _ in range(BATCH):
                    try:
                        data = os.read(tap, 70000)
                    except BlockingIOError:
                        break
                    into.frame(data)


def main():
    # As a script the package is not on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from barewire.pcap import PcapWriter

    guest_fd, tap, control_fd = map(int, sys.argv[1:4])
    options = json.loads(sys.argv[4])
    os.set_blocking(tap, False)
    pcap = PcapWriter(options["pcap"], options["pcap_limit"])
    try:
        pump(socket.socket(fileno=guest_fd), tap, socket.socket(fileno=control_fd), options, pcap)
    finally:
        pcap.close()


if __name__ == "__main__":
    main()
