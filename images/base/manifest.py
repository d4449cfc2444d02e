# What every image has frozen in: the stack, the drivers, the stock module names of
# images/lib, and MicroPython's asyncio. opt=2 drops assertions and keeps line numbers.
# Folders that are not there are left out; the order is fixed, so that builds are the same.
import os

# What runs on the host only: the assembler (its output is frozen), what CPython lacks, the device
# on a Linux TAP.
_HOST_ONLY = ("stack/crypto/asm/", "stack/_cpython.py", "drivers/tap.py")


def _python_files(folder):
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in ("tests", "__pycache__"))
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(path, name), folder)


def _freeze(package, base_path):
    files = [
        name
        for name in _python_files(os.path.join(base_path, package))
        if not (package + "/" + name).startswith(_HOST_ONLY)
    ]
    if files:
        package_(package, files=files, base_path=base_path, opt=2)


package_ = package  # noqa: F821
_top = os.path.abspath(os.path.join("..", ".."))
_freeze("stack", _top)
_freeze("drivers", _top)
# What barewire.build made: the machine code of stack/crypto/asm, Mozilla's roots.
_gen = os.path.join(_top, "build", "gen")
package_("", files=["crypto_kernels.py", "cacerts.py"], base_path=_gen, opt=2)
for _name in _python_files(os.path.join(_top, "images", "lib")):
    package_("", files=[_name], base_path=os.path.join(_top, "images", "lib"), opt=2)
include("$(MPY_DIR)/extmod/asyncio")  # noqa: F821
