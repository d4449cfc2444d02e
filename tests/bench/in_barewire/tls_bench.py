# The benchmark's TLS inside Barewire: primitives timed in place, and a server on port 443.
import asyncio
import os
import ssl
import time

SIZE = 16384
BIG = bytearray(256 * 1024)


def rate(f, seconds=1.0):
    """Calls of f a second."""
    f()
    end = time.ticks_add(time.ticks_us(), int(seconds * 1000000))
    began = time.ticks_us()
    n = 0
    while time.ticks_diff(end, time.ticks_us()) > 0:
        for _ in range(8):
            f()
        n += 8
    return n * 1000000 / time.ticks_diff(time.ticks_us(), began)


def aead(name):
    """MB/s of sealing 16 KB, as a record is."""
    from stack.crypto import aead

    a = getattr(aead, name)(os.urandom(16 if name == "Aes128Gcm" else 32))
    buf = bytearray(SIZE + 16)
    nonce, aad = bytes(12), bytes(5)
    return rate(lambda: a.seal(nonce, aad, buf, 0, SIZE)) * SIZE / 1e6


def sha256():
    from stack.crypto.sha2 import Sha256

    data = bytes(SIZE)
    return rate(lambda: Sha256(data).digest()) * SIZE / 1e6


def x25519():
    from stack.crypto import x25519

    key, peer = os.urandom(32), x25519.public(os.urandom(32))
    return rate(lambda: x25519.shared(key, peer))


def p256(what):
    from stack.crypto.p256 import P256

    key, digest = b"\x01" + os.urandom(31), os.urandom(32)
    if what == "sign":
        return rate(lambda: P256.sign(key, digest, os.urandom))
    point = P256.public(key)
    r, s = P256.sign(key, digest, os.urandom)
    assert P256.verify(point, digest, r, s)
    return rate(lambda: P256.verify(point, digest, r, s))


async def serve(reader, writer):
    try:
        while True:
            request = await reader.readline()
            if not request:
                break
            while await reader.readline() not in (b"\r\n", b""):
                pass
            n = int(request.split()[1][1:])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
            while n:
                k = min(n, len(BIG))
                writer.write(BIG if k == len(BIG) else memoryview(BIG)[:k])
                await writer.drain()
                n -= k
            if request.endswith(b"1.0\r\n"):
                break
    except OSError:
        pass  # a client that only shakes hands
    writer.close()
    await writer.wait_closed()


started = False


async def start(certificate, key):
    global started
    if not started:
        started = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        await asyncio.start_server(serve, "0.0.0.0", 443, 64, ssl=context)
