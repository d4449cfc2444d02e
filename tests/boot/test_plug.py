"""Pull the plug: QEMU is killed at random moments while the guest writes to littlefs.

The guest writes files without end, in every way programs have, and says of each when it was
closed. At the next boot, which begins the next round, every file that was closed must hold
what it said. PLUG=200 in the environment (`make test-plug`): so many kills; else 15.
PLUG_SEED=n replays."""

import hashlib
import os
import random
import re
import time

import pytest

pytestmark = pytest.mark.boot

KILLS = int(os.environ.get("PLUG", "15"))
SEED = int(os.environ.get("PLUG_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)

# What version v of file n holds, here and there: a number's digest over and over.
CONTENT = """
import hashlib
def content(n, v):
    d = hashlib.sha256(b"%d %d" % (n, v)).digest()
    size = d[0] * (d[1] + 1) if v % 3 else d[0]
    return (d * (size // 32 + 1))[:size]
"""
GUEST = (
    CONTENT
    + """
import os, random
def check(versions):
    for n in sorted(versions):
        try:
            with open("/f%d" % n, "rb") as f:
                data = f.read()
        except OSError as e:
            data = b"error " + str(e).encode()
        print("file", n, len(data), hashlib.sha256(data).digest().hex())
    here = [x for x in os.listdir("/") if x[0] == "f"]
    print("others", sorted(x for x in here if int(x[1:]) not in versions))
def work(seed, versions, files):
    random.seed(seed)
    while True:
        n = random.randrange(files)
        v = versions.get(n, 0) + 1
        print("begin", n, v)
        data = content(n, v)
        how = random.randrange(3)
        if how == 0:
            with open("/f%d" % n, "wb") as f:
                f.write(data)
        elif how == 1:
            with open("/new", "wb") as f:
                for i in range(0, len(data), 777):
                    f.write(data[i:i + 777])
            os.rename("/new", "/f%d" % n)
        else:
            f = open("/f%d" % n, "wb")
            f.write(data[:len(data) // 2])
            f.flush()
            f.write(data[len(data) // 2:])
            f.close()
        versions[n] = v
        print("closed", n, v)
"""
)
space = {}
exec(CONTENT, space)  # the same function on this side


def digest(n, v):
    data = space["content"](n, v)
    return len(data), hashlib.sha256(data).hexdigest()


def verify(guest, versions, begun):
    """Compare the files with what was closed; versions becomes what is there. How many.

    begun: None, or (file, version) that was being written: the old one, the new one, or,
    flushed in its middle, half of the new one, which is then removed."""
    unsure = begun[0] if begun else None
    said = guest.exec(f"check({dict.fromkeys({*versions, unsure} - {None})})", timeout=60)
    assert "others []" in said, said
    found = {int(n): (int(size), h) for n, size, h in re.findall(r"file (\d+) (\d+) (\w+)", said)}
    for n in list(versions):
        if n != unsure:
            v = versions[n]
            assert found[n] == digest(n, v), f"file {n}: {v} was closed, there are {found[n]}"
    count = len(versions)
    if unsure is not None:
        v = versions.pop(unsure, None)
        if found[unsure] == digest(*begun):
            versions[unsure] = begun[1]
        elif v is not None and found[unsure] == digest(unsure, v):
            versions[unsure] = v
        else:
            half = space["content"](*begun)
            half = half[: len(half) // 2]
            is_half = found[unsure] == (len(half), hashlib.sha256(half).hexdigest())
            # Not there, or made and still empty, is right only of a file that was never closed.
            assert is_half or v is None, f"file {unsure}: {v} was closed, there are {found[unsure]}"
            guest.exec(f"try: os.remove('/f{unsure}')\nexcept OSError: pass")
    return count


def test_pull_the_plug(rig, artifacts):
    print(f"PLUG_SEED={SEED} PLUG={KILLS}")
    rng = random.Random(SEED)
    disk = artifacts / "disk.img"
    versions, begun, checked, closed = {}, None, 0, 0
    for kill in range(KILLS + 1):
        guest = rig.guest(disk=disk, append={"ip": "none"}, boot_timeout=120)
        assert b"vda virtio-blk 64 MB littlefs at /" in guest.child.before, guest.child.before
        guest.exec(GUEST)
        checked += verify(guest, versions, begun)
        if kill == KILLS:
            break
        begun = None
        running = guest.run_async(f"work({rng.randrange(1 << 30)}, {versions!r}, 40)")
        running.expect("closed", 60)
        time.sleep(rng.uniform(0, 0.5))  # the random moment
        guest.kill()
        said = (artifacts / f"guest{kill}" / "console.log").read_bytes().decode(errors="replace")
        for word, n, v in re.findall(r"(begin|closed) (\d+) (\d+)\r\n", said):
            begun = (int(n), int(v)) if word == "begin" else None
            if word == "closed":
                versions[int(n)] = int(v)
                closed += 1
    print(f"{KILLS} kills, {closed} files closed, {checked} looked at again, none lost")
    assert closed >= KILLS
