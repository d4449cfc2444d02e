"""Explicit congestion notification: RFC 3168.

    SYN with ECE and CWR, SYN-ACK with ECE       both ends can (6.1.1)
    new data leaves with ECT(0)                  not what goes again, probes, ACKs (6.1.4 to 6)
    a router marks it CE -> the receiver sets ECE on all its ACKs until it sees CWR (6.1.3)
    ECE -> the sender reduces as for a loss, once a window, and says CWR (6.1.2)

`tcp.ecn`: OFF, ON (ask for it), ACCEPT (only if the peer asks; the default, as in Linux). A SYN
that was lost goes again without (6.1.1.1): some middlebox may have dropped it for its bits.

Not implemented: AccECN (RFC 9768), ECN nonce, a beta of its own (RFC 8511).
"""

from micropython import const

from stack.core import seq
from stack.transport.tcp.block import SND_MAX, SND_UNA
from stack.wire.tcp import ACK, CWR, ECE, SYN

OFF = const(0)
ON = const(1)
ACCEPT = const(2)

CE = const(3)  # the two bits of the IP header: congestion experienced
# The protocol number as Path.output takes it, with ECT(0) as type of service.
ECT_TCP = const(2 << 16 | 6)


def asked(tcp, flags):
    """Does this SYN ask, and may we? "both the ECE and CWR flags set" (6.1.1)."""
    return tcp.ecn != OFF and flags & (SYN | ACK | ECE | CWR) == SYN | ECE | CWR


def granted(tcp, flags):
    """Is this SYN-ACK an ECN-setup SYN-ACK? Both bits set is a peer that only reflects."""
    return tcp.ecn == ON and flags & (SYN | ACK | ECE | CWR) == SYN | ACK | ECE


def on_data(c, flags):
    """Data has arrived: a mark is to be echoed; CWR ends the echo of the last one."""
    if flags & CWR:
        c.ece_out = False
    if c.tcp.ce:
        c.tcp.stats.count("tcp.ce_marks")
        if not c.ece_out:
            c.ece_out = True
            c.ack_soon()


def on_echo(c, ack, flight, now):
    """An ACK with ECE: reduce, "no more than once per window of data"."""
    if seq.lt(ack, c.ecn_high) or c.recovering:
        return
    c.tcp.stats.count("tcp.ecn_reductions")
    c.cc.on_loss(flight if flight < c.cc.cwnd else c.cc.cwnd, now)
    reduced(c)


def reduced(c):
    """The window was reduced, whatever for: the next new data says so (6.1.2)."""
    c.ecn_high = c.w[SND_MAX]
    c.cwr_out = True


def may_reduce(c):
    """A loss in a window that was reduced for a mark costs nothing more."""
    return not c.ecn or not seq.lt(c.w[SND_UNA], c.ecn_high)
