"""Build an image: `python3 -m barewire.build [--image NAME] [--formats "elf iso disk"]`.

Fetches MicroPython once, builds mpy-cross, then the firmware with the image's Python frozen
in; then what firmware boots (barewire.media). Nothing but the standard library, since this
runs before anything is installed by pip.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys

from barewire._fetch import BuildError, certifi, micropython

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAX_IMAGE = 2048 * 1024
EPOCH = "1744675200"  # MicroPython 1.25.0's release: the date in the banner, the same for all
FROZEN = ("stack", "drivers", os.path.join("images", "lib"))

TOOLS = (
    ("gcc", "gcc"),
    ("make", "make"),
    ("ld", "binutils"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/include/x86_64-linux-musl/string.h", "musl-dev"),
    ("/usr/lib/x86_64-linux-musl/libc.a", "musl-dev"),
)


def elf_path(image):
    """Where the ELF of an image is put: build/barewire.elf for repl, else build/NAME/."""
    return os.path.join(TOP, "build", "" if image == "repl" else image, "barewire.elf")


def build(image="repl", jobs=None, verbose=False):
    """Build the image and return the path of its ELF. Raises BuildError."""
    folder = os.path.join(TOP, "images", image)
    if not (_has(folder, "manifest.py") or _has(folder, "main.py")):
        raise BuildError("no such image: %s has no main.py" % os.path.relpath(folder))
    _check_tools()
    jobs = jobs or os.cpu_count() or 1
    work = os.path.join(TOP, "build")
    with _alone(work):
        return _build(image, _manifest(image, work), work, jobs, verbose)


def _has(folder, name):
    return os.path.exists(os.path.join(folder, name))


def _manifest(image, work):
    """The image's own manifest.py, or one that freezes the folder's modules beside the stack."""
    folder = os.path.join(TOP, "images", image)
    if _has(folder, "manifest.py"):
        return os.path.join(folder, "manifest.py")
    lines = ["include(%r)" % os.path.join(TOP, "images", "base", "manifest.py")]
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            lines.append("module(%r, base_path=%r, opt=2)" % (name, folder))
    path = os.path.join(work, "images", image, "manifest.py")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if _has(folder, "cmdline"):
        words = open(os.path.join(folder, "cmdline")).read().split()
        with open(os.path.join(os.path.dirname(path), "image_defaults.py"), "w") as f:
            f.write("CMDLINE = %r\n" % " ".join(words))
        lines.append("module('image_defaults.py', base_path=%r, opt=2)" % os.path.dirname(path))
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    return path


def pack(image):
    """Pack the folder images/NAME/app as build/NAME/app.romfs; its path, or None without one."""
    from barewire import romfs

    folder = os.path.join(TOP, "images", image, "app")
    if not os.path.isdir(folder):
        return None
    path = os.path.join(os.path.dirname(elf_path(image)), "app.romfs")
    with open(path, "wb") as f:
        f.write(romfs.build(romfs.read_tree(folder)))
    return path


def media(image, kind):
    """Build the "iso" or the "disk" of an image whose ELF is there. The paths written."""
    from barewire import media as maker

    elf = elf_path(image)
    out = os.path.splitext(elf)[0]
    try:
        if kind == "iso":
            maker.iso(out + ".iso", elf, "", pack(image))
            return [out + ".iso"]
        maker.disk(out + ".raw", elf, "", pack(image))
        maker.qcow2(out + ".qcow2", out + ".raw")
        return [out + ".raw", out + ".qcow2"]
    except maker.MediaError as e:
        raise BuildError(str(e)) from None


@contextlib.contextmanager
def _alone(work):
    """One build at a time in this tree; a second waits for the first."""
    os.makedirs(work, exist_ok=True)
    with open(os.path.join(work, ".lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _build(image, manifest, work, jobs, verbose):
    tree = os.path.abspath(os.environ.get("MICROPYTHON_DIR") or micropython(work))
    if not os.path.exists(os.path.join(tree, "py", "mpconfig.h")):
        raise BuildError("MICROPYTHON_DIR is no MicroPython tree: " + tree)
    cross = mpy_cross(tree, jobs)
    out = os.path.join(work, "images", image)
    os.makedirs(out, exist_ok=True)
    _generate("stack.crypto.asm.build", os.path.join(work, "gen", "crypto_kernels.py"))
    _generate("barewire._roots", os.path.join(work, "gen", "cacerts.py"), certifi(work))
    _forget_frozen_if_files_went(image, out)
    args = ["-C", os.path.join(TOP, "firmware"), "-j%d" % jobs, "MPY=" + tree]
    args += ["BUILD=" + os.path.join(work, "firmware"), "OUT=" + out, "MANIFEST=" + manifest]
    args += ["MPY_CROSS=" + cross]
    args += ["MAP=-ffile-prefix-map=%s=mp -ffile-prefix-map=%s=." % (tree, TOP)]
    _make(args, "building the image", verbose)
    built = os.path.join(out, "barewire.elf")
    size = os.path.getsize(built)
    if size > MAX_IMAGE:
        raise BuildError("the image has %d bytes, more than %d" % (size, MAX_IMAGE))
    elf = elf_path(image)
    os.makedirs(os.path.dirname(elf), exist_ok=True)
    if not os.path.exists(elf) or open(elf, "rb").read() != open(built, "rb").read():
        shutil.copyfile(built, elf + ".new")
        os.rename(elf + ".new", elf)
    return elf


def _generate(module, path, data=b""):
    """Let a module of ours write a Python file, given data; the old one stays if it is the same."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    folders = (os.path.join(TOP, "host"), os.path.join(TOP, "host", "shim"), TOP)
    done = subprocess.run(
        [sys.executable, "-m", module, path + ".new"],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(folders)),
        cwd=TOP,
        input=data,
        capture_output=True,
    )
    if done.returncode:
        raise BuildError("%s failed: %s" % (module, done.stderr.decode().strip()[-1000:]))
    if os.path.exists(path) and open(path, "rb").read() == open(path + ".new", "rb").read():
        os.remove(path + ".new")
    else:
        os.rename(path + ".new", path)


