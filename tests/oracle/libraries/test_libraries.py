"""examples/libraries: the pure parts over other hosts' sockets, before real peers on 127.0.0.1.

On CPython and on MicroPython's unix port (as the repository has it, and as the portable .mpy of
`make libraries`), with nothing of the repository within reach but `stack`.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest
import websockets

from barewire import library
from barewire.lab import Lab
from barewire.paths import root
from barewire.services import _program
from tests.oracle.dns.internet import ORACLE, Internet
from tests.oracle.tls.conftest import files  # noqa: F401
from tests.oracle.tls.peers import free_port, openssl_server, process, wait_for_port

RUNTIMES = ("cpython", "unix-port", "portable")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory):
    """{runtime: (argv, environment)}."""
    folder = tmp_path_factory.mktemp("libraries")
    for what in ("unix-port", "libraries"):
        subprocess.run(["make", "-C", root(), what], check=True, stdout=subprocess.DEVNULL)
    (folder / "stack").symlink_to(root() / "stack")
    # Of the portable one each library on its own: what its package for mip names, no more.
    made = root() / "dist" / "libraries"
    for name in library.LIBRARIES:
        for url, target in json.loads((made / f"{name}.json").read_text())["urls"]:
            path = folder / name / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((made / url).read_bytes())
    micropython = [root() / "build/unix-port/micropython", "-X", "heapsize=4M"]
    return {
        "cpython": lambda name: ([sys.executable], {"PYTHONPATH": str(folder)}),
        "unix-port": lambda name: (micropython, {"MICROPYPATH": f"{folder}:.frozen"}),
        "portable": lambda name: (micropython, {"MICROPYPATH": f"{folder / name}:.frozen"}),
    }


@pytest.fixture(params=RUNTIMES)
def example(request, runtimes, tmp_path):
    """A function: run an example of a library, its output and errors."""

    def run(library, *words, popen=subprocess.Popen, status=0):
        argv, env = runtimes[request.param](library.split("_")[0])
        argv = [*argv, root() / "examples" / "libraries" / f"{library}.py", *words]
        p = popen(
            *([list(map(str, argv))] if popen is subprocess.Popen else map(str, argv)),
            env={**env, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said = p.communicate(timeout=300)[0]
        assert p.returncode == status, said
        return said

    return run


def test_tls(example, files, tmp_path):  # noqa: F811
    (tmp_path / "page").write_text("a page of OpenSSL's\n" * 3000)
    with openssl_server(files, "p256", "-WWW", cwd=tmp_path) as p:
        said = example("tls_fetch", "localhost", p.port, files / "root.pem", "/page")
        assert said.startswith("HTTP/1.0 200") and said.count("a page of OpenSSL's\n") == 3000
        # Whoever cannot be verified is not spoken to.
        other = tmp_path / "other.pem"
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-keyout", tmp_path / "key", "-out", other, "-subj", "/CN=x"]  # fmt: skip
        subprocess.run(argv, check=True, capture_output=True)
        said = example("tls_fetch", "localhost", p.port, other, "/page", status=1)
        assert "CertificateError" in said and "neither trusted" in said and "a page" not in said


def test_h2(example, tmp_path):
    (tmp_path / "one").write_text("the first")
    (tmp_path / "two").write_bytes(bytes(200_000))
    port = free_port()
    argv = [_program("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", tmp_path, port]
    with process(argv) as p:
        wait_for_port(port, p)
        lines = example("h2_fetch", "127.0.0.1", port, "/one", "/two", "/three").splitlines()
    assert lines[0].startswith("/one 200 9 b'the first'")
    assert lines[1].startswith("/three 404 ")
    assert lines[2].startswith("/two 200 200000 ")


def test_ws(example):
    heard = []

    async def echo(ws):
        async for message in ws:
            await ws.ping()
            heard.append(message)
            await ws.send(message.upper())

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    async def serve():
        return await websockets.serve(echo, "127.0.0.1", 0)

    server = call(serve())
    try:
        port = server.sockets[0].getsockname()[1]
        said = example("ws_talk", "127.0.0.1", port, "hello", "again " * 40)
    finally:
        server.close()
        call(server.wait_closed())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert heard == ["hello", "again " * 40]
    assert said.splitlines() == ["HELLO", "AGAIN " * 40, "closed 1000"]


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns")
    with Lab(directory=folder / "lab", capture=False) as lab:
        host = lab.add_host("net", 1)
        only = {".", "aa", "ed.aa", "p256.aa", "plain.aa", "altered.aa"}
        net = Internet(folder / "zones", lab.address, only)
        net.start(host)
        net.host, net.resolver = host, lab.address(ORACLE)
        yield net


@pytest.mark.bridge
def test_dns(example, internet):
    ds = internet.anchor.split("DS", 1)[1].strip()

    def ask(name, type):
        words = (internet.resolver, 53, name, type, ds)
        return example("dns_ask", *words, popen=internet.host.popen).splitlines()

    said = ask("www.p256.aa", "A")
    assert said[0].startswith("secure rcode 0")
    assert sorted(line.split()[-1] for line in said[1:]) == ["192.0.2.10", "192.0.2.11"]
    assert ask("www.plain.aa", "A")[0].startswith("insecure rcode 0")
    assert ask("nobody.ed.aa", "A")[0].startswith("secure rcode 3")
    assert ask("www.altered.aa", "A")[0].startswith("bogus rcode 2")


def test_portable_means_portable(runtimes):
    """No machine code and nothing of `hw`; the examples' imports are what the packages name."""
    made = root() / "dist" / "libraries"
    for path in made.rglob("*.mpy"):
        head = path.read_bytes()[:4]
        assert head[:2] == b"M\x06" and head[2] >> 2 == 0, f"{path} is for one architecture"
