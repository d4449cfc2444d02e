"""What the guest runs for the scripts: a program's calls, asked for line by line on the console.

A line is "NUMBER EXPRESSION"; the answer "NUMBER =REPR" or "NUMBER !ERRNO". `k` is the case.
MicroPython; sent by live.py.
"""

import socket
import sys
from binascii import hexlify

from stack.api import _runtime
from stack.transport.tcp import block
from stack.transport.tcp.states import NAMES

socks = {}
listeners = {}
conns = {}  # the connections themselves, which outlive their sockets
others = {}
rt = _runtime.current()
pattern = bytearray(131072)
for _i in range(65536):
    pattern[_i] = (_i ^ _i >> 8) & 0xFF
pattern[65536:] = pattern[:65536]
view = memoryview(pattern)


def _new():
    s = socket.socket()
    s.setblocking(False)
    return s


def _keep(k, s):
    if k in socks:
        others.setdefault(k, []).append(socks[k])
    socks[k] = s
    conns[k] = s._ep


def _mark(s, ttl, tos):
    for option, n in ((socket.IP_TTL, ttl), (socket.IP_TOS, tos)):
        if n is not None:
            s.setsockopt(socket.IPPROTO_IP, option, n)


def connect(k, ip, port, ttl, tos):
    s = _new()
    _mark(s, ttl, tos)
    try:
        s.connect((ip, port))
    except OSError as e:
        if e.args[0] != 115:
            s.close()
            raise
    _keep(k, s)


def listen(k, port, backlog, fastopen, ttl, tos):
    s = _new()
    _mark(s, ttl, tos)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    s.listen(backlog)
    if fastopen:
        s._ep.fastopen = 5
    listeners[k] = s


def accept(k):
    try:
        s, _ = listeners[k].accept()
    except OSError as e:
        if e.args[0] != 11:
            raise
        return False
    s.setblocking(False)
    _keep(k, s)
    return True


def send(k, at, n):
    at &= 0xFFFF
    try:
        return socks[k].send(view[at : at + n])
    except OSError as e:
        if e.args[0] != 11:
            raise
        return 0


def recv(k, n):
    """Hex, or None when nothing is there."""
    try:
        return hexlify(socks[k].recv(n)).decode()
    except OSError as e:
        if e.args[0] != 11:
            raise


def shutdown(k):
    socks[k].shutdown(socket.SHUT_WR)


def close(k):
    socks[k].close()


def abort(k):
    s = socks[k]
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 0)
    s.close()


def close_listener(k):
    listeners[k].close()


def set(k, name, values):
    s = socks[k]
    if name == "nodelay":
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    elif name == "keepalive":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, v in zip((4, 5, 6), values):
            s.setsockopt(socket.IPPROTO_TCP, option, v // 1000000 or v)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    elif name in ("ttl", "tos"):
        _mark(s, values[0] if name == "ttl" else None, values[0] if name == "tos" else None)
    elif name == "user_timeout":
        conns[k].user_timeout_us = values[0]
    else:
        setattr(conns[k], name, values[0] if values else True)


def state(k):
    c = conns.get(k)
    if c is None:
        return "LISTEN" if k in listeners else "CLOSED"
    return NAMES[c.state]


def error(k):
    return conns[k].error


def check(k, text, iss, irs):
    names = _names(k, iss, irs)
    if k in listeners:
        names["listener"] = listeners[k]._ep
    return bool(eval(text, names))


def value(k, text, iss, irs):
    return repr(eval(text, _names(k, iss, irs)))


def _names(k, iss, irs):
    names = dict(block.__dict__)  # the words of c.w
    names.update({"c": conns.get(k), "tcp": rt.host.tcp, "iss": iss, "irs": irs})
    return names


def drops(reason):
    return rt.host.stats.dropped(reason)


def finish(k):
    for s in others.pop(k, []):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 0)
        s.close()
    s = socks.pop(k, None)
    if s is not None:
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 0)
        except OSError:
            pass
        s.close()
    s = listeners.pop(k, None)
    if s is not None:
        s.close()
    c = conns.pop(k, None)
    if c is not None:
        rt.lock()
        c.abort(rt.now())
        rt.unlock()


def left():
    """(flows, connections alive, half-open): what the cases left behind."""
    t = rt.host.tcp
    return t.flows.count, t.live, t.half_open, t.time_waits.count


def serve():
    names = globals()
    while True:
        line = sys.stdin.readline()
        number, _, text = line.strip().partition(" ")
        if text == "stop":
            return
        try:
            print(number, "=" + repr(eval(text, names)))
        except OSError as e:
            print(number, "!" + str(e.args[0]))
        except Exception as e:
            print(number, "?" + repr(e))


print("agent ready")
serve()
