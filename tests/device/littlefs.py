"""The very littlefs of the image, built for this machine, on a block device in Python.

    fs = LittleFs(volume)       volume: readblocks, writeblocks, ioctl, `block` bytes a block
    fs.format(); fs.mount(); fs.write(name, data); fs.read(name); fs.names(); fs.rename(a, b)

LfsError where littlefs says no. An exception in the block device ends the test's use of the
file system: it is kept, and raised from the call."""

import ctypes
import functools
import os
import subprocess
from pathlib import Path

from barewire.build import TOP

_CACHE = 2048  # as MicroPython: four times the larger of read and prog size
_FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p,
    ctypes.c_uint32,
)  # fmt: skip
_ERASE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
RDONLY, RDWR, CREAT, TRUNC, APPEND = 1, 3, 0x100, 0x400, 0x800


class LfsError(Exception):
    pass


class _Config(ctypes.Structure):
    _fields_ = [
        ("context", ctypes.c_void_p), ("read", _FUNCTION), ("prog", _FUNCTION),
        ("erase", _ERASE), ("sync", _SYNC), ("read_size", ctypes.c_uint32),
        ("prog_size", ctypes.c_uint32), ("block_size", ctypes.c_uint32),
        ("block_count", ctypes.c_uint32), ("block_cycles", ctypes.c_int32),
        ("cache_size", ctypes.c_uint32), ("lookahead_size", ctypes.c_uint32),
        ("read_buffer", ctypes.c_void_p), ("prog_buffer", ctypes.c_void_p),
        ("lookahead_buffer", ctypes.c_void_p), ("name_max", ctypes.c_uint32),
        ("file_max", ctypes.c_uint32), ("attr_max", ctypes.c_uint32),
        ("metadata_max", ctypes.c_uint32), ("more", ctypes.c_uint32 * 8),
    ]  # fmt: skip


class _Info(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint8), ("size", ctypes.c_uint32), ("name", ctypes.c_char * 256)]


@functools.cache
def _library():
    trees = [os.environ.get("MICROPYTHON_DIR")] + sorted(Path(TOP, "build").glob("micropython-*"))
    tree = next(Path(t) for t in trees if t and Path(t, "lib", "littlefs", "lfs2.c").exists())
    out = Path(TOP, "build", f"lfs2-{os.getpid()}.so")
    sources = [tree / "lib" / "littlefs" / n for n in ("lfs2.c", "lfs2_util.c")]
    argv = ["gcc", "-shared", "-fPIC", "-O1", "-DNDEBUG", "-DLFS2_NO_ERROR", "-DLFS2_NO_WARN"]
    subprocess.run([*argv, "-DLFS2_NO_DEBUG", "-o", out, *sources], check=True)
    try:
        return ctypes.CDLL(out)
    finally:
        out.unlink()


class LittleFs:
    def __init__(self, volume, lookahead=32):
        self.volume, self.raised = volume, None
        count = volume.ioctl(4, 0)
        self._callbacks = (
            _FUNCTION(self._read), _FUNCTION(self._prog), _ERASE(self._erase), _SYNC(self._sync),
        )  # fmt: skip
        unit = volume.disk.block
        self._config = _Config(
            None, *self._callbacks, unit, unit, volume.block, count, 100,
            min(volume.block, 4 * unit), lookahead,
        )  # fmt: skip
        self._lfs = ctypes.create_string_buffer(4096)

    def _guard(self, call):
        if self.raised is not None:
            return -5
        try:
            return call()
        except BaseException as e:  # through C it cannot go
            self.raised = e
            return -5

    def _read(self, _c, block, off, at, n):
        def call():
            buf = bytearray(n)
            r = self.volume.readblocks(block, buf, off)
            ctypes.memmove(at, bytes(buf), n)
            return r

        return self._guard(call)

    def _prog(self, _c, block, off, at, n):
        data = bytearray(ctypes.string_at(at, n))
        return self._guard(lambda: self.volume.writeblocks(block, data, off))

    def _erase(self, _c, block):
        return self._guard(lambda: self.volume.ioctl(6, block))

    def _sync(self, _c):
        return self._guard(lambda: self.volume.ioctl(3, 0))

    def _call(self, name, *args):
        r = getattr(_library(), "lfs2_" + name)(self._lfs, *args)
        if self.raised is not None:
            raise self.raised
        if r < 0:
            raise LfsError(f"{name}: {r}")
        return r

    def format(self):
        self._call("format", ctypes.byref(self._config))

    def mount(self):
        self._call("mount", ctypes.byref(self._config))

    def write(self, name, data, flags=RDWR | CREAT | TRUNC, chunk=700):
        f = ctypes.create_string_buffer(512)
        self._call("file_open", f, name.encode(), flags)
        for i in range(0, len(data), chunk):
            part = data[i : i + chunk]
            self._call("file_write", f, part, len(part))
        self._call("file_close", f)

    def read(self, name):
        f = ctypes.create_string_buffer(512)
        self._call("file_open", f, name.encode(), RDONLY)
        out = []
        buf = ctypes.create_string_buffer(4096)
        while n := self._call("file_read", f, buf, 4096):
            out.append(buf.raw[:n])
        self._call("file_close", f)
        return b"".join(out)

    def remove(self, name):
        self._call("remove", name.encode())

    def rename(self, old, new):
        self._call("rename", old.encode(), new.encode())

    def names(self):
        d, info, found = ctypes.create_string_buffer(512), _Info(), []
        self._call("dir_open", d, b"/")
        while self._call("dir_read", d, ctypes.byref(info)):
            if info.type == 1:
                found.append(info.name.decode())
        self._call("dir_close", d)
        return found
