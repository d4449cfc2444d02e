"""socket over a host's own loopback: streams, datagrams, waiting, errors, options."""

from stack.api import socket as m
from stack.api.socket import SOL_SOCKET, socket
from stack.core import errors
from tests.unit.api.world import Guard, World

LOCAL = "127.0.0.1"


def pair():
    """Two connected sockets."""
    listener = socket()
    listener.bind((LOCAL, 0))
    listener.listen(4)
    a = socket()
    a.connect(listener.getsockname())
    b, peer = listener.accept()
    assert peer == a.getsockname() and b.getpeername() == peer
    listener.close()
    return a, b


def errno_of(f, *args):
    """The errno that a call raises, or None."""
    try:
        f(*args)
    except OSError as e:
        return e.args[0]
    return None


def test_a_stream_both_ways():
    with World():
        a, b = pair()
        assert a.send(b"hello") == 5
        assert b.recv(2) == b"he" and b.recv(100) == b"llo"
        assert b.write("text") == 4
        buf = bytearray(10)
        assert a.recv_into(buf, 3) == 3 and buf[:3] == b"tex"
        assert a.recv_into(buf) == 1
        a.sendall(bytearray(b"x" * 10))
        assert b.readinto(buf) == 10 and buf == b"x" * 10
        a.close()
        assert b.recv(10) == b"" and b.read() == b"" and b.readline() == b""
        b.close()


def test_writing_a_part_as_a_stream():
    # write(buf, n) is the first n bytes and write(buf, off, n) those from off, as of C's streams.
    with World():
        a, b = pair()
        assert a.write(b"abcdef", 2) == 2 and a.write(b"abcdef", 3, 2) == 2
        assert a.write(bytearray(b"xy"), 9) == 2 and a.write(b"abcdef", 5, 9) == 1
        a.close()
        assert b.read() == b"abdexyf"
        b.close()


def test_reading_as_a_stream():
    with World():
        a, b = pair()
        a.write(b"one\ntwo\n" + b"3" * 1000 + b"\nrest")
        a.shutdown(m.SHUT_WR)
        assert b.readline() == b"one\n"
        assert b.readline(2) == b"tw" and b.readline() == b"o\n"
        assert b.readline() == b"3" * 1000 + b"\n"
        assert b.read(2) == b"re" and b.read(100) == b"st" and b.read(5) == b""
        b.write(b"back")  # our half is still open
        assert a.read(4) == b"back"
        b.close()
        a.close()


def test_lines_and_files():
    with World():
        a, b = pair()
        a.write(b"1\n2\n3")
        a.close()
        assert list(b.makefile("rb")) == [b"1\n", b"2\n", b"3"]
        with b:
            pass
        assert errno_of(b.recv, 1) == errors.EBADF


def test_more_than_the_rings_hold():
    with World() as w:
        a, b = pair()
        data = bytes(range(251)) * 1200
        a.setblocking(False)
        b.setblocking(False)
        sent = got = 0
        out = bytearray(len(data))
        while got < len(data):
            if sent < len(data):
                sent += a.write(memoryview(data)[sent:]) or 0
            n = b.readinto(memoryview(out)[got:])
            got += n or 0
            if not n:
                w.settle(1000)
        assert out == data


def test_non_blocking():
    with World() as w:
        a, b = pair()
        b.setblocking(False)
        assert b.gettimeout() == 0
        assert errno_of(b.recv, 1) == errors.EAGAIN
        assert errno_of(b.recv_into, bytearray(1)) == errors.EAGAIN
        assert b.read(1) is None and b.read() is None
        assert b.readline() is None and b.readinto(bytearray(1)) is None
        a.write(b"ab")
        assert b.readline() == b"ab"  # what there is
        a.write(b"cd")
        w.settle(200000)  # Nagle and the delayed acknowledgment
        assert b.read(10) == b"cd"
        listener = socket()
        listener.bind((LOCAL, 0))
        listener.listen()
        listener.setblocking(False)
        assert errno_of(listener.accept) == errors.EAGAIN
        b.setblocking(True)
        assert b.gettimeout() is None


