"""The stage of a booted guest: frames on its wire, calls through its console, real time.

    guest == tap == bridge == veth == AF_PACKET socket here

A `Bench` is one guest on one wire; it answers ARP for all peers and hands each frame to the
case whose port it names. A `Live` is a case on it. Cases run beside each other in threads.
"""

import errno
import itertools
import queue
import socket
import struct
import threading
import time
from pathlib import Path

from tests.tcp import segment as wire

GUEST = 0x0A4D0002  # 10.77.0.2/16
PREFIX = 16
_ADDRESSES = {
    "us": GUEST, "broadcast": 0x0A4DFFFF, "multicast": 0xE0000001, "any": 0,
    "loopback": 0x7F000001,
}  # fmt: skip
_PEERS = 64  # addresses that cases share, fewer than the guest's neighbours' table holds
_HOPE_S = 20  # for what should come at once, on a machine that may be busy
_POLL_S = 0.01
_ETH_P_ALL = 3


def text(address):
    return socket.inet_ntoa(struct.pack("!I", address))


def mac_of(address):
    return b"\x02\x77" + struct.pack("!I", address)


def ip_packet(src, dst, proto, payload, tos=0, options=b""):
    n = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBHII", 0x40 | n >> 2, tos, n + len(payload), 0, 0, 64, proto, 0, src, dst
    )
    c = wire.sum16(head + options)
    return head[:10] + struct.pack("!H", c) + head[12:] + options + payload


class Bench:
    """raw: an AF_PACKET socket bound to the wire. guest: a booted Guest with address GUEST."""

    def __init__(self, guest, raw, mac):
        self.guest, self.raw = guest, raw
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.cases = {}  # the peer's port -> queue of Packets
        self.echoes = {}  # identifier -> Event
        self._numbers = itertools.count(1)
        self._console = threading.Lock()
        self._send_lock = threading.Lock()
        self.wrong = []  # frames that could not be read
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.running = guest.run_async(Path(__file__).with_name("agent.py").read_text(), 30)
        self.running.expect("agent ready", 60)

    def close(self):
        self.running.write(b"0 stop\n")
        self.running.wait(10)
        self._stop.set()
        self._thread.join()

    # -- the wire

    def _read(self):
        self.raw.settimeout(0.2)
        while not self._stop.is_set():
            try:
                frame = self.raw.recv(65536)
            except TimeoutError:
                continue
            if frame[6:12] != self.mac:
                continue
            at = int(time.monotonic() * 1e6)
            try:
                self._on_frame(frame, at)
            except (ValueError, struct.error) as e:
                self.wrong.append(f"{e}: {frame.hex()}")

    def _on_frame(self, f, at):
        kind = f[12] << 8 | f[13]
        if kind == 0x0806 and f[21] == 1:
            target = struct.unpack("!I", f[38:42])[0]
            if target >> 32 - PREFIX == GUEST >> 32 - PREFIX and target != GUEST:
                reply = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac_of(target)
                reply += f[38:42] + self.mac + struct.pack("!I", GUEST)
                self.put(self.mac + mac_of(target) + b"\x08\x06" + reply)
        elif kind == 0x0800:
            n = (f[14] & 15) << 2
            total = f[16] << 8 | f[17]
            src, dst = struct.unpack("!II", f[26:34])
            body = f[14 + n : 14 + total]
            if f[23] == 6:
                p = wire.parse(body, src, dst)
                p.at, p.tos, p.ttl = at, f[15], f[22]
                box = self.cases.get(p.dst_port)
                if box is not None:
                    box.put(p)
            elif f[23] == 1 and body[0] == 0:
                event = self.echoes.get(body[4] << 8 | body[5])
                if event is not None:
                    event.set()

    def put(self, frame):
        with self._send_lock:
            self.raw.send(frame + bytes(max(0, 60 - len(frame))))

    def put_ip(self, src, dst, packet):
        to = self.mac
        if dst == _ADDRESSES["broadcast"]:
            to = b"\xff" * 6
        elif dst >> 28 == 14:
            to = b"\x01\x00\x5e" + struct.pack("!I", dst & 0x7FFFFF)[1:]
        self.put(to + mac_of(src) + b"\x08\x00" + packet)

    def ping(self, src):
        """Returns once the guest has answered an echo, so has read all that was sent before."""
        number = next(self._numbers) & 0xFFFF
        event = self.echoes[number] = threading.Event()
        body = struct.pack("!BBHHH", 8, 0, 0, number, 1)
        body = body[:2] + struct.pack("!H", wire.sum16(body)) + body[4:]
        try:
            for _ in range(4):
                self.put_ip(src, GUEST, ip_packet(src, GUEST, 1, body))
                if event.wait(_HOPE_S / 4):
                    return
        finally:
            del self.echoes[number]
        raise AssertionError("the guest does not answer a ping")

    # -- the console

    def call(self, expression):
        """The value of an expression of the agent's. OSError."""
        number = next(self._numbers)
        with self._console:
            self.running.write(f"{number} {expression}\n".encode())
            m = self.running.expect(rf"(?m)^{number} ([=!?])(.*?)\r?\n", 60)
        kind, said = m[1], m[2].decode()
        if kind == b"=":
            return eval(said, {"__builtins__": {}}, {})
        if kind == b"!":
            raise OSError(int(said), "")
        raise AssertionError(f"{expression}: {said}")


