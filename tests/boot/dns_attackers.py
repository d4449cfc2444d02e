"""Hostile name servers for tests/boot/test_resolver_attacks.py, written with dnspython.

Each is a TLD of the made-up internet's root on an address of its own, and keeps count of what
it is asked. `lines` goes into the root zone, so that they are delegated to (and `trap.` signed).
"""

import random
import socket
import struct
import threading
import time

import dns.dnssec
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EVIL = "6.6.6.6"
GOOD = "192.0.2.1"
FORGED = 600  # for each question
# Names of servers that nxns. names for each of its delegations.
NXNS = 120
KEYS = 150


def reply(query, answer=(), authority=(), additional=(), rcode=0):
    m = dns.message.make_response(query)
    m.flags |= dns.flags.AA
    m.set_rcode(rcode)
    m.answer, m.authority, m.additional = list(answer), list(authority), list(additional)
    return m


def rrs(name, rdtype, *texts, ttl=300):
    return dns.rrset.from_text(name, ttl, "IN", rdtype, *texts)


def soa(zone):
    return rrs(zone, "SOA", f"ns.{zone} r.{zone} 1 900 300 9000 60")


class Hostile:
    """A server at `ip`: UDP and TCP on port 53, in threads. `asked`: (name, type, "udp"/"tcp")."""

    zone = "."

    def __init__(self, host, ip):
        self.host, self.ip, self.asked = host, ip, []
        self.ports, self.ids = [], []  # of the datagrams that came
        self.connections = 0
        self._open = True
        self.udp = host.socket(kind=socket.SOCK_DGRAM)
        self.udp.bind((ip, 53))
        self.tcp = host.socket(kind=socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((ip, 53))
        self.tcp.listen(64)
        for run in (self._datagrams, self._streams):
            threading.Thread(target=run, daemon=True).start()

    def close(self):
        self._open = False
        for s in (self.udp, self.tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def count(self, transport=None):
        return sum(transport in (None, t) for _, _, t in list(self.asked))

    def _note(self, data, transport):
        query = dns.message.from_wire(data)
        q = query.question[0]
        self.asked.append((q.name.to_text().lower(), dns.rdatatype.to_text(q.rdtype), transport))
        return query

    def _datagrams(self):
        while self._open:
            try:
                data, peer = self.udp.recvfrom(4096)
                if not data:
                    return  # closed
                self.ports.append(peer[1])
                self.ids.append(data[0] << 8 | data[1])
                for out in self.datagrams(self._note(data, "udp"), data):
                    self.udp.sendto(out, peer)
            except OSError:
                if not self._open:
                    return

    def _streams(self):
        while self._open:
            try:
                s, _ = self.tcp.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._stream, args=(s,), daemon=True).start()

    def _stream(self, s):
        try:
            with s, s.makefile("rb") as f:
                while len(head := f.read(2)) == 2:
                    query = self._note(f.read(struct.unpack(">H", head)[0]), "tcp")
                    if not self.stream(s, query):
                        return
        except OSError:
            pass

    # What is to be overridden.

    def answer(self, query, name):
        return reply(query, [rrs(name, "A", GOOD)])

    def datagrams(self, query, data):
        out = self.answer(query, query.question[0].name.to_text()).to_wire(max_size=65535)
        if len(out) > 1232:
            m = reply(query)
            m.flags |= dns.flags.TC
            out = m.to_wire()
        yield out

    def stream(self, s, query):
        """Answer on a connection; false: it is closed then."""
        out = self.answer(query, query.question[0].name.to_text()).to_wire(max_size=65535)
        s.sendall(struct.pack(">H", len(out)) + out)
        return True


class Flood(Hostile):
    """Before the answer come hundreds that are not: the forger knows address, port and letters,
    and guesses ids; or has the id and not the letters, the question or the cookie."""

    zone = "flood."

    def __init__(self, host, ip, beside):
        super().__init__(host, ip)
        self.forged = 0
        # The right address with another port, and the right port of another address.
        self.others = [host.socket(kind=socket.SOCK_DGRAM) for _ in range(2)]
        self.others[0].bind((ip, 5353))
        self.others[1].bind((beside, 53))
        self.random = random.Random(5452)

    def _datagrams(self):
        while self._open:
            try:
                data, peer = self.udp.recvfrom(4096)
                if not data:
                    return  # closed
                query = self._note(data, "udp")
                bad = self.answer(query, query.question[0].name.to_text())
                bad.answer = [rrs(query.question[0].name.to_text(), "A", EVIL, ttl=86400)]
                bad = bad.to_wire()
                for out in self._forgeries(data, bad):
                    self.udp.sendto(out, peer)
                    self.forged += 1
                for s in self.others:
                    s.sendto(data[:2] + bad[2:], peer)
                    self.forged += 1
                for out in self.datagrams(query, data):
                    self.udp.sendto(out, peer)
            except OSError:
                if not self._open:
                    return

    def _forgeries(self, data, bad):
        true = data[:2]
        m = dns.message.from_wire(bad)
        m.use_edns(0, options=[dns.edns.GenericOption(10, bytes(16))])
        cookie = m.to_wire()[:-16]
        for i in range(FORGED):
            kind = i % 10
            if kind == 0:
                # The id, and a letter in another case.
                out = bytearray(bad)
                at = next(k for k in range(13, len(out)) if chr(out[k]).isalpha())
                out[at] ^= 0x20
            elif kind == 1:
                out = bytearray(bad)
                out[13] = out[13] % 26 + 97 if chr(out[13]) != "q" else 122
                if out[13] == bad[13]:
                    out[13] = 48
            elif kind == 2:
                out = cookie + self.random.randbytes(16)
            elif kind == 3:
                out = bad[: self.random.randrange(12)]
            else:
                guess = true
                while guess == true:
                    guess = self.random.randbytes(2)
                out = guess + bad[2:]
            yield bytes(out)


class Bailiwick(Hostile):
    """Says more than it was asked, of zones that are not its own."""

    zone = "bail."
    evil = ""  # an address that would be asked if it were believed

    def answer(self, query, name):
        extra = [rrs("www.ed.aa.", "A", EVIL), rrs("fresh.wild.ed.aa.", "A", EVIL)]
        authority = [rrs("aa.", "NS", "ns.evil.bail."), rrs("ed.aa.", "NS", "ns.evil.bail.")]
        glue = [rrs("ns.evil.bail.", "A", self.evil), rrs("ns0.aa.", "A", self.evil),
                rrs("ns0.ed.aa.", "A", self.evil), rrs("ns0.", "A", self.evil)]  # fmt: skip
        if name.lower().startswith("alias"):
            i = name.split(".")[0].lower()
            target = f"{i}.wild.p256.aa."
            return reply(query, [rrs(name, "CNAME", target), rrs(target, "A", EVIL)],
                         authority, glue)  # fmt: skip
        return reply(query, [rrs(name, "A", GOOD), *extra], authority, glue)


class Nxns(Hostile):
    """Delegates every name to a hundred servers elsewhere, without addresses (CVE-2020-12662)."""

    zone = "nxns."

    def answer(self, query, name):
        label = name.lower().split(".")[-3]
        names = [f"n{i}.{label}.victim." for i in range(NXNS)]
        m = reply(query, (), [rrs(f"{label}.nxns.", "NS", *names)])
        m.flags &= ~dns.flags.AA
        return m


class Victim(Hostile):
    zone = "victim."

    def answer(self, query, name):
        return reply(query, (), [soa("victim.")], rcode=dns.rcode.NXDOMAIN)


class Trap(Hostile):
    """CVE-2023-50387: keys of one tag, each a point of the curve, signatures that none made."""

    zone = "trap."

    def __init__(self, host, ip, keys):
        super().__init__(host, ip)
        self.keys = keys

    def answer(self, query, name):
        q = query.question[0]
        if q.rdtype == dns.rdatatype.DNSKEY:
            return reply(query, [self.keys.rrset, self.keys.signed])
        a = rrs(name, "A", EVIL)
        good = dns.dnssec.sign(a, self.keys.private, dns.name.from_text("trap."),
                               self.keys.own, lifetime=86400)  # fmt: skip
        sigs = dns.rrset.RRset(a.name, a.rdclass, dns.rdatatype.RRSIG)
        for i in range(100):
            sigs.add(good.replace(signature=bytes([i]) + good.signature[1:-1] + b"\x01"), 300)
        return reply(query, [a, sigs])


class Keys:
    """The trap's keys: one that signs, and those that share its tag."""

    def __init__(self):
        self.private = Ed25519PrivateKey.generate()
        self.own = dns.dnssec.make_dnskey(self.private.public_key(), "ED25519", flags=257)
        tag = dns.dnssec.key_id(self.own)
        keys = [self.own]
        while len(keys) < KEYS:
            raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
            k = self.own.replace(key=raw)
            # A tag is a sum of 16-bit words: the first of the key makes up for the rest.
            word = int.from_bytes(raw[:2], "big") + tag - dns.dnssec.key_id(k) & 0xFFFF
            k = self.own.replace(key=word.to_bytes(2, "big") + raw[2:])
            if dns.dnssec.key_id(k) == tag:
                keys.append(k)
        self.rrset = dns.rrset.from_rdata_list("trap.", 300, keys)
        sig = dns.dnssec.sign(self.rrset, self.private, dns.name.from_text("trap."), self.own,
                              lifetime=86400)  # fmt: skip
        self.signed = dns.rrset.from_rdata_list("trap.", 300, [sig])
        self.ds = dns.dnssec.make_ds("trap.", self.own, "SHA256").to_text()


class Loops(Hostile):
    """Aliases in circles, and one that never ends."""

    zone = "loop."

    def answer(self, query, name):
        label = name.lower().split(".")[0]
        if label == "self":
            target = "self.loop."
        elif label in ("one", "two"):
            target = ("two" if label == "one" else "one") + ".loop."
        else:
            target = f"n{int(label[1:]) + 1}.loop."
        return reply(query, [rrs(name, "CNAME", target)])


class Pointers(Hostile):
    """Compression that goes round, forward, or out of the message."""

    zone = "ptr."

    def datagrams(self, query, data):
        end = query.to_wire(max_size=4096)
        qend = 12 + len(query.question[0].name.to_wire()) + 4
        head = end[:2] + b"\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + data[12:qend]
        rest = b"\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\x06\x06\x06\x06"
        label = query.question[0].name.to_text().lower().split(".")[0]
        here = struct.pack(">H", 0xC000 | qend)
        if label == "self":
            yield head + here + rest
        elif label == "forward":
            yield head + struct.pack(">H", 0xC000 | qend + 16) + rest + b"\x00"
        elif label == "out":
            yield head + b"\xff\xff" + rest
        elif label == "round":
            yield head + b"\x01a" + here + rest
        else:
            # In the data of an alias: to itself.
            at = struct.pack(">H", 0xC000 | qend + 12)
            yield head + b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x02" + at


class Slow(Hostile):
    """Nothing fits into a datagram, and then TCP: never, byte by byte, cut off, of another id."""

    zone = "slow."

    def datagrams(self, query, data):
        m = reply(query)
        m.flags |= dns.flags.TC
        yield m.to_wire()

    def stream(self, s, query):
        out = self.answer(query, query.question[0].name.to_text()).to_wire()
        framed = struct.pack(">H", len(out)) + out
        how = query.question[0].name.to_text().lower().rstrip("0123456789.slow").split(".")[0]
        how = how.rstrip("0123456789")
        if how == "never":
            return True
        if how == "drip":
            for i in range(len(framed)):
                s.sendall(framed[i : i + 1])
                time.sleep(1)  # what is tested is a server that is this slow
        elif how == "half":
            s.sendall(framed[: len(framed) // 2])
        elif how == "id":
            for i in range(200):
                s.sendall(framed[:2] + bytes([out[0] ^ 1 + i % 255]) + framed[3:])
            return True
        return False


class Mute(Hostile):
    """Hears, and never says a word."""

    zone = "mute."

    def datagrams(self, query, data):
        return ()

    def stream(self, s, query):
        return True


class Late(Hostile):
    """What it says comes by TCP, all of it in the reverse order of the questions."""

    zone = "late."

    def __init__(self, host, ip):
        super().__init__(host, ip)
        self.most = 0

    def datagrams(self, query, data):
        m = reply(query)
        m.flags |= dns.flags.TC
        yield m.to_wire()

    def _stream(self, s):
        held, buf = [], b""
        try:
            with s:
                while True:
                    s.settimeout(0.3 if held else None)
                    try:
                        if not (data := s.recv(65536)):
                            return
                        buf += data
                    except TimeoutError:
                        # No further question for now.
                        for out in reversed(held):
                            s.sendall(struct.pack(">H", len(out)) + out)
                        held = []
                    while len(buf) >= 2 and len(buf) >= 2 + (n := buf[0] << 8 | buf[1]):
                        query = self._note(buf[2 : 2 + n], "tcp")
                        buf = buf[2 + n :]
                        held.append(self.answer(query, query.question[0].name.to_text()).to_wire())
                        self.most = max(self.most, len(held))
        except OSError:
            pass
