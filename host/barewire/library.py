"""The pure parts of the stack as libraries for MicroPython boards: `make libraries`.

    python -m barewire.library FOLDER MPY_CROSS

FOLDER gets `stack/`, compiled, and for each library a package for mip (tls.json) that names the
files which it needs. They are portable byte code (.mpy 6.3, no machine code) for boards of any
word size: viper code counts on 64-bit words, so here it becomes ordinary Python. CPython and
MicroPython's unix port on an x86-64 take the folder `stack` of the repository as it is.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

from barewire import __version__
from barewire.paths import BarewireError, root

LIBRARIES = {
    "tls": ("stack.tls.client", "stack.tls.server", "stack.tls.keys"),
    "h2": ("stack.http.h2.connection",),
    "ws": ("stack.ws.connection", "stack.ws.handshake", "stack.http.headers"),
    "dns": ("stack.dns.recursor.forward", "stack.dns.stub", "stack.dns.anchors", "stack.dns.root"),
}
# Tiers of machine code, and what CPython lacks.
_LEFT_OUT = ("stack.crypto.viper", "stack.crypto.native", "stack._cpython")
_POINTERS_NAME = "stack._pointers"
_DECORATOR = re.compile(r"^@micropython\.(?:viper|native)\n", re.M)
_POINTERS = '''import uctypes


def ptr8(buf):
    return buf


def ptr16(buf):
    return _view(buf, uctypes.UINT16 | len(buf) >> 1)


def ptr32(buf):
    return _view(buf, uctypes.UINT32 | len(buf) >> 2)


def _view(buf, words):
    layout = {"w": (uctypes.ARRAY, words)}
    return uctypes.struct(uctypes.addressof(buf), layout, uctypes.LITTLE_ENDIAN).w
'''


def needed(modules):
    """The files that `modules` import, packages and all: sorted names of modules."""
    seen, left = set(), list(modules)
    while left:
        name = left.pop()
        path = _path(name)
        if name in seen or name in _LEFT_OUT or path is None:
            continue
        seen.add(name)
        left += [name.rpartition(".")[0], *_imports(path)]
    return sorted(seen)


def _path(name):
    if not name.startswith("stack"):
        return None
    base = root() / name.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def portable(source):
    """Source without viper: its functions as ordinary ones."""
    plain = _DECORATOR.sub("", source)
    used = sorted(set(re.findall(r"\b(ptr8|ptr16|ptr32)\(", plain)))
    if not used:
        return plain
    line = f"from stack._pointers import {', '.join(used)}\n"
    return plain.replace("import micropython\n", line, 1)


def build(folder, mpy_cross):
    """Write the libraries: {name: (modules, bytes)}. BarewireError where mpy-cross fails."""
    folder = Path(folder)
    sizes = {}

    def compiled(module):
        if module not in sizes:
            source = _POINTERS if module == _POINTERS_NAME else portable(_path(module).read_text())
            sizes[module] = _compile(folder, _target(module), source, mpy_cross)
        return sizes[module]

    out = {}
    for name, modules in LIBRARIES.items():
        files = [*needed(modules), _POINTERS_NAME]
        out[name] = len(files), sum(map(compiled, files))
        urls = [[_target(m), _target(m)] for m in files]
        package = {"version": __version__, "urls": urls, "deps": []}
        (folder / f"{name}.json").write_text(json.dumps(package, indent=1) + "\n")
    return out


def _target(module):
    package = module != _POINTERS_NAME and _path(module).name == "__init__.py"
    return module.replace(".", "/") + ("/__init__.mpy" if package else ".mpy")


def _compile(folder, target, source, mpy_cross):
    """Compile to folder/target; its size."""
    path = folder / target
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.with_suffix(".py")
    text.write_text(source)
    argv = [mpy_cross, "-O2", "-s", target.replace(".mpy", ".py"), "-o", path, text]
    done = subprocess.run(argv, capture_output=True, text=True)
    text.unlink()
    if done.returncode:
        raise BarewireError(f"mpy-cross: {done.stderr.strip()}")
    return path.stat().st_size


def main():
    for name, (files, size) in build(*sys.argv[1:]).items():
        print(f"{sys.argv[1]}/{name}.json  {files} files, {size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
