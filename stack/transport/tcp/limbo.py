"""Send buffers that a device may still be reading.

A frame names bytes of a send ring (`frame.data`). A ring that grows or goes away
gives its storage back through `SendBuffers.free`, which keeps it here until no
frame of the pool names it: frames of a device's queue and frames that wait for
a neighbour's address both go back to the pool when their bytes were read.
"""

from micropython import const

# Storage kept back before the pool's frames are looked through. A look costs a
# turn over the pool, so it is made for several at once.
_BATCH = const(8)


class SendBuffers:
    """The `Buffers` face of `stack.core.mem` for send rings."""

    def __init__(self, buffers, pool):
        self.buffers = buffers
        self.pool = pool
        self.limbo = []

    def alloc(self, n):
        if self.limbo:
            self.sweep(False)
        try:
            return self.buffers.alloc(n)
        except MemoryError:
            if not self.limbo:
                raise
            self.sweep(True)
            return self.buffers.alloc(n)

    def free(self, buf):
        if self.pool.free == len(self.pool.frames):
            self.buffers.free(buf)
        else:
            self.limbo.append(buf)

    def sweep(self, thorough):
        """Give back what no frame names. thorough: look even for few."""
        limbo = self.limbo
        pool = self.pool
        if pool.free == len(pool.frames):
            while limbo:
                self.buffers.free(limbo.pop())
            return
        if not thorough and len(limbo) < _BATCH:
            return
        busy = []
        for f in pool.frames:
            d = f.data
            if d is not None:
                for i in range(len(limbo)):
                    if limbo[i] is d:
                        busy.append(limbo.pop(i))
                        break
        while limbo:
            self.buffers.free(limbo.pop())
        self.limbo = busy