def test_timeouts():
    with World() as w:
        a, b = pair()
        b.settimeout(0.5)
        t = w.hw.t
        assert errno_of(b.recv, 1) == errors.ETIMEDOUT
        assert 500000 <= w.hw.t - t < 600000
        assert errno_of(b.readline) == errors.ETIMEDOUT
        assert errno_of(b.readinto, bytearray(1)) == errors.ETIMEDOUT
        a.write(b"x")
        assert b.recv(1) == b"x"
        try:
            b.settimeout(-1)
            raise AssertionError
        except ValueError:
            pass


def test_refused():
    with World():
        s = socket()
        assert errno_of(s.connect, (LOCAL, 9)) == errors.ECONNREFUSED
        s = socket()
        s.setblocking(False)
        # To ourselves the answer is there at once, as on Linux.
        assert errno_of(s.connect, (LOCAL, 9)) in (errors.EINPROGRESS, errors.ECONNREFUSED)
        assert s.getsockopt(SOL_SOCKET, m.SO_ERROR) == errors.ECONNREFUSED
        assert errno_of(s.send, b"x") == errors.ECONNREFUSED
        assert s.connect_ex((LOCAL, 9)) == errors.ECONNREFUSED
        assert errno_of(socket().connect, ("10.9.9.9", 80)) == errors.ENETUNREACH


def test_calls_in_the_wrong_state():
    with World():
        s = socket()
        for f, args in ((s.recv, (1,)), (s.send, (b"x",)), (s.getpeername, ()), (s.shutdown, (1,))):
            assert errno_of(f, *args) == errors.ENOTCONN
        assert errno_of(s.accept) == errors.EINVAL
        assert s.getsockname() == ("0.0.0.0", 0)
        s.bind((LOCAL, 5000))
        assert s.getsockname() == (LOCAL, 5000)
        assert errno_of(s.bind, (LOCAL, 5001)) == errors.EINVAL
        s.listen()
        assert errno_of(s.connect, (LOCAL, 1)) == errors.EISCONN
        other = socket()
        other.bind(("", 5000))
        assert errno_of(other.listen) == errors.EADDRINUSE
        a, b = pair()
        assert errno_of(a.connect, (LOCAL, 1)) == errors.EISCONN
        assert errno_of(a.listen) == errors.EINVAL
        s.close()
        s.close()
        for f, args in (
            (s.recv, (1,)),
            (s.send, (b"x",)),
            (s.bind, ((LOCAL, 1),)),
            (s.listen, ()),
            (s.accept, ()),
            (s.connect, ((LOCAL, 1),)),
            (s.setsockopt, (SOL_SOCKET, m.SO_KEEPALIVE, 1)),
        ):
            assert errno_of(f, *args) == errors.EBADF
        assert errno_of(socket, 1) == errors.EAFNOSUPPORT
        assert errno_of(socket, 2, 3) == errors.EPROTONOSUPPORT


