"""Machine code on the CPython host: the functions of `hw` that kernels need, over ctypes.

from stack.crypto import kernels
from stack.crypto.asm.host import Host, blob
kernels.start(Host(), blob())
"""

import ctypes
import mmap

from stack.crypto.asm.build import blob  # noqa: F401
from stack.crypto.asm.x86 import Asm, Function, rax, rbx, rcx, rdi, rdx, rsi


class _Buffer(ctypes.Structure):
    """Py_buffer (CPython's object.h): only `buf` is read."""

    _fields_ = [
        ("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
    ]  # fmt: skip


def _cpuid(a):
    with Function(a, "cpuid", save=(rbx,)):
        a.mov(rax, rdi)
        a.mov(rcx, rsi)
        a.push(rdx)
        a.cpuid()
        a.pop(rdi)
        for i, r in enumerate((rax, rbx, rcx, rdx)):
            a.mov(rdi[4 * i], r.d)


class Host:
    def __init__(self):
        self._maps = []
        self._functions = {}
        a = Asm()
        _cpuid(a)
        self._cpuid = self.code(a.finish())

    def code(self, machine_code):
        """Copy machine code to executable memory that is never written again; its address."""
        m = mmap.mmap(-1, len(machine_code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        m.write(machine_code)
        self._maps.append(m)
        return ctypes.addressof(ctypes.c_char.from_buffer(m))

    def addr(self, buf):
        """The address of a buffer's bytes, valid while the buffer lives."""
        view = _Buffer()
        get = ctypes.pythonapi.PyObject_GetBuffer
        if get(ctypes.py_object(buf), ctypes.byref(view), 0):
            raise TypeError("no buffer")
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
        return view.buf or 0

    def call(self, address, *args):
        """Call it with up to six ints; what it leaves in rax, signed."""
        key = address, len(args)
        f = self._functions.get(key)
        if f is None:
            proto = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_uint64] * len(args))
            f = self._functions[key] = proto(address)
        return f(*args)

    def cpuid(self, leaf, sub=0):
        out = bytearray(16)
        self.call(self._cpuid, leaf, sub, self.addr(out))
        return tuple(int.from_bytes(out[i : i + 4], "little") for i in range(0, 16, 4))
