"""Where things lie: the tree, the image, the cache, the place for a test's leavings."""

import os
from pathlib import Path


class BarewireError(Exception):
    """Something a person can mend, said in one line."""


def root():
    """The source tree as a Path: the folder that holds host/ and stack/."""
    return Path(__file__).resolve().parents[2]


def build_dir():
    """The build folder as a Path; it may not exist yet."""
    return root() / "build"


def default_image():
    """The image to boot: $BAREWIRE_IMAGE or build/barewire.elf. BarewireError without one."""
    named = os.environ.get("BAREWIRE_IMAGE")
    path = Path(named) if named else build_dir() / "barewire.elf"
    if not path.is_file():
        raise BarewireError(f"no image at {path}: run `make image` first")
    return path


def cache_dir():
    """The user's cache folder for Barewire as a Path, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "barewire"
    path.mkdir(parents=True, exist_ok=True)
    return path