def test_half_closed_and_reset():
    with World() as w:
        a, b = pair()
        a.shutdown(m.SHUT_WR)
        assert errno_of(a.send, b"x") == errors.EPIPE
        a.shutdown(m.SHUT_RD)
        b.write(b"unheard")
        assert a.recv(10) == b""
        a, b = pair()
        a.setsockopt(SOL_SOCKET, m.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        a.close()
        w.settle()
        assert errno_of(b.recv, 1) == errors.ECONNRESET
        assert errno_of(b.send, b"x") in (errors.ECONNRESET, errors.EPIPE)


def test_datagrams():
    with World():
        a = socket(m.AF_INET, m.SOCK_DGRAM)
        a.bind((LOCAL, 0))
        b = socket(m.AF_INET, m.SOCK_DGRAM)
        assert b.sendto(b"hello", a.getsockname()) == 5
        data, peer = a.recvfrom(3)
        assert data == b"hel" and peer[1] == b.getsockname()[1]
        assert a.sendto(b"", 0, peer) == 0
        assert b.recvfrom(10)[0] == b""
        b.connect(a.getsockname())
        assert b.send(b"one") == 3 and b.write(b"two") == 3
        buf = bytearray(10)
        n, where = a.recvfrom_into(buf)
        assert buf[:n] == b"one" and where == b.getsockname()
        assert a.read(10) == b"two"  # a datagram is never joined with the next
        a.setblocking(False)
        assert errno_of(a.recv, 1) == errors.EAGAIN and a.read(1) is None
        assert errno_of(socket(2, 2).send, b"x") == errors.EDESTADDRREQ
        again = socket(2, 2)
        assert errno_of(again.bind, a.getsockname()) == errors.EADDRINUSE
        assert errno_of(b.sendto, b"x", ("255.255.255.255", 9)) in (
            errors.EACCES,
            errors.ENETUNREACH,
        )
        a.close()
        assert errno_of(a.recv, 1) == errors.EBADF


def test_a_refused_datagram():
    with World() as w:
        s = socket(m.AF_INET, m.SOCK_DGRAM)
        s.connect((LOCAL, 9))
        s.send(b"x")
        w.settle()
        assert errno_of(s.recv, 1) == errors.ECONNREFUSED


def test_options():
    with World():
        s = socket()
        s.setsockopt(m.IPPROTO_TCP, m.TCP_NODELAY, 1)
        s.setsockopt(SOL_SOCKET, m.SO_KEEPALIVE, b"\1\0\0\0")
        s.setsockopt(SOL_SOCKET, m.SO_RCVBUF, 4096)
        s.setsockopt(m.IPPROTO_IP, m.IP_TTL, 9)
        assert s.getsockopt(m.IPPROTO_TCP, m.TCP_NODELAY) == 1
        assert s.getsockopt(SOL_SOCKET, m.SO_TYPE) == m.SOCK_STREAM
        assert s.getsockopt(SOL_SOCKET, m.SO_ERROR) == 0
        a, b = pair()
        a.setsockopt(m.IPPROTO_TCP, m.TCP_NODELAY, 1)
        a.setsockopt(SOL_SOCKET, m.SO_KEEPALIVE, 1)
        a.setsockopt(m.IPPROTO_TCP, m.TCP_KEEPIDLE, 5)
        assert a._ep.nodelay and a._ep.keepalive and a._ep.keepidle_us == 5000000
        assert a.getsockopt(m.IPPROTO_TCP, m.TCP_KEEPIDLE) == 5
        for level, name in ((SOL_SOCKET, 99), (m.IPPROTO_TCP, 99), (99, 1)):
            assert errno_of(a.setsockopt, level, name, 1) == 92
            assert errno_of(a.getsockopt, level, name) == 92
        u = socket(2, 2)
        u.setsockopt(SOL_SOCKET, m.SO_BROADCAST, 1)
        u.bind(("", 0))
        assert u._ep.broadcast
        group = b"\xe0\0\0\xfb\0\0\0\0"
        # There is no card here to listen with.
        assert errno_of(u.setsockopt, 0, m.IP_ADD_MEMBERSHIP, group) == errors.ENODEV
        assert errno_of(u.setsockopt, 0, m.IP_ADD_MEMBERSHIP, bytes(8)) == errors.EINVAL


def test_addresses():
    with World():
        s = socket()
        for bad, error in (
            ("x", TypeError),
            ((LOCAL,), TypeError),
            ((LOCAL, "80"), TypeError),
            ((LOCAL, 65536), ValueError),
            ((LOCAL, -1), ValueError),
        ):
            try:
                s.connect(bad)
                raise AssertionError(bad)
            except error:
                pass
        info = m.getaddrinfo(LOCAL, 80, 0, m.SOCK_STREAM)
        assert info == [(2, 1, 6, "", (LOCAL, 80))]
        assert len(m.getaddrinfo(LOCAL, "80")) == 2
        assert m.getaddrinfo("", 80)[0][-1] == ("0.0.0.0", 80)
        for args, code in (
            (("localhost", 80, 1), -6),
            (("localhost", 80, 0, 9), -7),
            (("localhost", "http"), -8),
            (("localhost", 70000), -8),
            (("bad..name", 80), -2),
        ):
            assert errno_of(m.getaddrinfo, *args) == code
        assert m.inet_pton(2, "1.2.3.4") == b"\1\2\3\4"
        assert m.inet_ntop(2, b"\1\2\3\4") == "1.2.3.4"
        assert m.gethostbyname("localhost") == LOCAL


def test_dropped_sockets_are_closed():
    with World() as w:
        a, b = pair()
        guard = a._guard
        assert isinstance(guard, Guard)
        a._guard = None  # as when `a` is collected
        w.collect(guard)
        assert w.rt.guards.scan(w.hw.t) == 1
        w.rt.kick(w.hw.t)
        assert b.recv(1) == b""
        # Its slot is lent again; a socket that was closed gives its guard back at once.
        used = w.rt.guards._used
        for _ in range(5):
            c, d = pair()
            c.close()
            d.close()
        assert w.rt.guards.scan(w.hw.t) == 0 and w.rt.guards._used <= used + 1
        a._closed = b._closed = True


def test_c_streams_see_a_socket():
    """What MicroPython's C code calls: readinto, write and ioctl."""
    with World():
        a, b = pair()
        assert b.ioctl(3, 1) == 0
        a.write(b"x")
        assert b.ioctl(3, 1) == 1 and b.ioctl(3, 5) == 5
        assert b.ioctl(99, 0) == -errors.EINVAL
        assert b.ioctl(4, 0) == 0
        assert errno_of(b.recv, 1) == errors.EBADF


def test_tcp_options():
    """Set before connect, after it, on a listener for what it accepts; read back; refused."""
    with World():
        listener = socket()
        listener.setsockopt(m.IPPROTO_TCP, m.TCP_KEEPIDLE, 33)
        listener.setsockopt(m.IPPROTO_TCP, m.TCP_FASTOPEN, 5)
        listener.bind((LOCAL, 0))
        listener.listen(4)
        assert listener._ep.fastopen == 5
        a = socket()
        for name, value in (
            (m.TCP_NODELAY, 1), (m.TCP_KEEPIDLE, 11), (m.TCP_KEEPINTVL, 12), (m.TCP_KEEPCNT, 3),
            (m.TCP_USER_TIMEOUT, 5000),
        ):
            a.setsockopt(m.IPPROTO_TCP, name, value)
            assert a.getsockopt(m.IPPROTO_TCP, name) == value
        a.setsockopt(m.IPPROTO_TCP, m.TCP_CONGESTION, b"newreno")
        a.setsockopt(m.IPPROTO_TCP, m.TCP_MAXSEG, (1000).to_bytes(4, "little"))
        a.connect(listener.getsockname())
        b, _ = listener.accept()
        e = a._ep
        assert e.nodelay and (e.keepidle_us, e.keepintvl_us, e.keepcnt) == (11000000, 12000000, 3)
        assert e.user_timeout_us == 5000000 and e.cc.name == "newreno" and e.mss_limit == 1000
        assert a.getsockopt(m.IPPROTO_TCP, m.TCP_MAXSEG) <= 1000
        assert b._ep.keepidle_us == 33000000
        a.setsockopt(m.IPPROTO_TCP, m.TCP_CONGESTION, "cubic")
        assert a.getsockopt(m.IPPROTO_TCP, m.TCP_CONGESTION) == "cubic"
        assert a.getsockopt(m.IPPROTO_TCP, m.TCP_INFO)["state"] == "ESTABLISHED"
        for name, value, errno in (
            (m.TCP_CONGESTION, "vegas", 2), (m.TCP_MAXSEG, 10, errors.EINVAL),
            (m.TCP_KEEPCNT, 0, errors.EINVAL), (99, 1, errors.ENOPROTOOPT),
        ):
            assert errno_of(a.setsockopt, m.IPPROTO_TCP, name, value) == errno, name
        a.close()
        b.close()
        listener.close()


def test_linger():
    """With a time: close waits until the peer has acknowledged all."""
    with World():
        a, b = pair()
        a.setsockopt(m.SOL_SOCKET, m.SO_LINGER, bytes([1, 0, 0, 0, 5, 0, 0, 0]))
        e = a._ep
        a.send(b"x" * 1000)
        a.close()
        assert e.fin_acked and b.recv(2000) == b"x" * 1000 and b.recv(1) == b""
        b.close()


def test_fast_open():
    """TCP_FASTOPEN_CONNECT: the second connection's data is in its SYN."""
    with World() as w:
        listener = socket()
        listener.setsockopt(m.IPPROTO_TCP, m.TCP_FASTOPEN, 5)
        listener.bind((LOCAL, 0))
        listener.listen(4)
        for turn in range(2):
            a = socket()
            a.setsockopt(m.IPPROTO_TCP, m.TCP_FASTOPEN_CONNECT, 1)
            a.connect(listener.getsockname())
            a.send(b"hello")
            b, _ = listener.accept()
            assert b.recv(10) == b"hello"
            b.send(b"back")
            assert a.recv(10) == b"back"
            assert w.host.stats.get("tcp.fast_opens") == turn
            a.close()
            b.close()
        listener.close()
