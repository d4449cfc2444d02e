"""Trusted certificates: `find(form) -> list of Certificates`, by a subject's canonical form.

`Roots` holds them in memory. `RootFile` finds them in a PEM file by an index
made when the image is built, and reads only those that a handshake needs.

The index is a row of entries, ascending, 16 bytes each:

    8 bytes   the first of SHA-256 over the canonical subject
    4 bytes   where the base64 begins in the file, big-endian
    4 bytes   how long it is
"""

from binascii import a2b_base64

from stack.crypto.sha2 import Sha256
from stack.tls.x509.certificate import Certificate

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"


def pem_spans(data):
    """List of (start, end) of the base64 of each certificate in a PEM file's bytes."""
    out = []
    at = 0
    while True:
        at = data.find(_BEGIN, at)
        if at < 0:
            return out
        start = at + len(_BEGIN)
        end = data.find(_END, start)
        if end < 0:
            raise ValueError("PEM: no end of a certificate")
        out.append((start, end))
        at = end


def pem_certificates(data):
    """List of DER of the certificates in PEM text or bytes, or of one in DER."""
    if isinstance(data, str):
        data = data.encode()
    data = bytes(data)
    if data[:1] == b"\x30":
        return [data]
    return [a2b_base64(data[start:end]) for start, end in pem_spans(data)]


def _hash(form):
    return Sha256(form).digest()[:8]


class Roots:
    """Certificates in memory; `add` takes PEM (any number) or DER."""

    def __init__(self, data=None):
        self._by_form = {}
        self.count = 0
        if data:
            self.add(data)

    def add(self, data):
        """How many were added. CertificateError for a malformed one, ValueError for no PEM."""
        ders = pem_certificates(data)
        for raw in ders:
            c = Certificate(raw)
            self._by_form.setdefault(c.subject_form(), []).append(c)
        self.count += len(ders)
        return len(ders)

    def find(self, form):
        return self._by_form.get(form, ())


class RootFile:
    """The roots of a PEM file. read(offset, n) -> bytes; index: bytes of `make_index`."""

    def __init__(self, read, index):
        self._read = read
        self._index = index
        self.count = len(index) // 16

    def find(self, form):
        want = _hash(form)
        index = self._index
        low, high = 0, self.count
        while low < high:
            mid = (low + high) // 2
            if bytes(index[16 * mid : 16 * mid + 8]) < want:
                low = mid + 1
            else:
                high = mid
        out = []
        while low < self.count and bytes(index[16 * low : 16 * low + 8]) == want:
            at = int.from_bytes(bytes(index[16 * low + 8 : 16 * low + 12]), "big")
            n = int.from_bytes(bytes(index[16 * low + 12 : 16 * low + 16]), "big")
            c = Certificate(a2b_base64(self._read(at, n)))
            if c.subject_form() == form:
                out.append(c)
            low += 1
        return out


class Several:
    """Stores looked into one after the other."""

    def __init__(self, stores):
        self._stores = stores

    def find(self, form):
        out = []
        for s in self._stores:
            out.extend(s.find(form))
        return out


def make_index(pem):
    """The index of a PEM file's bytes. For the build."""
    entries = []
    for start, end in pem_spans(pem):
        c = Certificate(a2b_base64(pem[start:end]))
        at = start.to_bytes(4, "big") + (end - start).to_bytes(4, "big")
        entries.append(_hash(c.subject_form()) + at)
    entries.sort()
    return b"".join(entries)
