"""A terminal attached to a console on a pty or a unix socket."""

import contextlib
import os
import select
import socket
import stat
import sys
import termios
import tty

from barewire.paths import BarewireError

LEAVE = b"\x1d"  # Ctrl-]


def _open(path):
    if stat.S_ISSOCK(os.stat(path).st_mode):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
        except OSError as e:
            raise BarewireError(f"{path}: {os.strerror(e.errno)}") from e
        return s.detach()
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd)
    except (OSError, termios.error) as e:
        raise BarewireError(f"{path}: {e}") from e
    return fd


@contextlib.contextmanager
def restored():
    """Leave this terminal as it was, whatever becomes of a program that put it in raw mode."""
    before = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        yield
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def attach(path):
    """Carry bytes between this terminal and `path` until Ctrl-] or the other end closes."""
    far, near = _open(path), sys.stdin.fileno()
    before = termios.tcgetattr(near) if os.isatty(near) else None
    try:
        if before:
            tty.setraw(near)
        while True:
            for fd in select.select([far, near], [], [])[0]:
                try:
                    data = os.read(fd, 4096)
                except OSError:  # a pty whose other end has closed
                    return
                if not data or (fd == near and LEAVE in data):
                    return
                os.write(sys.stdout.fileno() if fd == far else far, data)
    finally:
        if before:
            termios.tcsetattr(near, termios.TCSADRAIN, before)
        os.close(far)
