"""Intel's 82540EM and 82574L (QEMU's e1000 and e1000e), as a device of ARCHITECTURE.md.

start:  8254x 14.3 to 14.5: reset, MAC, rings, on      __init__, _start
in:     3.2 the arena of receive buffers               rx
out:    3.3, 3.5 context, data, completion             tx, flush
link:   13.4.2 STATUS, an interrupt when it changes    on_interrupt

A card that cannot be started raises DeviceError. One that later reports nonsense,
stalls, or is gone (every read gives ones) is stopped: `error` says why, `link_up`
is False, and "e1000.stopped" is counted.

Not implemented: filters (all frames come up, as from virtio-net), VLAN offload, flow
control, several queues, MSI and MSI-X: INTx serves one queue as well.
"""

from micropython import const

from drivers import coalesce, dma
from drivers.device import Device, DeviceError
from drivers.e1000 import regs, ring
from drivers.e1000.ring import rx_next, rx_waiting, tx_done, tx_offload, tx_put, tx_space
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TSO6, CAP_TX_CSUM, Frame
from stack.core.mem import copy
from stack.core.timers import NEVER

_RING = const(256)  # descriptors of each ring: 4 KB
_FRAME_MAX = const(16384)  # room behind the last buffer for a frame that wraps
_HEADERS = const(18)  # Ethernet's, with a VLAN tag
# As virtio's: IPv4's total length, less 20 and at most 60 of TCP's header.
_GSO_MAX = const(65455)
# 256 ns units, 13.4.18: at most 20,000 interrupts a second. (QEMU makes it 7,812.)
_ITR = const(195)
# Frames that are not written back are looked for after this, then ever more rarely;
# and a card that has a link and finishes none for 10 s is stopped.
_WATCH_US = const(10_000)
_WATCH_MAX_US = const(1_000_000)
_STALLED_US = const(10_000_000)
_POLL_US = const(1_000)  # without any interrupt the host polls this often

_PROBE_US = const(10_000)
# Ethernet's type, IPv4 from and to 0.0.0.0, TCP from port 0 to 0.
_PROBE = (
    b"\x08\x00" + b"E\x00\x01\x54\x00\x00\x00\x00\x01\x06" + bytes(22) + b"P\x10"
)



