"""The host side itself, without a guest: labs, links, romfs, the command line."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import barewire
from barewire import qemu, romfs
from barewire.impair import Impairment
from barewire.net import UserNet, parse_port
from barewire.paths import BarewireError

FATES = ("loss", "duplicate", "reorder", "corrupt")


@pytest.mark.bridge
def test_a_lab_is_a_network(rig):
    lab = rig.lab(servers=False)
    other = lab.add_host("other", 2)
    assert "1 received" in other.ping(lab.gateway.ip)
    listener = lab.gateway.listen((lab.gateway.ip, 80))
    with listener, other.connect((lab.gateway.ip, 80)) as c, listener.accept()[0] as s:
        c.sendall(b"x" * 100_000)
        c.shutdown(socket.SHUT_WR)
        assert sum(len(data) for data in iter(lambda: s.recv(65536), b"")) == 100_000
    # What the hosts left to their cards is complete in the capture, and no frame is too long.
    (path, _), = lab.captures()  # fmt: skip
    from tests.wire.check import check_capture

    # Linux's first router solicitation may come from no address and name its link-layer one.
    wrong = check_capture(path, [lab.gateway.mac, other.mac])
    assert [w for w in wrong if "link-layer address of the unspecified address" not in w] == []
    assert 1514 == max(map(len, lab.capture.frames()))


@pytest.mark.bridge
def test_labs_have_no_way_out_and_do_not_meet(rig):
    one, two = rig.lab(servers=False), rig.lab(servers=False)
    two_only = two.add_host("two", 2)
    assert "default" not in one.gateway.run("ip", "route").stdout
    done = one.gateway.run("ping", "-c", "1", "-W", "0.2", two_only.ip, check=False)
    assert done.returncode != 0


_ROOTLESS = """
import os
from barewire.impair import Impairment
from barewire.lab import Lab
assert os.getuid() == 65534
with Lab() as lab:
    one, two = lab.add_host("one", 1), lab.add_host("two", 2)
    assert "1 received" in one.ping(two.ip)
    tap, link = lab.tap(), lab.link(Impairment(loss=0.1))
    assert len(lab.capture.frames()) >= 4 and link.link.counters()
print("a bridge without root")
"""


@pytest.mark.bridge
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: every other bridged test shows it")
def test_a_lab_without_root():
    """As user nobody, in a user namespace, with /dev/net/tun of the mode Debian gives it."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        shutil.copytree(Path(barewire.__file__).parent, folder / "barewire")
        (folder / "main.py").write_text(_ROOTLESS)
        as_nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups"
        for python in (sys.executable, "/usr/bin/python3"):  # one that nobody may run
            argv = ["sh", "-c", f"{as_nobody} env {python} -c pass"]
            if subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0:
                break
        else:
            pytest.skip("no Python here that the user nobody may run")
        script = f"""set -e
        mknod {folder}/tun c 10 200 && chmod 666 {folder}/tun
        mount --bind {folder}/tun /dev/net/tun
        {as_nobody} env PYTHONDONTWRITEBYTECODE=1 {python} {folder}/main.py"""
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, cwd=folder
        )
        assert done.stdout.strip() == "a bridge without root", done.stderr


def _carry(rig, impairment, count):
    """Frames from the guest's end of a link: (which arrived on the bridge, counters)."""
    lab = rig.lab(servers=False)
    port = lab.link(impairment)
    guest = socket.socket(fileno=port.fd)
    with lab.gateway.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        s.bind(("eth0", 0x88B5))
        s.settimeout(0.5)
        # From no guest's address: a frame of an experimental type is not for the checks.
        head = bytes.fromhex(lab.gateway.mac.replace(":", "") + "026277990001" + "88b5")
        for i in range(count):
            guest.send(head + i.to_bytes(4, "big") + bytes(50))
        seen = []
        try:
            while True:
                seen.append(int.from_bytes(s.recv(2000)[14:18], "big"))
        except TimeoutError:
            pass
    guest.detach()
    return seen, port.link.counters()["from_guest"]


@pytest.mark.bridge
def test_a_clean_link_carries_everything_in_order(rig):
    seen, counters = _carry(rig, None, 3000)
    assert seen == list(range(3000))
    assert counters["frames"] == 3000 and not any(counters[f] for f in FATES)


@pytest.mark.bridge
def test_a_bad_link_does_what_its_seed_says(rig):
    bad = dict(loss=0.05, duplicate=0.05, reorder=0.05)
    seen, counters = _carry(rig, Impairment(seed=5, **bad), 2000)
    again, same = _carry(rig, Impairment(seed=5, **bad), 2000)
    _, other = _carry(rig, Impairment(seed=6, **bad), 2000)
    assert counters == same != other
    assert sorted(seen) == sorted(again)
    assert len(seen) == 2000 - counters["loss"] + counters["duplicate"]
    assert seen != sorted(seen), "nothing was reordered"
    for fate in ("loss", "duplicate", "reorder"):
        assert 60 < counters[fate] < 140, (fate, counters)


def test_romfs_pads_to_an_even_length():
    for n in range(300):
        image = romfs.build({"a": bytes(n)})
        assert image[:3] == b"\xd2\xcd\x31" and len(image) % 2 == 0


def test_romfs_as_the_format_says():
    # RM1; 16 bytes: a folder "d" of 12: a file "f" of 6 + its data record of 3 bytes
    image = romfs.build({"d": {"f": b"abc"}})
    assert image == b"\xd2\xcd\x31\x80\x0d" + b"\x04\x0b\x01d" + b"\x05\x07\x01f" + b"\x02\x03abc"


@pytest.mark.parametrize("text", ["", "80", "a:b", "1:2:3", "0:0", "70000:80"])
def test_bad_ports_are_named(text):
    with pytest.raises(BarewireError):
        parse_port(text)


def test_ports():
    assert parse_port("8080:80") == ("tcp", 8080, 80)
    assert parse_port("udp:5353:53") == ("udp", 5353, 53)


def test_exit_codes():
    assert [qemu.exit_code(s) for s in (1, 7, 255, 0, None, -9)] == [0, 3, 127, None, None, None]


def test_user_network_arguments():
    argv = UserNet([("tcp", 8080, 80)], restrict=True).arguments("n")
    assert argv == ["-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:8080-:80,restrict=on"]


def test_command_line_help_and_errors():
    run = lambda *a: subprocess.run(
        [sys.executable, "-m", "barewire.cli", *a], capture_output=True, text=True
    )
    for words in (["--help"], ["run", "--help"], ["console", "--help"], ["build", "--help"]):
        assert run(*words).returncode == 0
    done = run("run", "-p", "nonsense")
    assert done.returncode == 2
    assert "-p nonsense: want HOST:GUEST" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.boot
def test_run_packs_a_program_and_its_files(tmp_path):
    (tmp_path / "app.py").write_text(
        "import helper, os, sys\nprint(helper.WHO, open('/app/data/x.txt').read())\n"
        "print(sorted(os.listdir('/app')))\nsys.exit(7)\n"
    )
    (tmp_path / "helper.py").write_text("WHO = 'helper'\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("from a file")
    argv = [sys.executable, "-m", "barewire.cli", "run", "app.py", "helper.py", "data"]
    argv += ["--net", "none"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )
    assert "helper from a file" in done.stdout, done.stdout + done.stderr
    assert "['data', 'helper.py', 'main.py']" in done.stdout
    assert done.returncode == 7
    (tmp_path / "main.py").write_text("")
    done = subprocess.run(
        [*argv[:5], "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 125 and "two files are called main.py" in done.stderr
