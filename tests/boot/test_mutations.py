"""20,000 damaged frames into the booted guest, which then still serves a request."""

import pytest

from tests.wire import mutate

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.slow]

FRAMES = 20_000
SEED = 20261122

SERVER = """
import socket, net
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(socket.getaddrinfo("0.0.0.0", 80)[0][-1])
s.listen(8)
print("serving")
while True:
    try:
        c = s.accept()[0]
        c.settimeout(2)
        request = c.recv(500)
        c.send(b"HTTP/1.0 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nalive")
        c.close()
    except OSError as e:
        pass
"""


@pytest.mark.lab_options(capture_limit=2000)
def test_the_guest_survives_damaged_frames(rig, lab):
    port = lab.link()
    # Its own: one just leased would be declined when a frame claims it (RFC 2131 4.4.1).
    guest = rig.bridged(lab, port=port, append={"ip": f"{lab.address(60)}/24"})
    running = guest.run_async(SERVER)
    running.expect("serving")

    def request():
        return lab.gateway.run("curl", "-sS", "--max-time", "20", f"http://{guest.ip}/").stdout

    assert request() == "alive"
    before = port.link.counters()["to_guest"]["overflow"]
    print(f"seed {SEED}")
    for frame in mutate.frames(SEED, FRAMES, port.mac, guest.ip, lab.gateway.mac, lab.gateway.ip):
        port.link.inject(frame)
    assert port.link.counters()["to_guest"]["overflow"] == before, "the guest stopped reading"
    assert request() == "alive"
    assert "3 received" in lab.gateway.ping(guest.ip, 3, 5)
    running.interrupt()
    running.expect("KeyboardInterrupt|\x04")
