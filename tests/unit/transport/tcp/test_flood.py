"""Floods: answered as long as it costs nothing that stays, and others get through."""

import gc

from stack.core import checksum
from stack.core.frame import Frame
from stack.transport.tcp import MAX_LISTENERS
from stack.transport.tcp.listener import MAX_HALF_OPEN, MAX_HALF_OPEN_HOST
from stack.wire import tcp as wire
from tests.unit.net.support import A, B, ip_packet, ready
from tests.unit.transport.tcp.harness import (
    OUR_PORT,
    L,
    R,
    drain,
    expect,
    listening,
    seg,
    send,
    state,
    syn_received,
)

N = 5000


def _syn(src, dst, port, flags=wire.SYN, seq=1, ack=0):
    """A frame with a bare segment from src."""
    b = bytearray(20)
    wire.build(b, 0, port << 16 | 80, seq, ack, wire.control(20, flags, 1000), 0)
    pseudo = bytearray(12)
    for i in range(4):
        pseudo[i] = src >> 24 - 8 * i & 0xFF
        pseudo[4 + i] = dst >> 24 - 8 * i & 0xFF
    pseudo[9] = 6
    pseudo[11] = 20
    c = checksum.checksum(b, 0, 20, checksum.add(pseudo, 0, 12, 0))
    b[16] = c >> 8
    b[17] = c & 0xFF
    return ip_packet(6, bytes(b), src=src, dst=dst)


def _used():
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


def _feed(iface, h, d, data):
    f = Frame(bytearray(200))
    f.buf[17 : 17 + len(data)] = data
    f.off = 17
    f.end = 17 + len(data)
    iface._sink(f)
    h.flush(0)


def test_spoofed_syns_cost_nothing_that_stays():
    """5,000 sources, through the host's own IP layer: no path, no frame, 256 small entries."""
    h, iface, d = ready(gateway=B)
    h.tcp.listen(0, 80, 8, 0)
    d.take()
    answers = 0
    paths = len(h.ip._paths)
    at = (0, 0)
    for i in range(N):
        # Sources behind the gateway, each of its own.
        _feed(iface, h, d, _syn(0x0B000000 + i * 7919, A, 1024 + i % 60000))
        assert h.tcp.half_open <= MAX_HALF_OPEN
        answers += len(d.take())
        if i == 2 * MAX_HALF_OPEN:
            at = _used(), h.tcp.flows.count
    used, flows = _used(), h.tcp.flows.count
    assert len(h.ip._paths) == paths, "a path was kept for a spoofed source"
    assert flows == at[1] == MAX_HALF_OPEN
    assert h.pool.free == len(h.pool.frames)
    assert answers == N
    assert h.stats.counts["tcp.syn_cookies"] == N - MAX_HALF_OPEN
    # What is in the heap at the end is what was there after the first 500.
    assert used - at[0] < 16384, (at, used)


def test_entries_are_used_again():
    s = listening()
    for i in range(MAX_HALF_OPEN):
        send(s, seg("S", seq=R + i, peer_port=1000 + i))
    before = [id(e) for e in s.tcp.connections()]
    for i in range(100):
        send(s, seg("S", seq=R + i, peer_port=3000 + i))
    assert sorted(before) == sorted([id(e) for e in s.tcp.connections()])
    drain(s)
    assert s.paths == 0


def test_spoofed_segments_ask_for_no_path():
    """Resets, SYN-ACKs and their repetitions, what a half-open or TIME-WAIT entry answers."""
    s = listening()
    send(s, seg("S", seq=R))
    expect(s, seg("SA", seq=L, ack=R + 1))
    for g, answer in (
        (seg("S", seq=R), seg("SA", seq=L, ack=R + 1)),
        (seg("S", seq=R + 9), seg("A", seq=L + 1, ack=R + 1)),
        (seg("A", seq=R + 1, ack=L + 7), seg("R", seq=L + 7)),
        (seg("A", seq=R + 99999, ack=L + 1), seg("A", seq=L + 1, ack=R + 1)),
        (seg("A", seq=R + 1, ack=77, peer_port=4), seg("R", seq=77)),
        (seg("S", seq=R + 1, port=4), seg("RA", seq=0, ack=R + 2)),
    ):
        send(s, g)
        expect(s, answer)
    expect(s, seg("SA", seq=L, ack=R + 1), within=5000000)
    assert s.paths == 0


def test_one_that_answers_gets_through():
    s = listening(syn_cookies=False)
    for i in range(2000):
        send(s, seg("S", seq=R, peer_port=10000 + i))
    drain(s)
    send(s, seg("S", seq=R, peer_port=9))
    expect(s, seg("SA", seq=L, ack=R + 1, peer_port=9))
    for i in range(MAX_HALF_OPEN - 1):
        send(s, seg("S", seq=R, peer_port=20000 + i))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1, peer_port=9))
    s.conn = s.listener.accept()
    assert s.conn is not None and state(s) == "ESTABLISHED"


def test_a_flood_elsewhere_does_not_shut_a_listener():
    """The host's limit is met by four others: the fifth still takes a connection."""
    s = listening(syn_cookies=False)
    others = MAX_HALF_OPEN_HOST // MAX_HALF_OPEN
    for k in range(others):
        s.tcp.listen(0, 1000 + k, 8, s.now)
        for i in range(MAX_HALF_OPEN):
            send(s, seg("S", seq=R, port=1000 + k, peer_port=10000 + i), flush=False)
    drain(s)
    assert s.tcp.half_open == MAX_HALF_OPEN_HOST
    send(s, seg("S", seq=R))
    expect(s, seg("SA", seq=L, ack=R + 1, port=OUR_PORT))
    assert s.tcp.half_open == MAX_HALF_OPEN_HOST
    send(s, seg("A", seq=R + 1, ack=L + 1))
    assert s.listener.accept() is not None


def test_listeners_are_bounded():
    s = syn_received()
    ls = [s.tcp.listen(0, 1000 + i, 1, s.now) for i in range(MAX_LISTENERS)]
    try:
        s.tcp.listen(0, 5, 1, s.now)
        raise AssertionError("one too many")
    except OSError as e:
        assert e.args[0] == 105
    ls[7].close(s.now)
    ls[7].close(s.now)
    s.tcp.listen(0, 5, 1, s.now)
