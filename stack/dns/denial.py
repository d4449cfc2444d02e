"""Denial of existence: what NSEC and NSEC3 records prove. RFC 4035, section 5.4; RFC 5155.

RFC 6840, section 4 (ancestor delegations), 9276 (iterations). The records' signatures have
been checked already.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.crypto.sha1 import sha1
from stack.dns import name as _name
from stack.dns import rdata as _rdata
from stack.dns.rdata import CNAME, DNAME, DS, NS, NSEC, NSEC3, SOA

# RFC 9276, section 3.2: above this a zone counts as unsigned. BIND's and unbound's figure.
MAX_ITERATIONS = const(150)


class Denial:
    """The NSEC or NSEC3 records of an answer, checked already; questions to them.

    insecure: a proof leans on NSEC3 opt-out or on too many iterations.
    """

    def __init__(self, rrsets, zone, budget, hashes=None):
        """hashes: {name: hash} of NSEC3 that are known already; new ones are added."""
        self.zone = zone
        self.insecure = False
        self.params = None  # (iterations, salt) of the NSEC3
        self._budget = budget
        self._hashes = hashes if hashes is not None else {}
        self._nsec = [s for s in rrsets if s.type == NSEC and _name.under(s.name, zone)]
        self._nsec3 = []
        for s in rrsets:
            if s.type == NSEC3 and _name.parent(s.name or b"\x00\x00") == zone:
                self._add3(s)

    def _add3(self, s):
        if len(s.data) != 1 or s.data[0][0] != 1:
            return  # RFC 5155, section 8.1: of an unknown hash: as if it were not there
        d = s.data[0]
        if d[1] & 0xFE:
            return  # section 8.2: unknown flags
        params = (d[2] << 8 | d[3], d[5 : 5 + d[4]])
        n = d[5 + d[4]]
        at = 6 + d[4]
        owner = nsec3_owner_hash(s)
        # Section 8.2: all of one proof have the same parameters.
        if owner is None or self.params is not None and self.params != params:
            return
        self.params = params
        self._nsec3.append((owner, d[at : at + n], d[at + n :], d[1] & 1))

    def any(self):
        return bool(self._nsec or self._nsec3)

    def too_many_iterations(self):
        return bool(self._nsec3) and self.params[0] > MAX_ITERATIONS

    # NSEC, RFC 4035, section 5.4

    def _matching(self, name):
        for s in self._nsec:
            if s.name == name:
                return s
        return None

    def _covering(self, name):
        """The NSEC in whose gap the name falls; not one of a parent's side of a cut above it."""
        key = _name.order(name)
        for s in self._nsec:
            owner = s.name
            following = _next_name(s)
            if _name.below(name, owner):
                types = _nsec_types(s)
                if _delegates(types) or _rdata.in_bitmap(types, DNAME):
                    continue  # RFC 6840, section 4.1; 6672, 5.3.4.1: nothing is said of below
            low = _name.order(owner)
            high = _name.order(following)
            if low < key and (key < high or following == self.zone):
                return s
        return None

    # NSEC3, RFC 5155, section 8

    def hash(self, name):
        """A name's hash by the records' parameters."""
        h = self._hashes.get(name)
        if h is None:
            h = nsec3_hash(name, self.params[1], self.params[0], self._budget)
            self._hashes[name] = h
        return h

    def _matching3(self, h):
        for e in self._nsec3:
            if e[0] == h:
                return e
        return None

    def _covering3(self, h):
        for e in self._nsec3:
            low, high = e[0], e[1]
            if (low < h < high) if low < high else (h > low or h < high):
                return e
        return None

    def _closest3(self, name):
        """(closest encloser, next closer name, the NSEC3 that covers it), or None. 8.3."""
        closer = None
        n = name
        while _name.under(n, self.zone):
            e = self._matching3(self.hash(n))
            if e is not None:
                if closer is None:
                    return n, None, None
                types = e[2]
                if _delegates(types) or _rdata.in_bitmap(types, DNAME):
                    return None
                cover = self._covering3(self.hash(closer))
                return (n, closer, cover) if cover is not None else None
            closer = n
            if not n[0]:
                break
            n = _name.parent(n)
        return None

    # What is asked

    def no_name(self, name):
        """Proved that `name` does not exist, nor a wildcard for it. RFC 4035 5.4, 5155 8.4."""
        if self._nsec3:
            if self.too_many_iterations():
                self.insecure = True
                return True
            found = self._closest3(name)
            if found is None or found[1] is None:
                return False
            if found[2][3]:
                self.insecure = True  # opt-out: an unsigned delegation may be there
            wild = _name.WILDCARD + found[0]
            return self._covering3(self.hash(wild)) is not None
        s = self._covering(name)
        if s is None or _name.below(_next_name(s), name):
            return False  # what lies below it makes it exist, if only as an empty name
        wild = _name.WILDCARD + closest(name, s)
        return self._covering(wild) is not None

    def no_type(self, name, type):
        """Proved that `name` has no records of `type`, nor an alias. RFC 5155 8.5 to 8.7."""
        if self._nsec3:
            return self._no_type3(name, type)
        s = self._matching(name)
        if s is not None:
            return _lacks(_nsec_types(s), type, name == self.zone)
        s = self._covering(name)
        if s is None:
            return False
        if _name.below(_next_name(s), name):
            return True  # an empty non-terminal
        s = self._matching(_name.WILDCARD + closest(name, s))
        return s is not None and _lacks(_nsec_types(s), type, False)

    def _no_type3(self, name, type):
        if self.too_many_iterations():
            self.insecure = True
            return True
        e = self._matching3(self.hash(name))
        if e is not None:
            return _lacks(e[2], type, name == self.zone)
        found = self._closest3(name)
        if found is None or found[1] is None:
            return False
        wild = self._matching3(self.hash(_name.WILDCARD + found[0]))
        if wild is not None:
            return _lacks(wild[2], type, False)
        if found[2][3]:
            # 8.6: DS in an opt-out span; for others the wildcard might be an unsigned name.
            self.insecure = True
            return type == DS or self._covering3(self.hash(_name.WILDCARD + found[0])) is not None
        return False

    def no_closer(self, name, labels):
        """Proved that nothing nearer to `name` than a wildcard of `labels` labels exists.

        RFC 4035, section 5.3.4; RFC 5155, section 8.8.
        """
        if self._nsec3:
            if self.too_many_iterations():
                self.insecure = True
                return True
            e = self._covering3(self.hash(_name.tail(name, labels + 1)))
            if e is not None and e[3]:
                self.insecure = True
            return e is not None
        s = self._covering(name)
        # The closest encloser that the NSEC shows must be the wildcard's parent.
        return s is not None and _name.count(closest(name, s)) <= labels

    def is_cut(self, name):
        """True if a record here shows `name` to be a delegation (NS, no SOA)."""
        s = self._matching(name)
        if s is not None:
            return _delegates(_nsec_types(s))
        if self._nsec3 and not self.too_many_iterations():
            e = self._matching3(self.hash(name))
            if e is not None:
                return _delegates(e[2])
        return False


