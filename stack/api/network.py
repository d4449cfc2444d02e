"""network: MicroPython's interface objects, and the host's name and country.

`LAN(n)` is the n-th card. Setting an address by hand ends DHCP and the other way
round. Not implemented: setting DNS by DHCPv6's flag alone, phy options (accepted).
"""

from micropython import const

from stack import config as _config
from stack.api import _address, _runtime
from stack.core import errors
from stack.core.timers import NEVER
from stack.net import addr as _addr
from stack.net import addr6

STAT_LINK_DOWN = const(0)
STAT_CONNECTING = const(1)
STAT_GOT_IP = const(3)

_country = "XX"


class LAN:
    IN = False
    OUT = True

    def __init__(self, id=0, **_phy):
        self._rt = rt = _runtime.current()
        cards = [i for i in rt.host.interfaces if not i.loopback]
        if not 0 <= id < len(cards):
            raise OSError(errors.ENODEV, "no such interface: LAN(%s)" % (id,))
        self._iface = cards[id]

    def __repr__(self):
        return "<LAN %s %s>" % (self._iface.name, " ".join(self.ipconfig("addr4")))

    def active(self, state=None):
        """Whether the interface is switched on; with an argument, switch it."""
        i = self._iface
        if state is None:
            return i.enabled
        i.enabled = bool(state)
        self._poll()

    def _poll(self):
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            rt.host.poll(now)
            rt.kick(now)
        finally:
            rt.unlock()

    def connect(self, *_):
        """The cable is always plugged in."""
        self.active(True)

    def disconnect(self):
        self.active(False)

    def isconnected(self):
        """True when the link is up and there is an address (of IPv6: more than a link-local)."""
        return self._iface.up and self._has_address()

    def _has_address(self):
        i = self._iface
        return i.addr != 0 or any([a.state > 0 and a.origin != "link" for a in i.auto.addresses])

    def status(self, _param=None):
        if not self._iface.up:
            return STAT_LINK_DOWN
        return STAT_GOT_IP if self._has_address() else STAT_CONNECTING

    def ifconfig(self, new=None):
        """(address, netmask, gateway, DNS server); set them, or "dhcp"."""
        if new is None:
            return self.ipconfig("addr4") + (self.ipconfig("gw4"), ipconfig("dns"))
        if new == "dhcp":
            self._configure("dhcp")
            return
        address, netmask, gateway, server = [_addr.parse(x) for x in new]
        dns = (server,) if server else ()
        self._configure("static", address, _addr.prefix_of(netmask), gateway, dns)

    def ipconfig(self, param=None, **values):
        """Get `addr4 gw4 dhcp4 has_dhcp4 addr6 gw6 autoconf6 has_autoconf6 dhcp6`, or set
        addr4=, gw4=, dhcp4=, addr6=, gw6=, autoconf6=. addr6 is a list of (address, state,
        preferred lifetime s, valid lifetime s), set as "ADDR/LEN".
        """
        if param is not None:
            return self._get(param)
        for name, value in values.items():
            self._set(name, value)

    def _get(self, param):
        i = self._iface
        host = self._rt.host
        if param == "addr4":
            return _addr.format(i.addr), _addr.format(_addr.mask(i.prefix) if i.addr else 0)
        if param == "gw4":
            route = host.routes.default(i)
            return _addr.format(route.gateway if route is not None else 0)
        if param == "dhcp4":
            return host.dhcp(i) is not None
        if param == "has_dhcp4":
            client = host.dhcp(i)
            return client is not None and client.lease is not None
        return self._get6(param)

    def _get6(self, param):
        i = self._iface
        auto = i.auto
        now = self._rt.now()
        if param == "addr6":
            return [
                (addr6.format(a.raw), a.state, _left(a.preferred_until, now),
                 _left(a.valid_until, now))
                for a in auto.addresses
            ]  # fmt: skip
        if param == "gw6":
            route = self._rt.host.ip6.routes.default(i)
            return _address.text_of(self._rt, route.gateway_raw) if route is not None else "::"
        if param == "autoconf6":
            return auto.mode == "auto"
        if param == "has_autoconf6":
            return any([a.state > 0 and a.origin == "auto" for a in auto.addresses])
        if param == "dhcp6":
            return auto.mode == "auto" and (auto.managed or auto.other)
        raise ValueError("unknown config param")

    def _set(self, name, value):
        if name == "dhcp4":
            self._configure("dhcp" if value else "none")
        elif name == "addr4":
            if isinstance(value, str):
                address, prefix = _addr.parse_cidr(value)
            else:
                address, prefix = _addr.parse(value[0]), _addr.prefix_of(_addr.parse(value[1]))
            self._configure("static", address, prefix)
        elif name == "gw4":
            self._set_gateway(_addr.parse(value))
        elif name == "addr6":
            raw, length = addr6.parse_cidr(value)
            self._configure6("static" if any(raw) else "none", raw, 64 if length == 128 else length)
        elif name == "gw6":
            self._set_gateway6(value)
        elif name == "autoconf6":
            self._configure6("auto" if value else "none")
        elif name == "dhcp6":
            pass  # whether there is DHCPv6 is the routers' to say
        else:
            raise ValueError("unknown config param")

    def _configure(self, mode, address=0, prefix=0, gateway=0, dns=()):
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            rt.host.configure(self._iface, mode, now, address, prefix, gateway, dns)
            rt.kick(now)
        finally:
            rt.unlock()

    def _configure6(self, mode, raw=None, length=0):
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            rt.host.configure6(self._iface, mode, now, raw, length)
            rt.kick(now)
        finally:
            rt.unlock()

    def _set_gateway6(self, text):
        rt = self._rt
        i = self._iface
        raw = addr6.with_zone(addr6.parse(text)[0], i.index)
        rt.lock()
        try:
            routes = rt.host.ip6.routes
            routes.remove(addr6.UNSPECIFIED, 0, None, i)
            if not addr6.is_unspecified(raw):
                routes.add(addr6.UNSPECIFIED, 0, raw, i)
        finally:
            rt.unlock()

    def _set_gateway(self, gateway):
        rt = self._rt
        rt.lock()
        try:
            routes = rt.host.routes
            old = routes.default(self._iface)
            if old is not None:
                routes.remove(0, 0, self._iface)
            if gateway:
                routes.add(0, 0, gateway, self._iface)
            routes.changed()
        finally:
            rt.unlock()

    def config(self, param=None, **values):
        """Get "mac", "hostname"; other settings of LAN hardware are accepted without effect."""
        if param is None:
            for name, value in values.items():
                if name == "hostname":
                    hostname(value)
            return None
        if param == "mac":
            return self._iface.mac.to_bytes(6, "big")
        if param in ("hostname", "dhcp_hostname"):
            return hostname()
        if param == "mtu":
            return self._iface.mtu
        raise ValueError("unknown config param")


