"""HPACK: header fields made small, and read again. RFC 7541.

    Encoder().encode(fields) -> bytes      Decoder().decode(data) -> fields

Fields are pairs of str in lower case; a pair is looked up as it is, so a caller who
hands the same pairs again allocates none. What a peer can make us hold: the dynamic
table (4,096 bytes by its own count, both ways) and one list of fields (`max_list`).
Not implemented: literals without indexing are always read, and only written for
what changes from message to message.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http.h2 import huffman
from stack.http.h2.fields import field_fault
from stack.http.headers import text

COMPRESSION_ERROR = const(9)

TABLE_SIZE = const(4096)  # section 4.2's default; we never announce another
_OVERHEAD = const(32)  # section 4.1, of each entry
_MAX_LIST = const(65536)
_MEMO = const(32)  # blocks of at most so many bytes
_MEMO_BLOCK = const(256)
_MAX_UPDATES = const(2)  # section 4.2: at most two size updates at the start of a block

_NAMES = (
    ":authority|:method|:method|:path|:path|:scheme|:scheme|:status|:status|:status|:status|"
    ":status|:status|:status|accept-charset|accept-encoding|accept-language|accept-ranges|accept|"
    "access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|"
    "content-encoding|content-language|content-length|content-location|content-range|"
    "content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|"
    "if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|"
    "proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
    "strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
_VALUES = "|GET|POST|/|/index.html|http|https|200|204|206|304|400|404|500||gzip, deflate"


def _static():
    names = _NAMES.split("|")
    values = _VALUES.split("|")
    values.extend([""] * (len(names) - len(values)))
    return list(zip(names, values))


STATIC = _static()  # appendix A; STATIC[0] has index 1
_STATIC_LEN = const(61)
_BY_FIELD = {f: i + 1 for i, f in enumerate(STATIC)}
_BY_NAME = {STATIC[i][0]: i + 1 for i in range(60, -1, -1)}

# Section 7.1.3: what an attacker might try to guess is never put into a table.
_NEVER = ("authorization", "proxy-authorization")
# Of little use in a table: different each time.
_VARYING = (":path", "content-length", "etag", "age", "if-none-match", "content-range")


def _raise(reason):
    raise ProtocolError(COMPRESSION_ERROR, reason)


def _size(field):
    # Characters stand for bytes: exact for ASCII, the rest is refused before it matters.
    return len(field[0].encode()) + len(field[1].encode()) + _OVERHEAD


def push_int(out, prefix, first, n):
    """Append n with a prefix of so many bits; `first` has the bits above it. Section 5.1."""
    most = (1 << prefix) - 1
    if n < most:
        out.append(first | n)
        return
    out.append(first | most)
    n -= most
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)


class Encoder:
    def __init__(self, max_size=TABLE_SIZE):
        self._entries = []  # (field, size), the oldest first
        self._first = 0  # the number of the oldest; numbers only grow
        self._fields = {}  # field -> number
        self._names = {}  # name -> number
        self._size = 0
        self._max = max_size
        self._smallest = -1  # the smallest maximum to be announced, -1 none
        self._last = None  # a list that left the table as it was, and its block
        self._last_block = b""

    def set_max_size(self, n):
        """The peer's SETTINGS_HEADER_TABLE_SIZE: no more than that is used from now on."""
        n = min(n, TABLE_SIZE)
        if n != self._max:
            # Section 4.2: "the smallest maximum table size that occurs in that interval".
            self._smallest = n if self._smallest < 0 else min(n, self._smallest)
            self._max = n
            self._evict(0)

    def encode(self, fields):
        """One field block as bytes. fields: pairs of str, names in lower case.

        The same list again must have the same fields."""
        if fields is self._last and self._smallest < 0:
            return self._last_block
        self._last = None
        before = self._first + len(self._entries)
        updated = self._smallest >= 0
        out = bytearray()
        if self._smallest >= 0:
            if self._smallest < self._max:
                push_int(out, 5, 0x20, self._smallest)
            push_int(out, 5, 0x20, self._max)
            self._smallest = -1
        for field in fields:
            i = _BY_FIELD.get(field)
            if i is not None:
                out.append(0x80 | i)
                continue
            i = self._fields.get(field)
            if i is not None:
                push_int(out, 7, 0x80, _STATIC_LEN + self._first + len(self._entries) - i)
            else:
                self._literal(out, field)
        block = bytes(out)
        if not updated and self._first + len(self._entries) == before:
            self._last = fields
            self._last_block = block
        return block

    def _literal(self, out, field):
        name = field[0]
        size = _size(field)
        if name in _NEVER:
            bits, first = 4, 0x10
        elif name in _VARYING or size > self._max // 2:
            bits, first = 4, 0
        else:
            bits, first = 6, 0x40
        i = _BY_NAME.get(name)
        if i is None:
            i = self._names.get(name)
            if i is not None:
                i = _STATIC_LEN + self._first + len(self._entries) - i
        push_int(out, bits, first, i or 0)
        if not i:
            _push_string(out, name)
        _push_string(out, field[1])
        if bits == 6:
            self._evict(size)
            number = self._first + len(self._entries)
            self._entries.append((field, size))
            self._fields[field] = self._names[name] = number
            self._size += size

    def _evict(self, room):
        while self._entries and self._size + room > self._max:
            field, size = self._entries.pop(0)
            if self._fields.get(field) == self._first:
                del self._fields[field]
            if self._names.get(field[0]) == self._first:
                del self._names[field[0]]
            self._first += 1
            self._size -= size


