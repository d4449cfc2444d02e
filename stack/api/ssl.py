"""ssl: MicroPython's `ssl` and `tls` over TLS 1.3, the only version spoken.

A program for a board runs unchanged. Different here: a client verifies unless it says
CERT_NONE, also by the module's `wrap_socket`, against Mozilla's roots unless others were
loaded; CERT_OPTIONAL verifies a certificate that is there; what is refused is said in words.
Beyond it: ALPN, resumption within a context, sockets' methods; `net.tls` has the rest.

Not implemented: DTLS, encrypted private keys.
"""

from micropython import const

from stack.api import _runtime
from stack.api._tls import (  # noqa: F401
    SSLCertVerificationError,
    SSLError,
    TlsEndpoint,
)
from stack.api.socket import SOCK_STREAM, socket
from stack.core import errors
from stack.core.timers import NEVER
from stack.tls import schedule

PROTOCOL_TLS_CLIENT = const(0)
PROTOCOL_TLS_SERVER = const(1)
CERT_NONE = const(0)
CERT_OPTIONAL = const(1)
CERT_REQUIRED = const(2)

# A peer that has not shaken hands by then is given up, whatever the program waits for.
_HANDSHAKE_US = const(60000000)
_FOREIGN_US = const(1000)
# Requests of MicroPython's C code to a stream, and what a closed one answers.
_POLL = const(3)
_CLOSE = const(4)
POLLNVAL = const(32)


class SSLContext:
    """What the sockets wrapped by it have in common."""

    def __init__(self, protocol, **options):
        """options: of stack.tls.config.Config, for `net.tls`."""
        if protocol not in (PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER):
            raise ValueError("protocol: PROTOCOL_TLS_CLIENT or PROTOCOL_TLS_SERVER")
        self.protocol = protocol
        self._options = options
        self._mode = CERT_NONE if protocol else CERT_REQUIRED
        self._callback = None
        self._roots = options.pop("roots", None)
        self._identities = list(options.pop("identities", ()))
        self._suites = None
        self._sessions = self._tickets = None
        self._config = None
        self._logged = None

    @property
    def verify_mode(self):
        return self._mode

    @verify_mode.setter
    def verify_mode(self, mode):
        if mode not in (CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED):
            raise ValueError("verify_mode: CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED")
        self._mode = mode
        self._config = None

    @property
    def verify_callback(self):
        return self._callback

    @verify_callback.setter
    def verify_callback(self, function):
        """function(certificate as DER, depth) -> 0 to accept; called from the root to the leaf."""
        self._callback = function
        self._config = None

    def load_cert_chain(self, certfile, keyfile):
        """A certificate chain and its key: paths, or the PEM or DER itself as bytes."""
        from stack.core.errors import ProtocolError
        from stack.tls import keys

        try:
            key = keys.load_private_key(_content(keyfile))
        except ValueError as e:
            raise ValueError("invalid key: %s" % e)  # noqa: B904
        try:
            identity = keys.load_identity(_content(certfile), key)
        except (ValueError, ProtocolError) as e:
            raise ValueError("invalid cert: %s" % e)  # noqa: B904
        self._identities.insert(0, identity)
        self._config = None

    def load_verify_locations(self, cafile=None, cadata=None):
        """Trust these instead of Mozilla's roots: a path, or PEM or DER. May be called again."""
        from stack.core.errors import ProtocolError
        from stack.tls.x509.store import Roots

        data = _content(cafile) if cafile is not None else cadata
        if not data:
            raise ValueError("cafile or cadata")
        roots = self._roots if isinstance(self._roots, Roots) else Roots()
        try:
            if not roots.add(data):
                raise ValueError("invalid cert: neither PEM nor DER")
        except ProtocolError as e:
            raise ValueError("invalid cert: %s" % e)  # noqa: B904
        self._roots = roots
        self._config = None

    def load_default_certs(self):
        """Trust Mozilla's roots, as when nothing is loaded."""
        self._roots = None
        self._config = None

    def get_ciphers(self):
        """The names of the cipher suites, the one that is liked best first."""
        return [s.name for s in self._suites or schedule.SUITES]

    def set_ciphers(self, ciphers):
        """Only these, in this order: a list of IANA's names. SSLError for one that is unknown."""
        if not isinstance(ciphers, (list, tuple)):
            raise TypeError("object '%s' isn't a tuple or list" % type(ciphers).__name__)
        chosen = []
        for name in ciphers:
            known = name.replace("TLS1-3-", "TLS_").replace("-", "_")
            for s in schedule.SUITES:
                if s.name == known or s.name == known + "_SHA256":
                    chosen.append(s)
                    break
            else:
                raise SSLError(-0x5E80, "no cipher suite of TLS 1.3: %s" % name)
        if not chosen:
            raise SSLError(-0x5E80, "no cipher suites")
        self._suites = tuple(chosen)
        self._config = None

    def set_alpn_protocols(self, protocols):
        """Offer or accept these application protocols, str or bytes, best first."""
        self._options["alpn"] = [p.encode() if isinstance(p, str) else bytes(p) for p in protocols]
        self._config = None

    def wrap_socket(
        self,
        sock,
        *,
        server_side=False,
        do_handshake_on_connect=True,
        server_hostname=None,
        client_id=None,
    ):
        """An SSLSocket over a connected socket or another stream. OSError if the handshake fails.

        server_hostname: whom the certificate has to be for; needed by a client that verifies.
        """
        s = SSLSocket(sock, self, server_side, server_hostname)
        if do_handshake_on_connect:
            s.do_handshake()
        return s

    def config(self):
        """The Config for stack.tls; made anew when something was changed."""
        from stack.api import tls

        if self._config is None or self._logged is not tls.key_logger:
            self._config = self._make_config()
            self._logged = tls.key_logger
        return self._config

    def _make_config(self):
        from stack.api import tls
        from stack.tls import config as c
        from stack.tls import tickets

        o = dict(self._options)
        if tls.key_logger is not None and "key_log" not in o:
            o["key_log"] = tls.key_logger
        o.setdefault("buffers", _runtime.current().host.buffers)
        o.setdefault("handshake_us", _HANDSHAKE_US)
        o["identities"] = self._identities
        o["verify_callback"] = self._callback
        if self._suites or "suites" not in o:
            o["suites"] = self._suites or tls.suites()
        server = self.protocol == PROTOCOL_TLS_SERVER
        if self._mode == CERT_NONE:
            o["dangerously_accept_any_certificate"] = True
        else:
            o["roots"] = self._roots or tls.default_roots()
            if server:
                o["client_auth"] = (
                    c.CLIENT_CERTIFICATE_REQUIRED
                    if self._mode == CERT_REQUIRED
                    else c.CLIENT_CERTIFICATE_WELCOME
                )
        if server and "tickets" not in o:
            self._tickets = self._tickets or tickets.TicketKeys(tls.rng())
            o["tickets"] = self._tickets
        elif not server and "sessions" not in o:
            self._sessions = self._sessions or tickets.Sessions()
            o["sessions"] = self._sessions
        return c.Config(**o)

    def machine(self, server_side, host, where, early_data=b""):
        """The machine of a connection to `where`, a text under which tickets are kept."""
        from stack.api import tls

        rt = _runtime.current()
        unix = rt.hw.unix_us() // 1000000
        if server_side:
            from stack.tls.server import Server

            return Server(self.config(), tls.rng(), rt.now(), unix)
        from stack.tls.client import Client

        if self._mode != CERT_NONE and not host:
            if not self._options.get("dangerously_skip_host_check"):
                raise ValueError(
                    "server_hostname is needed to check the certificate; CERT_NONE checks nothing"
                )
        return Client(
            self.config(), host, tls.rng(), rt.now(), unix, "%s %s" % (host, where), early_data
        )


