"""The firmware's module `hw` for MicroPython's unix port: a process in the place of the machine.

What the stack and its API use of it (ARCHITECTURE.md), by the port's `ffi` from the C library.
There are no interrupts: the stack runs while the program waits for it, not while it computes
(as in barewire.onhost). Not implemented: Guard (a socket that nobody holds stays open until the
process ends), ports and memory of devices.
"""

import time

import ffi
import uctypes
import uos as os  # the port's own: `os` is the stack's, as in the image

_NEVER = 1 << 60
_POLLIN = 1

libc = ffi.open("libc.so.6")
_poll = libc.func("i", "poll", "pii")

devices = []  # with fileno()
_handler = None
_armed = _NEVER
_locked = 0
_fds = bytearray(8)

ticks_us = time.ticks_us
addr = uctypes.addressof


def unix_us():
    return time.time_ns() // 1000


def lock():
    global _locked
    _locked += 1


def unlock():
    global _locked
    _locked -= 1


def timer(at):
    global _armed
    _armed = at


def on_event(handler):
    global _handler
    _handler = handler


def wait(until):
    """Sleep until a frame comes, the timer fires or `until`; then let the stack run."""
    at = min(_armed, until)
    left = -1 if at >= _NEVER else max(0, at - ticks_us() + 999) // 1000
    _fds[0:4] = devices[0].fileno().to_bytes(4, "little")
    _fds[4] = _POLLIN
    _poll(_fds, 1, min(left, 1000))
    if not _locked:
        _handler()


def ram():
    return 256 << 20


def dma(n, align=64):
    return bytearray(n)


def mem(address, n):
    return uctypes.bytearray_at(address, n)


def rdrand():
    return int.from_bytes(os.urandom(8), "little")


def cpuid(leaf, sub=0):
    return 0, 0, 0, 0


class Guard:
    def __init__(self, address):
        pass
