"""SHA-1 (FIPS 180-4), for the one thing that still names issuers by it: the CertID of OCSP.

Never for a signature. MicroPython has it in hashlib only with another TLS built in.
"""


def sha1(data):
    """The hash, 20 bytes."""
    n = len(data)
    data = bytes(data) + b"\x80" + bytes(-(n + 9) % 64) + (8 * n).to_bytes(8, "big")
    h = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    for off in range(0, len(data), 64):
        w = [int.from_bytes(data[i : i + 4], "big") for i in range(off, off + 64, 4)]
        for t in range(16, 80):
            w.append(_rol(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1))
        a, b, c, d, e = h
        for t in range(80):
            if t < 20:
                f = (b & c | ~b & d) + 0x5A827999
            elif t < 40:
                f = (b ^ c ^ d) + 0x6ED9EBA1
            elif t < 60:
                f = (b & c | b & d | c & d) + 0x8F1BBCDC
            else:
                f = (b ^ c ^ d) + 0xCA62C1D6
            a, b, c, d, e = (_rol(a, 5) + f + e + w[t]) & 0xFFFFFFFF, a, _rol(b, 30), c, d
        h = [(x + y) & 0xFFFFFFFF for x, y in zip(h, (a, b, c, d, e))]
    return b"".join([x.to_bytes(4, "big") for x in h])


def _rol(x, n):
    return (x << n | x >> 32 - n) & 0xFFFFFFFF
