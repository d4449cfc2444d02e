"""The wheel, in an empty virtual environment: no checkout, no compiler, no root, no lab's tools.

What it needs from a registry lies in build/wheelhouse (scripts/ensure), so there is no network.
The environment's PATH holds QEMU and its own bin, nothing else.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from barewire.paths import default_image, root

pytestmark = pytest.mark.boot

NOBODY = 65534
PATIENCE = 300


def run(*argv, **options):
    done = subprocess.run(
        list(map(str, argv)), capture_output=True, text=True, timeout=PATIENCE, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Place:
    """A virtual environment with the wheel in it, and a user who may not do anything."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / "venv" / "bin"
        self.wheel = next((folder / "dist").glob("*.whl"), None)
        self.identity = {}
        if os.geteuid() == 0:
            self.identity = dict(user=NOBODY, group=NOBODY, extra_groups=[])
        self.env = {
            "PATH": f"{self.bin}:{folder / 'qemu'}", "HOME": str(folder / "home"),
            "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def popen(self, *argv, **options):
        options = {"stdin": subprocess.DEVNULL, "cwd": self.folder / "home", **options}
        return subprocess.Popen(
            [self.bin / argv[0], *map(str, argv[1:])], text=True, env=self.env,
            **self.identity, **options,
        )  # fmt: skip

    def __call__(self, *argv, status=0):
        """Run a command of the environment as nobody; stdout and stderr."""
        with self.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
            said = p.communicate(timeout=PATIENCE)[0]
        assert p.returncode == status, said
        return said

    def write(self, name, text):
        path = self.folder / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if self.identity:
            os.chown(path.parent, NOBODY, NOBODY)
        return path


def _python_for_nobody():
    """A Python that the user nobody may run: this one, or the system's."""
    as_nobody = dict(user=NOBODY, group=NOBODY) if os.geteuid() == 0 else {}
    for python in (sys._base_executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            code = "import sys; sys.exit(sys.version_info < (3, 11))"
            if not subprocess.run([python, "-c", code], cwd="/", **as_nobody).returncode:
                return python
    pytest.skip("no Python 3.11 here that the user nobody may run")


def _make(folder):
    python = _python_for_nobody()
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", root())
    run(python, "-m", "venv", "--without-pip", folder / "venv")
    place = Place(folder)
    began = time.monotonic()
    offline = ["--no-index", "--find-links", root() / "build" / "wheelhouse"]
    inside = [*pip, "--python", place.bin / "python"]
    run(*inside, "install", *offline, place.wheel)
    print(f"pip install of the wheel took {time.monotonic() - began:.1f} s")
    names = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    place.write("installed", run(place.bin / "python", "-I", "-c", names))
    run(*inside, "install", *offline, "pytest", "pytest-xdist")
    (folder / "qemu").mkdir()
    (folder / "qemu" / "qemu-system-x86_64").symlink_to(shutil.which("qemu-system-x86_64"))
    shutil.copytree(root() / "examples", folder / "home" / "examples")
    (folder / "home").chmod(0o777)
    return place


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory(prefix="barewire-wheel-") as folder:
        Path(folder).chmod(0o755)
        yield _make(Path(folder))


def test_the_wheel_has_the_image_and_few_needs(place):
    with zipfile.ZipFile(place.wheel) as z:
        names = z.namelist()
        assert z.read("barewire/image/barewire.elf") == default_image().read_bytes()
        notice = next(n for n in names if n.endswith("licenses/images/NOTICE.md"))
        assert "Damien P. George" in z.read(notice).decode()
        assert any(n.endswith("licenses/LICENSE") for n in names)
    assert not [n for n in names if n.startswith(("barewire/build", "barewire/rig", "stack/"))]
    assert set((place.folder / "home" / "installed").read_text().split()) <= {
        "barewire", "click", "rich", "pexpect", "ptyprocess", "markdown-it-py", "mdurl", "Pygments",
        "pygments",
    }  # fmt: skip
    assert "125" not in place("barewire", "--version")
    # There is nothing of the checkout on its path.
    said = place("python", "-c", "import barewire, sys; print(barewire.__file__, *sys.path)")
    assert str(root()) not in said and str(place.folder) in said


def test_hello_http_answers_curl(place):
    """The issue's own words, but for the port: a free one, since others may test here too."""
    began = time.monotonic()
    words = ["run", "examples/hello_http.py", "-p", "0:80"]
    with place.popen("barewire", *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        try:
            said = ""
            while not (port := re.search(r"127\.0\.0\.1:(\d+) is the guest's tcp port 80", said)):
                line = p.stdout.readline()
                assert line, said
                said += line
            # At once: it waits in the command's queue until the guest listens.
            curl = ["curl", "-sS", "--max-time", "120", f"http://127.0.0.1:{port[1]}/"]
            page = run(*curl)
            seconds = time.monotonic() - began
        finally:
            p.terminate()
    assert "<h1>Hello from Barewire</h1>" in page
    print(f"`barewire run` to curl's answer: {seconds:.2f} s")
    assert p.returncode == 128 + 15


def test_doctor_says_what_works(place):
    found = {f["name"]: f for f in json.loads(place("barewire", "doctor", "--json"))}
    assert found["qemu"]["state"] == found["image"]["state"] == "ok"
    assert found["accelerator: tcg"]["state"] == "ok"
    assert "venv" in found["image"]["says"]
    assert found["curl"]["state"] == "note" and "apt-get" in found["curl"]["do"]
    place.env["PATH"], kept = str(place.bin), place.env["PATH"]
    try:
        said = place("barewire", "doctor", status=1)
        assert "apt-get install qemu-system-x86" in said
        assert "install the package qemu-system-x86" in place(
            "barewire", "run", "examples/echo.py", status=125
        )
        assert "in a checkout" in place("barewire", "build", status=125)
    finally:
        place.env["PATH"] = kept


GUESTS = """
import urllib.request
import pytest


def test_exec_eval_and_files(barewire_guest):
    assert barewire_guest.exec("print(6 * 7)") == "42\\n"
    data = bytes(range(256)) * 20
    barewire_guest.put("/there.bin", data)
    assert barewire_guest.eval("len(open('/there.bin', 'rb').read())") == 5120
    assert barewire_guest.get("/there.bin") == data


@pytest.mark.barewire(program="app.py", files=["page.html"], ports=[80], mem=24)
def test_its_page(barewire_guest):
    barewire_guest.expect("serving in [0-9]+")
    assert urllib.request.urlopen(barewire_guest.url(80)).read() == b"a page of the host"


@pytest.mark.parametrize("n", range(3))
def test_two_at_a_time(barewire_boot, n):
    one, two = barewire_boot(ports=[7]), barewire_boot(ports=[7], append={"hostname": f"two{n}"})
    assert one.port(7) != two.port(7)
    assert two.eval("__import__('network').hostname()") == f"two{n}"
"""

FAILS = """
def test_that_fails(barewire_boot):
    guest = barewire_boot()
    guest.exec("import socket; s = socket.socket(); s.connect(('10.0.2.2', 9))")


def test_that_asserts(barewire_guest):
    barewire_guest.exec("print('the last words')")
    assert barewire_guest.eval("1 + 1") == 3
"""

APP = """
import gc, socket
s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(1)
print("serving in", gc.mem_free() + gc.mem_alloc())
while True:
    c = s.accept()[0]
    while c.readline() not in (b"\\r\\n", b""):
        pass
    c.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + open("/app/page.html", "rb").read())
    c.close()
"""


def test_the_pytest_plugin(place):
    place.write("passing/test_guests.py", GUESTS)
    place.write("passing/app.py", APP)
    place.write("passing/page.html", "a page of the host")
    said = place("pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "passing")
    assert "5 passed" in said
    assert not (place.folder / "home" / "barewire-artifacts").exists()


def test_a_failing_test_shows_what_its_guest_left(place):
    place.write("failing/test_fails.py", FAILS)
    said = place("pytest", "-p", "no:cacheprovider", "failing", status=1)
    assert "2 failed" in said
    kept = re.findall(r"^(/\S+/(?:console\.log|net\.pcap))$", said, re.M)
    assert len(kept) == 4, said
    for path in map(Path, kept):
        assert path.stat().st_size > 200
        assert path.is_relative_to(place.folder / "home" / "barewire-artifacts")
    # The capture is the conversation of this test, its refused connection among it.
    pcap = next(p for p in kept if "that_fails" in p and p.endswith(".pcap"))
    assert "10.0.2.2" in run("tshark", "-r", pcap, "-Y", "tcp.flags.syn==1")
    assert "ECONNREFUSED" in said and "the end of console.log" in said
    assert "the last words" in said


def test_barewire_test_needs_nothing_else(place):
    place.write("suite/test_it.py", "import unittest\n\n\nclass It(unittest.TestCase):\n"
                "    def test_sum(self):\n        self.assertEqual(1 + 1, 2)\n")  # fmt: skip
    assert "1 passed" in place("barewire", "test", "suite")
