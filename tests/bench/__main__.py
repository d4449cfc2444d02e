"""`make bench`: Barewire and a Linux guest in the same QEMU, alternately; medians and ratios.

    python -m tests.bench [--pairs 5] [--row WORD]... [--only barewire] [--platform pc-e1000]
    python -m tests.bench --instructions [--row WORD]...   costs in guest instructions, see there
    python -m tests.bench --native      our machine code on this silicon beside OpenSSL's

Prints a table and writes build/bench/bench.json. Nothing here passes or fails.
"""

import json
import statistics

import click
from rich.console import Console
from rich.table import Table

from barewire.lab import Lab
from barewire.paths import build_dir
from barewire.platform import DEFAULT, PLATFORMS
from tests.bench import dns, http, instructions, tls
from tests.bench.peers import Barewire, Linux
from tests.bench.rows import ROWS


@click.command()
@click.option("--pairs", default=5, show_default=True, help="how often each guest is booted")
@click.option("--row", "words", multiple=True, help="only rows whose name has this word")
@click.option("--only", type=click.Choice(["barewire", "linux"]), help="one guest only")
@click.option("--mem", default=512, show_default=True, help="MB of each guest")
@click.option("--platform", type=click.Choice(list(PLATFORMS)), default=DEFAULT, show_default=True,
              help="the machine and the network card of both guests")  # fmt: skip
@click.option("--native", is_flag=True, help="our machine code on this silicon beside OpenSSL's")
@click.option("--instructions", "count", is_flag=True, help="costs in guest instructions")
def main(pairs, words, only, mem, platform, native, count):
    """Measure, and print what came out."""
    out = Console()
    if native:
        tls.native()
        return
    if count:
        instructions.main(out, words, platform)
        return
    every = ROWS + tls.ROWS + http.ROWS + dns.ROWS
    rows = [r for r in every if not words or any(w in r[0] for w in words)]
    kinds = [k for k in (Barewire, Linux) if only in (None, k.name)]
    figures = {r[0]: {k.name: [] for k in kinds} for r in rows}
    for n in range(pairs):
        for kind in kinds:
            with Lab(capture=False) as lab:
                client = lab.add_host("client", 2)
                with kind(lab, mem, platform) as peer:
                    for name, _unit, _better, measure in rows:
                        figures[name][kind.name].append(measure(client, peer))
            out.print(f"[dim]pair {n + 1} of {pairs}: {kind.name} measured")
    _report(out, rows, kinds, figures, platform)


def _report(out, rows, kinds, figures, platform):
    card = PLATFORMS[platform].nic
    table = Table(f"what ({platform}, {card})", "unit", *(k.name for k in kinds), "ratio")
    record = []
    for name, unit, better, _ in rows:
        medians, cells = [], []
        for kind in kinds:
            values = figures[name][kind.name]
            if None in values:
                cells.append("-")
                continue
            medians.append(statistics.median(values))
            cells.append(f"{medians[-1]:.4g}  [dim]{min(values):.4g}..{max(values):.4g}")
        ratio = ""
        if len(medians) == 2 and all(medians):
            value = medians[0] / medians[1] if better == "more" else medians[1] / medians[0]
            ratio = f"{value:.2f} x"
        table.add_row(name, unit, *cells, ratio)
        record.append({"row": name, "unit": unit, "better": better, **figures[name]})
    out.print(table)
    folder = build_dir() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("bench.json" if platform == DEFAULT else f"bench-{platform}.json")
    path.write_text(json.dumps(record, indent=1) + "\n")
    out.print(f"written: {path.relative_to(build_dir().parent)}")


main()
