"""Send buffers that a device may still be reading.

A frame names bytes of a send ring (`frame.data`). A ring that grows or goes away
gives its storage back through `SendBuffers.free`, which keeps it here until every
device has passed the mark that was taken then (ARCHITECTURE.md, "Devices"). A frame
that waits for its neighbour's address is before no device's mark yet; so when the
marks have passed, the frames of the pool are asked, once, whether one still names it.
"""


class _Entry:
    """A buffer, and for each device the mark behind what may name it."""

    __slots__ = ("buf", "devices", "marks")

    def __init__(self, buf, interfaces):
        self.buf = buf
        self.devices = [i.device for i in interfaces]
        self.mark()

    def mark(self):
        self.marks = [d.tx_mark() for d in self.devices]

    def passed(self):
        for i in range(len(self.devices)):
            if not self.devices[i].tx_passed(self.marks[i]):
                return False
        return True


class SendBuffers:
    """The `Buffers` face of `stack.core.mem` for send rings."""

    def __init__(self, buffers, pool, interfaces):
        """interfaces: the host's list of them; it may change."""
        self.buffers = buffers
        self.pool = pool
        self.interfaces = interfaces
        self.limbo = []  # oldest first

    def alloc(self, n):
        try:
            return self.buffers.alloc(n)
        except MemoryError:
            if not self.limbo:
                raise
            self._sweep(True)
            return self.buffers.alloc(n)

    def free(self, buf):
        if self.pool.free == len(self.pool.frames) or not self._named(buf):
            self.buffers.free(buf)
        else:
            self.limbo.append(_Entry(buf, self.interfaces))

    def sweep(self):
        """Give back what the devices have passed. Called at the end of a flush."""
        self._sweep(False)

    def _sweep(self, every):
        """Marks are in order, so the first that has not passed ends the look.

        every: memory is short; ask the frames about each entry, whatever the marks.
        """
        limbo = self.limbo
        i = 0
        while i < len(limbo):
            e = limbo[i]
            if every or e.passed():
                if not self._named(e.buf):
                    self.buffers.free(e.buf)
                    limbo.pop(i)
                    continue
                # It was at no device: it waits for a neighbour. From now on another mark.
                e.mark()
            if not every:
                return
            i += 1

    def _named(self, buf):
        for f in self.pool.frames:
            if f is not None and f.data is buf:
                return True
        return False
