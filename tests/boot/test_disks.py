"""Files across boots: virtio-blk under littlefs and FAT, and what must not be overwritten."""

import random
import subprocess

import pytest

from barewire.console import GuestError
from barewire.disk import Disk, parse
from barewire.paths import BarewireError

pytestmark = pytest.mark.boot

PATH = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
OFFLINE = {"append": {"ip": "none"}}


SECRET = "__import__('stack.api._runtime', None, None, True).current().host.secret6"


def host(*argv, **options):
    return subprocess.run(
        [str(a) for a in argv], check=True, capture_output=True, text=True, env=PATH, **options
    ).stdout


@pytest.mark.core
def test_files_are_there_at_the_next_boot(rig, artifacts):
    disk = artifacts / "disk.img"
    data = random.Random(1).randbytes(50_000)
    guest = rig.guest(disk=disk, **OFFLINE)
    # Where the image itself comes from a disk, that one is vda.
    assert b" virtio-blk 64 MB littlefs at /\r" in guest.child.before
    guest.exec("import os\nos.mkdir('/lib')")
    guest.put("/lib/kept.py", b"X = 42")
    guest.put("/data", data)
    guest.put("/boot.py", b"first = 'boot'")
    guest.put("/main.py", b"import kept\nprint(first, 'and main say', kept.X)")
    # RFC 7217: what the stable IPv6 addresses are made from.
    secret = guest.eval(SECRET)
    assert len(secret) == 16 and guest.get("/.ip6-secret") == secret
    guest.kill()
    guest = rig.guest(disk=disk, **OFFLINE)
    assert b"boot and main say 42" in guest.child.before
    assert guest.get("/data") == data
    assert guest.eval(SECRET) == secret
    guest.exec("import os\nos.remove('/main.py')\nos.remove('/boot.py')")
    names = set(guest.eval("os.listdir('/')")) - {"etc/ssl", "vda1"}
    assert names == {"data", "lib", ".ip6-secret"}


def test_unknown_content_is_left_and_named(rig, artifacts):
    disk = artifacts / "disk.img"
    content = b"\0" * 40_000 + b"something of somebody" + b"\0" * (1 << 20)
    content += bytes(-len(content) % 4096)
    disk.write_bytes(content)
    guest = rig.guest(disk=disk, **OFFLINE)
    assert b"unknown, not mounted" in guest.child.before
    guest.exec("open('/in_memory', 'w').write('x')")
    assert disk.read_bytes() == content
    guest.exec("import machine, vfs\nfrom stack.disks import mount\n"
               "mount(machine.format_disk('vda'), '/disk')")  # fmt: skip
    guest.put("/disk/a", b"b")
    guest.close()
    assert b"littlefs" in disk.read_bytes()[:4096]
    guest = rig.guest(disk=disk, **OFFLINE)
    assert guest.exec("print(open('/a').read(), end='')") == "b"


@pytest.mark.parametrize("label", ["dos", "gpt", "none"])
def test_fat_made_by_the_host(rig, artifacts, label):
    disk, note = artifacts / "disk.img", artifacts / "note.txt"
    note.write_text("from the host\n")
    with open(disk, "wb") as f:
        f.truncate(32 << 20)
    where, name = disk, "vda"
    if label == "none":
        host("mkfs.fat", disk)
    else:
        kind = "U" if label == "gpt" else "c"
        script = f"label: {label}\nstart=2048, size=20480, type={kind}\ntype=L\n"
        host("sfdisk", "-q", disk, input=script)
        host("mkfs.fat", "--offset", "2048", disk, 10240)
        where, name = f"{disk}@@1M", "vda1"
    host("mcopy", "-i", where, note, "::note.txt")
    guest = rig.guest(disk=disk, **OFFLINE)
    assert f"fat at /{name}".encode() in guest.child.before
    if label != "none":
        assert b"MB: zero, not mounted" in guest.child.before
    assert guest.exec(f"print(open('/{name}/note.txt').read(), end='')") == "from the host\n"
    data = random.Random(2).randbytes(20_000)
    guest.put(f"/{name}/A long name from the guest.bin", data)
    guest.close()
    back = artifacts / "back.bin"
    host("mcopy", "-i", where, "::A long name from the guest.bin", back)
    assert back.read_bytes() == data
    if label == "none":
        host("fsck.fat", "-n", disk)


def test_several_disks_one_read_only(rig, artifacts):
    one, two = artifacts / "one.img", artifacts / "two.img"
    guest = rig.guest(disk=two, **OFFLINE)
    guest.put("/who", b"two")
    guest.close()
    guest = rig.guest(disk=[one, Disk(two, readonly=True)], **OFFLINE)
    assert b"vda virtio-blk 64 MB littlefs at /" in guest.child.before
    assert b"vdb virtio-blk 64 MB read-only littlefs at /vdb" in guest.child.before
    assert guest.exec("print(open('/vdb/who').read(), end='')") == "two"
    with pytest.raises(GuestError) as caught:
        guest.exec("open('/vdb/new', 'w')")
    assert caught.value.kind == "OSError"
    assert guest.eval("sorted(__import__('machine').disks())") == ["vda", "vdb"]


