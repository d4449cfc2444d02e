"""What a connection does when a time has come: RFC 6298 5, RFC 9293 3.8.3, 3.8.4, 3.8.6.1.

Deadlines (absolute, us; NEVER when off):

    rexmit_at    oldest octet not acknowledged in time
    tlp_at       a tail is to be probed, or what is missing counts as lost (RFC 8985)
    persist_at   the window is closed and nothing is out: ask
    delack_at    an acknowledgment has been held back long enough
    life_at      keepalive, or the end of an orphan in FIN-WAIT-2

Not implemented: R2 as a number of retransmissions (here it is a time).
"""

from micropython import const

from stack.core.errors import ETIMEDOUT
from stack.core.timers import NEVER
from stack.transport.tcp import duplicates, output, rack, recovery, segment
from stack.transport.tcp.block import (
    ACK_NOW,
    BACKOFF,
    DELACK_AT,
    DUPACKS,
    LAST_RX,
    MAX_RTO_US,
    PROGRESS_AT,
    REXMIT_AT,
    RTO_US,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WND,
    TLP_AT,
)
from stack.transport.tcp.states import ESTABLISHED, FIN_WAIT_2, SYN_RECEIVED, SYN_SENT
from stack.wire.tcp import ACK

# RFC 9293 3.8.3: "R2 for a SYN segment MUST be set large enough to provide
# retransmission of the segment for at least 3 minutes" (MUST-23).
R2_SYN_US = const(180_000_000)
# "The value of R1 SHOULD correspond to at least 3 retransmissions" (SHLD-10).
R1 = const(3)
# After so many timeouts of full segments the path may be a black hole (RFC 8899, section 4.3).
_BLACK_HOLE = const(2)
_M = const(0xFFFFFFFF)
# RFC 9293 3.8.4: "this interval MUST be configurable and MUST default to no less
# than two hours" (MUST-28). Interval and count are Linux's.
KEEPIDLE_US = const(7_200_000_000)
KEEPINTVL_US = const(75_000_000)
KEEPCNT = const(9)
# An orphan in FIN-WAIT-2 may wait for ever for a FIN: as long as Linux lets it.
FIN_WAIT_2_US = const(60_000_000)


def poll_at(c):
    """The next deadline."""
    at = c.w[REXMIT_AT]
    if c.w[TLP_AT] < at:
        at = c.w[TLP_AT]
    if c.persist_at < at:
        at = c.persist_at
    if c.w[DELACK_AT] < at:
        at = c.w[DELACK_AT]
    if c.life_at < at:
        at = c.life_at
    return at


def on_timer(c, now):
    if now >= c.w[DELACK_AT]:
        c.w[DELACK_AT] = NEVER
        c.w[ACK_NOW] = True
        if not c.ready:
            c.tcp.make_ready(c)
    if now >= c.w[TLP_AT]:
        _on_tail(c, now)
    if now >= c.w[REXMIT_AT]:
        _on_retransmission(c, now)
    if now >= c.persist_at:
        _on_persist(c, now)
    if now >= c.life_at:
        _on_life(c, now)
    # What was sent above may have queued us for a later time than what is due next.
    c.tcp.arm(c, poll_at(c))


