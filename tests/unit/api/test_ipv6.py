"""socket, getaddrinfo and connecting by name, over IPv6: in a world with ::1 and a card."""

from stack.api import _address, _connect, _resolve, net, network
from stack.api import socket as m
from stack.core import errors
from stack.dns import message
from stack.net import addr6, slaac
from stack.wire import arp, ethernet
from tests.unit.api.world import DatagramServer, StreamServer, World
from tests.unit.net.support import OURS, PEER, A, B, Wire
from tests.unit.net.support6 import advert, icmp

ONE = "::1"


def errno_of(f, *args):
    try:
        f(*args)
    except OSError as e:
        return e.args[0]
    return None


def card(w, *texts, v4=True):
    """Give the world an eth0 with these addresses, in use at once; its frames go nowhere."""
    i = w.host.add_interface(Wire())
    if v4:
        w.host.configure(i, "static", w.hw.t, 0x0A00000A, 24)
    i.auto.mode = "static"
    for text in texts:
        raw, length = addr6.parse_cidr(text)
        raw = addr6.with_zone(raw, i.index)
        a = slaac.Address6(raw, w.host.ip6.addresses.keep(raw), length, i, "static")
        a.state = slaac.PREFERRED
        i.auto.addresses.append(a)
        w.host.ip6.use_address(a)
        w.host.ip6.routes.add(addr6.masked(raw, length), length, None, i, "static")
    return i


def test_a_stream_over_loopback():
    with World():
        l = m.socket(m.AF_INET6)
        l.bind((ONE, 5000))
        l.listen()
        assert l.getsockname() == (ONE, 5000, 0, 0)
        s = m.socket(m.AF_INET6)
        s.connect((ONE, 5000))
        c, peer = l.accept()
        assert peer[0] == ONE and len(peer) == 4
        assert s.getpeername() == (ONE, 5000, 0, 0) and c.getpeername()[0] == ONE
        s.write(b"hello")
        assert c.recv(10) == b"hello"
        assert "[::1]:5000" in repr(s), repr(s)
        assert any(d["remote"] == "[::1]:5000" for d in net.connections() if "remote" in d)


def test_a_dual_stack_listener():
    with World():
        l = m.socket(m.AF_INET6)
        l.bind(("", 5000))
        l.listen()
        assert errno_of(listen4, 5000) == errors.EADDRINUSE
        s = m.socket(m.AF_INET)
        s.connect(("127.0.0.1", 5000))
        c, peer = l.accept()
        assert peer == ("::ffff:127.0.0.1", s.getsockname()[1], 0, 0)
        assert c.getsockname()[0] == "::ffff:127.0.0.1"
        six = m.socket(m.AF_INET6)
        six.connect(("::ffff:127.0.0.1", 5000))
        assert six.getpeername()[0] == "::ffff:127.0.0.1"
        l.accept()
        l.close()
        only = m.socket(m.AF_INET6)
        only.setsockopt(m.IPPROTO_IPV6, m.IPV6_V6ONLY, 1)
        assert only.getsockopt(m.IPPROTO_IPV6, m.IPV6_V6ONLY) == 1
        only.bind(("::", 5001))
        only.listen()
        listen4(5001).close()
        assert errno_of(m.socket(m.AF_INET).connect, ("127.0.0.1", 5001)) == errors.ECONNREFUSED
        assert errno_of(only.setsockopt, m.IPPROTO_IPV6, m.IPV6_V6ONLY, 0) == errors.EINVAL


def listen4(port):
    s = m.socket(m.AF_INET)
    s.bind(("0.0.0.0", port))
    s.listen()
    return s


def test_families_do_not_mix():
    with World():
        assert errno_of(m.socket(m.AF_INET).connect, (ONE, 1)) == errors.EAFNOSUPPORT
        assert errno_of(m.socket(m.AF_INET, m.SOCK_DGRAM).sendto, b"x", (ONE, 1)) == 97
        s = m.socket(m.AF_INET6)
        s.setsockopt(m.IPPROTO_IPV6, m.IPV6_V6ONLY, 1)
        assert errno_of(s.connect, ("::ffff:127.0.0.1", 1)) == errors.ENETUNREACH
        # A socket() that was made without a family takes that of its first address.
        StreamLike = m.socket()
        assert errno_of(StreamLike.connect, (ONE, 1)) == errors.ECONNREFUSED
        assert StreamLike._af == m.AF_INET6
        assert m.socket()._af == m.AF_INET


