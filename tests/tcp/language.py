"""The script language: text files of cases, each a conversation with one TCP. See README.md.

`load(folder)` gives the `Case`s of a folder's *.tcp files; a `Case` has steps, which
play.py plays against the stack on a virtual clock or against a booted guest.
"""

import re
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
_TIME = re.compile(r"^([\d.]+)(us|ms|s)?$")
_UNIT = {"us": 1, "ms": 1_000, "s": 1_000_000, None: 1_000_000}
_CASE = re.compile(r"^case ([a-z0-9-]+)(?::\s*(.*))?$")
_ID = re.compile(r"^(MUST|SHLD|MAY|REC)-\d+$|^RFC\d+(-[\w.]+)?$")

# What a case may say about itself before its first step.
_HEADER = ("each", "virtual", "guest", "four", "host", "irs", "iss")


class ScriptError(Exception):
    """A file is not in the language; the text says where."""


class Case:
    """name, ids (what it shows), text (a sentence), file, line, steps; and what it asks for:
    host (options of the host), irs, iss ("own": what the stack chooses), virtual, guest (why
    it is played only there, or None), four (why over IPv4 only, or None)."""

    def __init__(self, name, ids, file, line):
        self.name, self.ids, self.file, self.line = name, ids, file, line
        self.text = ""
        self.steps = []
        self.host = {}
        self.irs = self.iss = None
        self.virtual = self.guest = self.four = None

    @property
    def id(self):
        return f"{self.file.stem}/{self.name}"

    @property
    def six(self):
        """Whether it can be played over IPv6, which has no broadcast and no such options."""
        if self.four is not None:
            return False
        segments = [s.args for s in self.steps if isinstance(s.args, Segment)]
        words = [w for s in self.steps if isinstance(s.args, list) for w in s.args]
        words += [w for g in segments for w in (g.src, g.dst)]
        return "broadcast" not in words and not any(g.ipopt for g in segments)


class Step:
    """One line: kind, what it says, its place; after: (earliest, latest) us, or None."""

    def __init__(self, kind, args, after, file, line, text):
        self.kind, self.args, self.after = kind, args, after
        self.file, self.line, self.text = file, line, text

    def __str__(self):
        return f"{self.file.name}:{self.line}: {self.text}"


class Segment:
    """A segment line: fields are expressions as text, None where the line says nothing."""

    def __init__(self):
        self.flags = ""
        self.seq = self.end = self.ack = self.win = self.urg = None
        self.options = None  # None: nothing said; else a list of (name, [arguments])
        self.words = set()  # corrupt, nots, ...
        self.src = self.dst = self.port = self.tos = self.ttl = self.off = self.ipopt = None


def time_us(text):
    """Microseconds of "40ms", "1.5s" or "2"."""
    m = _TIME.match(text)
    if not m:
        raise ValueError(f"no time: {text}")
    return round(float(m[1]) * _UNIT[m[2]])


def segment(text):
    """A Segment of "FLAGS [SEQ[:END]] [ack N] [win N] [urg N] [<OPTIONS>] [WORDS]"."""
    g = Segment()
    m = re.search(r"<(.*)>", text)
    if m:
        g.options = [_option(o) for o in m[1].split(",") if o.strip()]
        text = text[: m.start()] + text[m.end() :]
    words = text.split()
    g.flags = words.pop(0).replace("-", "")
    if set(g.flags) - set("FSRPAUEC*"):
        raise ValueError(f"no flags: {g.flags}")
    if words and words[0] not in _FIELDS and words[0] not in _WORDS:
        g.seq, _, g.end = words.pop(0).partition(":")
        if g.end.startswith("+"):
            g.end = f"({g.seq}){g.end}"
        g.seq = None if g.seq == "*" else g.seq
    while words:
        w = words.pop(0)
        if w in _FIELDS:
            setattr(g, _FIELDS[w], words.pop(0))
        elif w in _WORDS:
            g.words.add(w)
        else:
            raise ValueError(f"what is {w!r}?")
    return g


_FIELDS = {
    "ack": "ack", "win": "win", "urg": "urg", "from": "src", "to": "dst", "port": "port",
    "tos": "tos", "ttl": "ttl", "off": "off", "ipopt": "ipopt",
}  # fmt: skip
_WORDS = ("corrupt", "nots", "short")


