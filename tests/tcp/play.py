"""Plays a case: each step is done on a `Stage`, the stack on a virtual clock or a guest.

A Stage has what differs between the two: `exact` (time is), `now`, `inject`, `emitted`, `wait`,
`settle`, and the calls of a program (connect listen accept send recv shutdown close abort set
state error check icmp drops). A failure is a `Mismatch` that quotes the script.
"""

import re

from tests.tcp import segment as wire
from tests.tcp.language import Segment, segment, time_us

IRS = 1_000_000  # the peer's initial sequence number unless the case says another
LATE_US = 100_000  # half of the least RTO
_M = 0xFFFFFFFF


class Mismatch(AssertionError):
    pass


class Player:
    """One case on one stage. `play()` raises Mismatch at the first line that does not hold."""

    def __init__(self, case, stage):
        self.case, self.stage = case, stage
        self.irs = IRS if case.irs is None else case.irs
        self.iss = stage.iss
        self.rcv = self.snd = 0  # what the peer, what the stack sends next, relative
        self.win = 65535
        self.sent = self.read = 0  # octets of the program's streams
        self.clock = stage.now()  # of the step before
        self.ts = None  # the peer's timestamps: False when off
        self.cookie = b""  # of Fast Open, the last that the stack gave
        self.tsval = 0  # the last TSval of the stack's
        self.taken = set()  # what was expected and came: (seq, length, flags)
        self.step = None
        self.late = False
        self.mss = 1460

    def play(self):
        try:
            for step in self.case.steps:
                self.step = step
                began = self.stage.now()
                try:
                    self._do(step)
                finally:
                    self._punctual(step, self.stage.now() - began)
            self.step = None
            self.stage.finish()
        except AssertionError as e:
            where = f"{self.step}: " if self.step else "at the end: "
            raise Mismatch(f"{self.case.id}: {where}{e}") from e

    def _punctual(self, step, took):
        """In real time: was the peer, or the guest, held up by what else the machine does?"""
        due = step.after[1] if step.after else 0
        if step.kind in ("wait", "quiet") and step.args:
            due = time_us(step.args[0])
        if step.kind == "established":
            due = 500_000  # several lines in one
        if took - due > LATE_US:
            self.late = True

    def _do(self, step):
        getattr(self, "do_" + step.kind.replace("-", "_"))(step.args, step.after)

    def value(self, text):
        """An expression of a script: numbers, rcv, snd, mss, mss0, tsval, tsnow."""
        if text is None or text == "*":
            return None
        names = {"rcv": self.rcv, "snd": self.snd, "mss": self.mss, "iss": self.iss,
                 "irs": self.irs, "tsval": self.tsval, "tsnow": self.ts_now(),
                 "mss0": self.stage.default_mss}  # fmt: skip
        return int(eval(text, {"__builtins__": {}}, names))

    def ts_now(self):
        return 1000 + (self.stage.now() - self.stage.began) // 1000

    # -- segments

    def do_inject(self, g, after):
        if after:
            self.stage.wait(self.clock + after[0])
        seq = self.rcv if g.seq is None else self.value(g.seq)
        begin = seq + ("S" in g.flags)
        n = 0 if not g.end else self.value(g.end) - seq
        data = wire.stream(begin - 1, n, wire.PEER)
        ack = 0
        if "A" in g.flags:
            ack = (self.snd if g.ack is None else self.value(g.ack)) + self.iss
        elif g.ack is not None:
            ack = self.value(g.ack) + self.iss
        win = self.win if g.win is None else self.value(g.win)
        raw = self.stage.inject(
            seq=seq + self.irs, ack=ack, flags=g.flags, win=win, urg=self.value(g.urg or "0"),
            options=self._options_out(g), data=data, corrupt="corrupt" in g.words,
            src=g.src, dst=g.dst, port=self.value(g.port), tos=self.value(g.tos or "0"),
            off=self.value(g.off), ipopt=bytes.fromhex(g.ipopt or ""),
        )  # fmt: skip
        end = begin + n + ("F" in g.flags)
        taken = "corrupt" not in g.words and "R" not in g.flags and not ("S" in g.flags and seq)
        if taken and seq <= self.rcv < end:
            self.rcv = end
        self.clock = self.stage.now()
        return raw

    def _options_out(self, g):
        out = b""
        named = [name for name, _ in g.options or ()]
        if self.ts and "ts" not in named and "nots" not in g.words:
            out = b"\x01\x01" + wire.option_bytes("ts", [self.ts_now(), self.tsval])
        for name, args in g.options or ():
            if name == "fastopen" and args == ["cookie"]:
                values = [self.cookie.hex()]
            elif name in ("raw", "fastopen"):
                values = args
            elif name == "sack":
                values = [self.value(e) + self.iss for a in args for e in a.split(":")]
            else:
                values = [self.value(a) for a in args]
            if name == "ts":
                out += b"\x01\x01"
            out += wire.option_bytes(name, values)
        return out

    def do_expect(self, g, after):
        low, high = after or (0, 0)
        while True:
            p = self.stage.emitted(self.clock, low, high)
            assert p is not None, "nothing came"
            try:
                self.compare(p, g)
                break
            except AssertionError:
                if not self._repeated(p) and not self._late(p, g):
                    raise
        self.clock = p.at
        self.taken.add(_what(p))

    def _repeated(self, p):
        """In real time a busy machine lets a retransmission come between any two lines."""
        return not self.stage.exact and p.length and _what(p) in self.taken

    def _late(self, p, g):
        """And a delayed acknowledgment come before what would have carried it."""
        return not self.stage.exact and p.flags == "A" and not p.data and (g.flags != "A" or g.end)

    def do_perhaps(self, g, after):
        """>? SEGMENT: if the next is such a one, it is taken."""
        p = self.stage.emitted(self.clock, 0, 0)
        assert p is not None, "nothing came"
        try:
            self.compare(p, g)
        except AssertionError:
            self.stage.put_back(p)

    def compare(self, p, g):
        """Packet p is what Segment g says; what it tells is remembered."""
        if "S" in p.flags:
            self.iss = p.seq
        self.cookie = p.options.get("fastopen", self.cookie)
        if "ts" in p.options:
            self.tsval = p.options["ts"][0]
        seq = _relative(p.seq, self.iss)
        ack = _relative(p.ack, self.irs)
        said = f"got {describe(p, self.iss, self.irs)}"
        flags = p.flags if "P" in g.flags else p.flags.replace("P", "")
        if "*" in g.flags:
            assert set(g.flags) <= set(p.flags + "*"), said
        else:
            assert sorted(flags) == sorted(g.flags), said
        if g.seq is not None:
            assert seq == self.value(g.seq), said
            n = 0 if not g.end else self.value(g.end) - self.value(g.seq)
            assert len(p.data) == n, said
        if g.ack is not None and g.ack != "*":
            assert ack == self.value(g.ack), said
        if g.win is not None:
            low, _, high = g.win.partition("..")
            assert self.value(low) <= p.win <= self.value(high or low), said
        if g.urg is not None:
            assert p.urg == self.value(g.urg), said
        if g.tos is not None:
            assert p.tos == self.value(g.tos), f"tos {p.tos}: {said}"
        if g.ttl is not None:
            assert p.ttl == self.value(g.ttl), f"ttl {p.ttl}: {said}"
        if g.options is not None:
            self._compare_options(p, g, said)
        if "S" not in p.flags:
            # MUST-65, RFC 7323 2.2, RFC 2018 2: these belong to SYNs.
            assert not {"mss", "wscale", "sackok"} & set(p.options), said
        if "S" in p.flags or "R" not in p.flags:
            begin = seq + ("S" in p.flags)
            assert p.data == wire.stream(begin - 1, len(p.data), wire.OUR), f"other octets: {said}"
            end = begin + len(p.data) + ("F" in p.flags)
            self.snd = max(self.snd, end)

    def _compare_options(self, p, g, said):
        if not g.options:
            assert not p.options, said
        for name, args in g.options:
            if name.startswith("!"):
                assert name[1:] not in p.options, said
                continue
            assert name in p.options, f"no {name}: {said}"
            got = p.options[name]
            if name == "sack":
                want = [self.value(e) + self.irs & _M for a in args for e in a.split(":")]
                assert not want or got == want, said
            elif name == "fastopen":
                assert args == ["*"] and got or got == bytes.fromhex("".join(args)), said
            else:
                for have, a in zip(got, args):
                    low, _, high = a.partition("..")
                    if a != "*":
                        assert self.value(low) <= have <= self.value(high or low), said

    def do_quiet(self, args, after):
        """quiet [TIME]: nothing is emitted now, nor within that time."""
        self.stage.settle()
        while True:
            p = self.stage.emitted(self.clock, 0, time_us(args[0]) if args else 0, hope=False)
            if p is None or args or not self._repeated(p):
                break
        assert p is None, f"got {describe(p, self.iss, self.irs)}"
        if args:
            self.clock += time_us(args[0])

    def do_skip(self, args, after):
        """skip: whatever is emitted now is of no interest, but its numbers count."""
        while True:
            p = self.stage.emitted(self.clock, 0, 0, hope=False)
            if p is None:
                return
            g = Segment()
            g.flags = p.flags
            self.compare(p, g)

    def do_drain(self, args, after):
        """drain N: N segments follow each other, of which only the sum of octets matters."""
        left = self.value(args[0])
        while left > 0:
            p = self.stage.emitted(self.clock, 0, 0)
            assert p is not None, f"{left} octets more should come"
            g = Segment()
            g.flags = p.flags
            before = self.snd
            self.compare(p, g)
            left -= self.snd - before
        assert not left, f"{-left} octets too many"

    def do_wait(self, args, after):
        """wait TIME: the clock goes on."""
        self.stage.wait(self.clock + time_us(args[0]))
        self.clock = self.stage.now()

    def do_window(self, args, after):
        """window N: what the peer says from here on unless a line says another."""
        self.win = self.value(args[0])

    def do_timestamps(self, args, after):
        """timestamps on|off: whether the peer's segments carry them."""
        self.ts = args[0] == "on"

    # -- the program

    def _call(self, args, after, call, default=None):
        """Do a call; `= X` says what it gives: a number, or an errno's name."""
        if after:
            self.stage.wait(self.clock + after[0])
        want = default
        if "=" in args:
            i = args.index("=")
            want = args[i + 1]
            args = args[:i]
        try:
            got = call(args)
        except OSError as e:
            got = self.stage.errno_name(e)
        self.clock = self.stage.now()
        if want is None:
            assert not isinstance(got, str), f"raised {got}"
        elif isinstance(want, str) and not want.isidentifier():
            assert got == self.value(want), f"gave {got}"
        else:
            assert got == want, f"gave {got}"
        return got

    def do_connect(self, args, after):
        self._call(args, after, lambda a: self.stage.connect(a))

    def do_listen(self, args, after):
        """listen [BACKLOG] [reuse] [fastopen] [ttl=N] [tos=N]"""
        words = {}
        for a in args:
            if a in ("reuse", "fastopen") or "=" in a and a != "=":
                name, _, value = a.partition("=")
                words[name] = value
        args = [a for a in args if a.partition("=")[0] not in words]
        self._call(args, after, lambda a: self.stage.listen(int(a[0]) if a else 8, words))

    def do_flood(self, args, after):
        """flood N: so many SYNs of others, whose answers nobody hears."""
        self.stage.flood(int(args[0]))

    def do_accept(self, args, after):
        """accept: a connection is there; accept nothing: none is."""
        if args == ["nothing"]:
            self.stage.settle()
            assert not self.stage.accept(hope=False), "there is a connection"
        else:
            assert self.stage.accept(), "no connection to accept"

    def do_send(self, args, after):
        """send N [= TAKEN]: the next N octets of our stream."""

        def call(a):
            took = self.stage.send(self.sent, self.value(a[0]))
            self.sent += took
            return took

        self._call(args, after, call, default=None if "=" in args else self.value(args[0]))

    def do_recv(self, args, after):
        """recv N: N octets are there, the next of the peer's stream. recv nothing: none is;
        recv eof: the end. recv = ERRNO.
        """
        if args in (["nothing"], ["eof"]):
            self.stage.settle()
            got = self.stage.recv(1)
            assert got == (None if args[0] == "nothing" else b""), f"gave {got!r}"
            return
        if args[0] == "=":
            self._call(["1", *args], after, lambda a: len(self.stage.recv(1) or b""))
            return
        n = self.value(args[0])
        got = self.stage.recv_all(n)
        assert len(got) == n, f"gave {len(got)} octets"
        assert got == wire.stream(self.read, n, wire.PEER), "gave other octets"
        self.read += n
        self.clock = self.stage.now()

    def do_shutdown(self, args, after):
        self._call(args, after, lambda a: self.stage.shutdown())

    def do_close(self, args, after):
        self._call(args, after, lambda a: self.stage.close())

    def do_abort(self, args, after):
        self._call(args, after, lambda a: self.stage.abort())

    def do_close_listener(self, args, after):
        self._call(args, after, lambda a: self.stage.close_listener())

    def do_set(self, args, after):
        """set NAME VALUE...: nodelay, keepalive IDLE INTERVAL COUNT, user_timeout."""
        times = [time_us(a) if re.match(r".*[a-z]$", a) else int(a) for a in args[1:]]
        self._call([], after, lambda a: self.stage.set(args[0], times))

    def do_state(self, args, after):
        if after:
            self.stage.wait(self.clock + after[0])
        self.stage.settle()
        got = self.stage.state(args[0])
        assert got == args[0], f"is {got}"

    def do_error(self, args, after):
        self.stage.settle()
        want = "" if args[0] == "none" else args[0]
        got = self.stage.error(want)
        assert got == want, f"is {got or 'none'}"

    def do_check(self, text, after):
        """check EXPRESSION: of the connection `c`, the layer `tcp`, and iss, irs."""
        if after:
            self.stage.wait(self.clock + after[0])
        self.stage.settle()
        text = text.replace("mss0", str(self.stage.default_mss))
        ok, shown = self.stage.check(text, self.iss, self.irs)
        assert ok, f"is {shown}"

    def do_drops(self, args, after):
        """drops REASON: one more packet was dropped for it since the case began."""
        self.stage.settle()
        assert self.stage.drops(args[0]), "no such drop"

    def do_icmp(self, args, after):
        """icmp TYPE CODE seq N [mtu N]: an error that quotes our segment N."""
        if after:
            self.stage.wait(self.clock + after[0])
        words = dict(zip(args[2::2], args[3::2]))
        self.stage.icmp(
            int(args[0]), int(args[1]), (self.value(words["seq"]) + self.iss) & _M,
            int(words.get("mtu", 0)),
        )  # fmt: skip
        self.clock = self.stage.now()

    # -- beginnings

    def _lines(self, *lines):
        for text in lines:
            kind, _, rest = text.partition(" ")
            if kind in "<>":
                getattr(self, "do_inject" if kind == "<" else "do_expect")(segment(rest), None)
            else:
                getattr(self, "do_" + kind)(rest.split(), None)

    def do_established(self, args, after):
        """established [passive] [mss=N] [wscale=N] [win=N] [sackok] [ts] [ecn] [rtt=TIME]"""
        words = dict(a.partition("=")[::2] for a in args)
        self.mss = int(words.get("mss", 1460))
        self.win = min(int(words.get("win", 65535)), 65535)
        options = [f"mss {self.mss}"]
        options += [f"wscale {words['wscale']}"] if "wscale" in words else []
        options += ["sackok"] if "sackok" in words else []
        e = "E" if "ecn" in words else ""
        if "passive" in words:
            if "ts" in words:
                options.append("ts tsnow 0")
            self._lines(
                "listen",
                f"< S{e}{'C' if e else ''} 0 win {self.win} <{', '.join(options)}>",
                f"> SA{e} 0 ack 1",
            )
            self.ts = "ts" in words
            self._pass(words)
            self._lines("< A 1 ack 1", "accept")
        else:
            self._lines("connect", f"> S{e}{'C' if e else ''} 0")
            self._pass(words)
            if "ts" in words:
                options.append("ts tsnow tsval")
            self._lines(f"< SA{e} 0 ack 1 win {self.win} <{', '.join(options)}>", "> A 1 ack 1")
            self.ts = "ts" in words
        self._lines("state ESTABLISHED")

    def _pass(self, words):
        if "rtt" in words:
            self.do_wait([words["rtt"]], None)

    def do_in(self, args, after):
        """in STATE: the shortest way there."""
        self._lines(*_WAYS[args[0]])


