"""The rules of ARCHITECTURE.md that can be read off the syntax tree."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What a part may import of the others, besides itself.
MAY = {
    "stack.core": set(),
    "stack.wire": {"stack.core"},
    "stack.link": {"stack.core", "stack.wire"},
    "stack.net": {"stack.core", "stack.wire", "stack.link"},
    "stack.transport": {"stack.core", "stack.wire", "stack.link", "stack.net"},
    "stack.iface": {"stack.core", "stack.wire", "stack.link", "stack.net"},
    "stack.leases": {"stack.core", "stack.wire", "stack.net"},
    "stack.host": {
        "stack.core", "stack.wire", "stack.link", "stack.net", "stack.transport", "stack.iface",
        "stack.leases",
    },
    "stack.config": {"stack.net"},
    "stack.dns": {"stack.core", "stack.crypto"},
    "stack.http": {"stack.core"},
    "stack.ws": {"stack.core", "stack.crypto"},
    "stack.crypto": {"stack.core"},
    "stack.tls": {"stack.core", "stack.crypto"},
    "drivers": {"stack.core"},
}  # fmt: skip

# A machine reads no clock, opens no file, knows no other network.
PURE = ("core", "wire", "link", "net", "transport", "dns", "http", "ws", "crypto", "tls")
IMPURE = {
    "time", "utime", "os", "uos", "socket", "usocket", "select", "uselect", "random", "urandom",
    "asyncio", "uasyncio", "machine", "network", "threading",
}  # fmt: skip

# Python that MicroPython does not have.
ABSENT = {
    "enum", "dataclasses", "typing", "contextlib", "abc", "itertools", "functools", "logging",
    "ipaddress", "copy",
}  # fmt: skip

MAX_LINES = 600

# Longer, and asking to be split: they may shrink, not grow.
LONG = {"stack/api/socket.py": 740, "stack/tls/messages.py": 815}

# Runs while the image is built, on CPython.
BUILD_TIME = "stack/crypto/asm/"


def sources(*folders):
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def part_of(module):
    """The part a dotted module name belongs to, by the longest name in MAY."""
    parts = module.split(".")
    return "drivers" if parts[0] == "drivers" else ".".join(parts[:2])


def imports(tree):
    """(module, line) of every import; `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"relative import, line {node.lineno}"
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def test_imports_point_one_way():
    bad = []
    for path in sources("stack", "drivers"):
        here = part_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if here not in MAY:  # api and boot sit on top
            continue
        for module, line in imports(tree_of(path)):
            if not module.startswith(("stack.", "drivers")):
                continue
            there = part_of(module)
            if there != here and there not in MAY[here] and there != "stack":
                bad.append(f"{name_of(path)}:{line} imports {module}")
    assert not bad, "\n".join(bad)


def test_only_boot_and_api_know_the_machine():
    """`hw` is given to who needs it. core/mem.py looks whether it is there, for `copy`."""
    bad = []
    for path in sources("stack", "drivers"):
        name = name_of(path)
        if name in ("stack/core/mem.py", "stack/boot.py") or name.startswith("stack/api/"):
            continue
        for module, line in imports(tree_of(path)):
            if module == "hw":
                bad.append(f"{name}:{line}")
    assert not bad, "\n".join(bad)


def test_machines_are_pure():
    bad = []
    for part in PURE:
        for path in sources(f"stack/{part}"):
            for module, line in imports(tree_of(path)):
                if module.split(".")[0] in IMPURE:
                    bad.append(f"{name_of(path)}:{line} imports {module}")
    assert not bad, "\n".join(bad)


def test_nothing_that_micropython_lacks():
    bad = []
    for path in sources("stack", "drivers", "images", "tests/unit"):
        name = name_of(path)
        if name == "drivers/tap.py" or name.startswith(BUILD_TIME):
            continue
        tree = tree_of(path)
        for module, line in imports(tree):
            if module in ABSENT:
                bad.append(f"{name}:{line} imports {module}")
        for node in ast.walk(tree):
            what = lacking(node)
            if what:
                bad.append(f"{name}:{node.lineno} {what}")
    assert not bad, "\n".join(bad)


def lacking(node):
    """What MicroPython would not do with this node, or None."""
    if isinstance(node, ast.Match):
        return "match"
    if isinstance(node, ast.Raise) and node.cause is not None:
        return "raise ... from"
    if isinstance(node, ast.Attribute) and node.attr in ("bit_length", "Struct", "fullmatch"):
        return node.attr
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "pow":
        if len(node.args) == 3 and isinstance(node.args[1], ast.UnaryOp):
            return "pow with a negative exponent"
    return None


def test_files_are_short():
    bad = []
    for path in sources("stack", "drivers", "images"):
        n = len(path.read_text().splitlines())
        if name_of(path).startswith(BUILD_TIME):
            continue
        if n > LONG.get(name_of(path), MAX_LINES):
            bad.append(f"{name_of(path)}: {n} lines")
    assert not bad, "\n".join(bad)


def test_files_say_what_they_are():
    bad = []
    for path in sources("stack", "drivers"):
        if tree_of(path).body and not ast.get_docstring(tree_of(path)):
            bad.append(name_of(path))
    assert not bad, "no docstring: " + ", ".join(bad)


def test_wire_files_have_one_shape():
    """Purpose, layout, and a line that says what is not implemented."""
    for path in sources("stack/wire"):
        if tree_of(path).body:
            assert "Not implemented" in ast.get_docstring(tree_of(path)), name_of(path)


def test_unit_tests_run_anywhere():
    """They run in the image too: nothing of the host, no test framework."""
    host = {
        "pytest", "hypothesis", "unittest", "construct", "cryptography", "barewire", "pathlib",
        "subprocess", "threading", "tempfile", "platform", "shutil", "pexpect", "ctypes",
    }  # fmt: skip
    bad = []
    for path in sources("tests/unit"):
        if path.name == "conftest.py":
            continue
        for module, line in imports(tree_of(path)):
            if module.split(".")[0] in host:
                bad.append(f"{name_of(path)}:{line} imports {module}")
    assert not bad, "\n".join(bad)


def test_unit_tests_are_plain_functions():
    """So that they run inside the image, where there is no pytest: no arguments, no classes."""
    bad = []
    for path in sources("tests/unit"):
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                a = node.args
                if a.args or a.kwonlyargs or a.vararg or a.kwarg or node.decorator_list:
                    bad.append(f"{name_of(path)}:{node.lineno} {node.name}")
            elif isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                bad.append(f"{name_of(path)}:{node.lineno} {node.name}")
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                bad.append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert not bad, "\n".join(bad)


def test_the_packet_path_has_slots():
    """CPython enforces them: an attribute made by a slip of the pen fails there."""
    wanted = {
        "stack/core/frame.py": ("Frame",),
        "stack/wire/ethernet.py": ("Ethernet",),
        "stack/wire/arp.py": ("Arp",),
        "stack/wire/ipv4.py": ("Ipv4",),
        "stack/wire/icmp4.py": ("Icmp4",),
        "stack/wire/udp.py": ("Udp",),
        "stack/wire/tcp.py": ("Header",),
        "stack/link/neighbors.py": ("Neighbor",),
        "stack/wire/ipv6.py": ("Ipv6",),
        "stack/wire/icmp6.py": ("Icmp6",),
        "stack/net/path6.py": ("Path6",),
        "stack/net/ipv4.py": ("Path",),
        "stack/transport/udp.py": ("UdpEndpoint",),
        "stack/transport/tcp/conn.py": ("Connection",),
    }
    for name, classes in wanted.items():
        found = {}
        for node in tree_of(ROOT / name).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = any(
                    isinstance(n, ast.Assign) and n.targets[0].id == "__slots__"
                    for n in node.body
                    if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)
                )
        for c in classes:
            assert found.get(c), f"{name}: {c} has no __slots__"
