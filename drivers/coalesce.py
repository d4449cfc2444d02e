"""Segments of one TCP stream that wait one behind the other become one, in place.

For cards that hand up each frame of 1,514 bytes by itself: the stack then pays for 64 KB
what it would for one of them. Only what changes nothing for the receiver is joined (as
RFC 9293 leaves the cutting to the sender): IPv4 without options or fragments, TCP without
options or with the same timestamps in all (RFC 7323's layout in 12 bytes), ACK and perhaps
PSH, the same addresses, ports, TOS, TTL, acknowledgement and window, the next sequence
number, and checksums that are right.

Of acknowledgments without data, which a Linux receiver sends for every second segment, the
newest stands for all that wait in front of it (RFC 3449, 5.2.1, "ACK filtering"). It must be
like them but for window and timestamp, newer, and right in its sums; so one that says the
same again (RFC 5681's "duplicate"), SACK blocks, and ECN's flags are each handed up.

A driver's `take(ring, st)` gives frames as place << 20 | length << 2 | 2 if it does not lie in
one piece | 1 if its checksum is vouched for, or an int of at most 0. Places are multiples of 4
of the arena.

Not implemented: IPv6, other options.
"""

import micropython
from micropython import const

from stack.core.mem import copy

HEADERS = const(54)  # Ethernet, IPv4, TCP; 12 more with timestamps
ACK = const(-1)  # of `continues`: no payload
# A whole IP packet has at most 65,535 bytes: 52 of headers, and a last segment as large as any.
_MOST = const(65535 - 52 - 16110)
# Where `join` says what it made: the last two words of a driver's state.
_PLACE, _LENGTH = const(6), const(7)


def join(take, ring, st, arena, r):
    """Append to frame r, in place, the frames behind it that continue it; or let them stand for it.

    What it is then stands in st[6], its place, and st[7], the rest. Returns what `take` gave
    last, which does not belong to it; 0 if there was nothing.
    """
    a = r >> 20
    st[_PLACE] = a
    st[_LENGTH] = r & 0xFFFFF
    first = have = continues(arena, a, 0, a, r >> 2 & 0x3FFFF, r & 1)
    if not first:
        return 0
    while first == ACK:
        st[_PLACE] = a
        st[_LENGTH] = r & 0xFFFFF | 1
        r = take(ring, st)
        a, b = r >> 20, a
        if r <= 0 or r & 2 or continues(arena, b, ACK, a, r >> 2 & 0x3FFFF, r & 1) != ACK:
            return r
    headers = 34 + (arena[a + 46] >> 2)
    while True:
        r = take(ring, st)
        b = r >> 20
        k = 0
        # A larger place: not from the front again, and none of the negative answers.
        if b > a and not r & 2 and have <= _MOST:
            k = continues(arena, a, have, b, r >> 2 & 0x3FFFF, r & 1)
        if not k:
            break
        arena[a + 47] |= arena[b + 47]  # PSH; the copy may overwrite the header at b
        copy(arena, a + headers + have, arena, b + headers, k)
        have += k
    if have != first:
        seal(arena, a, have)
        st[_LENGTH] = have + headers << 2 | 1
    return r


