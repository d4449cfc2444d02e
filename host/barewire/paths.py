"""Where things lie: the tree, the image, the cache, the place for a test's leavings."""

import os
from pathlib import Path


class BarewireError(Exception):
    """Something a person can mend, said in one line."""


def root():
    """The folder that holds host/ and stack/ as a Path; in an installed wheel, site-packages."""
    return Path(__file__).resolve().parents[2]


def in_checkout():
    """Whether this is a checkout of the source, and not an installed wheel."""
    return (root() / "firmware" / "boot.S").is_file()


def source_root():
    """The checkout of the source, for what needs it. BarewireError in an installed wheel."""
    if not in_checkout():
        raise BarewireError("this works in a checkout of the source only, not from the wheel")
    return root()


def build_dir():
    """Where what is made is kept, as a Path that may not exist yet: build/, or in the cache."""
    return root() / "build" if in_checkout() else cache_dir() / "build"


def default_image():
    """The image to boot: $BAREWIRE_IMAGE, build/barewire.elf, or the wheel's own. BarewireError."""
    named = os.environ.get("BAREWIRE_IMAGE")
    if named:
        path, hint = Path(named), "it is what $BAREWIRE_IMAGE names"
    elif in_checkout():
        path, hint = build_dir() / "barewire.elf", "run `make image` first"
    else:
        path, hint = Path(__file__).parent / "image" / "barewire.elf", "install the wheel anew"
    if not path.is_file():
        raise BarewireError(f"no image at {path}: {hint}")
    return path


def cache_dir():
    """The user's cache folder for Barewire as a Path, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "barewire"
    path.mkdir(parents=True, exist_ok=True)
    return path