def _push_string(out, value):
    raw = value.encode()
    n = huffman.encoded_size(raw)
    if n < len(raw):
        push_int(out, 7, 0x80, n)
        out.extend(huffman.encode(raw))
    else:
        push_int(out, 7, 0, len(raw))
        out.extend(raw)


class Decoder:
    """`fault` after decode: None, or what is wrong with a field as HTTP/2 sees it."""

    def __init__(self, max_list=_MAX_LIST):
        self._entries = []  # (field, size, fault), the newest first
        self._size = 0
        self._max = TABLE_SIZE
        self._max_list = max_list
        self._data = b""
        self._pos = 0
        self._memo = {}  # blocks that left the table as it was, since it last changed
        self.fault = None

    def decode(self, data):
        """The fields of one whole block, pairs of str. ProtocolError(COMPRESSION_ERROR).

        The list may be given out again for the same bytes: leave it as it is."""
        hit = self._memo.get(data)
        if hit is not None:
            self.fault = hit[1]
            return hit[0]
        self._data = data
        self._pos = 0
        fields = []
        fault = None
        total = updates = 0
        changed = False
        while self._pos < len(data):
            b = data[self._pos]
            if b & 0x80:  # indexed
                field, size, wrong = self._entry(self._int(7))
                # Whole entries are shared, yet they count: the bomb of a few bytes.
                total += size
            elif b & 0xE0 == 0x20:  # section 6.3
                updates += 1
                n = self._int(5)
                if n > TABLE_SIZE or fields or updates > _MAX_UPDATES:
                    _raise("table size update where or as it must not be")
                self._max = n
                self._evict(0)
                changed = True
                continue
            else:
                indexing = b & 0x40
                i = self._int(6 if indexing else 4)
                name = self._entry(i)[0][0] if i else text(self._string())
                field = (name, text(self._string()))
                wrong = field_fault(name, field[1])
                size = _size(field)
                total += size
                if indexing:
                    changed = True
                    self._evict(size)
                    if size <= self._max:
                        self._entries.insert(0, (field, size, wrong))
                        self._size += size
            if total > self._max_list:
                _raise("header list too large")
            if wrong is not None:
                fault = wrong
            fields.append(field)
        self._data = b""
        self.fault = fault
        if changed:
            self._memo = {}
        elif len(self._memo) < _MEMO and len(data) <= _MEMO_BLOCK:
            self._memo[bytes(data)] = (fields, fault)
        return fields

    def _entry(self, i):
        if 0 < i <= _STATIC_LEN:
            return STATIC[i - 1], 64, None
        i -= _STATIC_LEN + 1
        if not 0 <= i < len(self._entries):
            _raise("no such table entry")
        return self._entries[i]

    def _evict(self, room):
        while self._entries and self._size + room > self._max:
            self._size -= self._entries.pop()[1]

    def _int(self, prefix):
        data = self._data
        pos = self._pos
        most = (1 << prefix) - 1
        n = data[pos] & most
        pos += 1
        if n == most:
            shift = 0
            while True:
                # Five bytes say more than any length or index here.
                if pos >= len(data) or shift > 28:
                    _raise("integer cut short or too long")
                b = data[pos]
                pos += 1
                n += (b & 127) << shift
                shift += 7
                if b < 128:
                    break
        self._pos = pos
        return n

    def _string(self):
        if self._pos >= len(self._data):
            _raise("string missing")
        coded = self._data[self._pos] & 0x80
        n = self._int(7)
        start = self._pos
        if n > len(self._data) - start:
            _raise("string cut short")
        self._pos = start + n
        if not coded:
            return self._data[start : start + n]
        raw = huffman.decode(self._data, start, start + n)
        if raw is None:
            _raise("bad Huffman code")
        return raw
