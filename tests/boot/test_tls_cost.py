"""What TLS costs a guest: the time of a handshake, the memory of a hundred connections.

Times are printed, not judged: the machine that runs the test may be busy.
"""

import pytest

from tests.boot import tls_peers as peers
from tests.oracle.tls import minting
from tests.vectors.tls.identities import HOST

pytestmark = [pytest.mark.boot, pytest.mark.bridge]


@pytest.fixture
def files(artifacts):
    return peers.write_identities(artifacts)


def chains():
    """Let's Encrypt's shapes: ECDSA (P-256 below two of P-384), RSA (2048, 2048, 4096)."""
    for name, kinds in (("ECDSA", ("p384", "p384", "p256")), ("RSA", ("rsa4096", "rsa2048",
                                                                         "rsa2048"))):  # fmt: skip
        top = minting.root(key=minting.new_key(kinds[0]), end=5000)
        middle = minting.issue("Issuer", top, ca=True, key=minting.new_key(kinds[1]), end=5000)
        yield name, top, middle, minting.leaf(middle, key=minting.new_key(kinds[2]), end=5000)


def test_a_verified_handshake(bridged_guest, lab, files):
    """Full handshakes with OpenSSL in guest time, the first (which loads TLS) and the best."""
    for name, top, middle, leaf in chains():
        (files / f"{name}.pem").write_bytes(minting.pem(leaf, middle))
        (files / f"{name}.key").write_bytes(minting.key_pem(leaf.key))
        bridged_guest.put("/top.pem", minting.pem(top))
        with peers.openssl_server(lab.gateway, files, name, 4433, "-tls1_3", "-rev"):
            bridged_guest.exec(_TIMES)
            times = bridged_guest.eval(f"times('{lab.gateway.ip}')")
        print(f"{name} chain, verified, full: first {times[0] / 1000:.1f} ms, "
              f"best of 8 {min(times) / 1000:.1f} ms, all {[t // 1000 for t in times]}")
        assert len(times) == 8


_TIMES = f"""
def times(address):
    import socket, time
    t = time.ticks_us()
    import ssl
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations("/top.pem")
    loading = time.ticks_diff(time.ticks_us(), t)
    out = []
    for _ in range(8):
        c._sessions = c._config = None  # no resumption
        s = socket.socket()
        s.connect((address, 4433))
        t = time.ticks_us()
        w = c.wrap_socket(s, server_hostname="{HOST}")
        out.append(time.ticks_diff(time.ticks_us(), t) + loading)
        loading = 0
        w.close()
    return out
"""

SERVER = """
import asyncio, gc, net, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/p256.pem", "/p256.key")
async def serve(r, w):
    while True:
        line = await r.readline()
        if not line:
            break
        if line == b"state\\n":
            gc.collect()
            n = len([c for c in net.connections() if c.get("state") == "ESTABLISHED"])
            line = b"%d %d %d\\n" % (n, gc.mem_free(), net.stats()["buffers"]["in_use"])
        w.write(line)
        await w.drain()
    w.close()
    await w.wait_closed()
async def main():
    await asyncio.start_server(serve, "0.0.0.0", 443, 32, ssl=context)
    print("serving")
    while True:
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.guest_options(mem=32)
def test_a_hundred_connections_in_32_megabytes(bridged_guest, lab, files):
    peers.put_identity(bridged_guest, files, "p256")
    running = bridged_guest.run_async(SERVER, timeout=120)
    running.expect("serving")
    context = peers.python_context(files)

    def dial():
        sock = lab.gateway.connect((bridged_guest.ip, 443))
        sock.settimeout(60)
        return context.wrap_socket(sock, server_hostname=HOST)

    def say(s, text):
        s.sendall(text)
        return peers.line(s)

    first = dial()
    n, free, buffers = map(int, say(first, b"state\n").split())
    assert n == 1
    all_ = [first] + [dial() for _ in range(99)]
    for turn in range(3):
        for i, s in enumerate(all_):
            text = b"%d " % i * (50 * turn + 1) + b"\n"
            assert say(s, text) == text
    n, free_100, buffers_100 = map(int, say(first, b"state\n").split())
    assert n == 100
    print(f"100 TLS connections in 32 MB: {(free - free_100) / 99:.0f} bytes of heap each "
          f"({free_100} left), {(buffers_100 - buffers) / 99:.0f} bytes of buffers each")
    for s in all_:
        s.close()
