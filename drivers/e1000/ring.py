"""The descriptor rings of the 8254x and 82574L: viper on descriptor memory.

Descriptors have 16 bytes, here four 32-bit words (8254x 3.2.3, 3.3.3, 3.3.6, 3.3.7):

    receive    address low, high | length 16, checksum 16 | status 8, errors 8, special 16
    context    IPCSS 8, IPCSO 8, IPCSE 16 | TUCSS 8, TUCSO 8, TUCSE 16
               | PAYLEN 20, type 4, TUCMD 8 | status 8, HDRLEN 8, MSS 16
    data       address low, high | length 20, type 4, DCMD 8 | status 8, POPTS 8, special 16

State is an array of 32-bit words, `st`, so that the viper functions make no
objects. Positions only grow and are masked on use. The card owns descriptors from
its head to its tail; we never read the head (3.2.4: "not reliable"), only whether
a descriptor was written back: bit 0 of its last word, DD.

Not implemented: extended and packet-split receive descriptors, VLAN tags.
"""

from array import array

import micropython
from micropython import const

# Words of `st`.
_MASK = const(0)  # descriptors - 1
NEXT = const(1)  # rx: how many were taken out; tx: how many were put in
CLEAN = const(2)  # tx: how many were found done
_FIRST = const(3)  # tx: where the frame that is being put in begins
_CONTEXT = const(4)  # tx: what the card's checksum context says, 0 if we cannot know
_LARGEST = const(5)  # rx: no frame is longer
PLACE, LENGTH = const(6), const(7)  # rx: what coalesce.join made of a frame, as in rx_next
_WORDS = const(8)

# Buffers of 2,048 bytes (RCTL.BSIZE): an ordinary frame in one, a jumbo in up to eight.
RX_SIZE = const(2048)
# 3.3.3: at most 16,288 bytes a descriptor.
_CHUNK = const(8192)
# A frame's context, its headers, and 65,535 bytes of data in up to 9 pieces.
TX_MOST = const(11)

_DD = const(1)
_EOP = const(2)
_IXSM = const(4)  # status: nothing was summed
_TCPCS = const(0x20)  # status: the TCP or UDP checksum was computed
_SUM_ERRORS = const(0x6000)  # errors: TCPE, IPE
_FRAME_ERRORS = const(0x9700)  # errors: RXE, CXE, SEQ, SE, CE

_CONTEXT_TCP = const(0x21 << 24)  # DEXT, TCP
_CONTEXT_TSO = const(0x25 << 24)  # DEXT, TSE, TCP
_CONTEXT_IPV4 = const(2 << 24)
_DATA = const(0x22 << 24 | 1 << 20)  # DEXT, IFCS; type 1
_TSE = const(4 << 24)
_EOP_RS = const(9 << 24)  # the last of its frame; write it back
# What tx_offload tells tx_put: POPTS where they lie in the last word, and TSE.
_TXSM = const(2 << 8)
_IXSM_TXSM = const(3 << 8)

# What rx_next returns besides a frame.
NOTHING = const(0)
RUNT = const(-1)
DAMAGED = const(-2)  # the card saw an error on the wire; taken out
BAD = const(-3)  # lengths that cannot be


def state(count, largest=0):
    st = array("I", bytes(4 * _WORDS))
    st[_MASK] = count - 1
    st[_LARGEST] = largest
    return st


def describe(ring, address, count):
    """Make descriptor i name buffer i of the arena at `address`, for good."""
    for i in range(count):
        ring[16 * i : 16 * i + 16] = address.to_bytes(8, "little") + bytes(8)
        address += RX_SIZE


@micropython.viper
def rx_next(ring, st) -> int:
    """Take the next frame out. Positive: its place in the arena << 20 | length << 2 | 2 if it
    runs on in the first buffer | 1 if its checksum is vouched for. 3.2.3.

    NOTHING, also while a frame of several descriptors is not complete; RUNT, DAMAGED, BAD.
    """
    s = ptr32(st)
    w = ptr32(ring)
    mask = s[_MASK]
    first = s[NEXT] & mask
    i = first
    total = 0
    k = 1
    while True:
        v = w[4 * i + 3]
        if v & _DD == 0:
            return 0
        n = w[4 * i + 2] & 0xFFFF
        total += n
        # Only the last descriptor of a frame may be filled in part.
        if n > RX_SIZE or total > s[_LARGEST] or (v & _EOP == 0 and (n != RX_SIZE or k > mask)):
            return BAD
        if v & _EOP:
            break
        k += 1
        i = (i + 1) & mask
    s[NEXT] = (s[NEXT] + k) & 0xFFFFFFFF
    flags = 0
    if first + k > mask + 1:
        flags = 2
    if v & (_IXSM | _TCPCS | _SUM_ERRORS) == _TCPCS:
        flags |= 1
    damaged = v & _FRAME_ERRORS
    i = first
    while k:
        w[4 * i + 3] = 0
        i = (i + 1) & mask
        k -= 1
    if damaged:
        return DAMAGED
    if total < 14:
        return RUNT
    return first * RX_SIZE << 20 | total << 2 | flags