def test_datagrams():
    with World() as w:
        a = m.socket(m.AF_INET6, m.SOCK_DGRAM)
        a.bind(("", 6000))
        b = m.socket(m.AF_INET6, m.SOCK_DGRAM)
        b.sendto(b"six", (ONE, 6000))
        four = m.socket(m.AF_INET, m.SOCK_DGRAM)
        four.sendto(b"four", ("127.0.0.1", 6000))
        w.settle()
        data, peer = a.recvfrom(10)
        assert (data, peer[0]) == (b"six", ONE) and len(peer) == 4
        a.sendto(b"back", peer)
        data, peer = a.recvfrom(10)
        assert (data, peer[0]) == (b"four", "::ffff:127.0.0.1")
        a.sendto(b"back4", peer)
        assert b.recv(10) == b"back"
        assert four.recvfrom(10) == (b"back4", ("127.0.0.1", 6000))
        b.connect((ONE, 6000))
        assert b.getpeername()[:2] == (ONE, 6000) and b.getsockname()[0] == ONE


def test_an_error_of_the_network_reaches_a_connected_socket():
    with World() as w:
        s = m.socket(m.AF_INET6, m.SOCK_DGRAM)
        s.connect((ONE, 9))
        s.send(b"x")
        w.settle(1000)
        assert errno_of(s.recv, 10) == errors.ECONNREFUSED


def test_errors_queue():
    """In the order in which they came; without a peer only who has asked for them (IP_RECVERR)."""
    with World() as w:
        s = m.socket(m.AF_INET, m.SOCK_DGRAM)
        s.sendto(b"x", ("127.0.0.1", 9))
        w.settle(1000)
        s.settimeout(0)
        assert errno_of(s.recv, 10) == errors.EAGAIN
        s.setsockopt(m.IPPROTO_IP, m.IP_RECVERR, 1)
        for code in (errors.ECONNREFUSED, errors.EHOSTUNREACH, errors.ENETUNREACH):
            s._ep.report(code)
        assert s.getsockopt(m.SOL_SOCKET, m.SO_ERROR) == errors.ECONNREFUSED
        assert errno_of(s.recv, 10) == errors.EHOSTUNREACH
        assert errno_of(s.sendto, b"x", ("127.0.0.1", 9)) == errors.ENETUNREACH
        s.sendto(b"x", ("127.0.0.1", 9))
        w.settle(1000)
        assert errno_of(s.recv, 10) == errors.ECONNREFUSED
        assert errno_of(s.recv, 10) == errors.EAGAIN
        for _ in range(100):
            s._ep.report(errors.EHOSTUNREACH)
        assert len(s._ep._errors) == 16 and w.host.stats.dropped("udp.error_queue") == 83


def test_zones():
    with World() as w:
        i = card(w, "fe80::5/64")
        a, port = _address.host_port(("fe80::9%eth0", 7), m.AF_INET6)
        assert _address.sockaddr(a, port, m.AF_INET6) == ("fe80::9%eth0", 7, 0, i.index)
        assert _address.host_port(("fe80::9", 7, 0, i.index), m.AF_INET6)[0] == a
        assert _address.host_port(("fe80::9%2", 7), m.AF_INET6)[0] == a
        assert _address.host_port(("fe80::9", 7), m.AF_INET6)[0] == a  # the only card
        assert errno_of(_address.host_port, ("fe80::9%eth7", 7), m.AF_INET6) == errors.ENODEV
        w.host.add_interface(Wire(name="eth1"))
        assert errno_of(_address.host_port, ("fe80::9", 7), m.AF_INET6) == errors.EINVAL


def test_raw_sockets():
    with World() as w:
        s = m.socket(m.AF_INET6, m.SOCK_RAW, m.IPPROTO_ICMPV6)
        w.host.icmp.ping(w.host.ip6.addresses.handle(addr6.LOOPBACK)).send(4, w.hw.t)
        w.rt.kick(w.hw.t)
        kinds = {s.recvfrom(100)[0][0] for _ in range(2)}
        assert kinds == {128, 129}
        # An echo request of our own: its checksum is filled in, and it is answered.
        s.sendto(b"\x80\0\0\0\x12\x34\0\1abcd", (ONE, 0))
        got = [s.recv(100) for _ in range(2)]
        assert got[1][0] == 129 and got[1][4:] == b"\x12\x34\0\1abcd"
        s.close()
        four = m.socket(m.AF_INET, m.SOCK_RAW, 200)
        four.sendto(b"data", ("127.0.0.1", 0))
        data, peer = four.recvfrom(100)
        assert data[0] == 0x45 and data[9] == 200 and data[20:] == b"data"
        assert peer[0] == "127.0.0.1"
        four.close()
        assert 200 not in w.host.ip.handlers
        assert errno_of(m.socket, m.AF_INET6, m.SOCK_RAW, 0) == errors.EPROTONOSUPPORT


