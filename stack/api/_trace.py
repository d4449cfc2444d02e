"""net.trace: a Tracer of TCP on a file, a stream or the console."""

import sys

from stack.api import _runtime
from stack.transport.tcp.trace import Tracer


class DebugPort:
    """Where `barewire run --trace` listens: QEMU's isa-debugcon at port 0x5E9."""

    def write(self, text):
        outb = _runtime.current().hw.outb
        for b in text.encode():
            outb(0x5E9, b)


class Trace:
    """`lines` says how many were written. One trace at a time: the next takes its place."""

    def __init__(self, runtime, what, where):
        self._rt = runtime
        self._file = None
        if where is None:
            stream = sys.stdout
        elif isinstance(where, str):
            stream = self._file = open(where, "w")
        else:
            stream = where
        if isinstance(what, int):
            port = what

            def wanted(c):
                return not port or c.local_port == port or c.remote_port == port

        else:
            conn = getattr(what, "_ep", what)

            def wanted(c):
                return c is conn

        self._tracer = Tracer(wanted, stream.write, runtime.now())
        runtime.host.tcp.tracer = self._tracer

    @property
    def lines(self):
        return self._tracer.lines

    def stop(self):
        """No more lines; the file is closed."""
        tcp = self._rt.host.tcp
        if tcp.tracer is self._tracer:
            tcp.tracer = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
