"""Servers in the guest, asked by curl and nc; 200 connections that leave nothing behind."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

HTTP = """
import socket, gc, net
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(socket.getaddrinfo("0.0.0.0", 80)[0][-1])
s.listen(16)
def measure():
    gc.collect()
    print("state", gc.mem_free(), len(net.connections()))
def serve(n):
    for _ in range(n):
        c, peer = s.accept()
        request = c.readline()
        while c.readline() not in (b"\\r\\n", b""):
            pass
        body = b"you asked " + request
        c.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
        while c.read(1):  # until the client has closed: it keeps TIME-WAIT, we do not
            pass
        c.close()
print("serving")
"""

ECHO = """
import socket
s = socket.socket()
s.bind(socket.getaddrinfo("0.0.0.0", 7)[0][-1])
s.listen(4)
print("serving")
c, peer = s.accept()
total = 0
while True:
    data = c.recv(4096)
    if not data:
        break
    c.write(data)
    total += len(data)
c.close()
print("echoed", total)
"""

PAGE = "you asked GET /page HTTP/1.1\n"  # as text: curl's CR LF has become a newline
CONNECTIONS = 200
# What a few hundred bytes of names and caches may take; 200 leaked connections would be 50 KB.
SLACK = 8192


def curl(lab, guest, *options):
    return lab.gateway.run(
        "curl", "-sS", "--max-time", "20", *options, f"http://{guest.ip}/page"
    ).stdout


def test_curl(bridged_guest, lab):
    bridged_guest.exec(HTTP)
    running = bridged_guest.run_async("serve(1)")
    assert curl(lab, bridged_guest) == PAGE
    running.wait()


@pytest.mark.core
def test_nc(bridged_guest, lab):
    running = bridged_guest.run_async(ECHO)
    running.expect("serving")
    text = "".join(f"line {i}\n" for i in range(5000))
    done = lab.gateway.run("nc", "-N", "-w", "20", bridged_guest.ip, "7", input=text)
    assert done.stdout == text
    assert f"echoed {len(text)}" in running.wait()


def test_nc_over_udp(bridged_guest, lab):
    running = bridged_guest.run_async(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.bind(socket.getaddrinfo('0.0.0.0', 7)[0][-1])\nprint('serving')\n"
        "data, peer = s.recvfrom(2000)\ns.sendto(b'got ' + data, peer)\ns.close()"
    )
    running.expect("serving")
    argv = lab.namespaces.enter(lab.gateway.space.index) + ["nc", "-u", bridged_guest.ip, "7"]
    nc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        nc.stdin.write(b"a datagram")
        nc.stdin.flush()
        assert nc.stdout.read(14) == b"got a datagram"
    finally:
        nc.kill()
        nc.communicate()
    running.wait()


def test_curl_in_parallel(bridged_guest, lab):
    bridged_guest.exec(HTTP)
    running = bridged_guest.run_async("serve(24)", timeout=60)
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda _: curl(lab, bridged_guest), range(24)))
    assert set(pages) == {PAGE}
    running.wait()


def state(guest):
    """(free bytes of heap after a collection, number of connections)"""
    free, connections = guest.exec("measure()").split()[1:]
    return int(free), int(connections)


@pytest.mark.timeout(180)
def test_200_connections_into_the_guest_leave_nothing(bridged_guest, lab):
    bridged_guest.exec(HTTP)

    def ask(n):
        running = bridged_guest.run_async(f"serve({n})")
        for _ in range(n):
            with lab.gateway.connect((bridged_guest.ip, 80)) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert s.recv(1000).startswith(b"HTTP/1.1 200")
        running.wait(60)

    ask(20)  # whatever is made once is made now
    free, connections = state(bridged_guest)
    ask(CONNECTIONS)
    free_after, connections_after = state(bridged_guest)
    print(f"free heap {free} -> {free_after}, connections {connections} -> {connections_after}")
    assert connections_after == connections
    assert free_after > free - SLACK


@pytest.mark.timeout(180)
def test_200_requests_of_the_guest_leave_nothing(bridged_guest, lab):
    bridged_guest.exec(HTTP)
    # nginx closes first, so the guest keeps no TIME-WAIT; what it might keep is a leak.
    get = (
        "for _ in range({}):\n s = socket.socket()\n"
        " s.connect(socket.getaddrinfo('example.test', 80)[0][-1])\n"
        " s.write(b'GET / HTTP/1.0\\r\\nHost: example.test\\r\\n\\r\\n')\n"
        " while s.recv(1000): pass\n s.close()"
    )
    bridged_guest.exec(get.format(20), 60)
    free, connections = state(bridged_guest)
    bridged_guest.exec(get.format(CONNECTIONS), 120)
    free_after, connections_after = state(bridged_guest)
    print(f"free heap {free} -> {free_after}, connections {connections} -> {connections_after}")
    assert connections_after <= connections
    assert free_after > free - SLACK


def test_200_pages_by_http_get_leave_nothing(bridged_guest, lab):
    bridged_guest.exec(HTTP)
    get = "for _ in range({}): assert net.http.get('http://example.test/').status_code == 200"
    bridged_guest.exec(get.format(20), 60)
    free, connections = state(bridged_guest)
    bridged_guest.exec(get.format(CONNECTIONS), 120)
    free_after, connections_after = state(bridged_guest)
    print(f"free heap {free} -> {free_after}, connections {connections} -> {connections_after}")
    assert connections_after <= connections
    assert free_after > free - SLACK


def test_hostfwd_of_the_user_network(rig):
    import socket

    from barewire.net import UserNet
    from barewire.pytest_plugin import wait_for_address

    with socket.socket() as s:  # a port of the host that is free now
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    guest = rig.guest(net=UserNet([("tcp", port, 80)], restrict=True))
    wait_for_address(guest)
    guest.exec(HTTP)
    running = guest.run_async("serve(1)")
    out = subprocess.run(
        ["curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{port}/page"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert out.stdout == PAGE, out.stderr
    running.wait()