_OPEN = ["established"]
_WAYS = {
    "LISTEN": ["listen"],
    "SYN-SENT": ["connect", "> S 0"],
    "SYN-RECEIVED": ["connect", "> S 0", "< S 0 <mss 1460>", "> SA 0 ack 1"],
    "HALF-OPEN": ["listen", "< S 0 <mss 1460>", "> SA 0 ack 1"],
    "ESTABLISHED": _OPEN,
    "CLOSE-WAIT": [*_OPEN, "< FA 1 ack 1", "> A 1 ack 2"],
    "FIN-WAIT-1": [*_OPEN, "shutdown", "> FA 1 ack 1"],
    "FIN-WAIT-2": [*_OPEN, "shutdown", "> FA 1 ack 1", "< A 1 ack 2"],
    "CLOSING": [*_OPEN, "shutdown", "> FA 1 ack 1", "< FA 1 ack 1", "> A 2 ack 2"],
    "LAST-ACK": [*_OPEN, "< FA 1 ack 1", "> A 1 ack 2", "shutdown", "> FA 1 ack 2"],
    "TIME-WAIT": [*_OPEN, "shutdown", "> FA 1 ack 1", "< FA 1 ack 2", "> A 2 ack 2"],
}
for _state, _way in _WAYS.items():
    if _state not in ("LISTEN", "HALF-OPEN"):
        _way.append(f"state {_state}")


def _what(p):
    return p.seq, p.length, p.flags.replace("P", "")


def _relative(v, base):
    d = (v - base) & _M
    return d - (1 << 32) if d >= 1 << 31 else d


def describe(p, iss, irs):
    """A Packet in the words of a script."""
    seq = _relative(p.seq, iss)
    text = f"> {p.flags or '-'} {seq}"
    if p.data:
        text += f":{seq + len(p.data)}"
    if "A" in p.flags:
        text += f" ack {_relative(p.ack, irs)}"
    text += f" win {p.win}"
    if p.options:
        shown = []
        for name, values in p.options.items():
            if name == "sack":
                values = [_relative(v, irs) for v in values]
                values = [f"{a}:{b}" for a, b in zip(values[::2], values[1::2])]
            elif isinstance(values, bytes):
                values = [values.hex()]
            shown.append(" ".join([name, *map(str, values)]))
        text += f" <{', '.join(shown)}>"
    return text