@micropython.viper
def continues(arena, a: int, have: int, b: int, n: int, vouched: int) -> int:
    """The payload of the frame arena[b:b + n] if it follows `have` bytes of the one at a, or 0.

    ACK if it has none and, with `have` ACK too, the one at a says nothing that it does not.
    """
    h = ptr16(arena)
    w = ptr32(arena)
    p = ptr8(arena)
    i = b >> 2
    # Ethernet's type, version and length of the IP header; not a fragment, TCP; flags.
    if w[i + 3] & 0xFFFFFF != 0x450008 or w[i + 5] & 0xFF00FFBF != 0x06000000:
        return 0
    # TCP's header length and flags; behind 32 bytes of it: NOP, NOP, timestamps.
    v = w[i + 11] & 0xF7FF0000
    length = 20
    if v == 0x10800000:
        length = 32
        if (w[i + 13] & 0xFFFF0000 != 0x01010000) or (w[i + 14] & 0xFFFF != 0x0A08):
            return 0
    elif v != 0x10500000:
        return 0
    total = p[b + 16] << 8 | p[b + 17]
    k = total - 20 - length
    if k < 0 or total > n - 14:
        return 0
    if k == 0:
        if have > 0:
            return 0
        k = ACK
    if have:
        j = a >> 2
        v = (w[i] ^ w[j]) | (w[i + 1] ^ w[j + 1]) | (w[i + 2] ^ w[j + 2]) | (w[i + 3] ^ w[j + 3])
        v |= (w[i + 5] ^ w[j + 5]) | (w[i + 7] ^ w[j + 7]) | (w[i + 8] ^ w[j + 8])
        v |= ((w[i + 6] ^ w[j + 6]) & 0xFFFF0000) | ((w[i + 9] ^ w[j + 9]) & 0xFFFF)
        v |= p[a + 46] ^ p[b + 46]
        if have > 0:
            v |= ((w[i + 10] ^ w[j + 10]) & 0xFFFF0000) | ((w[i + 11] ^ w[j + 11]) & 0xFFFF)
            v |= (w[i + 12] ^ w[j + 12]) & 0xFFFF
            if length == 32:
                v |= (w[i + 14] ^ w[j + 14]) | (w[i + 15] ^ w[j + 15])
                v |= (w[i + 16] ^ w[j + 16]) & 0xFFFF
        else:
            # What is newer by less than 2^31; not with an older timestamp, or PAWS might take the
            # one and not the other.
            have = 0
            ack = p[b + 42] << 24 | p[b + 43] << 16 | p[b + 44] << 8 | p[b + 45]
            ack -= p[a + 42] << 24 | p[a + 43] << 16 | p[a + 44] << 8 | p[a + 45]
            if (ack - 1) & 0x80000000:
                return 0
            if length == 32:
                ts = p[b + 58] << 24 | p[b + 59] << 16 | p[b + 60] << 8 | p[b + 61]
                ts -= p[a + 58] << 24 | p[a + 59] << 16 | p[a + 60] << 8 | p[a + 61]
                v |= ts & 0x80000000
        if v & 0xFFFFFFFF:
            return 0
        v = (p[a + 38] << 24 | p[a + 39] << 16 | p[a + 40] << 8 | p[a + 41]) + have
        if (v ^ (p[b + 38] << 24 | p[b + 39] << 16 | p[b + 40] << 8 | p[b + 41])) & 0xFFFFFFFF:
            return 0
    # RFC 1071: sums of little-endian words, folded once. First the addresses, in both sums.
    q = b >> 1
    s = h[q + 13] + h[q + 14] + h[q + 15] + h[q + 16]
    v = s + h[q + 7] + h[q + 8] + h[q + 9] + h[q + 10] + h[q + 11] + h[q + 12]
    while v >> 16:
        v = (v & 0xFFFF) + (v >> 16)
    if v != 0xFFFF:
        return 0
    if vouched:
        return k
    # The pseudo-header's protocol and length; then the segment, which begins 2 above 4 * (i + 8).
    v = total - 20
    s += 0x0600 + ((v & 0xFF) << 8 | v >> 8) + h[q + 17]
    j = i + 9
    end = b + 14 + total
    last = end >> 2
    far = last - 8
    while j <= far:
        s += (w[j] & 0xFFFFFFFF) + (w[j + 1] & 0xFFFFFFFF)
        s += (w[j + 2] & 0xFFFFFFFF) + (w[j + 3] & 0xFFFFFFFF)
        s += (w[j + 4] & 0xFFFFFFFF) + (w[j + 5] & 0xFFFFFFFF)
        s += (w[j + 6] & 0xFFFFFFFF) + (w[j + 7] & 0xFFFFFFFF)
        j += 8
    while j < last:
        s += w[j] & 0xFFFFFFFF
        j += 1
    if end & 2:
        s += h[last << 1]
    if end & 1:
        s += p[end - 1]
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return k if s == 0xFFFF else 0


@micropython.viper
def seal(arena, a: int, have: int):
    """Make the frame at a one of `have` bytes of payload; its TCP checksum is left as it is."""
    p = ptr8(arena)
    h = ptr16(arena)
    total = have + 20 + (p[a + 46] >> 2)
    p[a + 16] = total >> 8
    p[a + 17] = total & 0xFF
    q = a >> 1
    h[q + 12] = 0
    s = h[q + 7] + h[q + 8] + h[q + 9] + h[q + 10] + h[q + 11]
    s += h[q + 13] + h[q + 14] + h[q + 15] + h[q + 16]
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    h[q + 12] = s ^ 0xFFFF