class SSLSocket(socket):
    """A stream like the socket that it wraps, which it closes too when it is closed."""

    def __init__(self, sock, context, server_side, server_hostname, early_data=b""):
        self._rt = rt = _runtime.current()
        self._type = SOCK_STREAM
        self._sock = sock
        self._foreign = True  # no connection of ours below
        self.context = context
        self.server_side = bool(server_side)
        self.server_hostname = server_hostname
        rt.lock()
        try:
            if isinstance(sock, socket) and sock._ep is not None and not sock._listening:
                below = sock._endpoint()
                where = "%s:%s" % (below.remote_addr, below.remote_port)
            else:
                from stack.api._foreign import StreamEnd

                below = StreamEnd(sock, rt.hw)
                where = ""
            machine = context.machine(server_side, server_hostname, where, early_data)
            self._ep = TlsEndpoint(rt, below, machine)
            self._foreign = not where
            rt.kick(rt.now())
        finally:
            rt.unlock()

    def __repr__(self):
        if self._closed:
            return "<SSLSocket closed>"
        suite = self._ep.machine.suite
        return "<SSLSocket %s over %r>" % (suite.name if suite else "handshake", self._sock)

    def do_handshake(self):
        """Wait until the handshake is done, also if the socket does not block. OSError."""
        rt = self._rt
        deadline = 0
        while True:
            rt.lock()
            try:
                if self._ep.handshake(rt.now()):
                    return
            finally:
                rt.unlock()
            self._timeout_us = getattr(self._sock, "_timeout_us", -1)
            if self._timeout_us == 0:
                rt.wait(self._deadline())
            else:
                deadline = self._wait(deadline)

    def getpeercert(self, binary_form=False):
        """The peer's certificate as DER, None without one. net.tls.info tells what is in it."""
        if not binary_form:
            raise NotImplementedError
        peer = self._ep.machine.peer
        return None if peer is None else peer.der

    def cipher(self):
        """(suite, version)."""
        suite = self._ep.machine.suite
        return (suite.name, "TLSv1.3") if suite is not None else None

    def version(self):
        return "TLSv1.3" if self._ep.machine.connected else None

    def selected_alpn_protocol(self):
        """What was agreed, str, or None."""
        alpn = self._ep.machine.alpn
        return None if alpn is None else alpn.decode()

    # The socket below.

    def _deadline(self):
        return self._rt.now() + _FOREIGN_US if self._foreign else NEVER

    def recv(self, bufsize, flags=0):
        if not self._foreign:
            return super().recv(bufsize)
        buf = bytearray(bufsize)
        n = self.recv_into(buf)
        return bytes(memoryview(buf)[:n])

    def readline(self, size=-1):
        if not self._foreign:
            return super().readline(size)
        line = b""
        while size < 0 or len(line) < size:
            b = self.read(1)
            if not b:
                return line or b
            line += b
            if b == b"\n":
                break
        return line

    def _wait(self, deadline):
        if self._foreign and self._timeout_us < 0:
            self._rt.wait(self._deadline())
            return NEVER
        return super()._wait(deadline)

    def _take(self, buf, off, n):
        # Programs set the time-out of either.
        self._timeout_us = getattr(self._sock, "_timeout_us", self._timeout_us)
        return super()._take(buf, off, n)

    def _put(self, data, off, n):
        self._timeout_us = getattr(self._sock, "_timeout_us", self._timeout_us)
        return super()._put(data, off, n)

    def _take_line(self, buf, n):
        self._check_open()
        return self._take(buf, 0, self._ep.find(b"\n", n) or 1)

    def ioctl(self, request, arg):
        if self._closed and request in (_POLL, _CLOSE):
            return POLLNVAL if request == _POLL else 0
        if request not in (_POLL, _CLOSE):
            raise OSError(errors.EINVAL)
        rt = self._rt
        rt.lock()  # `events` runs the machine
        try:
            return super().ioctl(request, arg)
        finally:
            rt.unlock()

    def settimeout(self, value):
        super().settimeout(value)
        self._sock.settimeout(value)

    def setblocking(self, flag):
        self._timeout_us = -1 if flag else 0
        self._sock.setblocking(flag)

    def setsockopt(self, *args):
        return self._sock.setsockopt(*args)

    def getsockopt(self, *args):
        return self._sock.getsockopt(*args)

    def getsockname(self):
        return self._sock.getsockname()

    def getpeername(self):
        return self._sock.getpeername()

    def unwrap(self):
        """Send close_notify and give the socket back, which stays open."""
        self._finish()
        return self._sock

    def _finish(self):
        self._closed = True
        rt = self._rt
        rt.lock()
        try:
            self._ep.finish(rt.now())
            self._ep = None
            if self._waker is not None:
                self._follow()
                self._waker.wake(None)
        finally:
            rt.unlock()

    def close(self):
        if not self._closed:
            self._finish()
            if hasattr(self._sock, "close"):
                self._sock.close()
            else:
                self._sock.ioctl(4, 0)


def wrap_socket(
    sock,
    server_side=False,
    key=None,
    cert=None,
    cert_reqs=None,
    cadata=None,
    server_hostname=None,
    do_handshake=True,
):
    """A context for one socket. A client verifies unless cert_reqs is CERT_NONE."""
    context = SSLContext(PROTOCOL_TLS_SERVER if server_side else PROTOCOL_TLS_CLIENT)
    if cert is not None or key is not None:
        context.load_cert_chain(cert, key)
    if cadata is not None:
        context.load_verify_locations(cadata=cadata)
    if cert_reqs is not None:
        context.verify_mode = cert_reqs
    return context.wrap_socket(
        sock,
        server_side=server_side,
        server_hostname=server_hostname,
        do_handshake_on_connect=do_handshake,
    )


def create_default_context():
    """As CPython's: a client's context that verifies."""
    return SSLContext(PROTOCOL_TLS_CLIENT)


def _content(what):
    """The bytes of a file, or what is bytes already."""
    if isinstance(what, str):
        with open(what, "rb") as f:
            return f.read()
    if what is None:
        raise OSError(errors.EINVAL)
    return bytes(what)
