"""network: MicroPython's interface objects, and the host's name and country.

`LAN(n)` is the n-th card. Setting an address by hand ends DHCP and the other way
round. Not implemented: dhcp6, autoconf6, addr6, gw6 (IPv6), phy options (accepted).
"""

from micropython import const

from stack import config as _config
from stack.api import _runtime
from stack.core import errors
from stack.net import addr as _addr

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
        """True when the link is up and there is an address."""
        return self._iface.up and self._iface.addr != 0

    def status(self, _param=None):
        if not self._iface.up:
            return STAT_LINK_DOWN
        return STAT_GOT_IP if self._iface.addr else STAT_CONNECTING

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
        """Get `addr4 gw4 dhcp4 has_dhcp4`, or set addr4=, gw4=, dhcp4=."""
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
    """The name that DHCP is told; with an argument, set it."""
    rt = _runtime.current()
    if name is None:
        return rt.hostname
    if not _config.hostname_ok(name):
        raise ValueError("bad hostname")
    rt.hostname = rt.host.hostname = name


def country(code=None):
    """Two letters; kept, since an Ethernet has no use for them."""
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError("a country has two letters")
    _country = code.upper()


def ipconfig(param=None, **values):
    """Get or set what is the whole host's: dns (an address), prefer (4)."""
    rt = _runtime.current()
    if param == "dns":
        from stack.api import _resolve

        return _addr.format(_resolve.servers(rt)[0])
    if param == "prefer":
        return 4
    if param is not None:
        raise ValueError("unknown config param")
    for name, value in values.items():
        if name == "dns":
            rt.dns_servers = [_addr.parse(value)]
        elif name != "prefer":
            raise ValueError("unknown config param")


def route():
    return [repr(r) for r in _runtime.current().host.routes]


def __getattr__(name):
    if name in ("WLAN", "PPP"):
        raise OSError(errors.ENODEV, "no such interface: %s" % name)
    raise AttributeError(name)
