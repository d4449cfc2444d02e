"""What `os` has beside MicroPython's own: urandom and a dupterm that hears Ctrl-C."""

import uos

from stack.api import _runtime


def urandom(n):
    """n bytes fit for keys. OSError(ENODEV) where there is neither RDRAND nor a virtio-rng."""
    if n < 0:
        raise ValueError("negative argument not allowed")
    return _runtime.current().host.rng.secret(n)


def dupterm(stream, index=0):
    """Put the prompt on a stream as well, or with None on none; returns the one before."""
    before = uos.dupterm(stream, index)
    for s, wanted in ((before, False), (stream, True)):
        if hasattr(s, "watch"):
            s.watch(wanted)
    return before