def mpy_cross(tree, jobs=1):
    """Build mpy-cross from the same tree and return its path."""
    out = os.path.join(TOP, "build", "mpy-cross")
    args = ["-C", os.path.join(tree, "mpy-cross"), "-j%d" % jobs, "BUILD=" + out, "STRIP="]
    _make(args, "building mpy-cross")
    return os.path.join(out, "mpy-cross")


def unix_port(tree, jobs=1):
    """Build MicroPython's unix port, unmodified, from the same tree and return its path.

    With asyncio and ffi (which needs libffi-dev), without what the source package leaves out."""
    out = os.path.join(TOP, "build", "unix-port")
    args = ["-C", os.path.join(tree, "ports", "unix"), "-j%d" % jobs, "BUILD=" + out]
    args += ["MICROPY_PY_%s=0" % part for part in ("BTREE", "SSL", "BLUETOOTH")]
    args += ["MICROPY_SSL_AXTLS=0", "MICROPY_MPYCROSS=" + mpy_cross(tree, jobs)]
    args += ["FROZEN_MANIFEST=" + os.path.join(tree, "extmod", "asyncio", "manifest.py")]
    args += ["MPY_LIB_DIR=" + tree]  # not in the package; nothing of it is frozen
    _make(args, "building MicroPython's unix port")
    return os.path.join(out, "micropython")


def loc():
    """Lines of C and assembly of our own, by file, with the sum."""
    folder = os.path.join(TOP, "firmware")
    total = 0
    for name in sorted(os.listdir(folder)):
        if name.endswith((".c", ".h", ".S")):
            with open(os.path.join(folder, name)) as f:
                text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
            code = [s for s in text.splitlines() if s.strip() and not s.strip().startswith("//")]
            total += len(code)
            print("%6d  firmware/%s" % (len(code), name))
    print("%6d  lines of C and assembly of our own (without comments and blank lines)" % total)


def _check_tools():
    for what, package in TOOLS:
        if not (os.path.exists(what) if what[0] == "/" else shutil.which(what)):
            raise BuildError("%s is missing: apt-get install %s" % (what, package))


def _make(args, what, verbose=False):
    """Run make quietly; on failure show what the compiler said."""
    env = dict(os.environ, SOURCE_DATE_EPOCH=EPOCH, PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0")
    env.update(MICROPY_GIT_TAG="v1.25.0", MICROPY_GIT_HASH="", LC_ALL="C")
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CFLAGS", "LDFLAGS", "IMAGE", "BUILD"):
        env.pop(name, None)
    done = subprocess.run(
        ["make"] + args + (["V=1"] if verbose else []),
        env=env,
        stdout=None if verbose else subprocess.PIPE,
        stderr=None if verbose else subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.stderr.write((done.stdout or "")[-4000:])
        raise BuildError("%s failed" % what)


def _forget_frozen_if_files_went(image, out):
    """makemanifest looks at times only, so it does not see that a file was removed."""
    files = []
    for folder in FROZEN + (os.path.join("images", image),):
        for path, folders, names in os.walk(os.path.join(TOP, folder)):
            folders.sort()
            files += sorted(os.path.join(path, n) for n in names if n.endswith(".py"))
    files.append(os.path.join(TOP, "images", "base", "manifest.py"))
    now = "".join("%s\n" % f for f in files)
    listing = os.path.join(out, "files")
    newest = max(os.path.getmtime(f) for f in files if f.endswith("manifest.py"))
    content = os.path.join(out, "frozen_content.c")
    if os.path.exists(content):
        same = os.path.exists(listing) and open(listing).read() == now
        if not same or newest > os.path.getmtime(content):
            os.unlink(content)
    with open(listing, "w") as f:
        f.write(now)


def main():
    parser = argparse.ArgumentParser(prog="barewire.build", description="Build a Barewire image.")
    parser.add_argument("--image", default="repl", help="a folder of images/ (default: repl)")
    parser.add_argument(
        "--formats", help="of elf, iso and disk (default: elf for repl, all for other images)"
    )
    parser.add_argument("--loc", action="store_true", help="count the lines of C and assembly")
    parser.add_argument("--mpy-cross", action="store_true", help="build mpy-cross only")
    parser.add_argument("--unix-port", action="store_true", help="build MicroPython's unix port")
    parser.add_argument("-j", "--jobs", type=int)
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    try:
        if args.loc:
            loc()
        elif args.mpy_cross or args.unix_port:
            work = os.path.join(TOP, "build")
            make = mpy_cross if args.mpy_cross else unix_port
            with _alone(work):
                tree = os.environ.get("MICROPYTHON_DIR") or micropython(work)
                made = make(os.path.abspath(tree), args.jobs or os.cpu_count() or 1)
            print(os.path.relpath(made))
        else:
            formats = (args.formats or ("elf" if args.image == "repl" else "elf iso disk")).split()
            if unknown := set(formats) - {"elf", "iso", "disk"}:
                raise BuildError("no such format: %s" % " ".join(sorted(unknown)))
            paths = [build(args.image, args.jobs, args.verbose)]
            if packed := pack(args.image):
                paths.append(packed)
            for kind in formats:
                if kind != "elf":
                    paths += media(args.image, kind)
            for path in paths:
                print("%s  %d bytes" % (os.path.relpath(path), os.path.getsize(path)))
    except BuildError as e:
        sys.exit("barewire: %s" % e)


if __name__ == "__main__":
    main()
