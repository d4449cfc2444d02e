"""`barewire doctor`."""

import json
import sys
from pathlib import Path

import click

from barewire.doctor import MISSING, NOTE, OK, examine
from barewire.paths import default_image


@click.command()
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="An ELF to boot.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects: name, state, says, do.")
def doctor(image, as_json):
    """Say what is here, what works, and what to do about the rest.

    Accelerators and machines are tried by booting. Ends with 1 if `barewire run` cannot work."""
    found = []
    marks = {OK: ("ok  ", "green"), NOTE: ("note", "yellow"), MISSING: ("NO  ", "red")}
    for finding in examine(lambda: Path(image) if image else default_image()):
        found.append(finding)
        if as_json:
            continue
        mark, colour = marks[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.name:18} {finding.says}")
        if finding.do:
            click.echo(f"{'':24}-> {finding.do}")
    if as_json:
        click.echo(json.dumps([f.as_dict() for f in found], indent=2))
    sys.exit(1 if any(f.state == MISSING for f in found) else 0)
