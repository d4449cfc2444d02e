"""What a side of a connection wants. Shared by many connections; they do not change it.

Every limit on what a peer can make grow is here or named where it applies.
"""

from micropython import const

from stack.core.mem import Buffers
from stack.tls import groups, schedule, signatures
from stack.tls.x509.store import Roots

# Client authentication, as a server asks for it.
NO_CLIENT_CERTIFICATE = const(0)
CLIENT_CERTIFICATE_WELCOME = const(1)
CLIENT_CERTIFICATE_REQUIRED = const(2)

MAX_FRAGMENT = const(16384)


class Config:
    """Attributes, with what they are when nothing is said:

    roots            a store of trusted certificates (x509.store): a Roots without any
    identities       list of keys.Identity to show; a server picks by name and scheme
    alpn             list of protocol names, bytes, best first
    suites, groups   what is offered and accepted, best first
    key_shares       groups whose share a client sends at once
    schemes          signature schemes accepted of the peer
    client_auth      whether a server asks for a certificate
    pins             list of SHA-256 of SubjectPublicKeyInfo; one has to be in the path
    verify_callback  function(DER, depth) -> 0 to accept; called for each certificate of a
                     path that was found good, from the root (the greatest depth) to the leaf
    sessions         a tickets.Sessions, where a client keeps tickets; None: no resumption
    tickets          a tickets.TicketKeys with which a server seals; None: no tickets
    ticket_count     tickets sent after a full handshake, 8 at most; one after a resumed one
    early_data       bytes of 0-RTT data that a server takes; 0: none. They can be
                     replayed by whoever recorded them: see README.md
    record_size_limit  largest plaintext that we take, RFC 8449; None: say nothing
    pad              records are padded to a multiple of this
    grease, compatible   RFC 8701; middlebox compatibility mode, RFC 8446 D.4
    staple           a client asks for OCSP, and checks what it gets
    key_log          called with a line in NSS's format: whoever reads it reads everything
    handshake_us     how long a handshake may take; None: for ever
    buffers          core.mem.Buffers that records are read and written in
    """

    def __init__(self, **options):
        self.roots = Roots()
        self.identities = []
        self.alpn = []
        self.suites = schedule.SUITES
        self.groups = (
            groups.X25519MLKEM768,
            groups.X25519,
            groups.SECP256R1,
            groups.SECP384R1,
        )
        self.key_shares = (groups.X25519MLKEM768, groups.X25519)
        self.schemes = signatures.SCHEMES
        self.client_auth = NO_CLIENT_CERTIFICATE
        self.pins = ()
        self.verify_callback = None
        self.sessions = None
        self.tickets = None
        self.ticket_count = 2
        self.early_data = 0
        self.record_size_limit = None
        self.announce_groups = False  # a server tells its groups in EncryptedExtensions
        self.pad = 0
        self.grease = True
        self.compatible = True
        self.staple = True
        self.key_log = None
        self.handshake_us = None
        self.buffers = Buffers()
        self.dangerously_accept_any_certificate = False
        self.dangerously_skip_host_check = False
        for name in options:
            if not hasattr(self, name):
                raise ValueError("no option " + name)
            setattr(self, name, options[name])
