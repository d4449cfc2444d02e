"""The command line as people use it: programs and their exit status, the prompt, watching."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests.boot import programs
from tests.vectors.tls.identities import IDENTITIES

pytestmark = pytest.mark.boot

BAREWIRE = [sys.executable, "-m", "barewire.cli"]
PATIENCE = 120


def barewire(*words, env=None, cwd=None):
    done = subprocess.run(
        [*BAREWIRE, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert "Traceback (most recent call last):\n  File \"/" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def running(tmp_path, *words):
    """`barewire` in the background as a pexpect child; its stderr goes to the same place."""
    child = pexpect.spawn(BAREWIRE[0], [*BAREWIRE[1:], *map(str, words)], timeout=PATIENCE)
    try:
        with open(tmp_path / "output.log", "wb") as log:
            child.logfile_read = log
            yield child
    finally:
        child.close(force=True)


def port_of(child, guest_port):
    """Wait for the free port that `-p 0:N` took."""
    child.expect(rf"127\.0\.0\.1:(\d+) is the guest's tcp port {guest_port}\b")
    return int(child.match[1])


# A program's end is the command's. (what it does, the status, what is printed)
ENDS = (
    ("print('all')", 0, "all"),
    ("import sys; print('some'); sys.exit(3)", 3, "some"),
    ("import sys; sys.exit('a reason')", 1, "a reason"),
    ("print('half'); 1 / 0", 1, "ZeroDivisionError: divide by zero"),
    ("import sys; sys.exit(200)", 126, ""),  # isa-debug-exit has room for 127
    ("import hw; hw.call(hw.exec(b'\\x0f\\x0b'))", 127, "FAULT: "),
)


@pytest.mark.parametrize("source, status, said", ENDS, ids=[str(e[1]) for e in ENDS])
def test_a_programs_end_is_the_commands(tmp_path, source, status, said):
    (tmp_path / "app.py").write_text(source + "\n")
    done = barewire("run", tmp_path / "app.py", "--net", "none")
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout


def test_interactive_stays_at_the_prompt(tmp_path):
    (tmp_path / "app.py").write_text("kept = 6\n")
    with running(tmp_path, "run", "-i", tmp_path / "app.py", "--net", "none") as child:
        child.expect_exact(">>> ")
        child.send("kept * 7\r")
        child.expect_exact("42")
        child.send("\x01x")  # QEMU's: Ctrl-A X
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


def test_errors_are_one_line(tmp_path):
    (tmp_path / "app.py").write_text("print('never')\n")
    (tmp_path / "no.elf").write_text("no ELF at all")
    (tmp_path / "half.elf").write_bytes(b"\x7fELF and no more")
    (tmp_path / "folder").mkdir()
    app = tmp_path / "app.py"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, env, status, said in (
            (["run", "nowhere.py"], {}, 2, "'nowhere.py' does not exist"),
            (["run", app, "-p", "80"], {}, 2, "want HOST:GUEST"),
            (["run", app, "--trace", "udp"], {}, 2, "want tcp, or tcp:PORT"),
            (["run", app, "-p", f"{port}:80"], {}, 125, f"port {port} of 127.0.0.1 is in use by"),
            (["run", app], {"PATH": "/nowhere"}, 125, "install the package qemu-system-x86"),
            (["run", app], {"BAREWIRE_IMAGE": "/nowhere"}, 125, "no image at /nowhere"),
            (["run", app, "--image", tmp_path / "half.elf"], {"BAREWIRE_ACCEL": "tcg"}, 125,
             "QEMU did not start the machine"),
            (["run", app], {"BAREWIRE_IMAGE": str(tmp_path / "no.elf")}, 125, "not an ELF"),
            (["run", tmp_path / "folder"], {}, 2, "has no main.py"),
            (["run", app, "-m", "4"], {}, 2, "4 is not in the range"),
            (["run", app, "-p", "8080:80", "-p", "8080:81"], {}, 2, "a port of the host twice"),
            (["run", app, "--pcap", "/nowhere/x.pcap"], {}, 125, "No such file or directory"),
            (["frobnicate"], {}, 2, "No such command"),
        ):  # fmt: skip
            done = barewire(*words, env=env)
            assert done.returncode == status, (words, done.stdout, done.stderr)
            assert said in done.stderr, (words, done.stderr)
            assert "Traceback" not in done.stderr and "never" not in done.stdout


def knock(child, port, pattern):
    """Connect until the guest shows `pattern`: nothing tells when it has begun to look."""
    end = time.monotonic() + PATIENCE
    while True:
        with socket.create_connection(("127.0.0.1", port)):
            if child.expect([pattern, pexpect.TIMEOUT], timeout=1) == 0:
                return
        assert time.monotonic() < end, pattern


def test_the_prompt_with_files_and_a_capture(tmp_path):
    (tmp_path / "helper.py").write_text("WHO = 'helper'\n")
    with running(tmp_path, "repl", tmp_path / "helper.py", "-p", "0:80",
                 "--append", "ip6=none") as child:  # fmt: skip
        port = port_of(child, 80)
        child.expect_exact(">>> ")
        child.send("import helper, net; helper.WHO\r")
        child.expect_exact("'helper'")
        child.expect_exact(">>> ")
        child.send("net.capture(count=1000)\r")
        child.expect_exact("\n")
        # Frames show while they pass: connections from here, which nobody listens for.
        knock(child, port, r"\d+\.\d{6} IP 10\.0\.2\.2\.\d+ > 10\.0\.2\.15\.80: \[S\] seq \d+ ")
        child.expect(r"IP 10\.0\.2\.15\.80 > 10\.0\.2\.2\.\d+: \[R")
        child.send("\x03")
        child.expect(r"\n\d+\r+\n>>> ")
        child.send("net.capture(count=2, file='/two.pcap')\r")
        knock(child, port, r"\n2\r+\n>>> ")
        child.send("open('/two.pcap', 'rb').read(4)\r")
        child.expect_exact(r"b'\xd4\xc3\xb2\xa1'")


SECURE = """
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/app/p256.pem", "/app/p256.key")
server = socket.socket()
server.bind(("0.0.0.0", 443))
server.listen(4)
print("serving")
while True:
    client, _ = server.accept()
    client = context.wrap_socket(client, server_side=True)
    while client.readline() not in (b"\\r\\n", b""):
        pass
    client.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: 13\\r\\n\\r\\nsecret words\\n")
    client.close()
