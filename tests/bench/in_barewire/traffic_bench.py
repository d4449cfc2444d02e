# UDP and a stream both ways in Barewire, called by tests/bench/{traffic,curves}.py.
import asyncio
import gc
import select
import socket

import hw

QUIET_MS = 300


def out(address, port, count, size=64):
    """Send `count` datagrams as fast as they go; microseconds it took."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, port))
    data = bytes(size)
    began = hw.ticks_us()
    send = s.send
    for _ in range(count):
        send(data)
    took = hw.ticks_us() - began
    s.close()
    return took


def count(port):
    """(datagrams, microseconds from the first to the last) until none comes for a while."""
    s = bound(port)
    s.settimeout(10)
    buf = bytearray(2048)
    take = s.recv_into
    take(buf)
    began = last = hw.ticks_us()
    s.settimeout(QUIET_MS / 1000)
    n = 1
    try:
        while True:
            take(buf)
            n += 1
            last = hw.ticks_us()
    except OSError:
        pass
    s.close()
    return n, last - began


def echo(port):
    """Send back what comes, until none comes for a while; how many."""
    s = bound(port)
    s.settimeout(10)
    n = 0
    try:
        while True:
            data, peer = s.recvfrom(2048)
            s.sendto(data, peer)
            n += 1
            s.settimeout(2)
    except OSError:
        pass
    s.close()
    return n


def bound(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    return s


def both(port, size):
    """One connection: `size` bytes out while `size` bytes come in; microseconds."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(1)
    c, _peer = listener.accept()
    listener.close()
    c.setblocking(False)
    block = bytearray(256 * 1024)
    into = bytearray(256 * 1024)
    poll = select.poll()
    poll.register(c, select.POLLIN | select.POLLOUT)
    unsent = unread = size
    began = hw.ticks_us()
    while unsent or unread:
        poll.modify(c, (select.POLLIN if unread else 0) | (select.POLLOUT if unsent else 0))
        for _s, events in poll.ipoll():
            if events & select.POLLIN:
                n = c.readinto(into)
                if n == 0:
                    raise OSError("the stream ended")
                unread -= n or 0
            if events & select.POLLOUT:
                n = c.write(block if unsent >= len(block) else memoryview(block)[:unsent])
                unsent -= n or 0
    took = hw.ticks_us() - began
    c.close()
    return took



def _pump(port):
    """Write to whichever connection takes it, for ever."""
    listener = socket.socket()
    listener.bind(("0.0.0.0", port))
    listener.listen(128)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    block = bytearray(256 * 1024)
    while True:
        for s, _events in poll.poll():
            if s is listener:
                c, _peer = s.accept()
                c.setblocking(False)
                poll.register(c, select.POLLOUT)
                continue
            try:
                s.write(block)
            except OSError:
                poll.unregister(s)
                s.close()


async def _soon(port):
    await asyncio.sleep_ms(50)  # the answer to who asked goes first
    _pump(port)


def streams(port):
    """Serve an endless stream to whoever connects, and nothing else from then on."""
    asyncio.create_task(_soon(port))
    return "started"


def pause():
    """The longest of nine collections now, in microseconds."""
    worst = 0
    for _ in range(9):
        began = hw.ticks_us()
        gc.collect()
        worst = max(worst, hw.ticks_us() - began)
    return worst


def churn(size=1500, total=16 << 20):
    """The longest time that one allocation took, in microseconds, of 16 MB of them."""
    worst = 0
    for _ in range(total // size):
        began = hw.ticks_us()
        bytearray(size)
        worst = max(worst, hw.ticks_us() - began)
    return worst
