"""net: what a person at the prompt wants to know and do. Also `sys.net`.

    interfaces() connections() neighbors() routes() stats()
    ping(host)  raw("eth0")  capture(...)
    dns.resolve(name)  dns.query(name, type)  http.get(url)  httpd.serve(app)
    aio.*  the calls that wait, to be awaited

Not implemented yet: wifi says that there is no such interface.
"""

from stack.api import _address, _runtime
from stack.core import errors
from stack.net import addr

_LAZY = ("aio", "dns", "http", "httpd", "tls", "websocket")


def __getattr__(name):
    # What the prompt does not need is loaded when it is first named.
    if name in _LAZY:
        return getattr(__import__("stack.api." + name).api, name)
    if name == "wifi":
        raise OSError(errors.ENODEV, "no such interface: wifi")
    raise AttributeError(name)


def mac_text(mac):
    """A MAC address, an int, as text."""
    return ":".join(["%02x" % (mac >> i & 255) for i in range(40, -1, -8)])


def interface(name):
    """The Interface of a name. OSError(ENODEV)."""
    iface = _runtime.current().host.interface(name)
    if iface is None:
        raise OSError(errors.ENODEV, "no such interface: %s" % name)
    return iface


def interfaces():
    """A list of dicts: name mac ip4 ip6 mtu up driver, and counters. The loopback comes last."""
    found = []
    for i in sorted(_runtime.current().host.interfaces, key=lambda i: i.loopback):
        found.append(
            {
                "name": i.name,
                "mac": mac_text(i.mac),
                "ip4": addr.format_cidr(i.addr, i.prefix) if i.addr else None,
                "ip6": [a.text() for a in i.auto.addresses if a.state > 0],
                "mtu": i.mtu,
                "up": i.up,
                "driver": getattr(i.device, "driver", "none"),
                "rx_frames": i.rx_frames,
                "rx_bytes": i.rx_bytes,
                "tx_frames": i.tx_frames,
                "tx_bytes": i.tx_bytes,
            }
        )
    return found


def connections():
    """TCP and UDP endpoints: a list of dicts; `local` and `remote` are "address:port"."""
    rt = _runtime.current()
    rt.lock()
    try:
        all = rt.host.tcp.connections() + rt.host.udp.endpoints() + rt.host.rawip.endpoints()
        found = [_info(e) for e in all]
    finally:
        rt.unlock()
    for d in found:
        for end in ("local", "remote"):
            a = d.pop(end + "_addr", None)
            port = d.pop(end + "_port", 0)
            if a is not None:
                d[end] = ("[%s]:%d" if ":" in a else "%s:%d") % (a, port)
    return found


def _info(e):
    """What an endpoint says of itself, its addresses as text."""
    d = e.info()
    path = getattr(e, "path", None)
    for end in ("local_addr", "remote_addr"):
        if end in d:
            d[end] = _address.text(d[end], path)
    return d


def neighbors():
    """Who is near: dicts with interface, mac, ip4 and ip6 (one, or none: only seen), state, and
    age in seconds.
    """
    from stack.link import arp

    rt = _runtime.current()
    now = rt.now()
    found = []
    rt.lock()
    try:
        for i in rt.host.interfaces:
            if i.loopback:
                continue
            known = set()
            for e in i.arp.entries():
                known.add(e.mac)
                ip4 = addr.format(e.addr)
                found.append((i.name, e.mac, ip4, None, arp.NAMES[e.state], now - e.heard))
            for e in i.nd.entries():
                known.add(e.mac)
                ip6 = _address.text_of(rt, e.ip6)
                found.append((i.name, e.mac, None, ip6, arp.NAMES[e.state], now - e.heard))
            for mac, age in i.link.seen(now):
                if mac not in known:
                    found.append((i.name, mac, None, None, "seen", age))
    finally:
        rt.unlock()
    return [
        {
            "interface": name,
            "mac": mac_text(mac) if mac else None,
            "ip4": ip4,
            "ip6": ip6,
            "state": state,
            "age": age // 1000000,
        }
        for name, mac, ip4, ip6, state, age in found
    ]


def routes():
    """The routes, as text."""
    host = _runtime.current().host
    return [repr(r) for r in host.ip.routes] + [repr(r) for r in host.ip6.routes]


