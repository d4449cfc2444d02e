"""Thonny's own back end, without its windows, on a guest: by the console's pty and by WebREPL.

It is started as Thonny starts it, and sent what Thonny's front end sends: records of
thonny.common, a line each.
"""

import os
import queue
import socket
import subprocess
import sys
import threading

import pytest

from barewire.net import UserNet
from barewire.pytest_plugin import wait_for_address

thonny = pytest.importorskip("thonny.common", reason="no thonny: `make test` installs it")

pytestmark = [pytest.mark.boot, pytest.mark.timeout(300)]

WAIT = 60
ANSWERS = ("ToplevelResponse", "InlineResponse")


class Thonny:
    """The back end as a process; `ask(...)` sends a command and returns (answer, output)."""

    def __init__(self, folder, port, **more):
        args = {"port": port, "clean": True, "interrupt_on_connect": True, "sync_time": True,
                "local_rtc": False, "restart_interpreter_before_run": True, **more}  # fmt: skip
        (folder / "thonny").mkdir()
        module = "thonny.plugins.micropython.bare_metal_backend"
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, repr(args)], stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE, env={**os.environ, "THONNY_USER_DIR": str(folder / "thonny")},
        )  # fmt: skip
        self.folder, self._lines, self._ids = folder, queue.Queue(), iter(range(1, 1000))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def answer(self):
        """(the next response, what the program printed until then)."""
        output = ""
        while True:
            line = self._lines.get(timeout=WAIT)
            assert line is not None, f"the back end ended; it said {output!r}"
            if not line.startswith(thonny.MESSAGE_MARKER):
                output += line
                continue
            message = thonny.parse_message(line)
            if message.get("event_type") == "ProgramOutput":
                output += message.data
            if type(message).__name__ in ANSWERS:
                return message, output.replace("\r\n", "\n")

    def run(self, name, **args):
        return self._send(thonny.ToplevelCommand(name, **args))

    def ask(self, name, **args):
        return self._send(thonny.InlineCommand(name, id=next(self._ids), **args))

    def _send(self, message):
        self.process.stdin.write(thonny.serialize_message(message) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def session(t):
    """What a person does: the shell, a file run, variables, files."""
    first, _ = t.answer()
    assert first.cwd == "/" and "MicroPython v1.25" in first.welcome_text
    assert first.lib_dirs == ["/lib"]
    _, out = t.run("execute_source", source="x = 6 * 7\nx")
    assert "42" in out
    _, out = t.run("execute_source", source="1 / 0")
    assert "ZeroDivisionError" in out
    _, out = t.run(
        "Run", source="print('this runs')\ny = [1, 'two']\n", args=["main.py"],
        local_cwd=str(t.folder), cd=None, full_filename=None,
    )  # fmt: skip
    assert "this runs" in out
    seen, _ = t.ask("get_globals", module_name="__main__")
    assert "[1, 'two']" in repr(seen.globals["y"])
    content = b"VALUE = 4711\n" + b"# a line\n" * 500
    done, _ = t.ask("write_file", path="/m.py", content_bytes=content, editor_id=1,
                    blocking=False, make_shebang_scripts_executable=False)  # fmt: skip
    assert not done.get("error"), done
    read, _ = t.ask("read_file", path="/m.py")
    assert read.content_bytes == content
    listed, _ = t.ask("get_dirs_children_info", paths=["/"], include_hidden=True, node_id=1)
    assert listed.data["/"]["m.py"]["size"] == len(content)
    _, out = t.run("execute_source", source="import m\nm.VALUE")
    assert "4711" in out
    info, _ = t.ask("get_fs_info", path="/")
    assert info.total > info.used >= 0


def test_by_the_console(rig, artifacts):
    guest = rig.guest(console="pty", append={"ip": "none"})
    t = Thonny(artifacts, guest.console_path)
    try:
        session(t)
    finally:
        t.close()


def test_by_webrepl(rig, artifacts):
    with socket.socket() as s:  # a port of the host that is free now
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    pcap = artifacts / "webrepl.pcap"
    guest = rig.guest(net=UserNet([("tcp", port, 8266)], restrict=True, pcap=pcap))
    wait_for_address(guest)
    guest.exec("import webrepl; webrepl.start(password='secret')")
    guest.friendly()
    url = f"ws://127.0.0.1:{port}"
    t = Thonny(artifacts, "webrepl", url=url, password="secret", clean=False,
               write_block_delay=0.05)
    try:
        first, _ = t.answer()
        assert first.cwd == "/"
        _, out = t.run("execute_source", source="x = 6 * 7\nx")
        assert "42" in out
        # By MicroPython's own file protocol in binary messages.
        content = os.urandom(3000)
        t.ask("write_file", path="/blob", content_bytes=content, editor_id=1,
              blocking=False, make_shebang_scripts_executable=False)  # fmt: skip
        read, _ = t.ask("read_file", path="/blob")
        assert read.content_bytes == content
    finally:
        t.close()
    # A frame of WebSocket leaves whole: its head of 2 or 4 bytes is no segment of its own.
    text = "tcp.srcport == 8266 && tcp.payload[0:1] == 81"
    seen = [
        subprocess.run(["tshark", "-r", pcap, "-Y", f"{text} && {more}"], capture_output=True,
                       text=True, check=True).stdout.splitlines()
        for more in ("tcp.len > 4", "(tcp.len == 2 || tcp.len == 4 && tcp.payload[1:1] == 7e)")
    ]  # fmt: skip
    assert seen[0] and not seen[1], seen[1]
