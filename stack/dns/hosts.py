"""Names that need no server: literal addresses, localhost (RFC 6761), /etc/hosts."""

from stack.dns.message import AAAA, A


def literal(name):
    """(type, text) if the name is an address already, else None. IPv4 only in dotted form."""
    parts = name.split(".")
    if len(parts) == 4 and all(p.isdigit() and len(p) < 4 and int(p) < 256 for p in parts):
        return A, ".".join([str(int(p)) for p in parts])
    if ":" in name:
        return AAAA, name.lower()
    return None


def parse(text):
    """Read /etc/hosts: lower-case name -> [(type, address)]. Bad lines are skipped."""
    table = {}
    for line in text.split("\n"):
        i = line.find("#")
        words = (line if i < 0 else line[:i]).split()
        found = literal(words[0]) if words else None
        if found:
            for name in words[1:]:
                table.setdefault(name.lower(), []).append(found)
    return table


def lookup(table, name, type):
    """The addresses that a name has without asking: a list, or None when it must be asked for.

    name: lower case, no final dot.
    """
    found = literal(name)
    if found:
        return [found[1]] if found[0] == type else []
    local = name == "localhost" or name.endswith(".localhost")
    if name in table:
        listed = [text for t, text in table[name] if t == type]
        if listed or not local:
            return listed
    # RFC 6761, section 6.3: "Name resolution APIs ... SHOULD recognize localhost names as
    # special and SHOULD always return the IP loopback address".
    if local:
        return ["127.0.0.1"] if type == A else ["::1"] if type == AAAA else []
    return None
