"""`--trace tcp`: the guest's trace of its connections, from QEMU's debug port to people.

The guest writes the CSV of stack/transport/tcp/trace.py to port 0x5E9, where an isa-debugcon
takes it to a file, or through a pipe to this process, which prints a line for each event:

    barewire:   0.254103    80-51234  rx    seq 1 ack 1 len 78  cwnd 14600
"""

import os
import re
import threading
from contextlib import contextmanager

import click

PORT = 0x5E9


def option(ctx, param, value):
    """click's callback for --trace: the value of the guest's key trace=, or None."""
    if value is None:
        return None
    found = re.fullmatch(r"tcp(?::([1-9]\d{0,4}))?", value)
    if not found or int(found[1] or 0) > 65535:
        raise click.BadParameter(f"{value!r}: want tcp, or tcp:PORT for one port's connections")
    return value


@contextmanager
def channel(path, say):
    """QEMU's arguments for the debug port, and the descriptors it is to inherit.

    path: the file for the CSV; None: `say(line)` is called with each event in words."""
    device = ["-device", f"isa-debugcon,iobase={PORT},chardev=trace"]
    if path:
        yield ["-chardev", f"file,id=trace,path={str(path).replace(',', ',,')}", *device], []
        return
    read, write = os.pipe()
    reader = threading.Thread(target=_show, args=(read, say), daemon=True)
    reader.start()
    try:
        yield ["-chardev", f"file,id=trace,path=/dev/fd/{write}", *device], [write]
    finally:
        os.close(write)
        reader.join()


def _show(fd, say):
    with os.fdopen(fd) as lines:
        for line in lines:
            shown = words(line)
            if shown:
                say(shown)


def words(line):
    """A line of the CSV in words; None for its header or half a line."""
    fields = line.strip().split(",")
    if len(fields) != 11 or fields[0] == "time_us":
        return None
    us, event, seq, ack, n, cwnd, _, srtt, flight, _, ends = fields
    head = f"{int(us) / 1e6:10.6f} {ends:>12}  "
    if event not in ("tx", "rx", "retx"):
        return head + event
    text = f"{head}{event:4}  seq {seq} ack {ack} len {n}  cwnd {cwnd} flight {flight}"
    return text if srtt in ("0", "-1") else f"{text} srtt {int(srtt) / 1000:.1f} ms"
