"""Every name that MicroPython's own documentation has is in the image, or in docs/differences.md.

The names are read from the .rst files of the source package, so none is left out by oversight;
what is missing must be in the table of the page, with a reason, and nothing else may be.
"""

import re
from pathlib import Path

import pytest

from barewire.disk import Disk
from barewire.net import UserNet
from barewire.paths import build_dir

pytestmark = pytest.mark.boot

DIRECTIVE = re.compile(
    r"^( *)\.\. (module|currentmodule|class|function|method|classmethod|staticmethod|data|attribute"
    r"|exception):: *(.*)"
)
# Classes that the documentation describes without their having a name, on boards neither.
NAMELESS = ("AbstractBlockDev", "AbstractNIC", "Loop", "Server", "Stream", "Task")
# An object of a class without a name, or whose methods its type does not show.
MADE = {
    "asyncio.Stream": "asyncio.stream.Stream(None)",
    "network.AbstractNIC": "network.LAN(0)",
    "vfs.AbstractBlockDev": "list(__import__('machine').disks().values())[0]",
    "asyncio.Loop": "asyncio.new_event_loop()",
    "asyncio.Task": "asyncio.core.Task(None)",
    "asyncio.Server": "asyncio.stream.Server()",
    "select.poll": "select.poll()",
    "re.regex": "re.compile('x')",
    "re.match": "re.compile('x').match('x')",
    "hashlib.hash": "hashlib.sha256()",
    "cryptolib.aes": "cryptolib.aes(bytes(16), 1)",
    "socket.socket": "socket.socket()",
}


def folder():
    return build_dir() / "micropython-1.25.0" / "docs" / "library"


def documented():
    """{"module.name" or "module.Class.name"}, of every module with a page."""
    names = {}
    for path in sorted(folder().glob("*.rst")):
        module, owner, lines = None, None, path.read_text().splitlines()
        for number, line in enumerate(lines):
            found = DIRECTIVE.match(line)
            if not found:
                continue
            indent, kind, rest = found.groups()
            entries = [rest]
            if kind in ("data", "function", "attribute"):
                for more in lines[number + 1 :]:  # more names may follow, one a line
                    if not re.match(r"^ {6,}[\w.*]+(\(.*\))?$", more):
                        break
                    entries.append(more.strip())
            for entry in entries:
                name = entry.split("(")[0].split("[")[0].strip()
                if kind in ("module", "currentmodule"):
                    module = name.split()[0]
                    names.setdefault(module, set())
                    continue
                parts = name.split(".")
                is_method = kind in ("method", "classmethod", "staticmethod", "attribute")
                if parts[0] == module and len(parts) > (2 if is_method else 1):
                    parts = parts[1:]
                if kind == "class":
                    owner = parts[-1]
                if len(indent) and owner and len(parts) == 1:
                    parts = [owner, *parts]  # a method inside of its class's text
                if parts[-1].startswith("__") or parts[-1] in NAMELESS:
                    continue  # an operator, or no name
                if module and parts[-1]:
                    names[module].add(".".join(parts))
    return names


def excused():
    """{name: reason} of the table in docs/differences.md whose first column has the names."""
    found = {}
    text = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
    table = text.split("<!-- missing names -->")[1].split("<!-- end -->")[0]
    for row in table.splitlines():
        cells = [c.strip() for c in row.strip().strip("|").split(" | ")]
        if len(cells) >= 2 and cells[0].startswith("`"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                found[name] = cells[1]
    return found


CHECK = """
import sys
def _look(module, paths, made):
    missing = []
    try:
        m = __import__(module)
    except ImportError:
        print("MISSING", module)
        return
    scope = {module: m}
    if module == "asyncio":
        import asyncio.core, asyncio.stream
    for path in paths:
        parts = path.split(".")
        o = m
        key = module + "." + parts[0]
        if len(parts) > 1 and key in made:
            o = eval(made[key], scope)
            parts = parts[1:]
        for p in parts:
            if p.endswith("*"):
                p = p[:-1]
                if not any(n.startswith(p) for n in dir(o)):
                    print("MISSING", module + "." + path)
                    break
                continue
            try:
                o = getattr(o, p)
            except (AttributeError, OSError):
                print("MISSING", module + "." + path)
                break
"""


def test_every_documented_name_is_there_or_has_its_reason(rig, artifacts):
    guest = rig.guest(disk=Disk(artifacts / "disk.img", size=1 << 20), net=UserNet(restrict=True))
    names = documented()
    assert len(names) > 40 and sum(map(len, names.values())) > 700, "the parser lost its way"
    reasons = excused()
    guest.exec(CHECK)
    missing = set()
    for module, paths in names.items():
        if module in reasons:  # the module as a whole
            paths = ()
        made = {k: v for k, v in MADE.items() if k.startswith(module + ".")}
        out = guest.exec(f"_look({module!r}, {sorted(paths)!r}, {made!r})")
        missing |= {line.split()[1] for line in out.splitlines() if line.startswith("MISSING")}
    stale = {r for r in reasons if not any(n == r or n.startswith(r + ".") for n in missing)}
    # The row of a class is of its members too.
    unsaid = {n for n in missing if not any(n == r or n.startswith(r + ".") for r in reasons)}
    print(f"{sum(map(len, names.values()))} names of {len(names)} modules, {len(missing)} missing")
    assert not unsaid, f"neither there nor in docs/differences.md: {sorted(unsaid)}"
    assert not stale, f"in docs/differences.md, but there: {sorted(stale)}"
    assert all(len(r) > 8 for r in reasons.values())
