"""Writes MicroPython's ROMFS: the read-only file system that `-initrd` mounts at /app.

    record   = varuint kind, varuint length, payload
    romfs    = record of kind 0x14a6b1 with the records of its root directory
    file     = record 5: varuint length of the name, the name, a record 2 with the bytes
    folder   = record 4: varuint length of the name, the name, its records

A varuint is big-endian base 128 with the high bit set on all bytes but the last. The length
of the whole is even: padding in front of the header's length sees to it.
(MicroPython 1.25, extmod/vfs_rom.c.)
"""

import subprocess
from pathlib import Path

from barewire.paths import BarewireError, build_dir

_DATA, _FOLDER, _FILE, _ROMFS = 2, 4, 5, 0x14A6B1


def _varuint(n, width=0):
    out = bytes([n & 0x7F])
    while n := n >> 7:
        out = bytes([n & 0x7F | 0x80]) + out
    return b"\x80" * (width - len(out)) + out


def _record(kind, payload):
    return _varuint(kind) + _varuint(len(payload)) + payload


def _named(kind, name, payload):
    name = name.encode()
    return _record(kind, _varuint(len(name)) + name + payload)


def _entries(tree):
    out = b""
    for name in sorted(tree):
        what = tree[name]
        if isinstance(what, dict):
            out += _named(_FOLDER, name, _entries(what))
        else:
            out += _named(_FILE, name, _record(_DATA, bytes(what)))
    return out


def build(tree):
    """The image (bytes) of a tree: {"main.py": b"...", "lib": {"a.py": b"..."}}."""
    payload = _entries(tree)
    kind, length = _varuint(_ROMFS), _varuint(len(payload))
    if (len(kind) + len(length) + len(payload)) % 2:
        length = _varuint(len(payload), len(length) + 1)
    return kind + length + payload


def read_tree(folder, keep=lambda path: True):
    """The tree of a folder's files, those for which keep(Path) is true; no hidden files."""
    tree = {}
    for path in sorted(Path(folder).iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            if below := read_tree(path, keep):
                tree[path.name] = below
        elif keep(path):
            tree[path.name] = path.read_bytes()
    return tree


def for_program(path, files=()):
    """The tree of `barewire run PATH FILES...`: a file becomes main.py (main.mpy, if it is one), a
    folder its files.

    files: files and folders that lie beside it by their own names. BarewireError."""
    path = Path(path)
    if path.is_dir():
        tree = read_tree(path)
    elif path.is_file():
        tree = {"main.mpy" if path.suffix == ".mpy" else "main.py": path.read_bytes()}
    else:
        raise BarewireError(f"no such program: {path}")
    return beside(tree, files)


def beside(tree, files):
    """`tree` with files and folders in it by their own names. BarewireError."""
    for more in map(Path, files):
        name = more.resolve().name
        if name in tree:
            raise BarewireError(f"two files are called {name}")
        tree[name] = read_tree(more) if more.is_dir() else more.read_bytes()
    return tree


def mpy_cross():
    """The cross compiler of the build as a Path, or None when it was not built."""
    found = sorted(build_dir().glob("mpy-cross/**/mpy-cross")) + [build_dir() / "mpy-cross"]
    return next((p for p in found if p.is_file()), None)


def compile_tree(tree, scratch, keep=("main.py",)):
    """The same tree with .py turned into .mpy for the image, where mpy-cross was built.

    scratch: a folder for the files in between. Names in `keep` stay source."""
    compiler = mpy_cross()
    if compiler is None:
        return tree
    out = {}
    for name, what in tree.items():
        if isinstance(what, dict):
            out[name] = compile_tree(what, scratch, keep)
        elif name.endswith(".py") and name not in keep:
            source, target = Path(scratch) / name, Path(scratch) / (name[:-3] + ".mpy")
            source.write_bytes(what)
            argv = [compiler, "-march=x64", "-s", name, "-o", target, source]
            done = subprocess.run(argv, capture_output=True, text=True)
            if done.returncode:
                raise BarewireError(f"mpy-cross: {done.stderr.strip()}")
            out[target.name] = target.read_bytes()
        else:
            out[name] = what
    return out
