"""Names under .local between guests, Debian's avahi and python-zeroconf, in both families."""

import socket
import time

import dns.flags
import dns.message
import dns.rrset
import pytest

from tests.boot.mdns_peers import Avahi

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

NAMED = """
import net, time
end = time.ticks_add(time.ticks_ms(), 60000)
while {name!r} not in net.dns.announced() and time.ticks_diff(end, time.ticks_ms()) > 0:
    time.sleep_ms(10)
print(net.dns.announced())
"""


DROPPED = """
end = time.ticks_add(time.ticks_ms(), 60000)
while not net.stats()["drops"].get({counter!r}):
    assert time.ticks_diff(end, time.ticks_ms()) > 0, net.stats()["drops"]
    time.sleep_ms(10)
"""


def gone(avahi, name, ip):
    """Wait until avahi has forgotten a name: a second after the goodbye (section 10.1)."""
    end = time.monotonic() + 60
    while ip in avahi.run("avahi-resolve", "-4n", name):
        assert time.monotonic() < end, f"{name} is still {ip}"


@pytest.fixture
def lab(rig):
    lab = rig.lab(servers=False)
    lab.gateway.ip_batch("addr add fd00:77::1/64 dev eth0 nodad", "route add 224.0.0.0/4 dev eth0")
    return lab


def start(rig, lab, n, host="barewire", **more):
    append = {"ip": f"{lab.address(n)}/24", "ip6": f"fd00:77::{n}/64", "hostname": host,
              "mdns": "1", **more}  # fmt: skip
    guest = rig.guest(net=lab.tap(), append=append)
    guest.ip = lab.address(n)
    return guest