def test_getaddrinfo():
    with World() as w:
        info = m.getaddrinfo("::1", 80, 0, m.SOCK_STREAM)
        assert info == [(10, 1, 6, "", (ONE, 80, 0, 0))]
        assert m.getaddrinfo("localhost", 80, 10, 1)[0][-1][0] == ONE
        assert m.getaddrinfo("", 80, 10, 1, 0, 1)[0][-1][0] == "::"
        assert errno_of(m.getaddrinfo, "10.0.0.1", 80, 10) == -2
        assert m.inet_pton(10, "::1") == addr6.LOOPBACK and m.inet_ntop(10, bytes(16)) == "::"
        # Of both families where the host has addresses of both, sorted by RFC 6724.
        card(w, "2001:db8::5/64")
        w.rt.dns_servers = [0x7F000001]
        asked = []
        DatagramServer(w, 53, answerer({"both.test": ("10.0.0.7", "2001:db8::7")}, asked))
        found = [i[-1][0] for i in m.getaddrinfo("both.test", 80, 0, 1)]
        assert found == ["2001:db8::7", "10.0.0.7"]
        assert sorted(asked) == [1, 28]
        network.ipconfig(prefer=4)
        assert [i[-1][0] for i in m.getaddrinfo("both.test", 80, 0, 1)] == found[::-1]
        assert net.dns.resolve("both.test") == "10.0.0.7"
        assert m.gethostbyname("both.test") == "10.0.0.7"


def test_a_host_without_ipv6_asks_for_none():
    with World() as w:
        card(w)
        w.rt.dns_servers = [0x7F000001]
        asked = []
        DatagramServer(w, 53, answerer({"both.test": ("10.0.0.7", "2001:db8::7")}, asked))
        assert [i[-1][0] for i in m.getaddrinfo("both.test", 80, 0, 1)] == ["10.0.0.7"]
        assert asked == [1]


def answerer(names, asked):
    """answer(query) of a server that knows {name: (A, AAAA)}."""

    def answer(query):
        labels = []
        i = 12
        while query[i]:
            labels.append(query[i + 1 : i + 1 + query[i]].decode().lower())
            i += 1 + query[i]
        kind = query[i + 1] << 8 | query[i + 2]
        asked.append(kind)
        pair = names.get(".".join(labels))
        if pair is None:
            return query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + query[12 : i + 5]
        data = m.inet_aton(pair[0]) if kind == message.A else addr6.parse(pair[1])[0]
        head = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12 : i + 5]
        head += b"\xc0\x0c\0" + bytes((kind,)) + b"\0\1\0\0\0\x3c\0"
        return head + bytes((len(data),)) + data

    return answer


def test_names_over_ipv6():
    """The server itself is asked by IPv6."""
    with World() as w:
        w.rt.dns_servers = [w.host.ip6.addresses.keep(addr6.LOOPBACK)]
        server = DatagramServer6(w, 53, answerer({"a.test": ("10.0.0.7", "::1")}, []))
        assert net.dns.resolve("a.test") == "10.0.0.7"
        assert server.seen
        assert net.dns.servers() == ["::1"]


class DatagramServer6(DatagramServer):
    def __init__(self, world, port, answer):
        self.answer = answer
        self.world = world
        self.seen = []
        self.ep = world.host.udp.open(addr6.ANY, port, world.hw.t)
        self.ep.waker = self


def test_happy_eyeballs():
    """RFC 8305: a silent IPv6 address costs a quarter of a second, a refusing one nothing."""
    with World() as w:
        card(w, "2001:db8::5/64")
        server = StreamServer(w, 80, lambda data: b"HTTP/1.0 200 OK\r\n\r\nhere" if data else None)
        w.rt.dns_servers = [0x7F000001]
        names = {"silent.test": ("10.0.0.10", "2001:db8::dead"), "both.test": ("127.0.0.1", "::1")}
        DatagramServer(w, 53, answerer(names, []))
        began = w.hw.t
        assert net.http.get("http://silent.test/").text == "here"
        assert 250_000 <= w.hw.t - began < 300_000, w.hw.t - began
        assert w.host.tcp.live == 0 or all(
            [c["state"] != "SYN-SENT" for c in net.connections() if c["proto"] == "tcp"]
        )
        assert server.seen
        # The listener is of IPv4 only, so ::1 refuses; the other is tried at once.
        e = w.rt.run(_connect.race_steps(w.rt, refusing(w), 80, w.hw.t + 10_000_000))
        assert e.remote_addr == 0x7F000001
        assert w.hw.t - began < 350_000
        # All refuse: the first one's error.
        assert errno_of(m.create_connection, ("both.test", 81)) == errors.ECONNREFUSED
        # Nobody answers: the time is up.
        steps = _connect.race_steps(w.rt, [silent(w)], 80, w.hw.t + 400_000)
        assert errno_of(w.rt.run, steps) == errors.ETIMEDOUT


