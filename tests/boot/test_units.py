"""The unit tests of tests/unit once more, inside the booted image: one test here a module.

They are packed into a romfs with the runner below, compiled by the build's mpy-cross where
that is there, and run in a guest of their own."""

import re
from pathlib import Path

import pytest

from barewire import romfs

pytestmark = pytest.mark.boot

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
MODULES = sorted(UNIT.rglob("test_*.py"))

RUNNER = """
import sys, gc
def run(name):
    __import__(name)
    module = sys.modules[name]
    passed = failed = 0
    for key in sorted(dir(module)):
        function = getattr(module, key)
        if not key.startswith("test_") or not callable(function):
            continue
        gc.collect()
        try:
            function()
            passed += 1
        except Exception as e:
            failed += 1
            print("FAILED", key)
            sys.print_exception(e)
    print("%d passed, %d failed" % (passed, failed))
"""


_IMPORT = re.compile(r"^\s*(?:from|import) (tests(?:\.\w+)+)", re.MULTILINE)


def _tree(module):
    """The romfs's tree for one test module: the runner, the module and what it imports of tests."""
    tree, waiting = {"unit_runner.py": RUNNER.encode()}, [module]
    while waiting:
        path = waiting.pop()
        below = tree
        for part in path.relative_to(ROOT).parts[:-1]:
            below = below.setdefault(part, {})
        if path.name not in below:
            source = path.read_text()
            below[path.name] = source.encode()
            named = [
                ROOT.joinpath(*m.split(".")).with_suffix(".py") for m in _IMPORT.findall(source)
            ]
            waiting += [p for p in named if p.is_file()]
    return tree


@pytest.mark.parametrize("module", MODULES, ids=[str(m.relative_to(UNIT)) for m in MODULES])
@pytest.mark.timeout(240)
def test_unit(rig, artifacts, module):
    app = artifacts / "app.romfs"
    app.write_bytes(romfs.build(romfs.compile_tree(_tree(module), artifacts, keep=())))
    guest = rig.guest(mem=128, initrd=app, append={"ip": "none"})
    name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    out = guest.exec(f"import unit_runner\nunit_runner.run({name!r})", timeout=200)
    last = out.strip().splitlines()[-1]
    print(last)
    assert last.endswith(" 0 failed") and not last.startswith("0 passed"), out
