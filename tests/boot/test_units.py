"""The unit tests of tests/unit once more, inside the booted image: one test here a module.

They are packed into a romfs with the runner below, compiled by the build's mpy-cross where
that is there, and run in a guest of their own. What imports pytest or reads files of the
host stays on CPython; tests/unit is written not to."""

from pathlib import Path

import pytest

from barewire import romfs

pytestmark = pytest.mark.boot

UNIT = Path(__file__).parents[1] / "unit"
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


def _tree(module):
    """The romfs's tree for one test module: unit/... with it, and what lies beside it."""
    tree = {"unit_runner.py": RUNNER.encode()}
    below = tree.setdefault("unit", {})
    for part in module.relative_to(UNIT).parts[:-1]:
        below = below.setdefault(part, {})
    for path in module.parent.iterdir():
        if path.is_file() and (path == module or not path.name.startswith("test_")):
            below[path.name] = path.read_bytes()
    return tree


@pytest.mark.parametrize("module", MODULES, ids=[str(m.relative_to(UNIT)) for m in MODULES])
@pytest.mark.timeout(240)
def test_unit(rig, artifacts, module):
    app = artifacts / "app.romfs"
    app.write_bytes(romfs.build(romfs.compile_tree(_tree(module), artifacts, keep=())))
    guest = rig.guest(mem=128, initrd=app, append={"ip": "none"})
    name = ".".join(("unit",) + module.relative_to(UNIT).with_suffix("").parts)
    out = guest.exec(f"import unit_runner\nunit_runner.run({name!r})", timeout=200)
    last = out.strip().splitlines()[-1]
    print(last)
    assert last.endswith(" 0 failed") and not last.startswith("0 passed"), out
