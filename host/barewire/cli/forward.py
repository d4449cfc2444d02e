"""Forwarded TCP ports that wait for the guest.

QEMU's user network takes a connection at once and sends its SYN when there may be nobody yet to
hear it; the next goes 6 s later. So a port is this process's at first: clients wait in its queue.
The guest says which ports its programs listen on (listening=debugcon: lines at debug port 0x5EA).
Then the port is QEMU's (hostfwd_add), and the clients that came before are carried to it.

Between our closing of the port and QEMU's opening it a connection is refused, for well under a
millisecond: QEMU cannot be given a socket that listens already.
"""

import contextlib
import os
import select
import socket
import threading
import time

from barewire.net import listen

DEBUG_PORT = 0x5EA
# A program that does not listen by then gets no more patience: its clients are told by a reset.
PATIENCE_S = 30


class Forwards:
    """ports: (protocol, host port, guest port) of tcp, each listened on from here on.

    BarewireError for a port that cannot be had."""

    def __init__(self, ports, say):
        self._say = say
        self._waiting = [(listen(host, guest), guest) for _, host, guest in ports]
        self._read, self._write = os.pipe() if ports else (None, None)
        for listener, guest in [w for w, (_, host, _) in zip(self._waiting, ports) if not host]:
            say(f"127.0.0.1:{listener.getsockname()[1]} is the guest's tcp port {guest}")

    @property
    def fds(self):
        """Descriptors that QEMU is to inherit."""
        return [self._write] if self._waiting else []

    @property
    def arguments(self):
        """QEMU's arguments: where the guest tells of its listeners."""
        if not self._waiting:
            return []
        channel = ["-chardev", f"file,id=listening,path=/dev/fd/{self._write}"]
        return [*channel, "-device", f"isa-debugcon,iobase={DEBUG_PORT},chardev=listening"]

    @property
    def append(self):
        """Keys of the kernel command line."""
        return {"listening": "debugcon"} if self._waiting else {}

    def start(self, command):
        """QEMU runs. command(line): one of its monitor's human commands; what it answered."""
        if self._waiting:
            os.close(self._write)
            threading.Thread(target=self._watch, args=(command,), daemon=True).start()

    def _watch(self, command):
        until = time.monotonic() + PATIENCE_S
        said = b""
        while self._waiting:
            left = max(0, until - time.monotonic())
            if not select.select([self._read], [], [], left)[0]:
                ports = None
            else:
                data = os.read(self._read, 1024)
                if not data:
                    return  # QEMU has ended
                *lines, said = (said + data).split(b"\n")
                ports = {int(line) for line in lines}
            for entry in list(self._waiting):
                if ports is None or entry[1] in ports:
                    self._waiting.remove(entry)
                    self._hand_over(*entry, command)
        while os.read(self._read, 1024):  # the guest is not to wait for us
            pass

    def _hand_over(self, listener, guest, command):
        port = listener.getsockname()[1]
        early = []
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                early.append(listener.accept()[0])
        listener.close()
        answer = command(f"hostfwd_add net0 tcp:127.0.0.1:{port}-:{guest}")
        if answer:
            self._say(f"port {port} of 127.0.0.1: {answer.strip()}")
        for client in early:
            threading.Thread(target=_carry, args=(client, port), daemon=True).start()


def _carry(client, port):
    """A client that came early, to the guest by way of QEMU and back."""
    with client, contextlib.suppress(OSError):
        client.setblocking(True)
        with socket.create_connection(("127.0.0.1", port)) as guest:
            back = threading.Thread(target=_pump, args=(guest, client), daemon=True)
            back.start()
            _pump(client, guest)
            back.join()


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # either is gone: so is the other's
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
