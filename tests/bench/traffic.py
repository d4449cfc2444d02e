"""Rows of UDP, and of TCP both ways at once.

What comes out is counted where it arrives: what the sender thinks it sent is no figure.
"""

import json
import socket
import threading
import time

from barewire.paths import BarewireError
from tests.bench.peers import ECHO_PORT, ECHO_UDP_PORT, IPERF_PORT, retry_connect

UDP_PORT, BOTH_PORT = 5020, 5021
PACKETS = 100_000
BULK = 128 << 20
OUTSTANDING = 32


def _iperf(client, peer, *options):
    retry_connect(client, peer.address, IPERF_PORT).close()
    for _ in range(3):
        done = client.run("iperf3", "-c", peer.address, "-t", "3", "-J", *options, check=False)
        report = json.loads(done.stdout)
        if "error" not in report:
            return report["end"]
        time.sleep(0.5)
    raise BarewireError(f"iperf3: {report['error']}")


def _iperf_udp(client, peer, *options):
    end = _iperf(client, peer, "-u", "-l", "64", "-b", "0", *options)["sum"]
    return (end["packets"] - end["lost_packets"]) / end["seconds"]


def _bound(client, seconds=10):
    s = client.socket(kind=socket.SOCK_DGRAM)
    s.bind((client.ip, UDP_PORT))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.settimeout(seconds)
    return s


class _Asked:
    """A call in the guest that runs while we do our part; `answer()` waits for its value."""

    def __init__(self, client, peer, call):
        self._text = None
        self._thread = threading.Thread(target=self._ask, args=(client, peer, call), daemon=True)
        self._thread.start()

    def _ask(self, *args):
        client, peer, call = args
        try:
            self._text = peer.ask(client, call)
        except (RuntimeError, OSError) as e:
            self._text = e

    def answer(self):
        self._thread.join(90)
        if not isinstance(self._text, str):
            raise BarewireError(f"the guest: {self._text}")
        return eval(self._text, {})  # numbers and tuples of numbers, from our own guest


def udp_out(client, peer):
    """Datagrams of 64 bytes a second that arrive from the guest (iperf3 in Linux)."""
    if peer.name == "linux":
        return _iperf_udp(client, peer, "-R")
    with _bound(client) as s:
        asked = _Asked(client, peer, f"traffic_bench.out({client.ip!r}, {UDP_PORT}, {PACKETS})")
        buf = bytearray(2048)
        s.recv_into(buf)
        n, began = 1, time.monotonic()
        last = began
        s.settimeout(0.5)
        try:
            while n < PACKETS:
                s.recv_into(buf)
                n += 1
                last = time.monotonic()
        except TimeoutError:
            pass
        asked.answer()
        return n / (last - began)


def udp_in(client, peer):
    """Datagrams of 64 bytes a second that a program in the guest reads of a flood."""
    if peer.name == "linux":
        return _iperf_udp(client, peer)
    asked = _Asked(client, peer, f"traffic_bench.count({UDP_PORT})")
    data = bytes(64)
    with client.socket(kind=socket.SOCK_DGRAM) as s:
        _await_port(s, peer, UDP_PORT)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for _ in range(256):
                try:
                    s.send(data)
                except (ConnectionRefusedError, BlockingIOError):
                    pass
    n, took = asked.answer()
    return n / took * 1e6


def _await_port(s, peer, port):
    """Connect `s` and knock until nobody says that the port is closed."""
    s.connect((peer.address, port))
    s.settimeout(0.2)
    for _ in range(100):
        try:
            s.send(b"?")
            s.recv(1)
            return
        except TimeoutError:
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise BarewireError("the guest does not listen")


def udp_echoes(client, peer, count=20_000):
    """Datagrams of 64 bytes a second that come back, 32 of them under way (CPython in Linux)."""
    port = UDP_PORT
    asked = None
    if peer.name == "linux":
        port = ECHO_UDP_PORT
    else:
        asked = _Asked(client, peer, f"traffic_bench.echo({UDP_PORT})")
    data = bytes(64)
    back = lost = 0
    with client.socket(kind=socket.SOCK_DGRAM) as s:
        _await_port(s, peer, port)
        s.settimeout(0.5)
        began = time.monotonic()
        for _ in range(OUTSTANDING):
            s.send(data)
        while back < count:
            try:
                s.recv(100)
                back += 1
            except TimeoutError:
                lost += OUTSTANDING
                if lost > count:
                    raise BarewireError("no datagram comes back") from None
                for _ in range(OUTSTANDING - 1):
                    s.send(data)
            s.send(data)
        took = time.monotonic() - began
    if asked:
        asked.answer()
    return back / took


def tcp_both(client, peer):
    """MB/s, the sum of both directions at once: one connection here, iperf3 --bidir in Linux."""
    if peer.name == "linux":
        end = _iperf(client, peer, "--bidir")
        ways = end["sum_received"], end["sum_received_bidir_reverse"]
        return sum(w["bits_per_second"] for w in ways) / 8e6
    asked = _Asked(client, peer, f"traffic_bench.both({BOTH_PORT}, {BULK})")
    with retry_connect(client, peer.address, BOTH_PORT) as s:
        s.settimeout(60)
        block = bytes(1 << 20)

        def send():
            for _ in range(BULK >> 20):
                s.sendall(block)

        began = time.monotonic()
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        buf = bytearray(1 << 20)
        left = BULK
        while left:
            n = s.recv_into(buf)
            if not n:
                raise BarewireError(f"the stream ended {left} bytes early")
            left -= n
        sender.join(60)
        asked.answer()
        return 2 * BULK / (time.monotonic() - began) / 1e6


def collector_pause(client, peer):
    """The longest pause of the collector in ms, 1,000 connections held and 16 MB allocated. None
    for Linux: CPython counts references."""
    if peer.name == "linux":
        return None
    retry_connect(client, peer.address, ECHO_PORT).close()
    held = [client.connect((peer.address, ECHO_PORT), 60) for _ in range(1000)]
    try:
        for s in held:
            s.sendall(b"x")
        for s in held:
            s.recv(1)
        calls = "traffic_bench.pause()", "traffic_bench.churn()"
        return max(float(peer.ask(client, call)) for call in calls) / 1000
    finally:
        for s in held:
            s.close()


ROWS = (
    ("tcp both ways", "MB/s", "more", tcp_both),
    ("udp out, 64 B", "/s", "more", udp_out),
    ("udp in, 64 B", "/s", "more", udp_in),
    ("udp echoes, 64 B, 32 under way", "/s", "more", udp_echoes),
    ("collector pause, 1,000 connections", "ms", "less", collector_pause),
)