def _option(text):
    words = text.split()
    return words[0], words[1:]


_SEGMENT = re.compile(r"^(<|>\??)\s+(.*)$")
_SEGMENT_KINDS = {"<": "inject", ">": "expect", ">?": "perhaps"}


def _step(text, file, line):
    after = None
    body = text
    if body.startswith("+"):
        when, _, body = body[1:].partition(" ")
        low, _, high = when.partition("..")
        after = (time_us(low), time_us(high or low))
        body = body.strip()
    m = _SEGMENT.match(body)
    if m:
        return Step(_SEGMENT_KINDS[m[1]], segment(m[2]), after, file, line, text)
    kind, _, rest = body.partition(" ")
    if kind == "check":
        return Step(kind, rest.strip(), after, file, line, text)
    return Step(kind, rest.split(), after, file, line, text)


class _Draft:
    """The lines of one case, before its `each` is multiplied out."""

    def __init__(self, name, ids, file, line):
        self.name, self.ids, self.file, self.line = name, ids, file, line
        self.lines = []
        self.each = []  # (names, [values])

    def cases(self):
        rows = [((), {})]
        for names, values in self.each:
            unique = len({v[0] for v in values}) == len(values)
            rows = [
                ((*tag, v[0] if unique else " ".join(v)), {**known, **dict(zip(names, v))})
                for tag, known in rows
                for v in values
            ]
        return [self._case(tag, known) for tag, known in rows]

    def _case(self, tag, known):
        slug = ",".join(re.sub(r"[^A-Za-z0-9+.-]+", "-", t.strip("<> ")) for t in tag)
        case = Case(self.name + (f"[{slug}]" if slug else ""), self.ids, self.file, self.line)
        for line, text in self.lines:
            for name in sorted(known, key=len, reverse=True):
                text = text.replace("$" + name, known[name])
            try:
                self._line(case, text, line)
            except (ValueError, IndexError) as e:
                raise ScriptError(f"{self.file}:{line}: {text}: {e}") from None
        return case

    def _line(self, case, text, line):
        word, _, rest = text.partition(" ")
        if text.startswith('"'):
            case.text = (case.text + " " + text.strip('"')).strip()
        elif word in ("virtual", "guest", "four"):
            if not rest:
                raise ValueError("say why")
            setattr(case, word, rest)
        elif word == "host":
            case.host.update(_host_option(o) for o in rest.split())
        elif word in ("irs", "iss"):
            setattr(case, word, rest if rest == "own" else int(rest, 0))
        else:
            case.steps.append(_step(text, self.file, line))


def _host_option(text):
    name, _, value = text.partition("=")
    return name, int(value, 0) if value.lstrip("-").isdigit() else value


def parse(path):
    """The cases of one file, in its order. ScriptError."""
    drafts = []
    for n, raw in enumerate(path.read_text().splitlines(), 1):
        text = raw.split("#", 1)[0].strip()
        if not text:
            continue
        m = _CASE.match(text)
        if m:
            ids = m[2].split() if m[2] else []
            wrong = [i for i in ids if not _ID.match(i)]
            if wrong:
                raise ScriptError(f"{path}:{n}: no requirement is called {wrong}")
            drafts.append(_Draft(m[1], ids, path, n))
        elif not drafts:
            raise ScriptError(f"{path}:{n}: not in a case: {text}")
        elif text.startswith("each "):
            names, _, values = text[5:].partition("=")
            names = names.replace(",", " ").split()
            rows = [[w.strip() for w in v.split(";")] for v in values.split("|")]
            if any(len(r) != len(names) for r in rows):
                raise ScriptError(f"{path}:{n}: each row has {len(names)} values")
            drafts[-1].each.append((names, rows))
        else:
            drafts[-1].lines.append((n, text))
    return [case for d in drafts for case in d.cases()]


def load(folder=SCRIPTS):
    """All cases, by file and place. ScriptError, also when two have the same name."""
    cases = [case for path in sorted(folder.glob("*.tcp")) for case in parse(path)]
    seen = set()
    for case in cases:
        if case.id in seen:
            raise ScriptError(f"{case.file}:{case.line}: a second case {case.name}")
        seen.add(case.id)
    return cases
