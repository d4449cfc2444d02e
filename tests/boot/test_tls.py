"""TLS at the prompt and in asyncio: the guest as client and as server."""

import subprocess

import pytest

from barewire.impair import Impairment
from barewire.services import PAGE
from tests.boot import tls_peers as peers
from tests.oracle.tls import minting
from tests.vectors.tls.identities import HOST

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

SERVER = """
import asyncio, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/p256.pem", "/p256.key")
async def serve(r, w):
    try:
        request = await r.readline()
        while await r.readline() not in (b"\\r\\n", b""):
            pass
        n = int(request.split()[1][1:])
        w.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % n)
        for at in range(0, n, 5000):
            w.write(bytes([at // 5000 % 251]) * min(5000, n - at))
            await w.drain()
    except OSError as e:
        print("error:", e)
    w.close()
    await w.wait_closed()
"""


def page(n):
    return b"".join(bytes([at // 5000 % 251]) * min(5000, n - at) for at in range(0, n, 5000))


@pytest.fixture
def files(artifacts):
    return peers.write_identities(artifacts)


def test_asyncio_serves_curl_and_itself(bridged_guest, lab, files):
    peers.put_identity(bridged_guest, files, "p256")
    running = bridged_guest.run_async(
        SERVER + "async def main():\n"
        " server = await asyncio.start_server(serve, '0.0.0.0', 443, ssl=context)\n"
        " client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        " client.load_verify_locations('/root.pem')\n"
        " r, w = await asyncio.open_connection('127.0.0.1', 443, ssl=client,\n"
        f"   server_hostname='{HOST}')\n"
        " w.write(b'GET /100000 HTTP/1.0\\r\\n\\r\\n')\n await w.drain()\n"
        " while await r.readline() != b'\\r\\n': pass\n"
        " body = await r.readexactly(100000)\n"
        " print('itself', len(body), await r.read(), r.s.cipher())\n"
        " try:\n"
        "  r, w = await asyncio.open_connection('127.0.0.1', 443, ssl=True)\n"
        "  await r.read(1)\n"
        " except OSError as e: print('refused:', e)\n"
        " print('serving')\n await asyncio.sleep(1000)\n"
        "asyncio.run(main())", timeout=60,
    )  # fmt: skip
    said = peers.text(running, "serving")
    assert "itself 100000 b''" in said and "TLS_" in said
    assert "refused: the certificate is not for 127.0.0.1" in said or "neither trusted" in said
    for n in (10, 1000000):
        out = files / "page"
        lab.gateway.run(
            "curl", "-sS", "--max-time", "60", "--cacert", files / "root.pem", "-o", out,
            "--resolve", f"{HOST}:443:{bridged_guest.ip}", f"https://{HOST}/{n}",
        )  # fmt: skip
        assert out.read_bytes() == page(n)


def test_mozillas_roots_are_found(guest):
    """Each certificate of /etc/ssl/cacerts.pem by its subject."""
    out = guest.exec(
        "from stack.api.tls import default_roots\n"
        "from stack.tls.x509.certificate import Certificate\n"
        "from stack.tls.x509.store import pem_certificates\nimport gc\n"
        "roots = default_roots()\nn = found = 0\n"
        "with open('/etc/ssl/cacerts.pem') as f:\n"
        " pem = ''\n"
        " for line in f:\n"
        "  pem += line\n"
        "  if 'END' in line:\n"
        "   c = Certificate(pem_certificates(pem)[0])\n"
        "   n += 1\n"
        "   found += c.der in [r.der for r in roots.find(c.subject_form())]\n"
        "   pem = ''\n"
        "print(n, found, roots.count)", timeout=60,
    )  # fmt: skip
    n, found, count = map(int, out.split())
    print(f"{n} roots")
    assert n == found == count and n > 100


def test_over_a_bad_link(rig, lab, files):
    """Loss, duplicates, reordering, corruption: TCP mends them, and TLS sees every byte once."""
    lab.gateway.quick_retransmit(20)
    port = lab.link(Impairment(seed=3, loss=0.02, duplicate=0.02, reorder=0.02, corrupt=0.02))
    guest = rig.bridged(lab, port=port)
    peers.put_identity(guest, files, "p256")
    running = guest.run_async(
        SERVER + "async def main():\n"
        " await asyncio.start_server(serve, '0.0.0.0', 443, ssl=context)\n"
        " print('serving')\n await asyncio.sleep(1000)\nasyncio.run(main())", timeout=60,
    )  # fmt: skip
    running.expect("serving")
    for n in (100, 1000000):
        out = files / "page"
        lab.gateway.run(
            "curl", "-sS", "--max-time", "100", "--cacert", files / "root.pem", "-o", out,
            "--resolve", f"{HOST}:443:{guest.ip}", f"https://{HOST}/{n}", timeout=120,
        )  # fmt: skip
        assert out.read_bytes() == page(n)
    counters = port.link.counters()
    print(counters)
    assert counters["from_guest"]["loss"] and counters["from_guest"]["corrupt"]


@pytest.mark.guest_options(mem=16)
def test_pages_over_https_in_sixteen_megabytes(bridged_guest, lab, files):
    peers.nginx_tls(lab.gateway, files, "p256")
    peers.put_identity(bridged_guest, files, "p256")
    peers.name(bridged_guest, HOST, lab.gateway.ip)
    out = bridged_guest.exec(
        f"import net, requests\nu = 'https://{HOST}/'\n"
        "print(requests.get(u, verify='/root.pem').text == "
        "net.http.get(u, verify='/root.pem').text)\n"
        "print(net.http.get(u, verify='/root.pem').text, end='')\n"
        "print(requests.get(u, verify=False).status_code)", timeout=60,
    )  # fmt: skip
    assert out == f"True\n{PAGE}200\n"


def test_refused_at_the_prompt_in_words(bridged_guest, lab, files):
    """Wrong host, expired, not yet valid, unknown issuer, TLS 1.2: said at the prompt."""
    top = minting.root(end=5000)
    (files / "top.pem").write_bytes(minting.pem(top))
    bridged_guest.put("/root.pem", (files / "top.pem").read_bytes())
    peers.name(bridged_guest, HOST, lab.gateway.ip)
    cases = (
        ({}, "other.example", "the certificate is not for other.example but for"),
        ({"end": 1}, HOST, "expired on 2026-01-02"),
        ({"start": 4000}, HOST, "is valid from 2036-"),
        ({"issuer": minting.root("Nobody", end=5000)}, HOST, "issued by Nobody, which is neither"),
        ({"eku": [minting.Eku.CLIENT_AUTH]}, HOST, "server"),
        ({"version": "-tls1_2"}, HOST, "TLS 1.3"),
    )
    clock = {"end": 5000}
    cases += ((clock, HOST, "expired on 2039-09-10 00:00; the clock says 2040-"),)
    for more, host, words in cases:
        if more is clock:
            bridged_guest.exec("import hw\nhw.set_unix_us(2209000000 * 10 ** 6)")
        more = dict(more)
        version = more.pop("version", "-tls1_3")
        issuer = more.pop("issuer", top)
        node = minting.leaf(issuer, **{"end": 4900, **more})
        (files / "bad.pem").write_bytes(minting.pem(node))
        (files / "bad.key").write_bytes(minting.key_pem(node.key))
        with peers.openssl_server(lab.gateway, files, "bad", 443, version):
            out = bridged_guest.exec(
                "import socket, ssl\ns = socket.socket()\n"
                f"s.connect(('{lab.gateway.ip}', 443))\n"
                "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
                "c.load_verify_locations('/root.pem')\n"
                f"try: c.wrap_socket(s, server_hostname='{host}')\n"
                "except OSError as e: print(type(e).__name__, e.errno, e)\ns.close()"
            )
            print(out, end="")
            assert words in out, (more, out)
        if host == "other.example":
            # And as a person types it, with nothing loaded: Mozilla did not sign this.
            with peers.openssl_server(lab.gateway, files, "bad", 443):
                child = bridged_guest.friendly()
                child.send(f'import net; net.http.get("https://{HOST}/")\r')
                child.expect_exact("SSLCertVerificationError")
                child.expect("the certificate of .* was issued by Root, which is neither trusted")
                child.expect_exact(">>> ")


def test_keys_for_wireshark(rig, lab, files):
    """`keylog=debugcon`: what the guest writes is what curl has; tshark reads the capture."""
    log, theirs = files / "keys.log", files / "curl.log"
    guest = rig.bridged(
        lab, append={"keylog": "debugcon"}, extra=["-debugcon", f"file:{log}"]
    )
    peers.put_identity(guest, files, "p256")
    running = guest.run_async(
        SERVER + "async def main():\n"
        " await asyncio.start_server(serve, '0.0.0.0', 443, ssl=context)\n"
        " print('serving')\n await asyncio.sleep(1000)\nasyncio.run(main())", timeout=60,
    )  # fmt: skip
    running.expect("serving")
    argv = lab.namespaces.enter(lab.gateway.space.index) + [
        "env", f"SSLKEYLOGFILE={theirs}", "curl", "-sSk", f"https://{guest.ip}/10",
    ]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    lines = {line for line in theirs.read_text().splitlines() if "TRAFFIC_SECRET" in line}
    assert len(lines) == 4 and lines <= set(log.read_text().splitlines())
    (path, _), *_ = lab.captures()
    shown = subprocess.run(
        ["tshark", "-r", path, "-o", f"tls.keylog_file:{log}", "-Y", "http", "-T", "fields",
         "-e", "http.request.uri", "-e", "http.response.code"], check=True, capture_output=True,
        text=True,
    ).stdout  # fmt: skip
    assert "/10" in shown.split() and "200" in shown.split(), shown
