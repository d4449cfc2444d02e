"""MicroPython's raw REPL on a byte stream: run code in the guest, get what it printed.

A stream has `write(bytes)` and `read(timeout) -> bytes`, which returns b"" when nothing came
in time and raises EOFError when nothing ever will.
"""

import ast
import re
import time

CTRL_A, CTRL_B, CTRL_C, CTRL_D, CTRL_E = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
PROMPT = b">>> "


class ReplTimeout(Exception):
    """The guest did not say in time what was waited for; shows the last it said."""


class GuestError(Exception):
    """Code in the guest ended with an exception. `.traceback` is its text, `.kind` the type's
    name, `.output` what it had printed."""

    def __init__(self, traceback, output):
        super().__init__(f"in the guest:\n{traceback.strip()}\nit had printed:\n{output[-2000:]}")
        self.traceback, self.output = traceback, output
        last = traceback.strip().splitlines()[-1] if traceback.strip() else ""
        self.kind = last.split(":")[0]


class Console:
    """The prompt at the other end of a stream."""

    def __init__(self, stream):
        self.stream = stream
        self._buffer = b""
        self._raw = False

    def write(self, data):
        self.stream.write(data)

    def _fill(self, deadline, waiting_for):
        left = deadline - time.monotonic()
        data = self.stream.read(left) if left > 0 else b""
        if not data and time.monotonic() >= deadline:
            raise ReplTimeout(f"waited for {waiting_for!r}, got {self._buffer[-2000:]!r}")
        self._buffer += data
        return data

    def read_exactly(self, n, timeout=10):
        """The next n bytes. ReplTimeout, EOFError."""
        deadline = time.monotonic() + timeout
        while len(self._buffer) < n:
            self._fill(deadline, f"{n} bytes")
        out, self._buffer = self._buffer[:n], self._buffer[n:]
        return out

    def read_until(self, mark, timeout=10):
        """The bytes up to and without `mark`, which is consumed. ReplTimeout, EOFError."""
        deadline, start = time.monotonic() + timeout, 0
        while True:
            at = self._buffer.find(mark, start)
            if at >= 0:
                out, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
                return out
            start = max(0, len(self._buffer) - len(mark) + 1)
            self._fill(deadline, mark)

    def enter_raw(self, timeout=10):
        """From the friendly prompt (or from running code, which Ctrl-C ends) to the raw REPL."""
        if self._raw:
            return
        self.write(b"\r" + CTRL_C + CTRL_A)
        self.read_until(RAW_BANNER, timeout)
        self._raw = True

    def leave_raw(self, timeout=10):
        """Back to the friendly prompt."""
        if self._raw:
            self.write(CTRL_B)
            self.read_until(PROMPT, timeout)
            self._raw = False

    def _send(self, code, timeout):
        """Raw-paste `code` (bytes) with the guest's flow control, or plainly if it has none."""
        self.write(CTRL_E + b"A" + CTRL_A)
        reply = self.read_exactly(2, timeout)
        if reply != b"R\x01":
            # "R\0": known, not supported. "ra": an old raw REPL printed its banner again.
            if reply == b"ra":
                self.read_until(RAW_BANNER[2:], timeout)
            self.write(code + CTRL_D)
            if self.read_exactly(2, timeout) != b"OK":
                raise ReplTimeout("the raw REPL did not take the code")
            return
        window = int.from_bytes(self.read_exactly(2, timeout), "little")
        room, at = window, 0
        deadline = time.monotonic() + timeout
        while at < len(code):
            while room == 0 or self._buffer:
                if not self._buffer:
                    self._fill(deadline, "the raw-paste window")
                    continue
                token, self._buffer = self._buffer[:1], self._buffer[1:]
                if token == CTRL_A:
                    room += window
                    deadline = time.monotonic() + timeout  # it is alive: the time is for a window
                elif token == CTRL_D:  # the compiler gave up early: its error follows
                    self.write(CTRL_D)
                    return
                else:
                    raise ReplTimeout(f"unexpected {token + self._buffer!r} in raw-paste mode")
            piece = code[at : at + room]
            self.write(piece)
            at += len(piece)
            room -= len(piece)
        self.write(CTRL_D)
        self.read_until(CTRL_D, timeout)

    def start(self, code, timeout=10):
        """Begin to run `code` (str). A Running, to talk to it and wait for its end."""
        self.enter_raw(timeout)
        self._send(code.encode(), timeout)
        return Running(self)

    def exec(self, code, timeout=30):
        """Run `code`; what it printed, as str. GuestError, ReplTimeout, EOFError."""
        return self.start(code).wait(timeout)

    def eval(self, expression, timeout=30):
        """The value of an expression made of Python literals."""
        return ast.literal_eval(self.exec(f"print(repr({expression}))", timeout).strip())


class Running:
    """Code that runs in the guest's raw REPL."""

    def __init__(self, console):
        self.console, self.output = console, ""

    def expect(self, pattern, timeout=30):
        """Wait until what it prints matches `pattern` (a regular expression); the match."""
        c, regex = self.console, re.compile(pattern.encode())
        deadline = time.monotonic() + timeout
        while not (found := regex.search(c._buffer)):
            if CTRL_D in c._buffer:
                self.wait(1)
                raise ReplTimeout(
                    f"it ended before {pattern!r}; it printed {self.output[-2000:]!r}"
                )
            c._fill(deadline, pattern)
        self.output += c._buffer[: found.end()].decode(errors="replace")
        c._buffer = c._buffer[found.end() :]
        return found

    def write(self, data):
        """Bytes for its stdin."""
        self.console.write(data)

    def interrupt(self):
        """Ctrl-C."""
        self.console.write(CTRL_C)

    def wait(self, timeout=30):
        """All it printed since the start, as str, once it has ended. GuestError, ReplTimeout."""
        c = self.console
        deadline = time.monotonic() + timeout
        self.output += c.read_until(CTRL_D, timeout).decode(errors="replace")
        error = c.read_until(CTRL_D, max(1.0, deadline - time.monotonic())).decode(errors="replace")
        c.read_until(b">", max(1.0, deadline - time.monotonic()))
        self.output = self.output.replace("\r\n", "\n")
        if error:
            raise GuestError(error.replace("\r\n", "\n"), self.output)
        return self.output
