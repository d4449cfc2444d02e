"""Programs that other people wrote for boards, fetched from PyPI by `unearth`, unchanged.

pip does not take many of them: MicroPython's packages have no setup.py. What was fetched stays in
build/programs. `files(...)` is the tree that a guest gets as its /app.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from barewire import romfs
from barewire.paths import build_dir

# name: the version that the tests were written with.
VERSIONS = {
    "aiomqttc": "1.0.7",
    "microdot": "2.7.0",
    "micropython-async-websocket-client": "0.3.4",
    "micropython-captive-dns-server": "0.0.4.dev0",
    "micropython-logging": "0.5.2",
    "micropython-mdns": "1.8.0",
    "micropython-modbus": "2.3.7",
    "micropython-ota": "2.1.0",
    "micropython-phew": "0.0.3",
    "micropython-uaioftp": "0.9.2",
    "micropython-uaiohttpclient": "0.5.1",
    "micropython-uaioweb": "0.0.3",
    "micropython-umqtt-robust": "1.0",
    "micropython-umqtt-robust2": "2.2.0",
    "micropython-umqtt-simple": "1.3.4",
    "micropython-umqtt-simple2": "2.2.0",
    "micropython-urequests": "0.9.1",
    "picoredis": "0.1.1",
    "uwebserver": "0.3.2",
}
_SKIP = ("setup.py", "tests/", "test/", "examples/", "main.py")


def fetch(name):
    """The archive of a package as a Path, fetched once."""
    folder = build_dir() / "programs"
    place = folder / f"{name}-{VERSIONS[name]}"
    found = list(place.glob("*.*")) if place.is_dir() else []
    if not found:
        part = folder / f"{place.name}.{id(place)}.part"
        argv = [Path(sys.executable).with_name("unearth"), "--download", part]
        done = subprocess.run(
            [*argv, f"{name}=={VERSIONS[name]}"], capture_output=True, text=True, timeout=120
        )
        found = list(part.glob("*.*")) if part.is_dir() else []
        if done.returncode or not found:
            pytest.fail(f"{name} {VERSIONS[name]} could not be fetched: {done.stderr[-500:]}")
        try:
            part.rename(place)
        except OSError:
            pass  # another worker was as quick
        found = list(place.glob("*.*"))
    return found[0]


def mip_index(folder, *names):
    """Lay out packages in `folder` as MicroPython's index has them, for abi 6 and as source.

    {name: [the files' paths]}. folder/package/ABI/NAME/VERSION.json, folder/file/HH/HASH."""
    made = {}
    for name in names:
        short = name.removeprefix("micropython-").replace("-", ".")
        for abi, end in (("6", ".mpy"), ("py", ".py")):
            hashes = []
            for path, data in sources(name).items():
                data = data if abi == "py" else compiled(data, path)
                digest = hashlib.sha256(data).hexdigest()[:8]
                target = folder / "file" / digest[:2] / digest
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                hashes.append([path.removesuffix(".py") + end, digest])
            where = folder / "package" / abi / short
            where.mkdir(parents=True, exist_ok=True)
            said = {"v": 1, "version": VERSIONS[name], "hashes": hashes}
            if name == "micropython-umqtt-robust":
                said["deps"] = [["umqtt.simple", "latest"]]
                hashes[:] = [h for h in hashes if "simple" not in h[0]]
            for version in ("latest", VERSIONS[name]):
                (where / f"{version}.json").write_text(json.dumps(said))
            made[short] = [h[0] for h in hashes]
    return made


def compiled(source, name="x.py", *options, tool=None):
    """The .mpy of source (bytes), by the build's mpy-cross or another `tool`."""
    with tempfile.TemporaryDirectory() as folder:
        py, mpy = Path(folder) / Path(name).name, Path(folder) / "out.mpy"
        py.write_bytes(source)
        tool = tool or build_dir() / "mpy-cross" / "mpy-cross"
        argv = [tool, "-s", name, *options, "-o", mpy, py]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return mpy.read_bytes()


def unpacked(package, program):
    """The Path of a program in a Debian package that is not to be installed: chrony would put out
    the clock service that the machine has."""
    place = build_dir() / "programs" / package
    found = place / program
    if not found.exists():
        place.mkdir(parents=True, exist_ok=True)
        argv = ["apt-get", "download", package]
        done = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=120)
        debs = sorted(place.glob("*.deb"))
        if done.returncode or not debs:
            pytest.fail(f"{package} could not be fetched: {done.stderr[-500:]}")
        subprocess.run(["dpkg-deb", "-x", debs[-1], place], check=True)
    return found


def sources(name):
    """{path: bytes} of a package's Python files, as they would lie in a board's /lib."""
    path = fetch(name)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as z:
            members = {n: z.read(n) for n in z.namelist() if n.endswith(".py")}
    else:
        with tarfile.open(path) as t:
            members = {
                m.name.partition("/")[2]: t.extractfile(m).read()
                for m in t.getmembers()
                if m.isfile() and m.name.endswith(".py")
            }
    return {n: d for n, d in members.items() if not n.startswith(_SKIP)}


def files(*names, **more):
    """The bytes of a ROMFS with these packages; more: {"file": bytes}."""
    tree = {}
    for name in names:
        for path, data in sources(name).items():
            here = tree
            *folders, last = path.split("/")
            for f in folders:
                here = here.setdefault(f, {})
            here[last] = data
    tree.update(more)
    return romfs.build(tree)
