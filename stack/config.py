"""The kernel command line: what to configure and what to run.

    ip=dhcp | none | 10.0.0.2/24     gw=10.0.0.1      dns=10.0.0.1,10.0.0.2
    ip6=auto | none | ADDR/LEN       gw6=ADDR
    hostname=NAME    main=MODULE     exit=1     keylog=PATH | debugcon    console=hvc0
    virtio_mmio.device=SIZE@BASE:LINE     may come several times; QEMU's microvm adds them

An unknown key or a bad value is reported and ignored: a machine with a typo on
its command line still boots. Not implemented: quoting; a value has no blanks.
"""

from micropython import const

from stack.net import addr

_HOSTNAME_MAX = const(63)  # one DNS label (RFC 1035, section 2.3.4)
_SERVERS_MAX = const(4)
_VIRTIO_MMIO_MAX = const(32)  # microvm has 24 places


class Config:
    """What the command line says; attributes hold defaults where it says nothing."""

    def __init__(self):
        self.ip = "dhcp"  # "dhcp", "none" or "static"
        self.address = 0  # with "static": the address, an int
        self.prefix = 0
        self.gateway = 0
        self.dns = []  # ints
        self.ip6 = "auto"  # text; for IPv6 to read
        self.gateway6 = ""
        self.hostname = "barewire"
        self.main = ""
        self.exit = False
        self.console = 0  # the UART that has the prompt as well: 1 for hvc0
        self.virtio_mmio = []  # (base, line) each
        self.keylog = ""  # where TLS keys are written to


def parse(cmdline):
    """Read a command line. Returns (Config, complaints), complaints a list of lines."""
    c = Config()
    complaints = []
    for n, word in enumerate(cmdline.split()):
        key, eq, value = _partition(word)
        reader = _READERS.get(key)
        if reader is None:
            # A multiboot loader passes the file's own name first.
            if n or eq or "/" not in word:
                complaints.append("command line: unknown key %r ignored" % key)
        elif not eq or not reader(c, value):
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
    if value in ("dhcp", "none"):
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
    servers = [ip4(part) for part in value.split(",")]
    if len(servers) > _SERVERS_MAX or not all([addr.usable(s) for s in servers]):
        return False
    c.dns = servers
    return True


def _read_ip6(c, value):
    if value not in ("auto", "none") and not (":" in value and "/" in value):
        return False
    c.ip6 = value
    return True


def _read_gateway6(c, value):
    c.gateway6 = value
    return ":" in value


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
    "virtio_mmio.device": _read_virtio_mmio,
    "keylog": _read_keylog,
}