@micropython.viper
def rx_waiting(ring, st) -> int:
    """1 if the next descriptor was written back."""
    s = ptr32(st)
    return ptr32(ring)[4 * (s[NEXT] & s[_MASK]) + 3] & _DD


@micropython.viper
def tx_space(st) -> int:
    """Free descriptors. One stays empty: a tail equal to the head means an empty ring."""
    s = ptr32(st)
    return s[_MASK] - ((s[NEXT] - s[CLEAN]) & 0xFFFFFFFF)


@micropython.viper
def tx_offload(ring, st, buf, off: int, start: int, offset: int, gso: int, total: int) -> int:
    """Put in the context that a frame of `total` bytes at buf[off:] needs; options for tx_put.

    The card keeps the last context (3.3.5), so one that says the same is left out.
    For segmentation the card wants lengths of 0 in the headers, and a pseudo-header
    sum without the length (3.5.5): that is taken out here.
    """
    s = ptr32(st)
    w = ptr32(ring)
    at = s[NEXT]
    i = (at & s[_MASK]) << 2
    css = start - off
    cso = css + offset
    if gso == 0:
        if s[_CONTEXT] == (css << 8 | cso):
            return _TXSM
        s[_CONTEXT] = css << 8 | cso
        w[i] = 0
        w[i + 1] = css | cso << 8
        w[i + 2] = _CONTEXT_TCP
        w[i + 3] = 0
        s[NEXT] = (at + 1) & 0xFFFFFFFF
        return _TXSM
    s[_CONTEXT] = 0
    p = ptr8(buf)
    ip = off + 14
    if p[off + 12] == 0x81:  # an 802.1Q tag
        ip += 4
    header = css + (p[start + 12] >> 4) * 4
    command = _CONTEXT_TSO
    options = _TSE | _TXSM
    w[i] = 0
    if p[ip] >> 4 == 4:
        p[ip + 2] = 0
        p[ip + 3] = 0
        p[ip + 10] = 0
        p[ip + 11] = 0
        w[i] = (ip - off) | (ip - off + 10) << 8 | (css - 1) << 16
        command |= _CONTEXT_IPV4
        options = _TSE | _IXSM_TXSM
    else:
        p[ip + 4] = 0
        p[ip + 5] = 0
        w[i] = (ip - off) | (css - 1) << 16
    k = start + offset
    v = (p[k] << 8 | p[k + 1]) + (((total - css) ^ 0xFFFF) & 0xFFFF)
    v = (v & 0xFFFF) + (v >> 16)
    p[k] = v >> 8
    p[k + 1] = v & 0xFF
    w[i + 1] = css | cso << 8
    w[i + 2] = command | (total - header)
    w[i + 3] = header << 8 | gso << 16
    s[NEXT] = (at + 1) & 0xFFFFFFFF
    return options


@micropython.viper
def tx_put(ring, st, ends, at: int, n: int, data_at: int, data_n: int, options: int) -> int:
    """Put a frame in, behind its context: n bytes at address `at`, then data. 3.3.7.

    Returns the index of its first descriptor, where ends[] says behind which its last lies.
    """
    s = ptr32(st)
    w = ptr32(ring)
    mask = s[_MASK]
    command = _DATA | options & _TSE
    pos = s[NEXT]
    i = (pos & mask) << 2
    w[i] = at & 0xFFFFFFFF
    w[i + 1] = at >> 32 & 0xFFFFFFFF
    w[i + 2] = command | n
    w[i + 3] = options & 0xFF00
    while data_n:
        k = data_n
        if k > _CHUNK:
            k = _CHUNK
        pos += 1
        i = (pos & mask) << 2
        w[i] = data_at & 0xFFFFFFFF
        w[i + 1] = data_at >> 32 & 0xFFFFFFFF
        w[i + 2] = command | k
        w[i + 3] = options & 0xFF00  # "ignored except on the first", but QEMU's 82574L wants it
        data_at += k
        data_n -= k
    w[i + 2] = w[i + 2] | _EOP_RS
    pos = (pos + 1) & 0xFFFFFFFF
    first = s[_FIRST] & mask
    ptr32(ends)[first] = pos
    s[_FIRST] = pos
    s[NEXT] = pos
    return first


@micropython.viper
def tx_done(ring, st, ends) -> int:
    """Take the oldest frame out if its last descriptor was written back: index + 1 of its first."""
    s = ptr32(st)
    clean = s[CLEAN]
    if clean == s[_FIRST]:
        return 0
    mask = s[_MASK]
    end = ptr32(ends)[clean & mask]
    if ptr32(ring)[4 * ((end - 1) & mask) + 3] & _DD == 0:
        return 0
    s[CLEAN] = end
    return (clean & mask) + 1
