"""The virtio network device (virtio 1.2, section 5.1), as a device of ARCHITECTURE.md.

start:  3.1.1 reset, features, queues, DRIVER_OK        _negotiate, _start_queues
in:     5.1.6.4 the arena of receive buffers            rx
out:    5.1.6.2 header, chain, completion               tx, flush
link:   5.1.4 the configuration's status field          on_interrupt

A device that answers against the specification raises DeviceError when it
starts. Later, it is stopped: `error` says why, `link_up` is False, and
"virtio.stopped" is counted.

Not implemented: the control queue (so the device hands up every packet that
reaches it, whatever its MAC address), several queue pairs, UFO, RSS, packed rings.
"""

from micropython import const

from drivers import dma
from drivers.device import Device, DeviceError
from drivers.virtio_net import ring
from drivers.virtio_net.ring import (
    outstanding,
    publish,
    rx_gather,
    rx_next,
    rx_post,
    tx_done,
    tx_offload,
    tx_put,
    used_waiting,
    wants_kick,
)
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TSO6, CAP_TX_CSUM, Frame
from stack.core.mem import copy
from stack.core.timers import NEVER

# 2.1 device status
_ACKNOWLEDGE = const(1)
_DRIVER = const(2)
_DRIVER_OK = const(4)
_FEATURES_OK = const(8)
_NEEDS_RESET = const(64)
_FAILED = const(128)

# 5.1.3 and 6: feature bits
_F_CSUM = const(1 << 0)
_F_GUEST_CSUM = const(1 << 1)
_F_MTU = const(1 << 3)
_F_MAC = const(1 << 5)
_F_GUEST_TSO4 = const(1 << 7)
_F_GUEST_TSO6 = const(1 << 8)
_F_GUEST_ECN = const(1 << 9)
_F_HOST_TSO4 = const(1 << 11)
_F_HOST_TSO6 = const(1 << 12)
_F_HOST_ECN = const(1 << 13)
_F_MRG_RXBUF = const(1 << 15)
_F_STATUS = const(1 << 16)
_F_EVENT_IDX = const(1 << 29)
_F_VERSION_1 = const(1 << 32)
_F_ACCESS_PLATFORM = const(1 << 33)  # addresses are physical here: no IOMMU is switched on
_GUEST_TSO = const(1 << 7 | 1 << 8 | 1 << 9)

_WANTED = const(
    1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12
    | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 29 | 1 << 32 | 1 << 33
)
# 5.1.3.1: what a feature needs besides itself.
_NEEDS = (
    (_F_GUEST_TSO4, _F_GUEST_CSUM),
    (_F_GUEST_TSO6, _F_GUEST_CSUM),
    (_F_GUEST_ECN, _F_GUEST_TSO4 | _F_GUEST_TSO6),
    (_F_HOST_TSO4, _F_CSUM),
    (_F_HOST_TSO6, _F_CSUM),
    (_F_HOST_ECN, _F_HOST_TSO4 | _F_HOST_TSO6),
)

# 5.1.4 device configuration
_CONFIG_MAC = const(0)
_CONFIG_STATUS = const(6)
_CONFIG_MTU = const(10)
_LINK_UP = const(1)

_HEADER = const(12)
_ETHERNET = const(18)  # with a VLAN tag
# IPv4's total length has 16 bits: 65,535 less 20 and at most 60 of TCP's header.
_GSO_MAX = const(65455)

_QUEUE_MAX = const(256)  # QEMU's own largest for a tap; keeps the rings in 16 KB
# Fewer buffers than this of 64 KB each are not worth having: then no GUEST_TSO.
_WHOLE_LEAST = const(32)

_MORE = const(1 << 16)  # ring.MORE
_POST_EVERY = const(15)  # rx gives buffers back each 16 frames: n & 15

# A doorbell that the device slept through is rung again after this, then ever
# more slowly. With the fence in place none is lost by us; a host's may be.
_REKICK_US = const(10_000)
_REKICK_MAX_US = const(1_000_000)
# Without any interrupt the host polls this often.
_POLL_US = const(1_000)

_WHY = {
    ring.BAD_INDEX: "the used index jumped by more than the ring holds",
    ring.BAD_ID: "a used buffer that the device did not have",
    ring.BAD_LENGTH: "a used length larger than the buffer",
    ring.BAD_COUNT: "num_buffers that the ring does not hold",
    ring.BAD_SIZE: "a packet larger than any can be",
}


