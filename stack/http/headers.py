"""Header fields: an ordered list of pairs, names compared without case. RFC 9110, section 5."""


class Headers:
    """Reads like a dict (`h["Content-Type"]`, `in`, `get`, `items`); a name may come again."""

    def __init__(self, fields=()):
        self.fields = []
        if hasattr(fields, "items"):
            fields = fields.items()
        for name, value in fields:
            self.add(name, value)

    def add(self, name, value):
        if isinstance(self.fields, tuple):
            self.fields = list(self.fields)
        self.fields.append((name, value))

    def get_all(self, name):
        """Every value of a name, in order."""
        low = name.lower()
        return [v for n, v in self.fields if n.lower() == low]

    def get(self, name, default=None):
        """The value; several of one name joined by ", " (RFC 9110, section 5.3)."""
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def __getitem__(self, name):
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name, value):
        self.remove(name)
        self.add(name, value)

    def remove(self, name):
        low = name.lower()
        self.fields = [f for f in self.fields if f[0].lower() != low]

    def __contains__(self, name):
        return bool(self.get_all(name))

    def __len__(self):
        return len(self.fields)

    def __iter__(self):
        return iter(self.keys())

    def keys(self):
        return [n for n, _ in self.fields]

    def values(self):
        return [v for _, v in self.fields]

    def items(self):
        return list(self.fields)

    def __repr__(self):
        return "{" + ", ".join(["%r: %r" % f for f in self.fields]) + "}"


def shared(fields):
    """Headers over a tuple of pairs that others have too: who changes them gets his own."""
    h = Headers()
    h.fields = fields
    return h


def text(data):
    """Bytes of a header as text: UTF-8, else byte by byte as Latin-1 (RFC 9110, section 5.5)."""
    try:
        return str(data, "utf-8")
    except (UnicodeError, ValueError):
        return "".join([chr(b) for b in data])