def nsec3_hash(name, salt, iterations, budget):
    """RFC 5155, section 5, of a name in lower case: SHA-1."""
    budget.hash()
    h = sha1(name + salt)
    for _ in range(iterations):
        h = sha1(h + salt)
    return h


def _next_name(s):
    d = s.data[0]
    pos = 0
    while d[pos]:
        pos += d[pos] + 1
    return d[: pos + 1].lower()


def _nsec_types(s):
    d = s.data[0]
    pos = 0
    while d[pos]:
        pos += d[pos] + 1
    return d[pos + 1 :]


def closest(name, nsec):
    """The closest encloser of a name that falls into the gap of an NSEC. RFC 4592, 3.3.1."""
    a = _name.common(name, nsec.name)
    b = _name.common(name, _next_name(nsec))
    return a if len(a) > len(b) else b


def _delegates(types):
    return _rdata.in_bitmap(types, NS) and not _rdata.in_bitmap(types, SOA)


def _lacks(types, type, apex):
    """A bitmap says that there is neither `type` nor an alias, and is of the side to say so."""
    if _rdata.in_bitmap(types, type) or _rdata.in_bitmap(types, CNAME):
        return False
    if type == DS:
        # RFC 4035, section 5.2: the child's own NSEC cannot deny its DS; the root has none.
        return not _rdata.in_bitmap(types, SOA) or apex
    # The parent's side of a cut knows nothing but DS.
    return not _delegates(types)


def nsec3_params(s):
    """(iterations, salt) of an NSEC3 that may be used again (RFC 8198, 5.2); None with opt-out."""
    d = s.data[0]
    return None if d[0] != 1 or d[1] else (d[2] << 8 | d[3], d[5 : 5 + d[4]])


def nsec3_owner_hash(s):
    """The hash that an NSEC3 is named by, or None."""
    return _from_base32hex(s.name[1 : 1 + s.name[0]])


def _from_base32hex(text):
    """The 20 bytes of an NSEC3 owner's label, or None."""
    if len(text) != 32:
        return None
    n = 0
    for ch in text:
        if 48 <= ch <= 57:
            d = ch - 48
        elif 97 <= ch <= 118:
            d = ch - 87
        else:
            return None
        n = n << 5 | d
    return n.to_bytes(20, "big")


def well_formed(rrset):
    """False for an NSEC or NSEC3 whose fields cannot be read: it proves nothing."""
    if rrset.type != NSEC and rrset.type != NSEC3:
        return True
    try:
        for d in rrset.data:
            v = _rdata.values(rrset.type, d)
            _rdata.bitmap(v[-1])
    except (ProtocolError, IndexError):
        return False
    return len(rrset.data) == 1
