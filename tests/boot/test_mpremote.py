"""mpremote on the console's pty: the image behaves as any MicroPython board."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
