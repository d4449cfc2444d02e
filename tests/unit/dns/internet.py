"""A made-up internet: signed zones on servers that answer as RFC 1034, 4035 and 5155 say.

No sockets: `Internet.ask(address, message)` gives the answer's bytes or None (silence), and
`run(recursor, name, type)` drives a question through it on a virtual clock. Zones are signed
here with stack/crypto, so all of it runs in the guest too. `spoil` hooks of a zone change
what is about to be signed or sent.
"""

from stack.crypto import ed25519
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha384
from stack.dns import dnssec, packet, rdata
from stack.dns import name as _name
from stack.dns.denial import nsec3_hash
from stack.dns.name import to_wire
from stack.dns.packet import AA, Edns, Rrset
from stack.dns.rdata import (
    CNAME,
    DNAME,
    DNSKEY,
    DS,
    NS,
    NSEC,
    NSEC3,
    NSEC3PARAM,
    RRSIG,
    SOA,
    A,
)
from stack.dns.recursor import Recursor

NOW = 1_800_000_000  # unix time of these tests
TTL = 300


def u16(v):
    return bytes((v >> 8, v & 255))


def u32(v):
    return u16(v >> 16) + u16(v & 0xFFFF)


def addr(text):
    return bytes([int(x) for x in text.split(".")])


# Signatures made already: the same zones are made for test after test.
_SIGNED = {}


class Key:
    """A zone's only key, both KSK and ZSK."""

    def __init__(self, algorithm, seed):
        self.algorithm = algorithm
        secret = Sha256.of(seed)
        if algorithm == dnssec.ED25519:
            self._secret = secret
            public = ed25519.public(secret)
        else:
            self._curve = P256 if algorithm == dnssec.ECDSAP256 else P384
            self._secret = int.from_bytes(secret, "big") % (self._curve.n - 1) + 1
            public = self._curve.public(self._secret)[1:]
        self.rdata = u16(257) + bytes((3, algorithm)) + public
        self.tag = dnssec.key_tag(self.rdata)

    def sign(self, data):
        made = _SIGNED.get((self.rdata, data))
        if made is None:
            made = _SIGNED[(self.rdata, data)] = self._sign(data)
        return made

    def _sign(self, data):
        if self.algorithm == dnssec.ED25519:
            return ed25519.sign(self._secret, data)
        hash_class = Sha256 if self.algorithm == dnssec.ECDSAP256 else Sha384
        r, s = self._curve.sign(self._secret, hash_class.of(data))
        n = self._curve.size
        return r.to_bytes(n, "big") + s.to_bytes(n, "big")

    def ds(self, owner, digest=2):
        h = dnssec.DIGESTS[digest].of(owner + self.rdata)
        return u16(self.tag) + bytes((self.algorithm, digest)) + h


