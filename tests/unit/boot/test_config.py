"""The kernel command line."""

from stack.config import hostname_ok, ip4, number, parse


def test_defaults():
    c, complaints = parse("")
    assert (c.ip, c.gateway, c.dns, c.ip6, c.main, c.exit) == ("dhcp", 0, [], "auto", "", False)
    assert c.hostname == "barewire"
    assert complaints == []


def test_all_keys():
    c, complaints = parse(
        "ip=10.0.0.2/24 gw=10.0.0.1 dns=10.0.0.1,9.9.9.9 ip6=fd00::2/64 gw6=fd00::1 "
        "hostname=web-1 main=app.server exit=1 keylog=debugcon forward=1 mdns=1 trace=tcp:80 "
        "listening=debugcon"
    )
    assert complaints == []
    assert (c.ip, c.address, c.prefix, c.gateway) == ("static", 0x0A000002, 24, 0x0A000001)
    assert c.dns == [0x0A000001, 0x09090909]
    assert (c.ip6, c.gateway6) == ("fd00::2/64", "fd00::1")
    assert (c.hostname, c.main, c.exit, c.forward) == ("web-1", "app.server", True, True)
    assert c.mdns and c.listening and not parse("")[0].listening
    assert (c.keylog, c.trace) == ("debugcon", 80)
    assert (parse("trace=tcp")[0].trace, parse("")[0].trace) == (0, -1)


def test_bad_values_are_named_and_ignored():
    for word in (
        "ip=", "ip", "ip=dhcpx", "ip=10.0.0.2", "ip=10.0.0.2/", "ip=10.0.0.2/33", "ip=10.0.0.2/0",
        "ip=10.0.0.256/24", "ip=10.0.0/24", "ip=10.0.0.2.3/24", "ip=224.0.0.1/24", "ip=0.0.0.1/8",
        "ip=010.0.0.2/24", "ip=1e1.0.0.2/24", "gw=x", "gw=255.255.255.255", "dns=", "dns=1.1.1.1,",
        "dns=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5", "ip6=x", "ip6=fd00::2", "ip6=fd00::2/129",
        "ip6=ff02::1/64", "ip6=::/64", "ip6=fd00::2%eth0/64", "gw6=ff02::1", "dns=ff02::1",
        "eth1.ip=x", "eth1.gw6=x", "gw6=10.0.0.1", "keylog=here", "listening=1",
        "trace=", "trace=udp", "trace=tcp:", "trace=tcp:0", "trace=tcp:65536", "trace=tcpx",
        "hostname=", "hostname=-a", "hostname=a_b", "hostname=" + "a" * 64, "main=",
        "main=a/b", "main=a..b",
        "exit=2", "exit=", "forward=2", "forward", "mdns=2",
    ):  # fmt: skip
        c, complaints = parse(word)
        assert len(complaints) == 1, word
        assert "bad value" in complaints[0] and word.split("=")[0] in complaints[0]
        assert (c.ip, c.gateway, c.dns, c.hostname) == ("dhcp", 0, [], "barewire"), word
        assert (c.main, c.exit) == ("", False)


def test_other_interfaces():
    c, complaints = parse(
        "ip=none eth1.ip=10.1.0.2/16 eth1.gw=10.1.0.1 eth0.5.ip=dhcp eth1.ip6=auto"
    )
    assert complaints == [] and c.ip == "none" and sorted(c.others) == ["eth0.5", "eth1"]
    one = c.others["eth1"]
    assert (one.ip, one.address, one.prefix, one.gateway) == ("static", 0x0A010002, 16, 0x0A010001)
    assert one.ip6 == "auto"
    assert (c.others["eth0.5"].ip, c.others["eth0.5"].ip6) == ("dhcp", "none")
    for word in ("eth1.main=x", "eth1.=x", ".ip=dhcp"):
        assert "unknown key" in parse("ip=none " + word)[1][0], word


def test_servers_of_both_families():
    c, complaints = parse("dns=9.9.9.9,fd00::53")
    assert complaints == [] and c.dns == [0x09090909]
    assert c.dns6 == [b"\xfd" + bytes(14) + b"\x53"]


def test_unknown_keys_are_named_and_ignored():
    c, complaints = parse("quiet root=/dev/sda ip=none")
    assert len(complaints) == 2
    assert "'quiet'" in complaints[0] and "'root'" in complaints[1]
    assert c.ip == "none"


def test_the_kernels_own_name_is_no_key():
    assert parse("build/barewire.elf ip=none")[1] == []
    assert parse("/boot/barewire.elf")[1] == []


def test_last_of_a_key_wins():
    assert parse("hostname=a hostname=b")[0].hostname == "b"


def test_numbers():
    for text, most, expected in (
        ("0", 9, 0), ("10", 10, 10), ("11", 10, -1), ("", 9, -1), ("01", 9, -1), ("+1", 9, -1),
        ("-1", 9, -1), (" 1", 9, -1), ("99999999999999999999", 9, -1), ("\u0661", 9, -1),
    ):  # fmt: skip
        assert number(text, most) == expected, text
    assert ip4("255.255.255.255") == 0xFFFFFFFF
    assert ip4("0.0.0.0") == 0
    assert ip4("") == -1
    assert hostname_ok("a") and not hostname_ok("a b")


def test_virtio_mmio_devices():
    two = "virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1"
    c, complaints = parse(two)
    assert complaints == []
    assert c.virtio_mmio == [(0xFEB00E00, 12), (0xD0000000, 5)]
    for bad in (
        "", "512", "512@1000", "512@0xfeb00e00", "@4096:1", "512@0:1", "x@4096:1", "512@x:1",
        "512@4096:x", "512@4096:256", "512@4098:1", "256@4096:1", "512@4096:1:2:3",
        "512@0x10000000000000:1", "K@4096:1",
    ):  # fmt: skip
        c, complaints = parse("virtio_mmio.device=" + bad)
        assert len(complaints) == 1 and c.virtio_mmio == [], bad
    c, complaints = parse(" ".join(["virtio_mmio.device=512@4096:1"] * 33))
    assert len(complaints) == 1 and len(c.virtio_mmio) == 32
