"""Which disk is blank, and how it is told: without a device."""

from stack import disks

_CHUNK = 65536


class _Volume:
    """Zeroes but for one byte, of any size; remembers what was read."""

    block = 512

    def __init__(self, size, at=-1):
        self.sectors = size // 512
        self.at = at
        self.reads = 0

    def _fill(self, at, buf):
        self.reads += 1
        buf[:] = bytes(len(buf))
        if at <= self.at < at + len(buf):
            buf[self.at - at] = 1

    def readblocks(self, block, buf, off=0):
        self._fill(block * 512 + off, buf)
        return 0

    def read(self, at, n):
        buf = bytearray(n)
        self._fill(at, buf)
        return buf


def test_a_small_disk_is_read_whole():
    size = 5 * _CHUNK + 1536
    assert disks.blank(_Volume(size))
    for at in (0, 1, _CHUNK - 1, _CHUNK, 3 * _CHUNK + 5, size - 1):
        assert not disks.blank(_Volume(size, at)), at
    assert disks.blank(_Volume(512)) and not disks.blank(_Volume(512, 511))


def test_a_large_disk_is_read_in_part():
    size = 1 << 40
    v = _Volume(size)
    assert disks.blank(v) and v.reads <= 1025
    for at in (0, (1 << 20) - 1, size - 1, size - (1 << 20)):
        assert not disks.blank(_Volume(size, at)), at


def test_the_chunks_that_are_looked_at():
    for n in (1025, 1026, 2000, 1 << 24):
        seen = [disks._spread(i, n) for i in range(1024)]
        assert seen[0] == 0 and seen[-1] == n - 1
        for a, b in zip(seen, seen[1:]):
            assert a < b < n