"""


def test_pcap_keylog_and_trace_tell_what_was_said(tmp_path):
    """tshark reads an HTTPS conversation with what the three options wrote."""
    chain, key = IDENTITIES["p256"]
    for name, text in (("p256.pem", chain), ("p256.key", key), ("app.py", SECURE)):
        (tmp_path / name).write_text(text)
    pcap, keys, trace = (tmp_path / n for n in ("out,1.pcap", "keys.log", "trace.csv"))
    words = ["run", *(tmp_path / n for n in ("app.py", "p256.pem", "p256.key")), "-p", "0:443"]
    words += ["--pcap", pcap, "--keylog", keys, "--trace", "tcp:443", "--trace-file", trace]
    with running(tmp_path, *words) as child:
        port = port_of(child, 443)
        child.expect_exact("serving")
        curl = ["curl", "-sSk", "--max-time", "60", f"https://127.0.0.1:{port}/path?q=1"]
        assert subprocess.run(curl, check=True, capture_output=True).stdout == b"secret words\n"
        child.send("\x01x")
        child.expect(pexpect.EOF)
    argv = ["tshark", "-r", pcap, "-d", "tcp.port==443,tls", "-T", "fields"]
    argv += ["-e", "http.request.uri", "-e", "http.response.code"]
    shown = lambda *more: subprocess.run(
        [*argv, *more], check=True, capture_output=True, text=True
    ).stdout.split()  # fmt: skip
    assert shown("-Y", "http") == []
    assert shown("-o", f"tls.keylog_file:{keys}", "-Y", "http") == ["/path?q=1", "200"]
    lines = [line.split(",") for line in trace.read_text().splitlines()]
    assert lines[0][:3] == ["time_us", "event", "seq"] and {len(line) for line in lines} == {11}
    events = [line[1] for line in lines[1:]]
    assert {"ESTABLISHED", "rx", "tx"} <= set(events)
    assert all(line[10].startswith("443-") for line in lines[1:])
    # What curl sent is what the trace says was received, byte for byte.
    client = subprocess.run(
        ["tshark", "-r", pcap, "-Y", "tcp.dstport==443 and tcp.len>0", "-T", "fields", "-e",
         "tcp.len"], check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert [int(line[4]) for line in lines[1:] if line[1] == "rx" and line[4] != "0"] == [
        int(n) for n in client
    ]


def test_a_trace_on_the_terminal(tmp_path):
    (tmp_path / "app.py").write_text(
        "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 7))\ns.listen(1)\n"
        "print('listening')\nc = s.accept()[0]\nc.write(c.readline())\nc.close()\n"
        "while c.read(1): pass\n"
    )
    with running(tmp_path, "run", tmp_path / "app.py", "-p", "0:7", "--trace", "tcp") as child:
        port = port_of(child, 7)
        child.expect_exact("listening")
        with socket.create_connection(("127.0.0.1", port)) as s:
            child.expect(r"barewire: +\d+\.\d{6} +7-\d+  ESTABLISHED\r\n")
            s.sendall(b"word\n")
            child.expect(r" 7-\d+  rx    seq 1 ack 1 len 5 ")
            assert s.recv(100) == b"word\n"
            child.expect(r" 7-\d+  tx    seq 1 ack 6 len 5 ")


SERVE = """
import socket
input("to begin ")
s = socket.socket()
s.bind(("0.0.0.0", 7))
s.listen(5)
while True:
    c, _ = s.accept()
    c.write(c.readline().upper())
    c.close()
