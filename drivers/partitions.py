"""What a disk holds, by its first sectors: a partition table, FAT, littlefs, nothing.

    MBR    sector 0: 4 entries of 16 bytes at 446, 0x55AA at 510
    GPT    sector 1: "EFI PART"; entries from the sector that it names (UEFI 2.10, 5.3)
    FAT    sector 0: jump, BIOS parameter block, 0x55AA (Microsoft's FAT specification, 3)
    littlefs   block 0 or 1: revision, tag, "littlefs" (its SPEC.md, "The superblock")

Not implemented: logical partitions (type 5 and 15), the second GPT at a disk's end, exFAT.
"""

import binascii
import struct

from micropython import const

_SECTOR = const(512)
_ENTRIES_MAX = const(128)  # of a GPT; one of 128 bytes each is all that tools make
_ENTRY_LEAST = const(128)
_PROTECTIVE = const(0xEE)
_EXTENDED = (0x05, 0x0F, 0x85)
_LFS_BLOCK = const(4096)  # where littlefs's second superblock is looked for
LOOK = const(8192)  # bytes from the start of a volume that `kind` wants


def kind(head):
    """("fat",), ("littlefs", block size, blocks), ("table",), ("zero",) or ("unknown",).

    head: the first LOOK bytes, or as many as there are. littlefs: 0 blocks if it does not say."""
    for at in (0, _LFS_BLOCK):
        if len(head) >= at + 32 and bytes(head[at + 8 : at + 16]) == b"littlefs":
            return ("littlefs",) + _lfs_shape(head, at)
    if len(head) >= _SECTOR and head[510] == 0x55 and head[511] == 0xAA:
        if _is_fat(head):
            return ("fat",)
        if mbr(head):
            return ("table",)
    if not any(head):
        return ("zero",)
    return ("unknown",)


def _lfs_shape(head, at):
    """Block size and count, as in the first entry of a superblock; (4096, 0) else."""
    block, count = struct.unpack_from("<II", head, at + 24)
    if 128 <= block <= 65536 and not block & (block - 1) and 2 <= count < 1 << 31:
        return block, count
    return _LFS_BLOCK, 0


def _is_fat(head):
    """FAT12, FAT16 or FAT32 without partitions."""
    if not (head[0] == 0xEB and head[2] == 0x90 or head[0] == 0xE9):
        return False
    sector, cluster, reserved, copies = struct.unpack_from("<HBHB", head, 11)
    return (
        sector in (512, 1024, 2048, 4096)
        and cluster > 0
        and cluster & (cluster - 1) == 0
        and reserved > 0
        and copies in (1, 2)
    )


def mbr(sector):
    """[(number, first, count, type)] of the primary partitions; [] if there are none.

    All or nothing: an entry that cannot be one means that this is no table."""
    found = []
    for i in range(4):
        status, type_, first, count = struct.unpack_from("<B3xB3xII", sector, 446 + 16 * i)
        if status & 0x7F:
            return []
        if type_:
            if not first or not count:
                return []
            found.append((i + 1, first, count, type_))
    return found


def table(read, sectors, block):
    """[(number, first, count)] of the partitions that lie within the disk's `sectors`.

    read(byte, n) gives bytes; block: the disk's block size, which is GPT's unit."""
    entries = mbr(read(0, max(_SECTOR, block)))
    if [e for e in entries if e[3] == _PROTECTIVE]:
        found = _gpt(read, block)
    else:
        # A table of MBR counts in sectors of the disk's block size as well.
        scale = block // _SECTOR
        found = [(n, f * scale, c * scale) for n, f, c, t in entries if t not in _EXTENDED]
    return [(n, f, c) for n, f, c in found if f + c <= sectors]


def _gpt(read, block):
    head = read(block, block)
    size, crc = struct.unpack_from("<II", head, 12)
    if bytes(head[:8]) != b"EFI PART" or not 92 <= size <= block:
        return []
    checked = bytes(head[:16]) + bytes(4) + bytes(head[20:size])
    if binascii.crc32(checked) != crc:
        return []
    at, count, each, crc = struct.unpack_from("<QIII", head, 72)
    if not 0 < count <= _ENTRIES_MAX or each != _ENTRY_LEAST or not 2 <= at < 1 << 40:
        return []
    n = count * each
    entries = read(at * block, (n + block - 1) // block * block)[:n]
    if binascii.crc32(entries) != crc:
        return []
    found = []
    scale = block // _SECTOR
    for i in range(count):
        first, last = struct.unpack_from("<QQ", entries, i * each + 32)
        if any(entries[i * each : i * each + 16]) and 0 < first <= last < 1 << 50:
            found.append((i + 1, first * scale, (last - first + 1) * scale))
    return found