def refusing(w):
    return [w.host.ip6.addresses.handle(addr6.LOOPBACK), 0x7F000001]


def silent(w):
    return w.host.ip6.addresses.handle(addr6.parse("2001:db8::dead")[0])


def test_the_order_of_attempts():
    v6 = addr6.V6
    assert _connect.alternate([v6 + 1, v6 + 2, v6 + 3, 1, 2]) == [v6 + 1, 1, v6 + 2, 2, v6 + 3]
    assert _connect.alternate([1, v6 + 1, v6 + 2]) == [1, v6 + 1, v6 + 2]
    assert _connect.alternate([]) == []


def test_groups():
    with World() as w:
        i = card(w, "fe80::5/64", "2001:db8::5/64")
        a = m.socket(m.AF_INET6, m.SOCK_DGRAM)
        a.bind(("", 7000))
        group = m.inet_pton(m.AF_INET6, "ff12::7")
        a.setsockopt(m.IPPROTO_IPV6, m.IPV6_JOIN_GROUP, group + i.index.to_bytes(4, "little"))
        assert errno_of(
            a.setsockopt, m.IPPROTO_IPV6, m.IPV6_JOIN_GROUP, group + bytes(4)
        ) == errors.EADDRINUSE  # fmt: skip
        # Our own comes back, unless that is not wanted; with the hop limit that is asked for.
        a.setsockopt(m.IPPROTO_IPV6, m.IPV6_MULTICAST_HOPS, 5)
        i.device.take()
        a.sendto(b"hello", ("ff12::7", 7000))
        assert a.recvfrom(10)[0] == b"hello"
        sent = [f for f in i.device.take() if f[20] == 17]
        assert len(sent) == 1 and sent[0][21] == 5 and sent[0][0:6] == b"\x33\x33\0\0\0\7"
        a.setsockopt(m.IPPROTO_IPV6, m.IPV6_MULTICAST_LOOP, 0)
        a.settimeout(0)
        a.sendto(b"hello", ("ff12::7", 7000))
        w.settle(1000)
        assert errno_of(a.recv, 10) == errors.EAGAIN
        a.setsockopt(m.IPPROTO_IPV6, m.IPV6_LEAVE_GROUP, group + bytes(4))
        assert i.mld.members == {}
        f = m.socket(m.AF_INET, m.SOCK_DGRAM)
        f.bind(("", 7001))
        member = m.inet_aton("239.1.2.3") + m.inet_aton("10.0.0.10")
        f.setsockopt(m.IPPROTO_IP, m.IP_ADD_MEMBERSHIP, member)
        f.setsockopt(m.IPPROTO_IP, m.IP_MULTICAST_TTL, 9)
        i.device.take()
        f.sendto(b"four", ("239.1.2.3", 7001))
        assert f.recvfrom(10)[0] == b"four"
        sent = [x for x in i.device.take() if x[23] == 17]
        assert len(sent) == 1 and sent[0][22] == 9
        f.close()
        assert 0xEF010203 not in w.host.ip.local


def _marks(frames):
    """(hop limit, class) of each frame that is TCP or UDP."""
    out = []
    for f in frames:
        if f[12] == 8 and f[23] in (6, 17):
            out.append((f[22], f[15]))
        elif f[12] == 0x86 and f[20] in (6, 17):
            out.append((f[21], (f[14] << 4 | f[15] >> 4) & 0xFF))
    return out


