"""A lab: a bridge in namespaces of its own, hosts and guests plugged into it.

    guest A == tap ==+              +== veth == host "web" (a network namespace)
    guest B == tap ==+== bridge br0 +== veth == host "gw"
    guest C -- link -- tap ==+      +== veth mon == capture

The bridge is a hub (ageing 0): every frame between guests and hosts reaches `mon` too.
Taps carry virtio's offload header, so a guest may leave a checksum to the device and cut
nothing under 64 KB, and so may a host. `mon` has every offload off: the kernel completes
the checksums and cuts the segments of what it copies there, as a network card would, so
the capture at its other end is what a wire would carry, and every checksum in it can be
checked. A checksum that the guest left to the device comes out right only if the guest's
pseudo-header sum and offsets were right. A guest with `nic={"csum": "off"}` has no
offloads at all, and what is captured is then what its stack computed.

Nothing in a lab has a route out. A lab ends with `close()` or with this process.
"""

import ipaddress
import os
import tempfile
from pathlib import Path

from barewire.impair import Link
from barewire.net import FdNet
from barewire.netns import Namespaces
from barewire.pcap import Capture

NO_OFFLOADS = {"tx": 0, "rx": 0, "sg": 0, "tso": 0, "gso": 0, "gro": 0}


def _mac(kind, n):
    return f"02:62:77:{kind:02x}:00:{n:02x}"


class Host:
    """A machine on the bridge: a network namespace with `eth0`. Has Space's methods by `.space`,
    the common ones (`run popen connect listen socket`) directly."""

    def __init__(self, lab, name, ip, offload):
        self.lab, self.name, self.ip = lab, name, str(ip)
        n = len(lab.hosts) + 1
        self.mac = _mac(0x10, n)
        self.space = lab.namespaces.space()
        lab.switch.ip(
            f"link add h{n} type veth peer name eth0 address {self.mac} netns {self.space.path}",
            f"link set h{n} master br0 up",
        )
        self.space.sysctl("net/ipv6/conf/all/accept_dad", 0)
        self.space.ip(
            "link set lo up",
            "link set eth0 up",
            f"addr add {ip}/{lab.subnet.prefixlen} dev eth0",
        )
        if not offload:
            self.space.offload("eth0", **NO_OFFLOADS)
            lab.switch.offload(f"h{n}", **NO_OFFLOADS)
        for method in ("run", "popen", "connect", "listen", "socket", "ip"):
            setattr(self, method if method != "ip" else "ip_batch", getattr(self.space, method))

    def ping(self, address, count=1, timeout=5, *options):
        """Ping a guest: the lines that ping prints. BarewireError when nothing comes back."""
        return self.run("ping", "-n", "-c", count, "-W", timeout, *options, address).stdout

    def quick_retransmit(self, ms):
        """Lower Linux's smallest retransmission timeout toward the lab (RFC 6298 has 1 s)."""
        self.ip_batch(f"route change {self.lab.subnet} dev eth0 src {self.ip} rto_min {ms}ms")


class Lab:
    """The bridge and what hangs on it. Use as a context manager, or `close()` it.

    directory: for captures and servers' files; a temporary one by default.
    capture_limit: frames written to the capture, the rest is not read (0: all).
    BarewireError where namespaces or taps are not allowed."""

    def __init__(self, subnet="10.77.0.0/24", directory=None, capture=True, capture_limit=60_000):
        self.subnet = ipaddress.ip_network(subnet)
        self._scratch = None
        if directory is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="barewire-")
            directory = self._scratch.name
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.hosts, self.links, self.services, self.taps = [], [], [], []
        self.capture_limit = capture_limit
        self.capture = None
        self.namespaces = Namespaces()
        try:
            self._make_switch(capture)
        except BaseException:
            self.close()
            raise

    def _make_switch(self, capture):
        self.switch = s = self.namespaces.space(0)
        # The switch itself says nothing: it has no addresses, not even IPv6's own.
        for which in ("all", "default"):
            s.sysctl(f"net/ipv6/conf/{which}/disable_ipv6", 1)
        s.sysctl("net/unix/max_dgram_qlen", 2048)
        lines = [
            "link set lo up",
            "link add br0 type bridge ageing_time 0 forward_delay 0 stp_state 0 mcast_snooping 0",
            "link set br0 up",
        ]
        if capture:
            lines += [
                "link add mon type veth peer name tomon",
                "link set tomon master br0 up",
                "link set mon up promisc on",
            ]
        s.ip(*lines)
        if capture:
            s.offload("tomon", **NO_OFFLOADS)
            s.offload("mon", gro=0)
            path = self.directory / "bridge.pcap"
            self.capture = Capture(s, "mon", path, self.capture_limit)

    def address(self, n):
        """The n-th address of the subnet as a string."""
        return str(self.subnet[n])

    def add_host(self, name, number, offload=True):
        """A new host with address `number` of the subnet. offload=False: 1,500-byte frames with
        complete checksums, as from a plain network card."""
        host = Host(self, name, self.subnet[number], offload)
        self.hosts.append(host)
        return host

    def _next_guest(self):
        n = len(self.taps) + 1
        return n, _mac(0x20, n)

    def tap(self, nic=None, mac=None, queues=1):
        """A bridge port for a guest, with offloads. nic: more properties of its device."""
        n, default_mac = self._next_guest()
        fds = self.switch.tap(f"g{n}", True, queues)
        self.switch.ip(f"link set g{n} master br0 up")
        port = FdNet(fds[0], "tap", mac or default_mac, nic, fds[1:])
        self.taps.append(port)
        return port

    def link(self, impairment=None, mac=None, nic=None, pcap_limit=None):
        """A bridge port behind a user-space link that impairs: see barewire.impair.Impairment.

        The port's `.link` has counters and `inject`; its capture `link<n>.pcap` shows the frames
        as the guest sent them, before the damage, and as the guest gets them, after it."""
        n, default_mac = self._next_guest()
        (tap,) = self.switch.tap(f"g{n}", vnet_hdr=False)
        self.switch.ip(f"link set g{n} master br0 up")
        limit = self.capture_limit if pcap_limit is None else pcap_limit
        made = Link(self.switch, tap, impairment, self.directory / f"link{n}.pcap", limit)
        os.close(tap)
        port = FdNet(made.guest_fd, "dgram", mac or default_mac, nic)
        port.link = made
        self.links.append(made)
        self.taps.append(port)
        return port

    def captures(self):
        """Stop capturing. A list of (path, MAC addresses of guests whose frames in that file
        must be faultless)."""
        found = []
        if self.capture:
            self.capture.stop()
            clean = [p.mac for p in self.taps if p.kind == "tap"]
            found.append((self.capture.path, clean))
        for port in self.taps:
            if port.kind == "dgram":
                port.link.stop()
                found.append((port.link.pcap, [port.mac]))
        return found

    def close(self):
        """Stop servers, links and captures, and let the namespaces go."""
        for service in reversed(self.services):
            service.stop()
        for link in self.links:
            link.stop()
        if self.capture:
            self.capture.stop()
        for port in self.taps:
            if port.fd >= 0:
                for fd in port.pass_fds:
                    os.close(fd)
                port.fd = -1
        self.namespaces.close()
        if self._scratch:
            self._scratch.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
