"""The user timeout option: how long one side waits for acknowledgments, as advice to the other.

RFC 5482. Off unless `Tcp.uto`: the RFC's ENABLED, false by default, for both directions.

    |  Kind = 28  |  Length = 4  |G|   User Timeout    |   G: minutes, else seconds

It is said in SYNs, again in the first segment without SYN (what answered by a cookie has kept
nothing), and when a program changes it; it is advice, so what is lost is not said again.

Not implemented: telling the peer another timeout than the one that is used (ADV_UTO is the
connection's own, or the host's where a program has set none).
"""

from micropython import const

# Connection.uto: a program has set the timeout, so the peer does not change it any more
# (CHANGEABLE is false); it is still to be said.
FIXED = const(1)
TELL = const(2)

LEN = const(4)
# Section 3.1: USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT)). Below, RFC 1122's
# 100 s for R2 (4.2.3.5), which is above any RTO, too. Above, half an hour: 12,000 connections of
# silent peers may keep their rings and their 3 KB so much longer, and no longer.
L_LIMIT_US = const(100_000_000)
U_LIMIT_US = const(1_800_000_000)
_SECONDS = const(0x7FFF)
_MINUTES = const(0x8000)


def advertised(c):
    """ADV_UTO of a connection, us."""
    return c.user_timeout_us if c.uto & FIXED else c.tcp.user_timeout_us


def field(us):
    """The option's 16 bits for a timeout: seconds, or minutes where they do not reach; never 0."""
    n = (us + 999_999) // 1_000_000
    if n <= _SECONDS:
        return n or 1
    n = (n + 59) // 60
    return _MINUTES | (n if n < _SECONDS else _SECONDS)


def write(buf, o, us):
    """Write the option for `us` at buf[o:]."""
    n = field(us)
    buf[o] = 28
    buf[o + 1] = LEN
    buf[o + 2] = n >> 8
    buf[o + 3] = n & 0xFF


def heard(c, said):
    """The peer's option, its 16 bits: advice for this connection, within our limits."""
    if c.uto & FIXED or not said & _SECONDS:
        return
    us = (said & _SECONDS) * (60_000_000 if said & _MINUTES else 1_000_000)
    us = max(advertised(c), us, L_LIMIT_US)
    c.user_timeout_us = us if us < U_LIMIT_US else U_LIMIT_US
