"""Which file system of a disk is mounted where.

The first littlefs is `/`, so that what a program writes, what mip installs in /lib and
/main.py are there at the next boot, as on a board; without one `/` lies in memory. Every
other file system is mounted under its volume's name: FAT on the first partition of the
first disk is /vda1.

A disk without a single byte other than zero is formatted for littlefs. Anything that is
not known is left as it is, and named: `machine.format_disk(name)` overwrites it.
"""

from micropython import const

from drivers import partitions
from drivers.device import DeviceError
from drivers.volume import SECTOR, LfsVolume, Volume

_BLOCK = const(4096)
_CHUNK = const(65536)
# A disk of up to 64 MB is read whole before it is called blank; of a larger one the first
# and the last MB, where all known labels are, and 62 MB evenly between.
_CHUNKS = const(1024)
_EDGE = const(16)
# littlefs needs two blocks for its root and some to write to.
_LEAST = const(16 * 4096)
# Blocks that littlefs looks at together for free ones, 8 a byte: it reads all metadata for each.
_LOOKAHEAD_MAX = const(4096)


def volumes(hw, disk):
    """What is on a disk: [Volume], the whole disk first, then its partitions; `kind` set."""
    whole = _look(hw, disk, disk.name, 0, disk.sectors)
    found = [whole]
    if whole.kind == "table":
        for n, first, count in partitions.table(whole.read, disk.sectors, disk.block):
            found.append(_look(hw, disk, "%s%d" % (disk.name, n), first, count))
    elif whole.kind == "zero":
        whole.kind = "blank" if blank(whole) else "unknown"
    return found


def _look(hw, disk, name, first, sectors):
    v = Volume(hw, disk, name, first, sectors)
    n = min(partitions.LOOK, sectors * SECTOR) // disk.block * disk.block
    what = partitions.kind(v.read(0, n)) if n else ("unknown",)
    if what[0] == "littlefs":
        return lfs_volume(v, what[1], what[2])
    v.kind = what[0]
    return v


def lfs_volume(v, block=_BLOCK, count=0):
    """The volume as littlefs wants it, in `count` blocks (0: as many as fit)."""
    fit = v.sectors * SECTOR // block
    n = min(count or fit, fit)
    return LfsVolume(v.hw, v.disk, v.name, v.first, n * block // SECTOR, block)


def blank(v):
    """True if a volume holds only zeroes, as far as it is read (see _CHUNKS)."""
    buf, zeroes = bytearray(_CHUNK), bytes(_CHUNK)
    size = v.sectors * SECTOR // v.block * v.block
    n = size // _CHUNK
    if size % _CHUNK:
        tail = size % _CHUNK
        if any(v.read(size - tail, tail)):
            return False
    for i in range(min(n, _CHUNKS)):
        if n > _CHUNKS:
            i = _spread(i, n)
        if v.readblocks(0, buf, i * _CHUNK) or buf != zeroes:
            return False
    return True


def _spread(i, n):
    """Which of n chunks is the i-th of _CHUNKS that are looked at."""
    if i < _EDGE:
        return i
    if i >= _CHUNKS - _EDGE:
        return n - _CHUNKS + i
    return _EDGE + (i - _EDGE) * (n - 2 * _EDGE) // (_CHUNKS - 2 * _EDGE)


def mount(v, path):
    """Mount the file system of a volume at `path`. OSError if it has none that is whole."""
    import vfs

    if v.kind == "fat":
        fs = vfs.VfsFat(v)
    else:
        unit = v.disk.block
        look = min(max(v.sectors * SECTOR // v.block // 8 & ~7, 32), _LOOKAHEAD_MAX)
        fs = vfs.VfsLfs2(v, readsize=unit, progsize=unit, lookahead=look, mtime=True)
    vfs.mount(fs, path, readonly=v.readonly)


def format_volume(v, kind="littlefs"):
    """Overwrite a volume with an empty file system; the Volume to mount it by. OSError."""
    import vfs

    if kind == "fat":
        fresh = Volume(v.hw, v.disk, v.name, v.first, v.sectors)
        vfs.VfsFat.mkfs(fresh)
        fresh.kind = "fat"
    elif kind == "littlefs":
        if v.sectors * SECTOR < _LEAST:
            raise OSError(28)  # ENOSPC
        fresh = lfs_volume(v)
        unit = v.disk.block
        vfs.VfsLfs2.mkfs(fresh, readsize=unit, progsize=unit)
    else:
        raise ValueError(kind)
    fresh.ioctl(3, 0)
    return fresh


def mount_disks(hw, disks, say):
    """Mount what the disks hold. Returns ({name: Volume} of all volumes, whether / is one)."""
    found = []
    for disk in disks:
        try:
            found += volumes(hw, disk)
        except (OSError, DeviceError) as e:
            say("%s: cannot be read: %s" % (disk.name, disk.error or e))
    root = None
    for i, v in enumerate(found):
        if v.kind == "blank" and not v.readonly and v.sectors * SECTOR >= _LEAST:
            try:
                found[i] = v = format_volume(v)
            except OSError as e:
                say("%s: cannot be formatted: %s" % (v.name, v.disk.error or e))
        if v.kind == "littlefs" and root is None and _try(v, "/", say):
            root = v
    for v in found:
        if v is not root and v.kind in ("littlefs", "fat"):
            _try(v, "/" + v.name, say)
        elif v.kind in ("unknown", "blank", "zero"):
            say("%s: %s, not mounted" % (describe(v), v.kind))
    return {v.name: v for v in found}, root is not None


def describe(v):
    """A volume in words: "vda virtio-blk 64 MB"."""
    kb = v.sectors >> 1
    size = "%d MB" % (kb >> 10) if kb >= 1024 else "%d KB" % kb
    return "%s %s %s%s" % (v.name, v.disk.driver, size, " read-only" if v.readonly else "")


def _try(v, path, say):
    try:
        mount(v, path)
    except OSError as e:
        say("%s: %s does not mount, error %d; left as it is" % (describe(v), v.kind, e.errno))
        return False
    say("%s %s at %s" % (describe(v), v.kind, path))
    return True