def stats():
    """Counters: counts and drops (named "layer.reason"), interfaces, tcp, memory for data."""
    host = _runtime.current().host
    s = host.stats
    return {
        "counts": dict(s.counts),
        "drops": dict(s.drops),
        "interfaces": {
            i.name: {
                "rx_frames": i.rx_frames,
                "rx_bytes": i.rx_bytes,
                "tx_frames": i.tx_frames,
                "tx_bytes": i.tx_bytes,
            }
            for i in host.interfaces
        },
        "tcp": {"connections": host.tcp.live, "retransmits": host.tcp.retransmits},
        "buffers": {"in_use": host.buffers.in_use, "limit": host.buffers.limit},
        "frames_free": host.pool.free,
    }


def tcp(
    congestion=None, initial_segments=None, ecn=None, syn_cookies=None, user_timeout=None, uto=None,
    pacing=None,
):  # fmt: skip
    """TCP's settings for connections to come, changed by what is named; a dict of them.

    congestion: "cubic" or "newreno". initial_segments: 0 for RFC 6928's ten, 1 for the classic
    slow start. ecn: "on", "off", "accept". syn_cookies: True or False. user_timeout: seconds
    that what was sent may be unacknowledged; uto: whether it is told to peers and theirs is
    heeded (RFC 5482), between 100 s and half an hour, unless TCP_USER_TIMEOUT is set. pacing:
    windows are spread over long round trips, see stack/transport/tcp/pacing.py.
    """
    from stack.transport.tcp.congestion import algorithm

    t = _runtime.current().host.tcp
    words = ("off", "on", "accept")
    if congestion is not None:
        t.congestion = algorithm(congestion)
    if initial_segments is not None:
        t.initial_segments = initial_segments
    if ecn is not None:
        t.ecn = words.index(ecn)
    if syn_cookies is not None:
        t.syn_cookies = syn_cookies
    if user_timeout is not None:
        t.user_timeout_us = int(user_timeout * 1_000_000)
    if uto is not None:
        t.uto = bool(uto)
    if pacing is not None:
        t.pacing = bool(pacing)
    return {
        "congestion": t.congestion.name,
        "initial_segments": t.initial_segments,
        "ecn": words[t.ecn],
        "syn_cookies": t.syn_cookies,
        "user_timeout": t.user_timeout_us / 1_000_000,
        "uto": t.uto,
        "pacing": t.pacing,
    }


def trace(what, where=None):
    """Trace a socket, or the connections of a port (0: all), as CSV: a Trace; `.stop()` ends it.

    where: a file's name, anything with write(), None for the console. Columns: see
    stack/transport/tcp/trace.py.
    """
    from stack.api import _trace

    return _trace.Trace(_runtime.current(), what, where)


def ping(host, count=4, interval=1.0, size=56, timeout=1.0, quiet=False):
    """Send echo requests and print the answers. A PingResult: sent, received, rtts (ms)."""
    from stack.api import _ping

    rt = _runtime.current()
    return rt.run(_ping.steps(rt, host, count, interval, size, timeout, quiet))


def router(outside=None):
    """Forward IPv4 and IPv6 between the interfaces; IPv4 by NAT44 behind the address of `outside`.

    A stack.net.forward.Forwarder: .info(), .nat.publish(...). Boot with forward=1.
    """
    rt = _runtime.current()
    return rt.host.forward(None if outside is None else interface(outside))


def bridge(names, name="br0"):
    """Join interfaces to a switch, with an interface of our own. Boot with forward=1.

    A stack.link.bridge.Bridge: .info().
    """
    rt = _runtime.current()
    rt.hw.lock()
    try:
        return rt.host.bridge(name, [interface(n) for n in names], rt.now())
    finally:
        rt.hw.unlock()


def raw(name="eth0", ethertype=0, accept=None, outgoing=False):
    """Whole Ethernet frames: an object with send(frame) and recv(). See stack/api/_raw.py."""
    from stack.api import _raw

    return _raw.Raw(interface(name), ethertype, accept, outgoing)


def capture(name="eth0", count=0, seconds=0, file=None, snaplen=65549):
    """Print a line for each frame, or write a pcap file, until Ctrl-C, `count` or `seconds`.

    file: a path or an open binary file. Returns how many frames there were.
    """
    from stack.api import _raw

    return _raw.capture(interface(name), count, seconds, file, snaplen)
