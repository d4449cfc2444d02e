"""A byte ring for stream data: send and receive buffers of a connection.

Positions are absolute counts that only grow, masked on use. The size is a
power of two. `head` is the first byte still held, `tail` the first free one.
Storage comes from and returns to a `Buffers`, and doubles up to `limit` when
more room is wanted.
"""

from stack.core.mem import copy


class Ring:
    __slots__ = ("buf", "size", "head", "tail", "limit", "_buffers")

    def __init__(self, buffers, limit):
        """limit: the largest size in bytes, a power of two from 2048."""
        self.buf = None
        self.size = 0
        self.head = self.tail = 0
        self.limit = limit
        self._buffers = buffers

    def __len__(self):
        return self.tail - self.head

    def space(self):
        """Bytes that can be taken, counting growth that is still allowed."""
        return self.limit - (self.tail - self.head)

    def reserve(self, n):
        """Grow so that n more bytes fit, as far as limit and memory allow; bytes that now fit."""
        used = self.tail - self.head
        want = used + n
        if want > self.limit:
            want = self.limit
        while self.size < want:
            size = self.size << 1 if self.size else 2048
            # Grow in one step to what is wanted: each step copies.
            while size < want:
                size <<= 1
            if not self._resize(size):
                break
        return self.size - used

    def _resize(self, size):
        try:
            new = self._buffers.alloc(size)
        except MemoryError:
            return False
        old = self.buf
        if old is not None:
            pos = self.head
            while pos < self.tail:
                i = pos & (self.size - 1)
                j = pos & (size - 1)
                n = min(self.tail - pos, self.size - i, size - j)
                copy(new, j, old, i, n)
                pos += n
            self._buffers.free(old)
        self.buf = new
        self.size = size
        return True

    def write(self, src, off, n):
        """Append up to n bytes of src[off:]; returns how many fitted."""
        room = self.size - (self.tail - self.head)
        if n > room:
            room = self.reserve(n)
            if n > room:
                n = room
        self.put(self.tail, src, off, n)
        self.tail += n
        return n

    def put(self, pos, src, off, n):
        """Store n bytes at absolute position pos (head <= pos, pos + n <= head + size)."""
        if not n:
            return
        size = self.size
        i = pos & (size - 1)
        first = size - i
        if n <= first:
            copy(self.buf, i, src, off, n)
        else:
            copy(self.buf, i, src, off, first)
            copy(self.buf, 0, src, off + first, n - first)

    def read_into(self, dst, off, n):
        """Move up to n bytes from the head to dst[off:]; returns how many."""
        have = self.tail - self.head
        if n > have:
            n = have
        self.peek(self.head, dst, off, n)
        self.head += n
        return n

    def peek(self, pos, dst, off, n):
        """Copy n bytes from absolute position pos to dst[off:], leaving them."""
        if not n:
            return
        i = pos & (self.size - 1)
        first = self.size - i
        if n <= first:
            copy(dst, off, self.buf, i, n)
        else:
            copy(dst, off, self.buf, i, first)
            copy(dst, off + first, self.buf, 0, n - first)

    def span(self, pos):
        """Bytes from absolute position pos to the end of the storage: contiguous there."""
        return self.size - (pos & (self.size - 1))

    def index(self, pos):
        """Where absolute position pos lies in buf."""
        return pos & (self.size - 1)

    def drop(self, n):
        """Forget n bytes from the head (acknowledged, or read)."""
        self.head += n

    def release(self):
        """Give the storage back; the ring is empty."""
        if self.buf is not None:
            self._buffers.free(self.buf)
        self.buf = None
        self.size = 0
        self.head = self.tail = 0
