"""ntptime: the time from an SNTP server (RFC 4330), and the clock set by it."""

import hw

from stack.api import socket

host = "pool.ntp.org"
timeout = 1
_UNIX = 2208988800  # 1970 in NTP's seconds, which begin in 1900


def time_us():
    """Microseconds since 1970 as the server has them. OSError."""
    af, _, _, _, address = socket.getaddrinfo(host, 123)[0]
    query = bytearray(48)
    query[0] = 0x23  # version 4, client
    # RFC 4330, section 5: the answer must repeat what we sent as our time.
    stamp = hw.ticks_us().to_bytes(8, "big")
    query[40:48] = stamp
    s = socket.socket(af, socket.SOCK_DGRAM)
    try:
        s.settimeout(timeout)
        s.connect(address)
        s.send(query)
        sent = hw.ticks_us()
        while True:
            r = s.recv(128)
            took = hw.ticks_us() - sent
            # Server, not unsynchronised, an answer to this query.
            if len(r) >= 48 and r[0] & 7 == 4 and r[0] >> 6 != 3 and r[1] and r[24:32] == stamp:
                break
    finally:
        s.close()
    seconds = int.from_bytes(r[40:44], "big")
    fraction = int.from_bytes(r[44:48], "big")
    if not seconds:
        raise OSError("the server knows no time")
    if not seconds >> 31:
        seconds += 1 << 32  # after 2036 (RFC 4330, section 3)
    return (seconds - _UNIX) * 1000000 + (fraction * 1000000 >> 32) + took // 2


def time():
    """Seconds since 1970."""
    return time_us() // 1000000


def settime():
    """Set the clock."""
    t = time_us()
    hw.set_unix_us(t)
