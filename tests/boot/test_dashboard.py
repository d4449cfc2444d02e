"""images/dashboard in headless Chromium: HTTP/2 over TLS, WebSocket, and what it draws.

The browser is spoken to over its DevTools protocol by `websockets`. A screenshot is left as
build/dashboard.png. The browser runs in the network namespace of the lab's gateway."""

import asyncio
import base64
import itertools
import json
import re
import shutil
import subprocess
import time

import pytest
import websockets

from barewire import romfs, services
from barewire.paths import build_dir, root
from tests.vectors.tls.identities import HOST, IDENTITIES

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--ignore-certificate-errors", "--window-size=1280,1150", "--remote-debugging-port=0",
)  # fmt: skip


class Browser:
    """Chromium on a lab's host, its DevTools protocol behind `call` and `until`."""

    def __init__(self, host, folder, *more):
        self.host = host
        argv = [shutil.which("chromium"), *FLAGS, *more, f"--user-data-dir={folder}", "about:blank"]
        self.process = host.popen(*argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for line in self.process.stderr:
            line = line.decode() if isinstance(line, bytes) else line
            if found := re.search(r"ws://127.0.0.1:(\d+)(/\S+)", line):
                self.port, self.path = int(found.group(1)), found.group(2)
                return
        raise AssertionError("chromium ended")

    async def __aenter__(self):
        sock = self.host.connect(("127.0.0.1", self.port))
        sock.setblocking(False)
        self.ws = await websockets.connect(
            f"ws://127.0.0.1:{self.port}{self.path}", sock=sock, max_size=None
        )
        self.numbers, self.events = itertools.count(1), []
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        return self

    session = None

    async def __aexit__(self, *_):
        await self.ws.close()
        self.process.kill()
        self.process.communicate()

    async def call(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        await self.ws.send(json.dumps(message))
        while True:
            got = json.loads(await asyncio.wait_for(self.ws.recv(), 60))
            if got.get("id") == number:
                assert "error" not in got, got
                return got["result"]
            self.events.append(got)

    async def evaluate(self, expression):
        done = await self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                               awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, expression, turns=300):
        """Wait in the page until an expression is true, looking at each frame it would draw."""
        for _ in range(turns):
            if await self.evaluate(
                f"new Promise(r => setTimeout(() => r(Boolean({expression})), 100))"
            ):
                return
        raise AssertionError(await self.evaluate("document.body.innerText"))


def packed(folder):
    source = root() / "images" / "dashboard"
    chain, key = IDENTITIES["p256"]
    tree = {"main.py": (source / "main.py").read_bytes()} | romfs.read_tree(source / "app")
    tree |= {"cert.pem": chain.encode(), "key.pem": key.encode()}
    path = folder / "dashboard.romfs"
    path.write_bytes(romfs.build(tree))
    return path


@pytest.mark.timeout(240)
def test_dashboard_in_a_browser(rig, artifacts, platform):
    lab = rig.lab(servers=False)
    # By itself dnsmasq gives its own names a TTL of 0, and nothing of that is kept.
    services.dnsmasq(lab.gateway, options=("--local-ttl=600",))
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium here")
    address = lab.address(60)
    guest = rig.guest(
        net=lab.tap(), mem=128, initrd=packed(artifacts), prompt=False,
        append={"ip": f"{address}/24", "gw": lab.gateway.ip, "dns": lab.gateway.ip},
    )  # fmt: skip
    guest.child.expect_exact("https on port 443", timeout=60)

    # Chromium drops its connections when an address appears: those of the host are to be there.
    for _ in range(200):
        if not lab.gateway.run("ip", "-6", "addr", "show", "tentative").stdout.strip():
            break
        time.sleep(0.05)

    async def look():
        rules = f"--host-resolver-rules=MAP {HOST} {address}"
        async with Browser(lab.gateway, artifacts / "profile", rules) as b:
            await b.call("Page.navigate", url=f"https://{HOST}/")
            await b.until("document.body.dataset.messages > 16")
            text = await b.evaluate("document.body.innerText")
            for words in ("eth0", platform.driver, address, "ESTABLISHED", "lo"):
                assert words in text, (words, text)
            # The page's own connection is plotted: something other than grid was drawn.
            await b.evaluate("$('name').value = 'example.test'; $('ask').requestSubmit()")
            await b.until("document.getElementById('dns').innerText.includes('example.test')")
            await b.until("/[.:]443/.test(document.getElementById('packets').innerText)")
            for canvas in ("cwnd", "rtt"):
                colors = await b.evaluate(
                    f"(() => {{ const c = $('{canvas}');"
                    "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                    "let n = 0; for (let i = 0; i < d.length; i += 4)"
                    " if (d[i + 3] === 255 && Math.abs(d[i] - d[i + 2]) > 60) n++; return n; })()"
                )
                assert colors > 20, f"nothing is plotted of {canvas}"
                # It moves.
                await b.evaluate(f"then = $('{canvas}').toDataURL()")
                await b.until(f"$('{canvas}').toDataURL() !== then")
            for words in ("Heap: ", "Data of connections: "):
                assert words in await b.evaluate("$('memory').innerText"), words
            protocols = {
                e["params"]["response"]["protocol"]
                for e in b.events
                if e["method"] == "Network.responseReceived"
                and HOST in e["params"]["response"]["url"]
            }
            assert protocols == {"h2"}, protocols
            urls = {
                e["params"]["request"]["url"]
                for e in b.events
                if e["method"] == "Network.requestWillBeSent"
            }
            assert all(HOST in u or u.startswith("data:") for u in urls), urls
            frames = [e for e in b.events if e["method"] == "Network.webSocketFrameReceived"]
            assert len(frames) >= 4
            handshake = [
                e["params"]["response"]["status"]
                for e in b.events
                if e["method"] == "Network.webSocketHandshakeResponseReceived"
            ]
            # The page's connection is its WebSocket's, too: RFC 8441 answers with 200, HTTP/1.1
            # with 101 alone. (Chromium may open another in advance.)
            assert handshake == [200], (handshake, text)
            faults = [e for e in b.events if e["method"] in ("Runtime.exceptionThrown",)]
            assert not faults, faults
            shot = await b.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            (build_dir() / "dashboard.png").write_bytes(base64.b64decode(shot["data"]))

    asyncio.run(look())