class Zone:
    """`sets`: (name, type) -> Rrset. `mode`: "nsec", "nsec3", "optout" or None (unsigned)."""

    def __init__(self, net, name, addresses, algorithm=dnssec.ED25519, mode="nsec", iterations=0):
        self.net = net
        self.name = to_wire(name)
        self.addresses = addresses
        self.mode = mode
        self.iterations = iterations
        self.sets = {}
        self.key = Key(algorithm, b"key of " + self.name) if mode else None
        self.begins, self.expires = NOW - 1000, NOW + 100000
        self._proofs = None
        self.spoil = None  # spoil(zone, packet parts) just before it is sent
        self.unsigned = set()  # (name, type) left without signature
        for i in range(len(addresses)):
            ns = to_wire("ns%d" % i) [:-1] + self.name
            self.put(self.name, NS, ns)
            self.put(ns, A, addr(addresses[i]))
        self.put(self.name, SOA, b"\x02ns" + self.name + b"\x01r" + self.name
                 + b"".join([u32(v) for v in (1, 900, 300, 9000, 60)]))  # fmt: skip
        if self.key is not None:
            self.put(self.name, DNSKEY, self.key.rdata)
            if mode != "nsec":
                self.put(self.name, NSEC3PARAM, b"\x01\x00" + u16(iterations) + b"\x01\xab")

    def put(self, name, type, *data):
        if isinstance(name, str):
            name = to_wire(name) if name.endswith(".") else to_wire(name)[:-1] + self.name
        s = self.sets.get((name, type))
        if s is None:
            s = self.sets[(name, type)] = Rrset(name, type, TTL)
        for d in data:
            if d not in s.data:
                s.data.append(d)
        self._proofs = None
        return s

    def delegate(self, child, glue=True, ds=None):
        """Add NS, glue and, where the child is signed, DS of a Zone."""
        for i in range(len(child.addresses)):
            ns = to_wire("ns%d" % i)[:-1] + child.name
            self.put(child.name, NS, ns)
            if glue:
                self.put(ns, A, addr(child.addresses[i]))
        if ds is not None:
            self.put(child.name, DS, *ds)
        elif child.key is not None:
            self.put(child.name, DS, child.key.ds(child.name))

    # What exists.

    def cut(self, name):
        """The delegation at or above a name, or None."""
        found = None
        n = name
        while n != self.name:
            if (n, NS) in self.sets:
                found = n
            n = _name.parent(n)
        return found

    def names(self):
        """Names with data of ours, and empty ones above them."""
        out = set()
        for name, _type in self.sets:
            c = self.cut(name)
            if c is not None and name != c:
                continue  # glue
            n = name
            while True:
                out.add(n)
                if n == self.name:
                    break
                n = _name.parent(n)
        return out

    def types(self, name):
        out = [t for n, t in self.sets if n == name]
        if self.cut(name) == name:
            out = [t for t in out if t in (NS, DS)]
        return out

    # Signing.

    def sign(self, s, labels=None):
        if self.key is None or (s.name, s.type) in self.unsigned:
            return s
        if labels is None:
            labels = _name.count(s.name) - (1 if s.name[:2] == _name.WILDCARD else 0)
        head = (u16(s.type) + bytes((self.key.algorithm, labels)) + u32(s.ttl) + u32(self.expires)
                + u32(self.begins) + u16(self.key.tag) + self.name)  # fmt: skip
        s.sigs = [head + self.key.sign(dnssec.signed_data(s, head))]
        return s

    def copy(self, s):
        return self.sign(Rrset(s.name, s.type, s.ttl, list(s.data)))

    def expanded(self, wild, name):
        """The set of a wildcard, as an answer for name."""
        signed = self.copy(wild)
        return Rrset(name, wild.type, wild.ttl, signed.data, signed.sigs)

    # Proofs.

    def proofs(self):
        """Signed NSEC by owner name, or NSEC3 by hash: [(key, Rrset)] in order."""
        if self._proofs is None:
            self._proofs = self._nsec() if self.mode == "nsec" else self._nsec3()
        return self._proofs

    def _nsec(self):
        names = [n for n in self.names() if self.types(n)]
        names.sort(key=_name.order)
        out = []
        for i in range(len(names)):
            types = self.types(names[i]) + [RRSIG, NSEC]
            s = Rrset(names[i], NSEC, 60, [names[(i + 1) % len(names)] + bitmap(types)])
            out.append((_name.order(names[i]), self.sign(s)))
        return out

    def _nsec3(self):
        entries = []
        for n in self.names():
            types = self.types(n)
            if self.mode == "optout" and types == [NS]:
                continue
            if types and types != [NS]:
                types = types + [RRSIG]
            entries.append((self.hash(n), types))
        entries.sort()
        out = []
        flags = 1 if self.mode == "optout" else 0
        for i in range(len(entries)):
            h, types = entries[i]
            following = entries[(i + 1) % len(entries)][0]
            data = (bytes((1, flags)) + u16(self.iterations) + b"\x01\xab\x14" + following
                    + bitmap(types))  # fmt: skip
            label = rdata.base32hex(h).encode()
            s = Rrset(bytes((32,)) + label + self.name, NSEC3, 60, [data])
            out.append((h, self.sign(s)))
        return out

    def hash(self, name):
        return nsec3_hash(name, b"\xab", self.iterations, _Free)

    def at_or_before(self, key):
        best = None
        for k, s in self.proofs():
            if not key < k:
                best = s
        return best if best is not None else self.proofs()[-1][1]

    def proof(self, name):
        """What shows that `name` does not exist, or what there is at it."""
        if self.mode == "nsec":
            return self.at_or_before(_name.order(name))
        return self.at_or_before(self.hash(name))

    def closest(self, name):
        names = self.names()
        while name not in names:
            name = _name.parent(name)
        return name

    def deny(self, name, exists):
        """The proofs of NXDOMAIN or of NODATA for a name."""
        out = []
        if self.key is None:
            return out
        wanted = [name]
        if self.mode != "nsec":
            ce = self.closest(name)
            if ce != name:
                wanted = [ce, _name.tail(name, _name.count(ce) + 1)]
        if not exists:
            wanted.append(_name.WILDCARD + self.closest(name))
        for n in wanted:
            s = self.proof(n)
            if s not in out:
                out.append(s)
        return out

    # Answering: RFC 1034, section 4.3.2.

    def answer(self, name, type):
        """(rcode, aa, answer, authority, additional)."""
        c = self.cut(name)
        if c is not None and not (c == name and type == DS):
            return self._refer(c)
        d = name
        while d != self.name:
            d = _name.parent(d)
            s = self.sets.get((d, DNAME))
            if s is not None:
                made = Rrset(name, CNAME, s.ttl, [name[: len(name) - len(d)] + s.data[0]])
                return 0, True, [self.copy(s), made], [], []
        for t in (type, CNAME):
            s = self.sets.get((name, t))
            if s is not None:
                return 0, True, [self.copy(s)], [], []
        soa = self.copy(self.sets[(self.name, SOA)])
        if name in self.names():
            return 0, True, [], [soa] + self.deny(name, True), []
        ce = self.closest(name)
        wild = _name.WILDCARD + ce
        for t in (type, CNAME):
            s = self.sets.get((wild, t))
            if s is not None:
                closer = _name.tail(name, _name.count(ce) + 1)
                proof = [self.proof(closer)] if self.key is not None else []
                return 0, True, [self.expanded(s, name)], proof, []
        if wild in self.names():
            extra = [self.proof(wild)] if self.key is not None else []
            denied = self.deny(name, True)
            return 0, True, [], [soa] + denied + [p for p in extra if p not in denied], []
        return packet.NXDOMAIN, True, [], [soa] + self.deny(name, False), []

    def _refer(self, c):
        ns = self.sets[(c, NS)]
        authority = [ns]
        ds = self.sets.get((c, DS))
        if ds is not None:
            authority.append(self.copy(ds))
        elif self.key is not None:
            authority += self.deny(c, True)
        glue = [self.sets[(d, A)] for d in ns.data if (d, A) in self.sets]
        return 0, False, [], authority, glue


