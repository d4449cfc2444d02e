"""What a connection says of itself, and what a program may set while it lives.

RFC 9293 3.9.1.6 (STATUS), RFC 5482 (user timeout), TCP_MAXSEG, TCP_CONGESTION.
"""

from micropython import const

from stack.transport.tcp import output, usertimeout
from stack.transport.tcp.block import (
    ADV_MSS,
    BACKOFF,
    MIN_RTT_US,
    RCV_ADV,
    RCV_NXT,
    RCV_WSCALE,
    RTTVAR_US,
    RX_BYTES,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WND,
    SND_WSCALE,
    SRTT_US,
    TS_ON,
)
from stack.transport.tcp.congestion import algorithm
from stack.transport.tcp.states import ESTABLISHED, NAMES, SYN_SENT, TIME_WAIT

_M = const(0xFFFFFFFF)
# RFC 9293 3.9.1.1: a default of five minutes for data that is not acknowledged.
USER_TIMEOUT_US = const(300_000_000)


def info(c):
    """STATUS (RFC 9293 3.9.1.6): a new dict, of what others have in TCP_INFO."""
    b = c.board
    return {
        "proto": "tcp",
        "state": NAMES[c.state],
        "local_addr": c.local_addr,
        "local_port": c.local_port,
        "remote_addr": c.remote_addr,
        "remote_port": c.remote_port,
        "snd_una": c.w[SND_UNA],
        "snd_nxt": c.w[SND_NXT],
        "snd_wnd": c.w[SND_WND],
        "rcv_nxt": c.w[RCV_NXT],
        "rcv_wnd": c.w[RCV_ADV] - c.w[RCV_NXT] & _M,
        "mss": c.mss,
        "cwnd": c.cc.cwnd,
        "ssthresh": c.cc.ssthresh,
        "congestion": c.cc.name,
        "srtt_us": c.w[SRTT_US],
        "rto_us": c.rtt.timeout_us(),
        "in_flight": c.w[SND_NXT] - c.w[SND_UNA] & _M,
        "lost": b.lost if b is not None else 0,
        "sacked": b.sacked if b is not None else 0,
        "recovery": ("open", "recovery", "loss")[c.recovering],
        "min_rtt_us": c.w[MIN_RTT_US],
        "rttvar_us": c.w[RTTVAR_US],
        "backoff": c.w[BACKOFF],
        "user_timeout_us": c.user_timeout_us,
        "options": _options(c),
        "retransmits": c.retransmits,
        "rx_bytes": c.w[RX_BYTES],
        "tx_bytes": c.tx_bytes,
        "send_queue": c.snd.tail - c.snd.head,
        "recv_queue": c.rcv.tail - c.rcv.head,
        "out_of_order": c.ooo.held() if c.ooo is not None else 0,
    }


def _options(c):
    """What both sides agreed on, in words."""
    out = []
    for on, name in (
        (c.sack_ok, "sack"), (c.w[TS_ON], "timestamps"), (c.ecn, "ecn"),
        (c.w[SND_WSCALE] or c.w[RCV_WSCALE], "wscale"), (c.fast, "fastopen"),
    ):
        if on:
            out.append(name)
    return " ".join(out)


def set_user_timeout(c, us, now):
    """RFC 9293 3.9.1.1, RFC 5482: R2 for data; 0: the host's, which the peer may change."""
    c.user_timeout_us = us or c.tcp.user_timeout_us
    c.uto = usertimeout.FIXED if us else 0
    if c.tcp.uto:
        c.uto |= usertimeout.TELL
        if ESTABLISHED <= c.state < TIME_WAIT:
            output.emit_user_timeout(c, now)


def mark(c, marks):
    """What the IP headers of this connection have from now on (net/marks.py; RFC 9293 MUST-48,
    MUST-49): hop limit, Differentiated Services; its SYN too if it has not left.
    """
    path = marks.path(c.tcp.ip, c.remote_addr, c.local_addr)
    if path is not None:
        c.path = path


def limit_mss(c, n):
    """No segment of more than n bytes, in the SYN's offer too if it has not left."""
    c.mss_limit = n
    if c.state == SYN_SENT and c.w[SND_MAX] == c.iss:
        if n < c.w[ADV_MSS]:
            c.w[ADV_MSS] = n
    elif c.state >= ESTABLISHED and n < c.mss:
        c.follow_path()


def set_congestion(c, name):
    """Go on with another algorithm, with the window that is. ValueError."""
    old = c.cc
    cc = algorithm(name)(c.mss, c.tcp.initial_segments, c.rtt)
    cc.cwnd = old.cwnd
    cc.ssthresh = old.ssthresh
    c.cc = cc
