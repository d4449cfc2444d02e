"""Traffic by the ten thousand, run in a host's namespace: Linux's own sockets, and raw floods.

    python traffic.py hold COUNT ADDRESS...    open COUNT connections, keep them; then commands
    python traffic.py churn COUNT BESIDE ADDRESS...   connect, a byte there and back, close
    python traffic.py flood COUNT MAC          SYNs of invented addresses on eth0

ADDRESSES are ours to send from. The guest's server is at 10.77.0.2 port 7: it answers a byte
with the same byte; "e" makes it close first. Stdlib only; results are lines of JSON.
"""

import json
import random
import resource
import select
import selectors
import socket
import struct
import sys
import time

SERVER = ("10.77.0.2", 7)
NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: choose the port when the destination is known
WINDOW = 64  # handshakes under way at a time
BEYOND = 500  # SYNs of a flood that wait for their answers


def tell(**what):
    print(json.dumps(what), flush=True)


def begin(source):
    """A connecting socket from address `source`."""
    s = socket.socket()
    s.setblocking(False)
    s.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
    s.bind((source, 0))
    s.connect_ex(SERVER)
    return s


def open_many(count, sources):
    """count connected sockets, WINDOW handshakes at a time. (sockets, failures)"""
    done, failed, begun = [], 0, 0
    poll = select.epoll()
    under_way = {}
    told = time.monotonic()
    while len(done) + failed < count:
        while begun < count and len(under_way) < WINDOW:
            s = begin(sources[begun % len(sources)])
            poll.register(s.fileno(), select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP)
            under_way[s.fileno()] = s
            begun += 1
        for fd, _ in poll.poll(60):
            s = under_way.pop(fd)
            poll.unregister(fd)
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                failed += 1
                s.close()
            else:
                done.append(s)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{len(done)} open, {failed} failed", file=sys.stderr, flush=True)
    poll.close()
    return done, failed


def hold(count, *sources):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
    began = time.monotonic()
    held, failed = open_many(count, sources)
    tell(open=len(held), failed=failed, seconds=time.monotonic() - began)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "echo":
            # Each of so many, spread over all, sends a byte and gets it back.
            n = int(words[1])
            good = 0
            step = max(1, len(held) // n)
            for i, s in enumerate(held[::step][:n]):
                byte = bytes((97 + i % 4,))
                s.settimeout(60)
                s.sendall(byte)
                good += s.recv(1) == byte
            tell(echoed=good)
        elif words[0] == "close":
            for s in held:
                s.close()
            tell(closed=len(held))
            held = []


class Turn:
    """One connection of churn: opened, asked, answered, closed."""

    def __init__(self, source, server_closes):
        self.byte = b"e" if server_closes else b"a"
        self.socket = begin(source)
        self.asked = self.answered = False


def churn(count, beside, *sources):
    selector = selectors.DefaultSelector()
    begun = done = failed = 0
    errors = {}
    began = time.monotonic()
    under_way = 0
    while done + failed < count:
        while begun < count and under_way < beside:
            turn = Turn(sources[begun % len(sources)], begun & 1)
            selector.register(turn.socket, selectors.EVENT_WRITE, turn)
            begun += 1
            under_way += 1
        for key, _ in selector.select(60):
            turn = key.data
            over = good = False
            try:
                if not turn.asked:
                    turn.socket.send(turn.byte)
                    turn.asked = True
                    selector.modify(turn.socket, selectors.EVENT_READ, turn)
                else:
                    data = turn.socket.recv(10)
                    if data == turn.byte and not turn.answered:
                        turn.answered = True
                        over = good = turn.byte == b"a"
                    else:
                        over = True
                        good = turn.answered and not data
            except OSError as e:
                over = True
                errors[e.errno] = errors.get(e.errno, 0) + 1
            if over:
                selector.unregister(turn.socket)
                turn.socket.close()
                under_way -= 1
                done += good
                failed += not good
    tell(done=done, failed=failed, errors=errors, seconds=time.monotonic() - began)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16) ^ 0xFFFF


def flood(count, mac):
    """SYNs as fast as they are answered, at most BEYOND more, from 172.16.0.0/12."""
    count = int(count)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    raw.bind(("eth0", 0x0800))
    ours = raw.getsockname()[4]
    raw.setblocking(False)
    to = bytes.fromhex(mac.replace(":", ""))
    rng = random.Random(1)
    dst = socket.inet_aton(SERVER[0])
    sent = answered = 0
    began = last = time.monotonic()
    while True:
        try:
            while True:
                f = raw.recv(2048)
                if f[:6] == ours and f[23] == 6 and f[26:30] == dst and f[47] == 0x12:
                    answered += 1
                    last = time.monotonic()
        except BlockingIOError:
            pass
        now = time.monotonic()
        if sent == count:
            if now - last > 1:
                break
            select.select([raw], [], [], 0.1)
            continue
        # What was lost on the way is not waited for longer than this.
        if sent - answered > BEYOND and now - last < 0.02:
            select.select([raw], [], [], 0.005)
            continue
        if sent - answered > BEYOND:
            answered = sent
            last = now
        for _ in range(min(32, count - sent)):
            src = struct.pack("!I", 0xAC100000 | rng.getrandbits(20))
            tcp = struct.pack(
                "!HHIIBBHHHBBH", rng.randrange(1024, 65536), SERVER[1], rng.getrandbits(32), 0,
                0x60, 2, 65535, 0, 0, 2, 4, 1460,
            )  # fmt: skip
            c = checksum(src + dst + b"\0\x06\0\x18" + tcp)
            tcp = tcp[:16] + struct.pack("!H", c) + tcp[18:]
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 44, 0, 0, 64, 6, 0) + src + dst
            ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
            try:
                raw.send(to + ours + b"\x08\x00" + ip + tcp + b"\0\0")
            except OSError:  # the queue is full
                break
            sent += 1
        if not sent % 3200:
            print(f"{sent} SYNs", file=sys.stderr, flush=True)
    tell(sent=sent, seconds=time.monotonic() - began)


if __name__ == "__main__":
    job, n, *rest = sys.argv[1:]
    if job == "churn":
        churn(int(n), int(rest[0]), *rest[1:])
    else:
        {"hold": hold, "flood": flood}[job](int(n), *rest)