class _Free:
    """A Budget without end."""

    @staticmethod
    def hash():
        pass


def bitmap(types):
    out = b""
    for window in sorted({t >> 8 for t in types}):
        bits = bytearray(32)
        for t in types:
            if t >> 8 == window:
                bits[(t & 255) >> 3] |= 0x80 >> (t & 7)
        n = 32
        while not bits[n - 1]:
            n -= 1
        out += bytes((window, n)) + bytes(bits[:n])
    return out


class Internet:
    """Zones by server. The root is at 10.0.0.1."""

    def __init__(self, mode="nsec", algorithm=dnssec.ED25519):
        self.at = {}  # address -> [Zone, ...]
        self.dead = set()
        self.asked = []  # (address text, name text, type)
        self.now = 0
        self.hook = None  # hook(address, query Packet, answer bytes) -> answer bytes or None
        self.root = self.zone(".", ["10.0.0.1"], algorithm, mode)

    def zone(self, name, addresses, algorithm=dnssec.ED25519, mode="nsec", parent=None, **how):
        """A Zone on servers of its own, delegated by `parent`."""
        z = Zone(self, name, addresses, algorithm, mode, **how)
        for a in addresses:
            self.at.setdefault(addr(a), []).append(z)
        if parent is not None:
            parent.delegate(z)
        return z

    def ask(self, address, data):
        q = packet.read(data)
        name, type, _ = q.question
        low = name.lower()
        self.asked.append((".".join([str(b) for b in address]), _name.to_text(low), type))
        if address in self.dead or address not in self.at:
            return None
        best = None
        for z in self.at[address]:
            if _name.under(low, z.name) and (best is None or len(z.name) > len(best.name)):
                # RFC 4035, 3.1.4.1: DS is the parent's.
                if not (type == DS and z.name == low and len(self.at[address]) > 1 and low[0]):
                    best = z
        edns = Edns(do=True) if q.edns is not None else None
        if best is None:
            return packet.write(q.id, packet.QR, (name, type), edns=edns, rcode=packet.REFUSED)
        parts = list(best.answer(low, type))
        if best.spoil is not None:
            parts = list(best.spoil(best, low, type, parts) or parts)
        flags = packet.QR | (AA if parts[1] else 0)
        out = packet.write(q.id, flags, (name, type), parts[2:], edns, parts[0])
        return out if self.hook is None else self.hook(address, q, out)

    def recursor(self, **how):
        """A Recursor whose hints and anchor are this root's."""
        anchor = [self.root.key.ds(_name.ROOT)] if self.root.key is not None else []
        hints = [(b"\x03ns0\x00", [addr("10.0.0.1")])]
        return Recursor(counter_rng(), lambda: NOW + self.now // 1000000, hints, anchor, **how)

    def run(self, r, name, type="A"):
        """Drive a question to its end; the Question. Each message takes 10 ms."""
        q = r.start(to_wire(name), rdata.type_number(type), self.now)
        turns = 0
        while not q.done:
            turns += 1
            assert turns < 2000
            t = q.transmit()
            if t is None:
                self.now = q.poll_at()
                q.on_timer(self.now)
                continue
            transport, address, message = t
            self.now += 10000
            out = self.ask(address, message[2:] if transport else message)
            if out is None:
                continue
            if transport:
                q.on_stream(u16(len(out)) + out, self.now)
            else:
                q.on_datagram(out, address, self.now)
        return q


def counter_rng(seed=1):
    state = [seed]

    def rng(n):
        out = bytearray(n)
        for i in range(n):
            state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = state[0] >> 16 & 0xFF
        return bytes(out)

    return rng


def result(q):
    """("NOERROR", ["text of the last set", ...], "secure")."""
    last = q.entries[-1]
    records = []
    for s in last.answer:
        if last.alias is None and s.type == q.type:
            records += sorted([rdata.text(s.type, d) for d in s.data])
    names = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN")
    return names[q.rcode], records, q.status
