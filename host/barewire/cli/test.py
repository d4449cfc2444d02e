"""`barewire test`."""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import click

from barewire import accel, junit, qemu, suite
from barewire.cli import pairs, say
from barewire.paths import BarewireError, default_image

_COLOURS = {"passed": "green", "failed": "red", "error": "red", "skipped": "yellow"}
NO_TESTS = 5  # as pytest has it


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Guests at a time; a CPU each.")
@click.option("-k", "patterns", multiple=True, metavar="GLOB",
              help="Files that are tests, in place of test_*.py, *_test.py and those with .exp.")
@click.option("--junit", "junit_file", type=click.Path(dir_okay=False),
              help="Write JUnit XML there.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects in place of words.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that a file may take.")
@click.option("--net", type=click.Choice(["user", "none"]), default="user", show_default=True)
@click.option("-m", "mem", default=64, show_default=True, help="Memory of a guest in MB.")
@click.option("--append", multiple=True, callback=pairs, metavar="KEY=VALUE")
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="An ELF to boot.")
@click.option("--logs", type=click.Path(file_okay=False),
              help="Keep console.log and net.pcap of files that fail there.")
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first failure.")
def test(
    paths, jobs, patterns, junit_file, as_json, timeout, net, mem, append, image, logs, exitfirst
):  # fmt: skip
    """Run the MicroPython tests in PATHS, folders or files, each file in a guest of its own.

    A test is test_*.py, *_test.py, or a file with its expected output beside it in FILE.py.exp.
    unittest's cases and functions test_* are cases each; any other file passes when it ends
    without an exception. Ends with 0, 1 if something failed, 5 if there was no test."""
    image = Path(image) if image else default_image()
    qemu.find()
    options = {"image": image, "mem": mem, "append": append,
               "use_accel": accel.choose(image, say)}  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="barewire-") as scratch:
        todo = []
        for i, path in enumerate(paths):
            found = suite.Suite(path, patterns)
            initrd = Path(scratch) / f"{i}.romfs"
            if found.files:
                initrd.write_bytes(found.image())
            todo += [suite.Job(found, p, initrd, options, timeout, logs, net == "user")
                     for p in found.files]  # fmt: skip
        if not todo:
            say(f"no tests in {', '.join(paths)}: want test_*.py, *_test.py or *.py.exp")
            sys.exit(NO_TESTS)
        results = _run(todo, min(jobs or os.cpu_count() or 1, len(todo)), as_json, exitfirst)
    order = {job.name: i for i, job in enumerate(todo)}
    results.sort(key=lambda r: order[r.file])
    if junit_file:
        try:
            Path(junit_file).write_bytes(junit.xml(results))
        except OSError as e:
            raise BarewireError(f"{junit_file}: {os.strerror(e.errno)}") from None
    if as_json:
        click.echo(json.dumps([r.as_dict() for r in results], indent=2))
    else:
        _summary(results, time.monotonic() - began)
    sys.exit(1 if any(r.bad for r in results) else 0)


def _run(todo, jobs, quiet, exitfirst):
    """Every job in one of `jobs` processes; the Results as they come."""
    results = []
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context)
    shown = sys.stderr.isatty() and (quiet or sys.stdout.isatty())
    bar = _Bar(len(todo)) if shown else _Plain()
    try:
        futures = [pool.submit(suite.run, job) for job in todo]
        for future in as_completed(futures):
            made = future.result()
            results += made
            for r in made if not quiet else ():
                bar.line(r)
            bar.advance()
            if exitfirst and any(r.bad for r in made):
                break
    finally:
        bar.stop()
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def _shown(r):
    return f"{click.style(f'{r.state:8}', fg=_COLOURS[r.state])}{r.seconds:6.2f} s  {r.title}"


class _Plain:
    def line(self, r):
        click.echo(_shown(r))

    def advance(self):
        pass

    def stop(self):
        pass


class _Bar:
    """A bar at the bottom of the terminal, the lines above it."""

    def __init__(self, total):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        self._bar = Progress(
            "tests", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("tests", total=total)
        self._bar.start()

    def line(self, r):
        from rich.text import Text

        self._bar.console.print(Text.from_ansi(_shown(r)), soft_wrap=True)

    def advance(self):
        self._bar.advance(self._task)

    def stop(self):
        self._bar.stop()


def _summary(results, seconds):
    for r in results:
        if r.bad:
            click.echo(f"\n--- {r.state}: {r.title}")
            if r.output and not r.why.startswith("---"):
                click.echo(f"it printed:\n{r.output[-2000:].rstrip()}")
            click.echo(r.why.rstrip())
            if r.logs:
                click.echo(f"logs: {r.logs}")
    counts = {s: sum(r.state == s for r in results) for s in _COLOURS}
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    click.echo(f"\n{said} in {len({r.file for r in results})} files, {seconds:.1f} s")
