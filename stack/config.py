"""The kernel command line: what to configure and what to run.

    ip=dhcp | none | linklocal | 10.0.0.2/24     gw=10.0.0.1      dns=10.0.0.1,10.0.0.2
    ip6=auto | none | ADDR/LEN       gw6=ADDR         (dns= takes both families)
    NAME.ip= NAME.gw= NAME.ip6= NAME.gw6=   the same of an interface other than the first:
                                            eth1, or eth0.5, VLAN 5 of eth0
    hostname=NAME    main=MODULE     exit=1     keylog=PATH | debugcon    console=hvc0
    mdns=1           answer to HOSTNAME.local
    trace=tcp | tcp:PORT     TCP's trace, to the debug port 0x5E9
    listening=debugcon       a line for each TCP port listened on, to the debug port 0x5EA
    forward=1        start devices so that their frames can go out by others: router, switch
    virtio_mmio.device=SIZE@BASE:LINE     may come several times; QEMU's microvm adds them

An unknown key or a bad value is reported and ignored: a machine with a typo on
its command line still boots. Not implemented: quoting; a value has no blanks.
"""

from micropython import const

from stack.net import addr, addr6

_HOSTNAME_MAX = const(63)  # one DNS label (RFC 1035, section 2.3.4)
_SERVERS_MAX = const(4)
_VIRTIO_MMIO_MAX = const(32)  # microvm has 24 places


class Addresses:
    """What is said of one interface."""

    def __init__(self, ip, ip6):
        self.ip = ip  # "dhcp", "none" or "static"
        self.address = 0  # with "static": the address, an int
        self.prefix = 0
        self.gateway = 0
        self.ip6 = ip6  # "auto", "none", or ADDR/LEN
        self.wait6 = False  # IPv6 was asked for in so many words: a boot without IPv4 waits
        self.gateway6 = ""


class Config(Addresses):
    """What the command line says; attributes hold defaults where it says nothing."""

    def __init__(self):
        super().__init__("dhcp", "auto")
        self.others = {}  # interface name -> Addresses
        self.dns = []  # ints
        self.dns6 = []  # 16 bytes each
        self.hostname = "barewire"
        self.main = ""
        self.exit = False
        self.console = 0  # the UART that has the prompt as well: 1 for hvc0
        self.forward = False
        self.mdns = False
        self.virtio_mmio = []  # (base, line) each
        self.keylog = ""  # where TLS keys are written to
        self.listening = False
        self.trace = -1  # the port whose connections are traced, 0 for all, -1 for none


def parse(cmdline):
    """Read a command line. Returns (Config, complaints), complaints a list of lines."""
    c = Config()
    complaints = []
    for n, word in enumerate(cmdline.split()):
        key, eq, value = _partition(word)
        reader = _READERS.get(key)
        of = c
        if reader is None and eq and "." in key:
            # eth1.ip=...
            i = key.rfind(".")
            if i > 0 and key[i + 1 :] in _OF_INTERFACE:
                reader = _READERS[key[i + 1 :]]
                of = c.others.get(key[:i])
                if of is None:
                    of = c.others[key[:i]] = Addresses("none", "none")
        if reader is None:
            # A multiboot loader passes the file's own name first.
            if n or eq or "/" not in word:
                complaints.append("command line: unknown key %r ignored" % key)
        elif not eq or not reader(of, value):
            complaints.append("command line: bad value %r for %s ignored" % (value, key))
    return c, complaints


def _partition(word):
    i = word.find("=")
    if i < 0:
        return word, "", ""
    return word[:i], "=", word[i + 1 :]


def ip4(text):
    """An IPv4 address as an int, or -1 if it is none."""
    try:
        return addr.parse(text)
    except ValueError:
        return -1


def ip6(text):
    """The 16 bytes of an IPv6 address, or None if it is none. A zone is refused."""
    try:
        raw, zone = addr6.parse(text)
    except ValueError:
        return None
    return None if zone else raw


def split6(text):
    """(16 bytes, prefix length) of ADDR/LEN for a host, or None."""
    i = text.find("/")
    raw = ip6(text[:i]) if i > 0 else None
    n = number(text[i + 1 :], 128)
    if raw is None or n < 1 or addr6.is_multicast(raw) or addr6.is_unspecified(raw):
        return None
    return raw, n


def number(text, most):
    """A decimal number from 0 to `most`, or -1. No sign, blank or needless zero in front."""
    if not text or len(text) > 10 or (text[0] == "0" and len(text) > 1):
        return -1
    n = 0
    for ch in text:
        if not "0" <= ch <= "9":
            return -1
        n = n * 10 + ord(ch) - 48
    return n if n <= most else -1


