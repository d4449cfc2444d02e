"""Choosing KVM or TCG by trying: a /dev/kvm may be there and not run a guest.

The probe boots the image under KVM and waits for its prompt. The answer is kept in the
user's cache folder with what it depends on: QEMU's version, this boot of this kernel, and
whether we may open /dev/kvm. $BAREWIRE_ACCEL (tcg or kvm) overrules it.
"""

import json
import os
import selectors
import subprocess
import time
from pathlib import Path

from barewire import qemu
from barewire.paths import BarewireError, cache_dir

PROBE_SECONDS = 10.0
PROMPT = b">>> "


def _key():
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ours = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return f"{qemu.version()}; kernel {os.uname().release}; boot {boot}; kvm is ours {ours}"


def _why(output):
    """The line of QEMU's output that says what went wrong."""
    lines = output.decode(errors="replace").split("\n")
    for line in lines:
        if "kvm" in line.lower():
            return line.strip().removeprefix("qemu-system-x86_64: ")
    said = [line.strip() for line in lines if line.strip()]
    return "no prompt came" + (f"; the last line was {said[-1]!r}" if said else "")


def probe(image, accel="kvm", machine="q35", seconds=PROBE_SECONDS):
    """Boot `image`. (True, "") when its prompt came within `seconds`, else (False, why)."""
    if accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        there = os.path.exists("/dev/kvm")
        return False, "/dev/kvm is not open to us" if there else "there is no /dev/kvm"
    argv = qemu.command_line(
        image, accel=accel, machine=machine, mem=64, serial=["-serial", "stdio"]
    )
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, end = b"", time.monotonic() + seconds
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            # QEMU stays, stopped, after an internal error: its message ends the wait too.
            while PROMPT not in output and b"KVM internal error" not in output:
                if not selector.select(max(0.0, end - time.monotonic())):
                    break
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                output += data
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return (True, "") if PROMPT in output else (False, _why(output))


def choose(image, say=None):
    """ "kvm" or "tcg". `say(line)` is called when KVM is tried, which is once in a boot of this
    kernel, and if it is there and cannot be used."""
    named = os.environ.get("BAREWIRE_ACCEL")
    if named:
        if named not in ("tcg", "kvm"):
            raise BarewireError(f"BAREWIRE_ACCEL={named}: want tcg or kvm")
        return named
    if not os.path.exists("/dev/kvm"):
        return "tcg"
    path, key = cache_dir() / "accelerator.json", _key()
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if known.get("key") != key:
        if say:
            say("trying once whether KVM runs a guest here")
        works, why = probe(image)
        known = {"key": key, "works": works, "why": why}
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known))
        temporary.replace(path)
        if not works and say:
            say(f"KVM cannot ({why}); using TCG from now on")
    return "kvm" if known["works"] else "tcg"
