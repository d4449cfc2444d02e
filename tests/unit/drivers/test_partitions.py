"""Partition tables and what a volume holds, by bytes. Runs on CPython and in the guest."""

import binascii
import struct

from drivers import partitions

_SECTORS = 204800


def _mbr(entries, mark=b"\x55\xaa"):
    b = bytearray(512)
    for i, (status, type_, first, count) in enumerate(entries):
        struct.pack_into("<B3xB3xII", b, 446 + 16 * i, status, type_, first, count)
    b[510:] = mark
    return b


def _gpt(entries, block=512, count=128, spoil=""):
    disk = bytearray(block * 40)
    disk[:512] = _mbr([(0, 0xEE, 1, 0xFFFFFFFF)])
    table = bytearray(count * 128)
    for i, (first, last) in entries.items():
        table[i * 128 : i * 128 + 16] = b"\xa2\xa0\xd0\xeb" + bytes(12)
        struct.pack_into("<QQ", table, i * 128 + 32, first, last)
    head = bytearray(92)
    struct.pack_into("<8sIII", head, 0, b"EFI PART", 0x10000, 92, 0)
    struct.pack_into("<QIII", head, 72, 2, count, 128, binascii.crc32(table))
    if spoil == "entries":
        table[33] ^= 1
    struct.pack_into("<I", head, 16, binascii.crc32(head))
    if spoil == "header":
        head[40] ^= 1
    disk[block : block + 92] = head
    disk[2 * block : 2 * block + len(table)] = table
    return disk


def _table(disk, block=512):
    return partitions.table(lambda at, n: disk[at : at + n], _SECTORS, block)


def test_mbr():
    extended = (0, 0x05, 8192, 100)
    disk = _mbr([(0x80, 0x0C, 2048, 4096), extended, (0, 0x83, 10000, 194800), (0, 0, 0, 0)])
    assert partitions.kind(disk) == ("table",)
    assert _table(disk) == [(1, 2048, 4096), (3, 10000, 194800)]


def test_partitions_outside_of_the_disk_are_left_out():
    assert _table(_mbr([(0, 6, 2048, 4096), (0, 6, 204799, 2)])) == [(1, 2048, 4096)]


def test_what_is_no_mbr():
    for why, entries, mark in (
        ("no mark", [(0, 6, 1, 1)], b"\x55\xab"),
        ("a status that is none", [(0, 6, 1, 1), (7, 6, 5, 5)], b"\x55\xaa"),
        ("a partition at the table itself", [(0, 6, 0, 10)], b"\x55\xaa"),
        ("without a length", [(0, 6, 10, 0)], b"\x55\xaa"),
        ("no entry", [], b"\x55\xaa"),
    ):
        assert partitions.kind(_mbr(entries, mark)) == ("unknown",), why


def test_gpt():
    for block in (512, 4096):
        disk = _gpt({0: (40, 99), 5: (200, 200)}, block)
        k = block // 512
        assert _table(disk, block) == [(1, 40 * k, 60 * k), (6, 200 * k, k)]


def test_a_spoiled_gpt_has_no_partitions():
    for spoil in ("entries", "header"):
        assert _table(_gpt({0: (40, 99)}, spoil=spoil)) == []
    assert _table(_gpt({0: (99, 40)})) == []
    disk = _gpt({0: (40, 99)})
    for at, value in ((12, 0), (12, 600), (72, 0), (80, 129), (84, 64)):
        bad = bytearray(disk)
        struct.pack_into("<I", bad, 512 + at, value)
        struct.pack_into("<I", bad, 512 + 16, 0)
        struct.pack_into("<I", bad, 512 + 16, binascii.crc32(bad[512 : 512 + 92]))
        assert _table(bad) == [], (at, value)


def _fat(**changes):
    b = bytearray(512)
    b[:3] = b"\xeb\x3c\x90"
    struct.pack_into("<HBHB", b, 11, 512, 4, 1, 2)
    b[510:] = b"\x55\xaa"
    for at, value in changes.items():
        b[int(at[1:])] = value
    return b


def test_fat():
    assert partitions.kind(_fat()) == ("fat",)
    assert partitions.kind(_fat(a0=0xE9)) == ("fat",)
    for at, value in ((0, 0), (2, 0), (12, 3), (13, 3), (13, 0), (14, 0), (16, 0)):
        assert partitions.kind(_fat(**{"a%d" % at: value})) == ("unknown",), (at, value)


def test_littlefs_in_either_block():
    for at in (0, 4096):
        b = bytearray(8192)
        b[at + 8 : at + 16] = b"littlefs"
        assert partitions.kind(b) == ("littlefs", 4096, 0)
        struct.pack_into("<II", b, at + 24, 512, 100)
        assert partitions.kind(b) == ("littlefs", 512, 100)
        struct.pack_into("<II", b, at + 24, 511, 100)
        assert partitions.kind(b) == ("littlefs", 4096, 0)


def test_nothing_and_anything():
    for n in (512, 1024, 4096, 8192):
        assert partitions.kind(bytearray(n)) == ("zero",)
        b = bytearray(n)
        b[n - 1] = 1
        assert partitions.kind(b) == ("unknown",)


def test_every_cut_of_a_disk():
    disk = _gpt({0: (40, 99)})
    disk[8:16] = disk[4104:4112] = b"littlefs"
    for n in list(range(0, 600)) + list(range(4090, 4200)):
        partitions.kind(disk[:n])