def hostname(name=None):
    """The name that DHCP is told and `net.dns.announce` answers to; with an argument, set it."""
    rt = _runtime.current()
    if name is None:
        return rt.hostname
    if not _config.hostname_ok(name):
        raise ValueError("bad hostname")
    rt.hostname = rt.host.hostname = name
    if rt._resolver is not None and rt._resolver.mdns is not None:
        rt._resolver.mdns.rename(name)


def country(code=None):
    """Two letters; kept, since an Ethernet has no use for them."""
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError("a country has two letters")
    _country = code.upper()


def ipconfig(param=None, **values):
    """Get or set what is the whole host's: dns (an address), prefer (4: IPv4 addresses of a
    name first, 6: as RFC 6724 orders them).
    """
    rt = _runtime.current()
    if param == "dns":
        from stack.api import dns

        return dns.servers()[0]
    if param == "prefer":
        return rt.prefer
    if param is not None:
        raise ValueError("unknown config param")
    for name, value in values.items():
        if name == "dns":
            from stack.api import dns

            dns.servers([value])
        elif name == "prefer":
            if value not in (4, 6):
                raise ValueError("prefer 4 or 6")
            rt.prefer = value
        else:
            raise ValueError("unknown config param")


def _left(until, now):
    """Seconds until a time, 0 for none to come, -1 for ever."""
    return -1 if until >= NEVER else max(0, (until - now) // 1000000)


def route():
    from stack.api import net

    return net.routes()


def __getattr__(name):
    if name in ("WLAN", "PPP"):
        raise OSError(errors.ENODEV, "no such interface: %s" % name)
    raise AttributeError(name)