class VirtioNet(Device):
    """Starts the device behind `transport`, or raises DeviceError and leaves it reset.

    plain: no offloads on the way in, as drivers/probe.py has it.
    """

    driver = "virtio-net"

    def __init__(self, hw, transport, name="eth0", stats=None, plain=False):
        super().__init__(name, bytes(6), 1500, stats)
        self._hw = hw
        self._transport = transport
        self._wanted_features = _WANTED & ~(_F_GUEST_CSUM | _GUEST_TSO) if plain else _WANTED
        # Builtins, bound here once: the data path looks each up in one step.
        self._addr = hw.addr
        self._fence = hw.fence
        self._notify = transport.notify
        self._irq_count = hw.irq_count
        self._armed = False  # rx interrupts are on
        self._wanted = False  # somebody waits for room to send
        self._fresh = False  # something was put in and not published
        # Counted on the data path, so there from the start: a new name allocates.
        self.stats.count("virtio.rx_wrapped", 0)
        self.stats.count("virtio.rekicks", 0)
        self._kick_at = 0
        self._rekick_us = _REKICK_US
        self.kicks = 0
        # 3.1.1, 1: reset
        if not transport.reset():
            raise DeviceError("virtio: the device does not come out of reset")
        try:
            # 2 and 3: the guest has noticed the device, and knows how to drive it
            transport.add_status(_ACKNOWLEDGE)
            transport.add_status(_DRIVER)
            self._negotiate()
            self._start_queues()
        except DeviceError:
            transport.add_status(_FAILED)
            transport.close()
            raise
        # 8: the device is live; buffers may be seen and used from here on
        transport.add_status(_DRIVER_OK)
        self._read_link()
        if self.error is not None:
            raise DeviceError(self.error)
        self._post()

    # ---- starting ----

    def _negotiate(self):
        """Steps 4 to 6: features, and what follows from them."""
        t = self._transport
        offered = t.features()
        # 6.1: "A driver MUST accept VIRTIO_F_VERSION_1 if it is offered"; we know nothing older.
        if not t.legacy and not offered & _F_VERSION_1:
            raise DeviceError("virtio: the device does not offer virtio 1.x")
        # 5.1.6.1: without merged buffers a legacy device's header has 10 bytes, ours 12.
        if t.legacy and not offered & _F_MRG_RXBUF:
            raise DeviceError(
                "virtio: a legacy device without merged receive buffers is not driven;"
                " QEMU: -global virtio-mmio.force-legacy=false"
            )
        self.offered = offered
        f = offered & self._wanted_features
        for feature, needs in _NEEDS:
            if not f & needs:
                f &= ~feature
        self._budget = dma.rx_budget(self._hw)
        # 5.1.6.3.1: without merged buffers each buffer must hold 65,562 bytes.
        if not f & _F_MRG_RXBUF and self._budget < _WHOLE_LEAST * dma.PACKET_MAX:
            f &= ~_GUEST_TSO
        if f & _F_MTU:
            mtu = t.config16(_CONFIG_MTU)
            if mtu < 68:
                raise DeviceError("virtio: an MTU of %d" % mtu)
            self.mtu = self.mtu_max = mtu
        self.features = f
        t.accept(f)
        if not t.legacy:
            t.add_status(_FEATURES_OK)
        # "Re-read device status to ensure the FEATURES_OK bit is still set"
        if not t.legacy and not t.status() & _FEATURES_OK:
            raise DeviceError("virtio: the device does not take the features 0x%x" % f)
        self.mac = t.config_bytes(_CONFIG_MAC, 6) if f & _F_MAC else self._random_mac()
        if f & _F_CSUM:
            self.caps |= CAP_TX_CSUM
        if f & _F_GUEST_CSUM:
            self.caps |= CAP_RX_CSUM
        if f & _F_HOST_TSO4:
            self.caps |= CAP_TSO4
        if f & _F_HOST_TSO6:
            self.caps |= CAP_TSO6
        if self.caps & (CAP_TSO4 | CAP_TSO6):
            self.gso_max = _GSO_MAX
        self._ecn = 1 if f & _F_HOST_ECN else 0

    def _random_mac(self):
        """A locally administered address, where the device has none."""
        r = self._hw.rdrand()
        r = r if r is not None else self._hw.ticks_us() * 2654435761
        return b"\x02" + bytes([r >> 8 * i & 0xFF for i in range(5)])

    def _start_queues(self):
        """Step 7: rings, buffers, interrupts. 5.1.2: receiveq1 is 0, transmitq1 is 1."""
        hw, t = self._hw, self._transport
        if t.queue_count() < 2:
            raise DeviceError("virtio: %d queues" % t.queue_count())
        rx_size, tx_size = self._queue_size(0), self._queue_size(1)
        merge = self.features & _F_MRG_RXBUF != 0
        if merge:
            count, size = dma.rx_merge_plan(self._budget, rx_size)
        else:
            # GUEST_TSO: 64 KB packets; else the MTU, and never below an ordinary packet.
            largest = max(self.mtu, 1500) + _ETHERNET + _HEADER
            if self.features & _GUEST_TSO:
                largest = dma.PACKET_MAX
            count, size = dma.rx_whole_plan(self._budget, rx_size, largest)
        event_idx = self.features & _F_EVENT_IDX != 0
        self.rx_count, self.rx_size = count, size
        # Behind the last buffer there is room to make a packet whole that wraps.
        self._arena = hw.dma(count * size + (dma.PACKET_MAX if merge else 0), 4096)
        self._frame = Frame(self._arena)
        self._held = bytearray(count)
        self._rxq = rxq = ring.Queue(hw, 0, count, event_idx)
        rxq.receive_into(hw.addr(self._arena), size, merge, self.caps & CAP_RX_CSUM)
        self._txq = txq = ring.Queue(hw, 1, tx_size, event_idx)
        self._slots = txq.send_slots()
        self._frames = [None] * (tx_size >> 1)  # what each slot holds
        # Buffers go back when an eighth is out, at once if the rest did not hold two packets.
        most = count - (count >> 3)
        self._post_below = most if most * size >= 2 * dma.PACKET_MAX else count
        ring.interrupt_after(rxq.ring, rxq.st, -1)
        ring.interrupt_after(txq.ring, txq.st, -1)
        rx_entry, tx_entry = t.set_interrupts(2)
        t.set_queue(rxq, rx_entry)
        t.set_queue(txq, tx_entry)
        self.interrupts = t.interrupts

    def _queue_size(self, index):
        n = self._transport.queue_size(index)
        # 2.7: "Queue Size value is always a power of 2. The maximum Queue Size value is 32768."
        if not 2 <= n <= 32768 or n & (n - 1):
            raise DeviceError("virtio: queue %d of size %d" % (index, n))
        return min(n, _QUEUE_MAX)

    # ---- receiving, 5.1.6.4 ----

    def rx(self, sink, budget):
        """Hand up to `budget` packets to sink(frame), then give their buffers back; how many."""
        if self.error is not None:
            return 0
        q = self._rxq
        frame = self._frame
        n = 0
        if self._armed:
            self._quiet()
        try:
            while n < budget:
                r = rx_next(q.ring, q.st, self._arena, self._held)
                if r <= 0:
                    if r == 0:
                        break
                    r = self._rx_rare(r)
                    if r <= 0:
                        if self.error is not None:
                            break
                        continue
                n += 1
                frame.off = r >> 20
                frame.end = (r >> 20) + (r >> 2 & 0x3FFFF)
                frame.csum_ok = r & 1 != 0
                sink(frame)
                if n & _POST_EVERY == 0:
                    self._post()
        finally:
            # Also when a sink raised (Ctrl-C): else its buffers would be lost.
            if n and outstanding(q.st) < self._post_below:
                self._post()
        return n

    def _rx_rare(self, r):
        """What rx_next did not settle: a packet, in its form, or 0 if there is none to hand up."""
        if r == ring.SCATTERED:
            r = rx_gather(self._rxq, self._arena, self._held, copy)
            if r > 0:
                if r & 2:
                    self.stats.count("virtio.rx_gathered")
                    r &= ~2
                else:
                    self.stats.count("virtio.rx_wrapped")
                return r
        if r == ring.RUNT:
            self.stats.drop("virtio.runt")
            self._post()
        else:
            self._fail(_WHY[r])
        return 0

    def _post(self):
        """Give free buffers back to the device. 5.1.6.3."""
        q = self._rxq
        if self.error is None and rx_post(q.ring, q.st, self._held):
            self._fence()
            if wants_kick(q.ring, q.st):
                self.kicks += 1
                self._notify(q.notify_at, 0)

    def _quiet(self):
        """No rx interrupts while we poll. EVENT_IDX asks for one at a time: then nothing to do."""
        self._armed = False
        if not self.features & _F_EVENT_IDX:
            ring.interrupt_after(self._rxq.ring, self._rxq.st, -1)

    # ---- sending, 5.1.6.2 ----

    def tx(self, f):
        if self.error is not None:
            f.release()
            self.stats.drop("virtio.stopped")
            return True
        buf = f.buf
        off = f.off
        n = f.end - off
        data = 0
        data_n = f.data_len
        if data_n:
            data = self._addr(f.data) + f.data_off
        q = self._txq
        at = self._addr(buf)
        slot = tx_put(q.ring, q.st, self._slots, buf, off, n, at, data, data_n)
        if slot < 0:
            if not self._make_room():
                return False
            slot = tx_put(q.ring, q.st, self._slots, buf, off, n, at, data, data_n)
        if f.csum_start:
            tx_offload(buf, off, f.csum_start, f.csum_offset, f.gso_size, self._ecn)
        self._frames[slot] = f
        self._fresh = True
        return True

    def _make_room(self):
        """The ring is full. True if the device has finished something meanwhile."""
        self.flush()
        if self.error is None and not ring.tx_free(self._txq.st):
            self._wanted = True
            return False
        return self.error is None

    def flush(self):
        if self.error is not None:
            return
        q = self._txq
        if self._fresh:
            self._fresh = False
            publish(q.ring, q.st)
            self._fence()
            if wants_kick(q.ring, q.st):
                self.kicks += 1
                self._notify(q.notify_at, 1)
            self._kick_at = self._hw.ticks_us() + _REKICK_US
            self._rekick_us = _REKICK_US
            self._reclaim()
        elif outstanding(q.st):
            self._reclaim()
            if outstanding(q.st):
                self._rekick()

    def _reclaim(self):
        """Frames that the device has sent go back to their pool, in whatever order. 2.7.14."""
        q = self._txq
        frames = self._frames
        more = _MORE
        while more:
            slot = tx_done(q.ring, q.st, self._slots)
            if slot <= 0:
                if slot:
                    self._fail(_WHY[slot])
                return
            if self._wanted:
                self._wanted = False
                ring.interrupt_after(q.ring, q.st, -1)
            more = slot & _MORE
            slot = (slot & _MORE - 1) - 1
            f = frames[slot]
            if f is None:
                self._fail(_WHY[ring.BAD_ID])
                return
            frames[slot] = None
            pool = f.pool
            if pool is not None:
                pool.put(f)  # f.release() without a call

    def _rekick(self):
        now = self._hw.ticks_us()
        if now < self._kick_at:
            return
        self.stats.count("virtio.rekicks")
        self._notify(self._txq.notify_at, 1)
        self._kick_at = now + self._rekick_us
        if self._rekick_us < _REKICK_MAX_US:
            self._rekick_us <<= 1

    def tx_space(self):
        if self.error is not None:
            return 1
        return ring.tx_free(self._txq.st)

    def tx_mark(self):
        return self._txq.st[ring.NEXT]

    def tx_passed(self, mark):
        if self.error is not None:
            return True
        self._reclaim()
        # Chains may finish in any order: look at each that has not.
        slot = 0
        for f in self._frames:
            if f is not None and (self._slots[2 * slot + 1] - mark) & 0x80000000:
                return False
            slot += 1
        return True

    # ---- interrupts ----

    def sleep(self):
        """Interrupts on. True if something arrived before they were: then poll on. 2.7.7.2."""
        if self.error is not None:
            return False
        t = self._transport
        if t.vector < 0 or self._irq_count(t.vector) != t.seen:
            # A line stays masked until acknowledged; MSI-X: the configuration changed.
            self.on_interrupt()
        rxq = self._rxq
        ring.interrupt_after(rxq.ring, rxq.st, 0)
        self._armed = True
        half = 0
        if self._wanted:
            # Wake when half of what is under way is sent: room for a batch.
            txq = self._txq
            half = outstanding(txq.st) >> 1
            ring.interrupt_after(txq.ring, txq.st, half)
        self._fence()
        if used_waiting(rxq.ring, rxq.st):
            return True
        if self._wanted and used_waiting(self._txq.ring, self._txq.st) > half:
            self._reclaim()
            return True
        return False

    def poll_at(self):
        if self.error is not None:
            return NEVER
        if self.interrupts == "none":
            return self._hw.ticks_us() + _POLL_US
        return self._kick_at if outstanding(self._txq.st) else NEVER

    def on_interrupt(self):
        if self.error is not None:
            return
        if self._transport.config_changed():
            self._read_link()

    def gone(self):
        if not self._transport.gone():
            return False
        self._fail("the device is gone")
        return True

    def _read_link(self):
        """5.1.4.2: without STATUS the link is up. 2.1.2: the device may give up instead."""
        t = self._transport
        if t.status() & _NEEDS_RESET:
            self._fail("the device needs a reset")
            return
        up = True
        if self.features & _F_STATUS:
            up = t.config16(_CONFIG_STATUS) & _LINK_UP != 0
        if self.features & _F_MTU:
            mtu = t.config16(_CONFIG_MTU)
            if mtu >= 68:
                self.mtu = self.mtu_max = mtu
        if up != self.link_up:
            self.stats.count("virtio.link_changes")
        self.link_up = up

    # ---- the end ----

    def _fail(self, why):
        if self.error is not None:
            return
        self.stats.count("virtio.stopped")
        self.error = "virtio: " + why
        if not self._transport.gone():
            self._transport.add_status(_FAILED)
        self.stop()

    def stop(self):
        """3.3.1, 2.4: once reset the device touches no memory. Frames go back to their pool."""
        if self.error is None:
            self.error = "stopped"
        self.link_up = False
        if not self._transport.gone():
            self._transport.reset()
            self._transport.close()
        frames = self._frames
        for i in range(len(frames)):
            f = frames[i]
            if f is not None:
                frames[i] = None
                f.release()
