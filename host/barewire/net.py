"""What a guest's network card can be plugged into: QEMU's -netdev arguments.

An attachment has `arguments(id) -> list of str`, `pass_fds`, `mac` or None, and `nic`, more
properties for the device. UserNet needs no privileges; taps and links come from barewire.lab.
"""

import errno
import re
import socket

from barewire.paths import BarewireError

_FORWARD = re.compile(r"(TCP|UDP)\[HOST_FORWARD\]\s+\S+\s+\S+\s+(\d+)\s+\S+\s+(\d+)")


def quoted(value):
    """A value within one of QEMU's comma-separated arguments."""
    return str(value).replace(",", ",,")


def parse_port(text):
    """ "8080:80" or "udp:5353:53" as ("tcp", 8080, 80). BarewireError."""
    parts = text.split(":")
    protocol = parts.pop(0) if parts[0] in ("tcp", "udp") else "tcp"
    try:
        host, guest = map(int, parts)
        if not (0 <= host <= 65535 and 1 <= guest <= 65535):
            raise ValueError
    except ValueError:
        raise BarewireError(f"-p {text}: want HOST:GUEST, two ports") from None
    return protocol, host, guest


def listen(port, guest, protocol="tcp"):
    """A socket bound to a port of 127.0.0.1, one of tcp listening. BarewireError, in words, where
    it cannot be had. Port 0 is any free one; guest: where it leads, for the words."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    s = socket.socket(socket.AF_INET, kind)
    try:
        if protocol == "tcp":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        if protocol == "tcp":
            s.listen(128)
        return s
    except OSError as e:
        s.close()
        why = {
            errno.EADDRINUSE: "is in use by another program",
            errno.EACCES: "is for root only (below 1024)",
        }.get(e.errno, e.strerror)
        raise BarewireError(
            f"port {port} of 127.0.0.1 {why}: choose another, as -p {port + 10000 & 65535}"
            f":{guest}, or a free one with -p 0:{guest}"
        ) from None


def forwarded(text):
    """What QEMU's `info usernet` says is forwarded: a list of (protocol, host port, guest port)."""
    return [(kind.lower(), int(h), int(g)) for kind, h, g in _FORWARD.findall(text)]


class UserNet:
    """QEMU's user network: DHCP, DNS and a gateway at 10.0.2.2, no privileges.

    ports: (protocol, host port, guest port), reachable on 127.0.0.1 of the host.
    restrict: nothing leaves it for the host or beyond; ports still work."""

    def __init__(self, ports=(), restrict=False, pcap=None, mac=None, nic=None):
        self.ports, self.restrict, self.pcap, self.mac = list(ports), restrict, pcap, mac
        self.pass_fds, self.nic = (), dict(nic or {})

    def arguments(self, name):
        options = [f"user,id={name}"]
        options += [f"hostfwd={p}:127.0.0.1:{h}-:{g}" for p, h, g in self.ports]
        if self.restrict:
            options.append("restrict=on")
        argv = ["-netdev", ",".join(options)]
        if self.pcap:
            file = quoted(self.pcap)
            argv += ["-object", f"filter-dump,id=dump-{name},netdev={name},file={file}"]
        return argv

    def stop(self):
        """Nothing to do: it ends with QEMU."""


class FdNet:
    """A network card on a descriptor that we hold: a TAP, or one end of a datagram socket."""

    def __init__(self, fd, kind, mac, nic=None, more=()):
        """more: descriptors of a TAP's other queues."""
        self.fd, self.kind, self.mac, self.nic = fd, kind, mac, dict(nic or {})
        self.pass_fds = (fd, *more)

    def arguments(self, name):
        if len(self.pass_fds) > 1:
            return ["-netdev", f"tap,id={name},fds={':'.join(map(str, self.pass_fds))}"]
        if self.kind == "tap":
            return ["-netdev", f"tap,id={name},fd={self.fd}"]
        return ["-netdev", f"dgram,id={name},local.type=fd,local.str={self.fd}"]
