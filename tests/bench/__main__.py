"""`make bench`: Barewire and a Linux guest in the same QEMU, alternately; medians and ratios.

    python -m tests.bench [--pairs 5] [--row WORD]... [--only barewire] [--platform pc-e1000]
    python -m tests.bench --instructions [--row WORD]...   costs in guest instructions, see there
    python -m tests.bench --native      our machine code on this silicon beside OpenSSL's
    python -m tests.bench --host        the stack without QEMU, beside the kernel's and PyTCP
    python -m tests.bench --curves      goodput against the number of connections and against loss

Prints a table and writes build/bench/bench.json and .svg. Nothing here passes or fails.
"""

import statistics

import click
from rich.console import Console
from rich.table import Table

from barewire.lab import Lab
from barewire.platform import DEFAULT, PLATFORMS
from tests.bench import curves, dns, host, http, instructions, tls, traffic
from tests.bench.peers import Barewire, Linux
from tests.bench.record import write
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
@click.option("--host", "on_host", is_flag=True, help="the stack without QEMU, and its peers")
@click.option("--curves", "plots", is_flag=True, help="goodput against connections and loss")
def main(pairs, words, only, mem, platform, native, count, on_host, plots):
    """Measure, and print what came out."""
    out = Console()
    if native:
        tls.native()
        return
    if count:
        instructions.main(out, words, platform)
        return
    if on_host:
        host.main(out, pairs, words)
        return
    if plots:
        curves.main(out, pairs, words, mem, platform)
        return
    every = ROWS + traffic.ROWS + tls.ROWS + http.ROWS + dns.ROWS
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
    write(out, "bench" if platform == DEFAULT else f"bench-{platform}", record)


main()
