"""The checks themselves: right frames pass, each kind of damage is seen, by both of them."""

import pytest

from barewire.pcap import PcapWriter
from tests.wire import check, frames

MAC = "02:62:77:20:00:01"


def _capture(tmp_path, *which):
    path = tmp_path / "a.pcap"
    writer = PcapWriter(path)
    for frame in which:
        writer.write(frame)
    writer.close()
    return path


def test_right_frames_pass(tmp_path):
    path = _capture(tmp_path, *frames.valid().values())
    assert check.check_capture(path, [MAC]) == []


@pytest.mark.parametrize("name", sorted(frames.valid()))
def test_every_truncation_is_seen(name):
    frame = frames.valid()[name]
    for n in range(len(frame)):
        assert check.check_ethernet(frame[:n]), f"{name} cut to {n} bytes passes"


# (why, frame, offset of the byte to change, xor)
DAMAGE = [
    ("IPv4 checksum", "udp", 14 + 10, 0x01),
    ("IPv4 total length", "udp", 14 + 2, 0x01),
    ("IPv4 version", "udp", 14, 0x10),
    ("ICMP data", "icmp", 14 + 20 + 20, 0x80),
    ("UDP checksum", "udp", 14 + 20 + 6, 0x01),
    ("UDP payload", "udp", -1, 0x01),
    ("UDP length", "udp", 14 + 20 + 5, 0x04),
    ("TCP payload", "tcp", -1, 0x20),
    ("TCP offset", "tcp", 14 + 20 + 12, 0xF0),
    ("TCP source port", "syn", 14 + 20, 0x01),
    ("ARP sender", "arp", 14 + 8, 0x02),
    ("ARP hardware type", "arp", 14 + 1, 0x02),
    ("IPv6 version", "udp6", 14, 0x10),
    ("IPv6 length", "udp6", 14 + 5, 0x01),
    ("IPv6 source", "udp6", 14 + 20, 0x01),
    ("ICMPv6 checksum", "echo6", 14 + 40 + 2, 0x01),
    ("UDP checksum by IPv6", "udp6", 14 + 40 + 6, 0x01),
    ("TCP checksum by IPv6", "tcp6", 14 + 40 + 16, 0x01),
    ("hop limit of ND", "solicit", 14 + 7, 0x01),
    ("target of ND", "solicit", 14 + 40 + 8, 0x01),
    ("hop limit of MLD", "mld", 14 + 7, 0x02),
    ("router alert of MLD", "mld", 14 + 42, 0x01),
]


@pytest.mark.parametrize("why, name, at, xor", DAMAGE, ids=[d[0] for d in DAMAGE])
def test_damage_is_seen(why, name, at, xor):
    frame = bytearray(frames.valid()[name])
    frame[at] ^= xor
    assert check.check_ethernet(bytes(frame))


# tshark's own view of some of these, so that both oracles are known to be awake.
@pytest.mark.parametrize("why, name, at, xor", [d for d in DAMAGE if "checksum" in d[0]])
def test_tshark_sees_wrong_checksums(tmp_path, why, name, at, xor):
    frame = bytearray(frames.valid()[name])
    frame[at] ^= xor
    path = _capture(tmp_path, frames.valid()["arp"], bytes(frame))
    assert [n for n, _ in check.check_by_tshark(path, [MAC])] == [2]


def test_tshark_sees_tcp_and_icmp_sums_and_malformed(tmp_path):
    good = frames.valid()
    tcp, icmp = bytearray(good["tcp"]), bytearray(good["icmp"])
    tcp[-1] ^= 1
    icmp[-1] ^= 1
    path = _capture(tmp_path, bytes(tcp), bytes(icmp), good["dns"][:-3], good["udp"])
    assert {n for n, _ in check.check_by_tshark(path, [MAC])} >= {1, 2, 3}


def test_a_sum_of_zero_completed_by_a_card(tmp_path):
    """0xffff for 0 in TCP is the doing of Linux and QEMU; another mistake in the frame is not."""

    def frame(ack):
        segment = frames.tcp(40000, 80, "ack", ack=ack, payload=b"GET / HTTP/1.1\r\n\r\n")
        return frames.ethernet(frames.ipv4("tcp", segment), "ipv4")

    plain = frame(0)
    mangled = bytearray(frame(int.from_bytes(plain[50:52], "big")))
    assert mangled[50:52] == b"\xff\xff"
    assert check.check_capture(_capture(tmp_path, bytes(mangled)), [MAC]) == []
    mangled[14 + 10] ^= 1  # IPv4's checksum
    assert check.check_by_tshark(_capture(tmp_path, bytes(mangled)), [MAC])


def test_only_the_named_senders_count(tmp_path):
    frame = bytearray(frames.valid()["udp"])
    frame[-1] ^= 1
    path = _capture(tmp_path, bytes(frame))
    assert check.check_capture(path, ["02:62:77:20:00:02"]) == []