def hostname_ok(text):
    """True for one label of letters, digits and inner hyphens (RFC 1123, section 2.1)."""
    if not 0 < len(text) <= _HOSTNAME_MAX or text[0] == "-" or text[-1] == "-":
        return False
    for ch in text:
        if not ("a" <= ch <= "z" or "A" <= ch <= "Z" or "0" <= ch <= "9" or ch == "-"):
            return False
    return True


# One reader a key: store the value and return True, or return False for a bad one.


def _read_ip(c, value):
    if value in ("dhcp", "none", "linklocal"):
        c.ip = value
        return True
    i = value.find("/")
    address = ip4(value[:i]) if i >= 0 else -1
    prefix = number(value[i + 1 :], 32)
    if not addr.usable(address) or prefix < 1:
        return False
    c.ip = "static"
    c.address = address
    c.prefix = prefix
    return True


def _read_gateway(c, value):
    address = ip4(value)
    if not addr.usable(address):
        return False
    c.gateway = address
    return True


def _read_dns(c, value):
    four = []
    six = []
    for part in value.split(","):
        if ":" in part:
            raw = ip6(part)
            if raw is None or addr6.is_multicast(raw):
                return False
            six.append(raw)
        else:
            a = ip4(part)
            if not addr.usable(a):
                return False
            four.append(a)
    if len(four) + len(six) > _SERVERS_MAX:
        return False
    c.dns = four
    c.dns6 = six
    return True


def _read_ip6(c, value):
    if value not in ("auto", "none") and split6(value) is None:
        return False
    c.ip6 = value
    c.wait6 = value != "none"
    return True


def _read_gateway6(c, value):
    raw = ip6(value)
    if raw is None or addr6.is_multicast(raw):
        return False
    c.gateway6 = value
    return True


def _read_hostname(c, value):
    if not hostname_ok(value):
        return False
    c.hostname = value
    return True


def _read_main(c, value):
    for part in value.split("."):
        if not part or not all([ch == "_" or ch.isalpha() or ch.isdigit() for ch in part]):
            return False
    c.main = value
    return True


def _read_forward(c, value):
    if value not in ("0", "1"):
        return False
    c.forward = value == "1"
    return True


def _read_mdns(c, value):
    if value not in ("0", "1"):
        return False
    c.mdns = value == "1"
    return True


def _read_exit(c, value):
    if value not in ("0", "1"):
        return False
    c.exit = value == "1"
    return True


def _read_console(c, value):
    n = number(value[3:], 63) if value[:3] == "hvc" else -1
    c.console = n + 1
    return n >= 0


def _read_virtio_mmio(c, value):
    """SIZE@BASE:LINE[:ID] as Linux has it; SIZE may end with K."""
    at = value.find("@")
    parts = value[at + 1 :].split(":")
    if at < 1 or not 2 <= len(parts) <= 3 or len(c.virtio_mmio) >= _VIRTIO_MMIO_MAX:
        return False
    size = value[:at]
    try:
        n = int(size[:-1]) << 10 if size[-1] in "kK" else int(size, 0)
        base, line = int(parts[0], 0), int(parts[1], 0)
    except ValueError:
        return False
    # Room for all registers (virtio 1.2, 4.2.2), within what an address can be.
    if n <= 0x100 or base <= 0 or base & 3 or base >> 52 or not 0 <= line < 256:
        return False
    c.virtio_mmio.append((base, line))
    return True


def _read_keylog(c, value):
    if value != "debugcon" and value[:1] != "/":
        return False
    c.keylog = value
    return True


def _read_listening(c, value):
    c.listening = value == "debugcon"
    return c.listening


def _read_trace(c, value):
    if value == "tcp":
        c.trace = 0
        return True
    port = number(value[4:], 65535) if value[:4] == "tcp:" else -1
    if port > 0:
        c.trace = port
    return port > 0


_OF_INTERFACE = ("ip", "gw", "ip6", "gw6")
_READERS = {
    "ip": _read_ip,
    "gw": _read_gateway,
    "dns": _read_dns,
    "ip6": _read_ip6,
    "gw6": _read_gateway6,
    "hostname": _read_hostname,
    "main": _read_main,
    "exit": _read_exit,
    "console": _read_console,
    "forward": _read_forward,
    "mdns": _read_mdns,
    "virtio_mmio.device": _read_virtio_mmio,
    "keylog": _read_keylog,
    "listening": _read_listening,
    "trace": _read_trace,
}