def _on_retransmission(c, now):
    if c.w[SND_UNA] == c.w[SND_MAX]:
        c.w[REXMIT_AT] = NEVER
        return
    if c.state == SYN_SENT or c.state == SYN_RECEIVED:
        r2 = R2_SYN_US
        c.syn_lost = True
        if c.fast:
            c.tcp.fast_open.forget(c.remote_addr)
        # RFC 9293 3.9.2.2: unreachable is "soft" and MUST NOT abort; but when R1
        # has passed and that is all we heard, it is the better answer.
        if c.soft_error and c.w[BACKOFF] >= R1:
            c.fail(c.soft_error, now, "unreachable")
            return
    else:
        r2 = c.user_timeout_us
    if now - c.w[PROGRESS_AT] >= r2:
        # MUST-20: "When the number of transmissions ... reaches a threshold R2, close
        # the connection."
        c.fail(c.soft_error or ETIMEDOUT, now, "R2")
        return
    if not c.w[SND_WND] and c.state >= ESTABLISHED:
        # The window shut over what is out: from here it is probed (MUST-35).
        _lost(c, now)
        c.w[REXMIT_AT] = NEVER
        c.persist_at = now
        return
    if c.w[BACKOFF] == _BLACK_HOLE and c.state >= ESTABLISHED and _full_size_out(c):
        # RFC 4821, section 7.7: full segments vanish and no router says why: smaller ones.
        if c.path.shrink(now):
            c.follow_path()
    _lost(c, now)
    c.rtt.expired()
    c.w[REXMIT_AT] = now + c.rtt.timeout_us()
    if not c.ready:
        c.tcp.make_ready(c)


def _full_size_out(c):
    """True if a segment of the MSS is outstanding."""
    return (c.w[SND_MAX] - c.w[SND_UNA] & _M) >= c.mss


def _on_tail(c, now):
    b = c.board
    if b is None or c.w[SND_UNA] == c.w[SND_MAX]:
        c.w[TLP_AT] = NEVER
    elif c.w[DUPACKS]:
        recovery.on_reorder_timer(c, b, now)
    elif rack.probe_due(c, b, now):
        output.emit_tail_probe(c, b, now)


def _lost(c, now):
    if c.board is not None:
        recovery.on_timeout(c, now)
    else:
        duplicates.on_timeout(c, now)


def _on_persist(c, now):
    # MUST-37: "As long as the receiving TCP peer continues to send acknowledgments
    # in response to the probe segments, the sending TCP peer MUST allow the
    # connection to stay open." Silence, and an orphan's peer that never reads, end it.
    heard = c.w[PROGRESS_AT] if c.orphan else c.w[LAST_RX]
    if c.persist_backoff and now - heard >= c.user_timeout_us:
        c.fail(c.soft_error or ETIMEDOUT, now, "no answer to window probes")
        return
    c.persist_at = NEVER
    if c.w[SND_WND] > (c.w[SND_NXT] - c.w[SND_UNA] & 0xFFFFFFFF):
        # The override timeout: send what little fits (3.8.6.2.1).
        _override(c, now)
        return
    output.emit_probe(c, now)
    if c.persist_backoff < 9:
        c.persist_backoff += 1
    # SHLD-30: "increase exponentially the interval between successive probes".
    wait = c.w[RTO_US] << c.persist_backoff
    c.persist_at = now + (wait if wait < MAX_RTO_US else MAX_RTO_US)


def _override(c, now):
    ring = c.snd
    n = ring.tail - ring.head
    if not n:
        return
    if n > c.w[SND_WND]:
        n = c.w[SND_WND]
    if n > c.mss:
        n = c.mss
    if n > c.tcp.copy_max and n > ring.span(ring.head):
        n = ring.span(ring.head)
    if not segment.segment(c, c.w[SND_UNA], n, ACK, now):
        c.persist_at = now + output.OVERRIDE_US


def _on_life(c, now):
    if c.state == FIN_WAIT_2 and c.orphan:
        c.fail(0, now, "FIN-WAIT-2 timeout")
        return
    if not c.keepalive:
        c.life_at = NEVER
        return
    due = c.w[LAST_RX] + c.keepidle_us
    if now < due:
        # Something was heard meanwhile.
        c.keep_probes = 0
        c.life_at = due
        return
    if c.w[SND_UNA] != c.w[SND_MAX]:
        # Retransmission is asking already.
        c.life_at = now + c.keepintvl_us
        return
    if c.keep_probes >= c.keepcnt:
        c.fail(c.soft_error or ETIMEDOUT, now, "keepalive")
        return
    c.keep_probes += 1
    output.emit_keepalive(c, now)
    c.life_at = now + c.keepintvl_us