class Live:
    """See play.py."""

    exact = False
    default_mss = 536

    def __init__(self, bench, index):
        self.bench, self.k = bench, index
        self.port, self.peer_port = 1000 + index, 20000 + index
        self.peer = (GUEST & 0xFFFF0000) + 0x100 + index % _PEERS
        self.other = self.peer + 0x100
        self.box = bench.cases[self.peer_port] = queue.Queue()
        self.held = []
        self.iss = 5000
        self.local_port = self.port
        self.began = self.now()

    def now(self):
        return int(time.monotonic() * 1e6)

    def wait(self, until):
        left = (until - self.now()) / 1e6
        if left > 0:
            time.sleep(left)

    def settle(self):
        # An echo is answered while it is read, TCP answers when all was read: so twice.
        self.bench.ping(self.peer)
        self.bench.ping(self.peer)

    def inject(self, seq, ack, flags, win, urg, options, data, corrupt, src, dst, port, tos, off,
               ipopt):  # fmt: skip
        src, dst = self._address(src or "peer"), self._address(dst or "us")
        raw = wire.build(
            self.peer_port, port or self.local_port, seq, ack, flags, win, urg, options, data,
            src, dst, corrupt, off,
        )  # fmt: skip
        self.bench.put_ip(src, dst, ip_packet(src, dst, 6, raw, tos, ipopt))
        return raw

    def _address(self, name):
        if name in ("peer", "other"):
            return getattr(self, name)
        return _ADDRESSES[name]

    def emitted(self, clock, low, high, hope=True):
        """The next packet; with hope it is waited for, and not expected much too early."""
        if self.held:
            return self.held.pop()
        left = (clock + high - self.now()) / 1e6 + (_HOPE_S if hope else 0)
        try:
            p = self.box.get(timeout=left) if left > 0 else self.box.get_nowait()
        except queue.Empty:
            return None
        if not hope:
            if p.at > clock + high and high:
                self.held.append(p)
                return None
            return p
        early = low // 2 - 50_000
        if low and p.at - clock < early:
            raise AssertionError(f"only {(p.at - clock) / 1e6:.3f} s later came {p.flags}")
        self.local_port = p.src_port
        return p

    def put_back(self, p):
        self.held.append(p)

    # -- the program

    def errno_name(self, e):
        return errno.errorcode[e.args[0]]

    def _call(self, name, *args):
        return self.bench.call(f"{name}({', '.join(map(repr, (self.k, *args)))})")

    def connect(self, args):
        words = dict(zip(args[::2], args[1::2]))
        marks = [int(words[w]) if w in words else None for w in ("ttl", "tos")]
        to = text(self._address(words.get("to", "peer")))
        self._call("connect", to, self.peer_port, *marks)

    def listen(self, backlog, words):
        marks = [int(words[w]) if w in words else None for w in ("ttl", "tos")]
        self._call("listen", self.port, backlog, "fastopen" in words, *marks)

    def flood(self, n):
        """From addresses and ports of nobody's, a few at a time, as the guest takes them."""
        for i in range(n):
            src = self.other + 0x100
            raw = wire.build(60_000 - i, self.port, i, 0, "S", 65535, 0, b"", b"", src, GUEST)
            self.bench.put_ip(src, GUEST, ip_packet(src, GUEST, 6, raw))
            if i % 32 == 31:
                self.settle()
        self.settle()

    def _until(self, function, good, hope=_HOPE_S):
        """function() once good(it) holds, or as it is when hope has gone."""
        end = time.monotonic() + hope
        while True:
            got = function()
            if good(got) or time.monotonic() > end:
                return got
            time.sleep(_POLL_S)

    def accept(self, hope=True):
        if not hope:
            return self._call("accept")
        return self._until(lambda: self._call("accept"), bool)

    def send(self, at, n):
        return self._call("send", at, n)

    def recv(self, n):
        got = self._call("recv", n)
        return None if got is None else bytes.fromhex(got)

    def recv_all(self, n):
        got = b""

        def more():
            nonlocal got
            got += self.recv(n - len(got)) or b""
            return got

        return self._until(more, lambda g: len(g) >= n) if n else b""

    def shutdown(self):
        self._call("shutdown")

    def close(self):
        self._call("close")

    def abort(self):
        self._call("abort")

    def close_listener(self):
        self._call("close_listener")

    def set(self, name, values):
        self._call("set", name, values)

    def state(self, want):
        return self._until(lambda: self._call("state"), lambda s: s == want)

    def error(self, want):
        def name():
            e = self._call("error")
            return errno.errorcode[e] if e else ""

        return self._until(name, lambda e: e == want)

    def check(self, expression, iss, irs):
        if self._until(lambda: self._call("check", expression, iss, irs), bool, 4):
            return True, ""
        left = expression.partition("==")[0].strip()
        return False, self._call("value", left, iss, irs)

    def drops(self, reason):
        return self.bench.call(f"drops({reason!r})") > 0

    def icmp(self, kind, code, seq, mtu):
        quoted = wire.build(
            self.local_port, self.peer_port, seq, 0, "A", 0, 0, b"", b"", GUEST, self.peer
        )
        body = struct.pack("!BBHHH", kind, code, 0, 0, mtu)
        body += ip_packet(GUEST, self.peer, 6, quoted)
        body = body[:2] + struct.pack("!H", wire.sum16(body)) + body[4:]
        self.bench.put_ip(self.peer, GUEST, ip_packet(self.peer, GUEST, 1, body))

    def finish(self):
        """End what is left: the program's sockets."""
        self._call("finish")

    def leave(self):
        self.bench.cases.pop(self.peer_port, None)