class E1000(Device):
    """Starts the card that is `function`, or raises DeviceError and leaves it reset."""

    def __init__(self, hw, function, name="eth0", stats=None):
        super().__init__(name, bytes(6), 1500, stats)
        self._hw = hw
        self._function = function
        self._addr = hw.addr
        self._write32 = hw.write32
        self._irq_count = hw.irq_count
        self.join = True  # hand up several segments of a TCP stream as one
        self._wanted = False  # somebody waits for room to send
        self._watch_at = self._watch_us = self._since = 0
        self._line = self._vector = self._seen = -1
        function.enable()
        self._regs = r = regs.Registers(hw, function.region(0, 0, regs.BAR_LEN), function.device)
        self.driver = r.name
        self._rdt, self._tdt, self._icr = r.base + regs.RDT, r.base + regs.TDT, r.base + regs.ICR
        try:
            if not r.reset():
                raise DeviceError("%s: the card does not come out of reset" % r.name)
            self.mac = r.mac()
            self._start(r)
        except (DeviceError, MemoryError):
            r.reset()
            function.disable()
            raise

    def _start(self, r):
        """14.3 to 14.5: rings, buffers, interrupts; then receiver and transmitter on."""
        hw = self._hw
        self.mtu_max = r.mtu_max
        # The 82540EM has TSO6 too, but QEMU's writes a payload length with the header in it.
        self.caps = CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4 | (CAP_TSO6 if r.pcie else 0)
        self.gso_max = _GSO_MAX
        count = dma.rx_merge_plan(min(dma.rx_budget(hw), _RING * ring.RX_SIZE), _RING)[0]
        self.rx_count = count
        self._end = count * ring.RX_SIZE
        self._arena = hw.dma(self._end + _FRAME_MAX, 4096)
        self._frame = Frame(self._arena)
        self._rx_ring = hw.dma(16 * count, 4096)
        self._rx = ring.state(count, r.mtu_max + _HEADERS)
        ring.describe(self._rx_ring, hw.addr(self._arena), count)
        self._tx_ring = hw.dma(16 * _RING, 4096)
        self._tx_ring[:] = bytes(16 * _RING)
        self._tx = ring.state(_RING)
        self._ends = ring.array("I", bytes(4 * _RING))
        self._frames = [None] * _RING  # by their first descriptor
        self._told = 0  # NEXT as the card knows it
        r.set_ring(regs.RDBAL, hw.addr(self._rx_ring), 16 * count)
        r.set_ring(regs.TDBAL, hw.addr(self._tx_ring), 16 * _RING)
        r.write(regs.ITR, _ITR)
        r.write(regs.RXCSUM, regs.RXCSUM_ON)
        r.write(regs.TIPG, regs.TIPG_COPPER)
        if r.pcie:
            r.write(regs.TXDCTL, r.read(regs.TXDCTL) | regs.TXDCTL_COUNT)
        self._set_interrupts()
        r.set_link_up()
        r.write(regs.TCTL, r.read(regs.TCTL) & regs.TCTL_KEEP | regs.TCTL_RUN)
        if r.pcie and not self._cuts_well():
            self.caps &= ~(CAP_TSO4 | CAP_TSO6)
            self.gso_max = 0
        # Once: after each write QEMU's 82540EM receives nothing for a second.
        r.write(regs.RCTL, regs.RCTL_RUN)
        self._post()
        self.link_up = r.link_up()
        r.write(regs.IMS, regs.ICR_RX | regs.ICR_LSC)

    def _cuts_well(self):
        """Whether segmentation makes segments. QEMU's 82574L before 8.1 made IP fragments of one
        datagram of them where its other side does not cut by itself (all but taps): it is asked
        by a packet that comes back."""
        arena = self._arena
        f = Frame(arena)
        f.off = a = self._end
        f.end = a + coalesce.HEADERS + 300
        arena[a : a + 6] = arena[a + 6 : a + 12] = self.mac
        arena[a + 12 : f.end] = _PROBE + bytes(f.end - a - 12 - len(_PROBE))
        f.gso_size, f.csum_start, f.csum_offset = 100, a + 34, 16
        self._regs.write(regs.RCTL, regs.RCTL_RUN | regs.RCTL_LOOP)
        self._post()
        self.tx(f)
        self.flush()
        until = self._hw.ticks_us() + _PROBE_US
        while not rx_waiting(self._rx_ring, self._rx) and self._hw.ticks_us() < until:
            pass
        came = 0
        while rx_next(self._rx_ring, self._rx) > 0:
            came += 1
        return not came or not arena[20] & 0x20  # MF in the first if there are fragments

    def _set_interrupts(self):
        self.interrupts = "none"
        line = self._function.interrupt_line()
        if line >= 0:
            self._function.allow_intx(True)
            try:
                self._vector = self._hw.irq_line(line)
                self._line = line
                self.interrupts = "intx"
            except (OSError, ValueError):
                pass

    # ---- receiving, 3.2 ----

    def rx(self, sink, budget):
        """Hand up to `budget` frames to sink(frame), then give their buffers back; how many."""
        if self.error is not None:
            return 0
        buffers, st = self._rx_ring, self._rx
        frame = self._frame
        n = ahead = 0
        try:
            while n < budget or ahead:
                r = ahead if ahead else rx_next(buffers, st)
                ahead = 0
                if r <= 0 or r & 2:
                    if r == 0:
                        break
                    r = self._rx_rare(r)
                    if r == 0:
                        if self.error is not None:
                            break
                        continue
                elif self.join and rx_waiting(buffers, st):
                    ahead = coalesce.join(rx_next, buffers, st, self._arena, r)
                    r = st[ring.PLACE] << 20 | st[ring.LENGTH]
                n += 1
                frame.off = r >> 20
                frame.end = (r >> 20) + (r >> 2 & 0x3FFFF)
                frame.csum_ok = r & 1 != 0
                sink(frame)
        finally:
            # Also when a sink raised (Ctrl-C): else its buffers would be lost.
            if n:
                self._post()
        return n

    def _rx_rare(self, r):
        """A frame that ran on in the first buffer, made whole; or 0 if there is none to hand up."""
        if r > 0:
            copy(self._arena, self._end, self._arena, 0, (r >> 20) + (r >> 2 & 0x3FFFF) - self._end)
            return r & ~2
        if r == ring.RUNT:
            self.stats.drop("e1000.runt")
        elif r == ring.DAMAGED:
            self.stats.drop("e1000.damaged")
        else:
            self._fail("lengths in the receive ring that cannot be")
            return 0
        self._post()
        return 0

    def _post(self):
        """What was taken out is the card's again: all but one. 3.2.6."""
        if self.error is None:
            self._write32(self._rdt, (self._rx[ring.NEXT] - 1) & (self.rx_count - 1))

    # ---- sending, 3.3 and 3.5 ----

    def tx(self, f):
        if self.error is not None:
            f.release()
            self.stats.drop("e1000.stopped")
            return True
        buffers, st = self._tx_ring, self._tx
        if tx_space(st) < ring.TX_MOST and not self._make_room():
            return False
        buf = f.buf
        off = f.off
        n = f.end - off
        data = options = 0
        data_n = f.data_len
        if data_n:
            data = self._addr(f.data) + f.data_off
        start = f.csum_start
        if start:
            options = tx_offload(
                buffers, st, buf, off, start, f.csum_offset, f.gso_size, n + data_n
            )
        i = tx_put(buffers, st, self._ends, self._addr(buf) + off, n, data, data_n, options)
        self._frames[i] = f
        return True

    def _make_room(self):
        """The ring is full. True if the card has finished something meanwhile."""
        self.flush()
        if self.error is None and tx_space(self._tx) < ring.TX_MOST:
            self._wanted = True
            self._regs.write(regs.IMS, regs.ICR_TXDW)
            return False
        return self.error is None

    def flush(self):
        if self.error is not None:
            return
        st = self._tx
        put = st[ring.NEXT]
        if put != self._told:
            self._told = put
            self._write32(self._tdt, put & (_RING - 1))
            self._reclaim()
            self._watch_us = _WATCH_US
            self._watch_at = self._hw.ticks_us() + _WATCH_US
        elif st[ring.CLEAN] != put:
            self._reclaim()
            if st[ring.CLEAN] != put and self._hw.ticks_us() >= self._watch_at:
                self._look()

    def _reclaim(self):
        """Frames that the card has sent go back to their pool, in the order that they went."""
        buffers, st, ends = self._tx_ring, self._tx, self._ends
        frames = self._frames
        while True:
            i = tx_done(buffers, st, ends)
            if i == 0:
                return
            if self._wanted:
                self._wanted = False
                self._regs.write(regs.IMC, regs.ICR_TXDW)
            self._since = 0
            f = frames[i - 1]
            frames[i - 1] = None
            if f.pool is not None:
                f.pool.put(f)  # f.release() without a call

    def _look(self):
        """Nothing was written back for a while: is the card there, and sane? Tell it once more."""
        now = self._hw.ticks_us()
        self.stats.count("e1000.tx_waits")
        self._read_link()
        if self.link_up and self._regs.read(regs.TDH) >= _RING:
            self._fail("its head lies outside of the ring")
        elif not self.link_up or not self._since:
            self._since = now
        elif now - self._since >= _STALLED_US:
            self._fail("the card has a link and sends nothing")
        if self.error is not None:
            return
        self._write32(self._tdt, self._told & (_RING - 1))
        if self._watch_us < _WATCH_MAX_US:
            self._watch_us <<= 1
        self._watch_at = now + self._watch_us

    def tx_space(self):
        if self.error is not None:
            return 1
        return tx_space(self._tx) // ring.TX_MOST

    def tx_mark(self):
        return self._tx[ring.NEXT]

    def tx_passed(self, mark):
        if self.error is not None:
            return True
        self._reclaim()
        return self._tx[ring.CLEAN] - mark & 0x80000000 == 0

    # ---- interrupts, 8254x 3.2.7, 13.4.17 ----

    def sleep(self):
        """Interrupts on. True if something arrived before they were: then poll on."""
        if self.error is not None:
            return False
        # A line that fired is masked until it was acknowledged; else it is on.
        if self._vector < 0 or self._irq_count(self._vector) != self._seen:
            self.on_interrupt()
        if rx_waiting(self._rx_ring, self._rx):
            return True
        if not self._wanted:
            return False
        self._reclaim()
        return not self._wanted

    def poll_at(self):
        if self.error is not None:
            return NEVER
        if self._vector < 0:
            return self._hw.ticks_us() + _POLL_US
        return self._watch_at if self._tx[ring.CLEAN] != self._tx[ring.NEXT] else NEVER

    def on_interrupt(self):
        if self.error is not None:
            return
        hw = self._hw
        if self._vector >= 0:
            self._seen = self._irq_count(self._vector)
        cause = hw.read32(self._icr)  # reading clears
        if cause & regs.ICR_LSC:
            self._read_link()  # also a card that is gone: all ones
        if self._vector >= 0:
            hw.irq_unmask(self._line)

    def gone(self):
        if self._function.gone():
            self._fail("the card is gone")
            return True
        return False

    def _read_link(self):
        up = self._regs.link_up()
        if not up and self.gone():
            return
        if up != self.link_up:
            self.stats.count("e1000.link_changes")
            self.link_up = up

    # ---- the end ----

    def _fail(self, why):
        if self.error is None:
            self.stats.count("e1000.stopped")
            self.error = "%s: %s" % (self.driver, why)
            self.stop()

    def stop(self):
        """14.2: once reset the card touches no memory. Frames go back to their pool."""
        if self.error is None:
            self.error = "stopped"
        self.link_up = False
        if not self._function.gone():
            self._regs.reset()
            self._function.disable()
        frames, self._frames = self._frames, ()
        for f in frames:
            if f is not None:
                f.release()
