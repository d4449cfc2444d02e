"""What a connection says about itself in its SYN, and what it makes of the peer's.

Reading options is the wire's (stack/wire/tcp.py); here they get their meaning:
RFC 9293 3.7.1 (MSS), RFC 7323 2 (window scale).

Not implemented: offering SACK (RFC 2018) and timestamps (RFC 7323 3): both are
read from the wire (stack/wire/tcp.py), none is offered yet.
"""

from micropython import const

from stack.wire.tcp import DEFAULT_MSS, HAS_MSS, HAS_WSCALE

_MAX_UNSCALED = const(65535)
# RFC 9293 3.7.1 wants a floor in practice: a peer that asks for a tiny MSS makes
# us send a header for every few bytes (CVE-2019-11479). Linux's floor is 48.
MIN_MSS = const(88)
TCP_HEADER = const(20)
SYN_OPTIONS_LEN = const(8)  # MSS (4), NOP and window scale (4)


def peer_mss(h):
    """The MSS that the SYN with header h asks for.

    RFC 9293 3.7.1: "If an MSS Option is not received at connection setup, TCP
    implementations MUST assume a default send MSS of 536 (576 - 40) for IPv4" (MUST-15).
    """
    return h.mss if h.options & HAS_MSS else DEFAULT_MSS


def peer_wscale(h):
    """The shift of the peer's windows, -1: it does not scale."""
    return h.wscale if h.options & HAS_WSCALE else -1


def scale_for(window):
    """The shift with which 16 bits can say `window`."""
    shift = 0
    while shift < 14 and _MAX_UNSCALED << shift < window:
        shift += 1
    return shift


def local_mss(path):
    """What we tell the peer: the largest segment that reaches us in one packet.

    "TCP ... SHOULD send an MSS Option in every SYN": the interface's MTU less
    the fixed headers (RFC 6691). The path says how long its IP header is.
    """
    return path.mtu - path.header - TCP_HEADER


def send_mss(path, peer_mss):
    """Eff.snd.MSS: min(SendMSS + 20, MMS_S) - TCPhdrsize - IPoptionsize (MUST-16)."""
    ours = local_mss(path)
    mss = peer_mss if peer_mss < ours else ours
    return mss if mss > MIN_MSS else MIN_MSS


def write_syn(buf, o, mss, wscale):
    """Write SYN_OPTIONS_LEN bytes of options at buf[o:]. wscale -1: without it (NOPs)."""
    buf[o] = 2
    buf[o + 1] = 4
    buf[o + 2] = mss >> 8 & 0xFF
    buf[o + 3] = mss & 0xFF
    if wscale >= 0:
        buf[o + 4] = 1
        buf[o + 5] = 3
        buf[o + 6] = 3
        buf[o + 7] = wscale
    else:
        buf[o + 4] = buf[o + 5] = buf[o + 6] = buf[o + 7] = 1