def test_avahi(rig, lab, artifacts):
    """avahi and the guest find each other: addresses, reverse, services, other names, goodbye."""
    avahi = Avahi(lab.gateway, "nas", artifacts / "avahi")
    guest = start(rig, lab, 20)
    assert "barewire.local" in guest.exec(NAMED.format(name="barewire.local"), 90)
    # The guest asks.
    assert guest.eval("net.dns.resolve('nas.local', 'A')[0].data", 60) == lab.gateway.ip
    six = guest.eval("[r.data for r in net.dns.resolve('nas.local', 'AAAA')]", 60)
    assert any(a.startswith(("fe80::", "fd00:77::")) for a in six), six
    assert guest.eval(f"net.dns.reverse('{lab.gateway.ip}')", 60) == "nas.local"
    assert guest.eval("net.ping('nas.local', 1, quiet=True).received", 60) == 1
    assert "nas.local" in str(guest.eval("[e[0] for e in net.dns.cache()]"))
    out = guest.exec("try: net.dns.resolve('nobody.local')\nexcept OSError as e: print(e.errno)")
    assert out.strip() == "-2"
    # The guest answers.
    assert guest.ip in avahi.run("avahi-resolve", "-4n", "barewire.local"), avahi.log()
    six = avahi.run("avahi-resolve", "-6n", "barewire.local")
    assert "fd00:77::20" in six or "fe80::" in six, six
    link_local = guest.eval("[a.split('/')[0] for a in net.interfaces()[0]['ip6']"
                            " if a.startswith('fe80')][0].split('%')[0]")  # fmt: skip
    text = lab.gateway.run("dig", f"@{guest.ip}", "-p", "5353", "barewire.local", "AAAA",
                           "+short", "+time=5", "+tries=3", check=False).stdout  # fmt: skip
    assert sorted(text.split()) == sorted([link_local, "fd00:77::20"])
    assert "barewire.local" in avahi.run("avahi-resolve", "-a", guest.ip)
    assert "barewire.local" in avahi.run("avahi-resolve", "-a", "fd00:77::20")
    # Plain DNS, as dig speaks it to the guest (section 6.7), and others to the group.
    text = lab.gateway.run("dig", f"@{guest.ip}", "-p", "5353", "barewire.local", "A",
                           "+time=5", "+tries=3", check=False).stdout  # fmt: skip
    assert guest.ip in text, text
    query = dns.message.make_query("barewire.local", "A")
    with lab.gateway.socket(kind=socket.SOCK_DGRAM) as s:
        s.settimeout(30)
        s.sendto(query.to_wire(), ("224.0.0.251", 5353))
        data, source = s.recvfrom(9000)
    answer = dns.message.from_wire(data)
    assert source == (guest.ip, 5353) and query.is_response(answer)
    assert [(r.ttl, r[0].address) for r in answer.answer] == [(10, guest.ip)]
    # Who is not on the link, and answers from another port, are not heard (sections 6 and 11).
    lie = dns.message.make_response(query)
    lie.flags |= dns.flags.AA
    lie.answer.append(dns.rrset.from_text("nas.local.", 120, "IN", "A", "6.6.6.6"))
    lab.gateway.ip_batch("addr add 192.0.2.99/32 dev eth0")
    for source, message, counter in (
        ("192.0.2.99", query, "mdns.source"), (lab.gateway.ip, lie, "mdns.header"),
    ):  # fmt: skip
        with lab.gateway.socket(kind=socket.SOCK_DGRAM) as s:
            s.bind((source, 0))
            s.sendto(message.to_wire(), ("224.0.0.251", 5353))
        guest.exec(DROPPED.format(counter=counter), 90)
    assert "6.6.6.6" not in guest.eval("[r.data for r in net.dns.resolve('nas.local', 'A')]", 60)
    lab.gateway.ip_batch("addr del 192.0.2.99/32 dev eth0")
    # A service.
    guest.exec('net.dns.announce("_http._tcp", 80, "A Page", {"path": "/"})')
    service = "A\\032Page._http._tcp.local"
    said = guest.exec(NAMED.format(name=service), 90)
    assert "_http._tcp.local" in said, said
    text = avahi.run("avahi-browse", "-rtp", "_http._tcp")
    assert "A\\032Page" in text and guest.ip in text and '"path=/"' in text, text
    assert ";80;" in text
    # Another name: the old one is gone, for who has kept it as well (its TTL is two minutes).
    guest.exec("import network; network.hostname('tub')")
    assert "tub.local" in guest.exec(NAMED.format(name="tub.local"), 90)
    assert guest.ip in avahi.run("avahi-resolve", "-4n", "tub.local")
    gone(avahi, "barewire.local", guest.ip)
    guest.exec("net.dns.withdraw()")
    gone(avahi, "tub.local", guest.ip)


def test_conflicts(rig, lab, artifacts):
    """The name is another's: avahi's, then another guest's."""
    Avahi(lab.gateway, "barewire", artifacts / "avahi")
    first = start(rig, lab, 20)
    assert "barewire-2.local" in first.exec(NAMED.format(name="barewire-2.local"), 90)
    second = start(rig, lab, 21)
    assert "barewire-3.local" in second.exec(NAMED.format(name="barewire-3.local"), 90)
    # They see each other, and what they found is what the others have.
    find = "net.dns.resolve('{}', 'A')[0].data"
    assert first.eval(find.format("barewire-3.local"), 60) == second.ip
    assert second.eval(find.format("barewire-2.local"), 60) == first.ip
    assert second.eval(find.format("barewire.local"), 60) == lab.gateway.ip
    # One's own name is known without asking.
    assert first.eval(find.format("barewire-2.local"), 60) == first.ip
    # Under asyncio others go on meanwhile.
    out = second.exec("""
import asyncio
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep_ms(5)
async def main():
    t = asyncio.create_task(tick())
    found = await asyncio.gather(net.aio.dns.resolve("barewire.local"),
        net.aio.dns.resolve("nobody.local"), return_exceptions=True)
    t.cancel()
    print(found[0], found[1].errno, ticks > 20)
asyncio.run(main())
""", 60)
    assert out.split()[1:] == ["-2", "True"], out