def test_hop_limit_and_class():
    """RFC 3493 5.1, RFC 3542 6.5; Linux's IP_TTL and IP_TOS: of each family its own, in all that
    a socket sends."""
    with World() as w:
        i = card(w, "2001:db8::a/64", "fe80::5/64")
        d = i.device
        for af, peer in ((m.AF_INET, "10.0.0.11"), (m.AF_INET6, "2001:db8::b")):
            s = m.socket(af, m.SOCK_DGRAM)
            s.sendto(b"who is there?", (peer, 9))
            s.close()
        reply = bytearray(42)
        ethernet.build(reply, 0, OURS, PEER, 0x0806)
        arp.build(reply, 14, 2, PEER, B, OURS, A)
        d.inbox += [bytes(reply), icmp(136, 0, advert())]
        w.host.poll(w.hw.t)
        four, six = (m.IPPROTO_IP, m.IP_TTL, m.IP_TOS), (
            m.IPPROTO_IPV6, m.IPV6_UNICAST_HOPS, m.IPV6_TCLASS)  # fmt: skip
        for af, peer, options in ((m.AF_INET, "10.0.0.11", four),
                                  (m.AF_INET6, "2001:db8::b", six)):  # fmt: skip
            level, ttl, tos = options
            s = m.socket(af, m.SOCK_DGRAM)
            assert s.getsockopt(level, ttl) == 64 and s.getsockopt(level, tos) == 0
            s.setsockopt(level, ttl, 9)
            s.setsockopt(level, tos, b"\x2b\0\0\0")
            assert s.getsockopt(level, ttl) == 9 and s.getsockopt(level, tos) == 0x2B
            w.settle(1000)
            d.take()
            s.sendto(b"x", (peer, 9))
            s.connect((peer, 9))
            s.send(b"y")
            s.setsockopt(level, ttl, -1)
            s.send(b"z")
            w.settle(1000)
            assert _marks(d.take()) == [(9, 0x2B), (9, 0x2B), (64, 0x2B)]
            # The other family's do not matter here.
            other = six if options is four else four
            s.setsockopt(other[0], other[1], 3)
            s.send(b"z")
            w.settle(1000)
            assert _marks(d.take()) == [(64, 0x2B)]
            s.close()
            # TCP's ECN is not a program's.
            s = m.socket(af)
            s.settimeout(0)
            s.setsockopt(level, ttl, 5)
            s.setsockopt(level, tos, 0x2B)
            assert s.getsockopt(level, tos) == 0x28
            assert errno_of(s.connect, (peer, 80)) == errors.EINPROGRESS
            w.settle(1000)
            assert _marks(d.take()) == [(5, 0x28)]
            s.close()
            # Others of that host are not marked.
            s = m.socket(af)
            s.settimeout(0)
            assert errno_of(s.connect, (peer, 80)) == errors.EINPROGRESS
            w.settle(1000)
            assert _marks(d.take()) == [(64, 0)]
            s.close()
            for n in (256, 1000, -2) + ((0,) if af == m.AF_INET else ()):
                assert errno_of(m.socket(af).setsockopt, level, ttl, n) == errors.EINVAL, n
        assert errno_of(m.socket(af).setsockopt, six[0], six[2], 256) == errors.EINVAL


def test_marks_of_a_listener():
    """As on Linux a connection begins with what its listener has, and goes on by itself."""
    with World():
        l = m.socket(m.AF_INET6)
        l.setsockopt(m.IPPROTO_IP, m.IP_TTL, 7)
        l.setsockopt(m.IPPROTO_IPV6, m.IPV6_UNICAST_HOPS, 8)
        l.bind(("", 5000))
        l.listen()
        for to, level, option, n in ((ONE, m.IPPROTO_IPV6, m.IPV6_UNICAST_HOPS, 8),
                                     ("127.0.0.1", m.IPPROTO_IP, m.IP_TTL, 7)):  # fmt: skip
            s = m.socket()
            s.connect((to, 5000))
            c, _ = l.accept()
            assert c.getsockopt(level, option) == n
            path = c._ep.path
            assert (path.hops if to == ONE else path.words >> 8 & 0xFF) == n
            c.setsockopt(level, option, 20)
            assert l.getsockopt(level, option) == n
            c.write(b"hello")
            assert s.recv(9) == b"hello"


def test_what_the_prompt_shows():
    with World() as w:
        i = card(w, "2001:db8::5/64", "fe80::5/64")
        shown = net.interfaces()[0]
        assert shown["ip6"] == ["2001:db8::5/64", "fe80::5/64"]
        assert any("2001:db8::/64 dev eth0" in r for r in net.routes())
        lan = network.LAN(0)
        assert [a[0] for a in lan.ipconfig("addr6")] == ["2001:db8::5", "fe80::5"]
        lan.ipconfig(gw6="fe80::1")
        assert lan.ipconfig("gw6") == "fe80::1%eth0"
        lan.ipconfig(addr6="2001:db8::9/64")
        w.settle(2_000_000)
        assert "2001:db8::9" in [a[0] for a in lan.ipconfig("addr6")]
        assert i.auto.mode == "static" and lan.ipconfig("autoconf6") is False
        assert _resolve.search(w.rt) == []
