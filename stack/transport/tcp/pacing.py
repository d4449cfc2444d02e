"""Pacing: a window spread over its round trip, where that is long enough to matter.

RFC 6928, section 4.1 and RFC 9438, section 5.3 see bursts as what a small buffer at the
bottleneck suffers from. In slow start twice as much may be out a round later, and what leaves at
once has to lie somewhere. So a connection whose least round trip is MIN_RTT_US or more sends at
2 cwnd / SRTT in slow start, at 1.25 cwnd / SRTT after (the factors of Linux, within 5 %), in
pieces of what that is in a millisecond, two segments at least: a timer for each piece would
cost more than the piece, so the layer's own retry is the clock (Tcp.flush). Below MIN_RTT_US
the pieces would be the window.

Off unless asked for (`net.tcp(pacing=True)`): README.md has what it gives and costs.

`emit` stands in the place of output.emit (Connection.emit) of such a connection, so the others
pay nothing. The first window goes at once, for short answers need no more.

Not implemented: a rate that the program sets (SO_MAX_PACING_RATE); the start of pacing where a
round trip grows long after the handshake.
"""

from micropython import const

from stack.transport.tcp import block, output

MIN_RTT_US = const(5_000)
_PIECE_US = const(1_000)
_M = const(0xFFFFFFFF)


def begin(c):
    """The handshake is over: pace c if its round trip is long."""
    if c.tcp.pacing and c.w[block.MIN_RTT_US] >= MIN_RTT_US:
        c.emit = emit


def emit(c, now, turns):
    """As output.emit, at most what the pace allows; LATER when it allows nothing yet."""
    if c.w[block.MIN_RTT_US] < MIN_RTT_US:
        # The handshake was slow, the path is not.
        c.emit = output.emit
        return output.emit(c, now, turns)
    una = c.w[block.SND_UNA]
    nxt = c.w[block.SND_NXT]
    left = c.snd.tail - c.snd.head - (nxt - una & _M)
    b = c.board
    if (left <= 0 and (b is None or not b.lost)) or una - c.iss & _M <= 1:
        return output.emit(c, now, turns)
    cwnd = c.cc.cwnd
    # Octets in a millisecond.
    rate = cwnd * (2_000 if cwnd < c.cc.ssthresh else 1_250) // c.w[block.SRTT_US] or 1
    mss = c.mss
    piece = rate * _PIECE_US // 1_000
    if piece < 2 * mss:
        piece = 2 * mss
    # pace_at: when what has been sent would have been, at this rate.
    may = (now - c.pace_at) * rate // 1_000
    if may > piece:
        may = piece
        c.pace_at = now - piece * 1_000 // rate
    if may < mss:
        if c.w[block.ACK_NOW]:
            output.emit_ack(c, now)
        return output.LATER
    gso = c.gso
    most = may - may % mss
    if most < gso:
        c.gso = most
    else:
        most = gso
    again = c.retransmits
    said = output.emit(c, now, 1)
    if c.gso == most:
        c.gso = gso  # unless the path has changed
    sent = c.w[block.SND_NXT] - nxt & _M
    if c.retransmits != again:
        sent += most
    c.pace_at += sent * 1_000 // rate
    if said == output.MORE and may - sent < mss:
        return output.LATER
    return said