"""


def test_clients_that_come_before_the_guest_listens_wait(tmp_path):
    """Nothing of theirs reaches the guest before; then QEMU has the port, the command no more."""
    (tmp_path / "app.py").write_text(SERVE)
    pcap = tmp_path / "f.pcap"
    words = ("run", tmp_path / "app.py", "-p", "0:7", "--pcap", pcap)
    with running(tmp_path, *words) as child, contextlib.ExitStack() as stack:
        child.expect(r"127\.0\.0\.1:(\d+) is the guest's tcp port 7")
        at = ("127.0.0.1", int(child.match[1]))
        early = [stack.enter_context(socket.create_connection(at)) for _ in range(2)]
        early[0].sendall(b"early\n")
        child.expect_exact("to begin ")
        early[1].sendall(b"before it listens\n")
        child.send("\r")
        for s in early:
            s.settimeout(120)
        assert early[0].recv(100) == b"EARLY\n" and early[0].recv(100) == b""
        assert early[1].recv(100) == b"BEFORE IT LISTENS\n"
        os.kill(child.pid, signal.SIGSTOP)
        try:
            with socket.create_connection(at, 120) as s:
                s.sendall(b"by qemu\n")
                assert s.recv(100) == b"BY QEMU\n"
        finally:
            os.kill(child.pid, signal.SIGCONT)
    syn = ["-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0 && tcp.dstport == 7"]
    seen = subprocess.run(["tshark", "-r", pcap, *syn], capture_output=True, text=True).stdout
    reset = ["-Y", "tcp.flags.reset == 1 && tcp.srcport == 7"]
    refused = subprocess.run(["tshark", "-r", pcap, *reset], capture_output=True, text=True).stdout
    assert len(seen.splitlines()) == 3 and not refused, seen + refused


def test_a_machine_ends_with_the_command(tmp_path):
    """Killed as nobody can handle it, `barewire run` leaves no QEMU that holds its port."""
    (tmp_path / "app.py").write_text("import time\nprint('up')\nwhile True: time.sleep(1)\n")
    argv = [*BAREWIRE, "run", str(tmp_path / "app.py"), "-p", "0:7"]
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with subprocess.Popen(argv, text=True, **pipes) as process:
        said = ""
        while "up" not in said.splitlines():
            said += process.stdout.readline()
        port = int(re.search(r"127\.0\.0\.1:(\d+) is", said)[1])
        socket.create_connection(("127.0.0.1", port)).close()
        process.kill()
        assert process.stdout.read() == ""  # the last who could write has ended: QEMU
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_sigterm_is_its_own_status(tmp_path):
    (tmp_path / "app.py").write_text("import time\nprint('up')\nwhile True: time.sleep(1)\n")
    with running(tmp_path, "run", tmp_path / "app.py", "--net", "none") as child:
        child.expect_exact("up")
        os.kill(child.pid, signal.SIGTERM)
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 128 + 15


def test_a_machine_that_is_killed_leaves_the_terminal_as_it_was(tmp_path):
    (tmp_path / "app.py").write_text("import time\nprint('up')\nwhile True: time.sleep(1)\n")
    with running(tmp_path, "run", tmp_path / "app.py", "--net", "none") as child:
        child.expect_exact("up")
        assert not child.getecho()  # raw
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 128 + 9 and child.getecho()


def test_a_compiled_program(tmp_path):
    (tmp_path / "app.mpy").write_bytes(programs.compiled(b"print('compiled', 6 * 7)\n", "app.py"))
    done = barewire("run", tmp_path / "app.mpy", "--net", "none")
    assert "compiled 42" in done.stdout and done.returncode == 0


def test_a_typo_in_trace_is_named(tmp_path):
    (tmp_path / "app.py").write_text("")
    done = barewire("run", tmp_path / "app.py", "--append", "trace=upd", "--net", "none")
    assert "bad value 'upd' for trace ignored" in done.stdout


def test_help_names_every_command():
    said = barewire("--help").stdout
    for name in re.findall(r"^  (\w+) +[A-Z]", said, re.M):
        assert barewire(name, "--help").returncode == 0, name
    assert {"run", "repl", "test", "doctor", "completion"} <= set(said.split())
