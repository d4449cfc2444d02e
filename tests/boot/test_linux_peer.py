"""Linux as the peer, client and server, over a link that loses and marks: what each side puts on
the wire is read by tshark, and every mechanism must be seen in use.

    SACK (both directions, DSACK), timestamps, window scale, ECN, Fast Open
"""

import hashlib
import socket
import struct
import subprocess
import threading

import pytest

from barewire.impair import Impairment

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.slow, pytest.mark.timeout(280)]

SIZE = 3 << 19
GUEST = "10.77.0.2"

# What the guest runs: connect or accept, then take or give SIZE bytes; prints a digest.
PROGRAM = """
import socket, hashlib, binascii
block = bytes(range(256)) * 64
def take(s):
    h = hashlib.sha256()
    buf = bytearray(16384)
    mv = memoryview(buf)
    while True:
        n = s.recv_into(buf)
        if not n:
            break
        h.update(mv[:n])
    s.close()
    print(binascii.hexlify(h.digest()).decode())
def give(s, size):
    for i in range(size // len(block)):
        s.write(block)
    s.close()
    print("given")
def client(ip, port):
    s = socket.socket()
    s.connect((ip, port))
    return s
def ask_for_ecn():
    from stack.api import _runtime
    _runtime.current().host.tcp.ecn = 1
def listen(port):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("0.0.0.0", port))
    l.listen(4)
    print("listening")
    return l
"""
BLOCK = bytes(range(256)) * 64
DATA = BLOCK * (SIZE // len(BLOCK))
DIGEST = hashlib.sha256(DATA).hexdigest()


def fields(path, what, *names):
    """What tshark reads of the frames that match `what`: a list of tuples of str."""
    argv = ["tshark", "-n", "-r", str(path), "-Y", what, "-T", "fields", "-E", "separator=/t"]
    for name in names:
        argv += ["-e", name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


class World:
    """A guest behind an impaired link, and Linux behind a bridge."""

    def __init__(self, rig, impairment, append=None, **sysctls):
        self.lab = rig.lab(servers=False, offload=False)
        self.linux = self.lab.gateway
        self.linux.quick_retransmit(20)
        for key, value in sysctls.items():
            self.linux.space.sysctl(f"net/ipv4/{key}", value)
        self.port = self.lab.link(impairment)
        options = {"ip": f"{GUEST}/24", "gw": self.linux.ip, **(append or {})}
        self.guest = rig.guest(net=self.port, mem=128, append=options)
        self.guest.exec(PROGRAM)

    def capture(self):
        self.port.link.stop()
        return self.port.link.pcap

    def linux_serves(self, give):
        """The guest connects; give: Linux sends."""
        with self.linux.listen((self.linux.ip, 0), timeout=60) as l:
            served = Served(l, give)
            code = "take" if give else "give"
            extra = "" if give else f", {SIZE}"
            said = self.guest.exec(
                f"{code}(client({self.linux.ip!r}, {l.getsockname()[1]}){extra})", 120
            )
            served.check(said.split()[-1])

    def guest_serves(self, port, give):
        """Linux connects; give: the guest sends."""
        call = f"give(l.accept()[0], {SIZE})" if give else "take(l.accept()[0])"
        running = self.guest.run_async(f"l = listen({port})\n{call}\nl.close()")
        running.expect("listening", 30)
        s = self.linux.connect((GUEST, port), 60)
        if give:
            got = hashlib.sha256()
            with s:
                while piece := s.recv(1 << 16):
                    got.update(piece)
            running.wait(60)
            assert got.hexdigest() == DIGEST
        else:
            with s:
                s.sendall(DATA)
            said = running.wait(120)
            assert said.split()[-1] == DIGEST


class Served:
    """One connection of a Linux server, in a thread."""

    def __init__(self, listener, give):
        self._give, self._got = give, hashlib.sha256()
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        self._thread.start()

    def _run(self, listener):
        with listener.accept()[0] as s:
            s.settimeout(60)
            if self._give:
                s.sendall(DATA)
            else:
                while piece := s.recv(1 << 16):
                    self._got.update(piece)

    def check(self, said):
        self._thread.join(60)
        assert (said if self._give else self._got.hexdigest()) == DIGEST


def test_options_in_use(rig):
    """Window scale, timestamps and SACK, with losses in both directions."""
    w = World(rig, Impairment(seed=5, loss=0.01, duplicate=0.005))
    w.linux_serves(give=True)
    w.linux_serves(give=False)
    w.guest_serves(7001, give=True)
    w.guest_serves(7002, give=False)
    pcap = w.capture()
    ours, theirs = f"ip.src == {GUEST} && tcp", f"ip.src == {w.linux.ip} && tcp"

    # Each SYN and SYN-ACK of both sides offers all three.
    for side in (ours, theirs):
        for answer in (0, 1):
            syns = fields(
                pcap, f"{side} && tcp.flags.syn == 1 && tcp.flags.ack == {answer}",
                "tcp.options.mss_val", "tcp.options.wscale.shift", "tcp.options.sack_perm",
                "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr",
            )  # fmt: skip
            assert len(syns) >= 2, (side, answer)
            for mss, shift, sack, tsval, tsecr in syns:
                assert mss == "1460" and shift != "" and sack != "" and tsval != "", syns
                assert (tsecr != "0") == bool(answer), syns

    # Window scale: windows beyond what 16 bits can say, from both.
    for side in (ours, theirs):
        widest = max(int(x) for (x,) in fields(pcap, side, "tcp.window_size"))
        print(side, "widest window", widest)
        assert widest > 65535

    # Timestamps: on every segment but resets, and each side echoes the other's.
    for side in (ours, theirs):
        bare = fields(pcap, f"{side} && tcp.flags.reset == 0 && !tcp.options.timestamp.tsval",
                      "frame.number")  # fmt: skip
        assert not bare, bare[:5]
    sent = {v for (v,) in fields(pcap, ours, "tcp.options.timestamp.tsval")}
    echoed = {v for (v,) in fields(pcap, theirs, "tcp.options.timestamp.tsecr")} - {"0", ""}
    assert echoed <= sent and len(echoed) > 10
    sent = {v for (v,) in fields(pcap, theirs, "tcp.options.timestamp.tsval")}
    echoed = {v for (v,) in fields(pcap, ours, "tcp.options.timestamp.tsecr")} - {"0", ""}
    assert echoed <= sent and len(echoed) > 10

    # SACK blocks from both, and the sender fills the hole: what lies in a block that the
    # receiver has told is not sent again (seen as few retransmissions).
    for side in (ours, theirs):
        blocks = fields(pcap, f"{side} && tcp.options.sack_le", "tcp.options.sack_le",
                        "tcp.options.sack_re", "tcp.ack")  # fmt: skip
        print(side, len(blocks), "segments with SACK blocks")
        assert len(blocks) > 10
    counters = w.port.link.counters()
    print(counters)
    again = fields(pcap, f"{ours} && tcp.analysis.retransmission", "frame.number")
    lost = counters["from_guest"]["loss"]
    print(f"{len(again)} segments of ours sent again, {lost} of our frames lost")
    assert len(again) <= 2 * lost + 20

    # DSACK: a block at or below the ACK, from both, for what came twice.
    for side in (ours, theirs):
        dsacks = fields(pcap, f"{side} && tcp.options.sack.dsack", "frame.number")
        print(side, len(dsacks), "DSACKs")
        assert dsacks


def test_ecn_in_use(rig):
    """Both sides mark their data ECN-capable, echo a router's mark, and answer the echo."""
    w = World(rig, Impairment(seed=6, mark=0.03), tcp_ecn=1)
    w.guest.exec("ask_for_ecn()")
    w.linux_serves(give=True)
    w.linux_serves(give=False)
    w.guest_serves(7001, give=True)
    w.guest_serves(7002, give=False)
    pcap = w.capture()
    counters = w.port.link.counters()
    print(counters)
    assert counters["from_guest"]["mark"] > 10 and counters["to_guest"]["mark"] > 10
    for src in (GUEST, w.linux.ip):
        side = f"ip.src == {src} && tcp"
        asked = fields(pcap, f"{side} && tcp.flags.syn == 1 && tcp.flags.ack == 0",
                       "tcp.flags.ece", "tcp.flags.cwr")  # fmt: skip
        assert len(asked) == 2 and set(asked) == {("1", "1")}, asked
        granted = fields(pcap, f"{side} && tcp.flags.syn == 1 && tcp.flags.ack == 1",
                         "tcp.flags.ece", "tcp.flags.cwr")  # fmt: skip
        assert len(granted) == 2 and set(granted) == {("1", "0")}, granted
        count = {}
        for name, what in (
            ("capable", "ip.dsfield.ecn == 2 && tcp.len > 0"),
            ("control packets that claim to be", "ip.dsfield.ecn != 0 && tcp.len == 0"),
            ("echoes", "tcp.flags.ece == 1 && tcp.flags.syn == 0"),
            ("answers", "tcp.flags.cwr == 1 && tcp.flags.syn == 0"),
        ):
            count[name] = len(fields(pcap, f"{side} && {what}", "frame.number"))
        print(src, count)
        assert count["capable"] > 500 and count["echoes"] > 3 and count["answers"] > 1
        # Linux marks the ACK of its TIME-WAIT; we mark none.
        assert count["control packets that claim to be"] == 0 or src != GUEST


FAST_SERVER = """
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("0.0.0.0", 7003))
l.listen(4)
l.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
print("listening")
for i in range(3):
    s, _ = l.accept()
    s.write(s.recv(100).upper())
    s.close()
l.close()
"""
FAST_CLIENT = """
for i in range(3):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN_CONNECT, 1)
    s.connect(({ip!r}, {port}))
    s.write(b"hello %d" % i)
    print(s.recv(100))
    s.close()
"""
MSG_FASTOPEN = 0x20000000


def test_fast_open_in_use(rig):
    """A cookie the first time, then octets in the SYN, acknowledged by the SYN-ACK; both roles."""
    w = World(rig, Impairment(seed=7), tcp_fastopen=3)
    running = w.guest.run_async(FAST_SERVER)
    running.expect("listening", 30)
    for i in range(3):
        with w.linux.socket() as s:
            s.settimeout(None)  # a socket with a timeout does not block, and then has no SYN yet
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 60, 0))
            s.sendto(b"hello %d" % i, MSG_FASTOPEN, (GUEST, 7003))
            assert s.recv(100) == b"HELLO %d" % i
    running.wait(30)

    with w.linux.socket() as l:
        l.settimeout(60)
        l.bind((w.linux.ip, 0))
        l.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        l.listen(4)

        def serve():
            for _ in range(3):
                with l.accept()[0] as s:
                    s.sendall(s.recv(100).upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        said = w.guest.exec(FAST_CLIENT.format(ip=w.linux.ip, port=l.getsockname()[1]), 60)
        thread.join(30)
    assert said.split("\n")[:3] == [f"b'HELLO {i}'" for i in range(3)]
    pcap = w.capture()
    for client, server in ((w.linux.ip, GUEST), (GUEST, w.linux.ip)):
        syns = fields(
            pcap, f"ip.src == {client} && tcp.flags.syn == 1 && tcp.flags.ack == 0",
            "tcp.options.tfo.request", "tcp.options.tfo.cookie", "tcp.len", "tcp.seq_raw",
        )  # fmt: skip
        answers = fields(
            pcap, f"ip.src == {server} && tcp.flags.syn == 1 && tcp.flags.ack == 1",
            "tcp.options.tfo.cookie", "tcp.ack_raw",
        )  # fmt: skip
        print(client, syns, answers)
        assert len(syns) == 3 and syns[0][0] and not syns[0][1] and syns[0][2] == "0"
        cookie = answers[0][0]
        assert cookie
        for i in (1, 2):
            _, used, length, seq = syns[i]
            assert used == cookie and length == "7", syns
            assert int(answers[i][1]) == (int(seq) + 1 + 7) & 0xFFFFFFFF, answers