@pytest.mark.parametrize(
    "properties",
    [
        {"logical_block_size": 4096, "physical_block_size": 4096},
        {"vectors": 0},
        {"num-queues": 4, "packed": "on"},
        {"seg-max-adjust": "off", "queue-size": 8},
        {"discard": "off", "write-zeroes": "off", "config-wce": "off"},
        {"write-cache": "off"},
        {"disable-legacy": "off"},
    ],
    ids=lambda p: "-".join(p),
)
def test_disks_of_every_kind(rig, artifacts, properties, platform):
    if platform.bus != "pci" and {"vectors", "disable-legacy"} & set(properties):
        pytest.skip(f"this is of PCI, and {platform} has none")
    disk = Disk(artifacts / "disk.img", properties=properties)
    data = random.Random(3).randbytes(150_000)
    guest = rig.guest(disk=disk)
    guest.put("/data", data)
    guest.close()
    guest = rig.guest(disk=disk)
    assert guest.get("/data") == data


def test_a_large_disk_boots_as_soon(rig, artifacts):
    guest = rig.guest(disk=Disk(artifacts / "disk.img", size=1 << 40), **OFFLINE)
    assert b"littlefs at /" in guest.child.before
    guest.put("/x", b"y")
    sectors = guest.eval("__import__('machine').disks()['vda'].sectors")
    assert sectors == 1 << 31


def test_a_qcow2(rig, artifacts):
    disk = artifacts / "disk.qcow2"
    guest = rig.guest(disk=disk, **OFFLINE)
    guest.put("/x", b"kept")
    guest.close()
    assert disk.read_bytes()[:4] == b"QFI\xfb"
    assert rig.guest(disk=disk, **OFFLINE).exec("print(open('/x').read())") == "kept\n"


def test_forgotten_files_are_closed(rig, artifacts):
    """By the collector, with the heap locked, and by a soft reset."""
    disk = artifacts / "disk.img"
    guest = rig.guest(disk=disk, **OFFLINE)
    guest.exec("import gc\ndef forget():\n  f = open('/forgotten', 'w')\n  f.write('a' * 9000)\n"
               "forget()\nx = [0] * 100\ngc.collect()\nkept = open('/open', 'w')\n"
               "kept.write('b' * 9000)")  # fmt: skip
    assert guest.eval("__import__('os').stat('/forgotten')[6]") == 9000
    child = guest.friendly()
    child.send("\x04")
    child.expect_exact("littlefs at /")
    child.expect_exact(">>> ")
    assert guest.exec("print(len(open('/open').read()))") == "9000\n"


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_ctrl_c_between_writes_tears_nothing(rig, artifacts, where):
    disk = artifacts / "disk.img" if where == "disk" else None
    guest = rig.guest(disk=disk, **OFFLINE)
    guest.exec("import os\ndone = 0\ndef work():\n  global done\n  while True:\n"
               "    with open('/f%d' % (done % 20), 'w') as f: f.write('%d ' % done * 1000)\n"
               "    done += 1\n    print('.', end='')")  # fmt: skip
    rng = random.Random(4)
    for _ in range(20):
        running = guest.run_async("work()")
        running.expect("." * rng.randrange(1, 4))
        running.write(b"\x03")
        with pytest.raises(GuestError) as caught:
            running.wait()
        assert caught.value.kind == "KeyboardInterrupt"
        # Raised in no block device's method, so littlefs's C code had come to its end.
        assert "blocks" not in str(caught.value) and "ioctl" not in str(caught.value)
    guest.exec("for n in range(max(0, done - 19), done):\n"
               "  assert open('/f%d' % (n % 20)).read() == '%d ' % n * 1000, n")  # fmt: skip
    assert guest.eval("done") > 20


def test_an_error_of_the_hosts_disk(rig, artifacts, platform):
    """Every write to the file fails: OSError(EIO), and what was there is still read."""
    disk, rules = artifacts / "disk.img", artifacts / "rules"
    guest = rig.guest(disk=disk, **OFFLINE)
    guest.put("/before", b"old")
    guest.close()
    rules.write_text('[inject-error]\nevent = "none"\niotype = "write"\nerrno = "5"\n')
    extra = ["-drive", f"if=none,id=d,file=blkdebug:{rules}:{disk},format=raw,werror=report"]
    guest = rig.guest(extra=[*extra, "-device", f"virtio-blk-{platform.bus},drive=d"], **OFFLINE)
    with pytest.raises(GuestError) as caught:
        guest.exec("f = open('/after', 'w')\nf.write('x' * 10000)\nf.close()")
    assert caught.value.kind == "OSError" and "5" in str(caught.value)
    assert guest.exec("print(open('/before').read(), end='')") == "old"


def test_the_least_memory(rig, artifacts):
    guest = rig.guest(disk=artifacts / "disk.img", mem=16)
    guest.exec("open('/x', 'w').write('y' * 100000)")


def test_disk_arguments():
    disk = parse("a,1G,ro")
    assert (disk.path.name, disk.size, disk.readonly, disk.format) == ("a", 1 << 30, True, "raw")
    assert parse("x.qcow2").format == "qcow2"
    for bad in (",1G", "a,1T", "a,b", "a,-1"):
        with pytest.raises(BarewireError):
            parse(bad)


@pytest.mark.parametrize("size", [0, 4096, 65537])
def test_disks_of_impossible_sizes(artifacts, size):
    with pytest.raises(BarewireError):
        Disk(artifacts / "x.img", size=size).create()
