"""Puts the built image into the wheel (pyproject.toml, hatchling's custom build hook).

An editable install (`pip install -e .`) takes it from build/ and needs none. A wheel without an
image would be of no use, so there is none.
"""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        if version == "editable":
            return
        image = Path(self.root) / "build" / "barewire.elf"
        if not image.is_file():
            raise FileNotFoundError(f"{image}: run `make wheel`, which builds the image first")
        build_data["force_include"][str(image)] = "barewire/image/barewire.elf"
