"""The unit tests of tests/unit once more, inside the booted image: one test here a module.

They are packed into one romfs with the runner below, compiled by the build's mpy-cross where that
is there. A guest takes one module after the other, with a soft reset between them; after a
failure the next one gets a new guest."""

import re
from pathlib import Path

import pytest

from barewire import romfs
from barewire.guest import Guest

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


def _tree():
    """The romfs's tree: the runner, the modules and what they import of tests."""
    tree, waiting = {"unit_runner.py": RUNNER.encode()}, [*MODULES]
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


class Guests:
    """A guest for each platform, kept from one module to the next."""

    def __init__(self, folder):
        self.folder, self.idle, self.made = folder, {}, 0
        self.app = folder / "app.romfs"
        self.app.write_bytes(romfs.build(romfs.compile_tree(_tree(), folder, keep=())))

    def run(self, platform, name):
        """What the module `name` prints on `platform`; what QEMU finds wrong meanwhile fails."""
        guest = self.idle.pop(platform.name, None)
        if guest:
            child = guest.friendly()
            child.send("\x04")
            child.expect_exact("soft reboot", timeout=60)
            child.expect_exact(">>> ", timeout=60)
        else:
            self.made += 1
            guest = Guest(
                platform=platform, mem=128, initrd=self.app, append={"ip": "none"},
                logs=self.folder / f"{platform}-{self.made}",
            ).start()  # fmt: skip
        try:
            out = guest.exec(f"import unit_runner\nunit_runner.run({name!r})", timeout=300)
            last = out.strip().splitlines()[-1]
            print(last)
            assert last.endswith(" 0 failed") and not last.startswith("0 passed"), out
            assert not guest.guest_errors()
        except BaseException:
            guest.kill()
            raise
        self.idle[platform.name] = guest

    def close(self):
        for guest in self.idle.values():
            guest.close()


@pytest.fixture(scope="module")
def guests(tmp_path_factory):
    made = Guests(tmp_path_factory.mktemp("units"))
    yield made
    made.close()


@pytest.mark.parametrize("module", MODULES, ids=[str(m.relative_to(UNIT)) for m in MODULES])
@pytest.mark.timeout(400)
def test_unit(guests, platform, module):
    guests.run(platform, ".".join(module.relative_to(ROOT).with_suffix("").parts))
