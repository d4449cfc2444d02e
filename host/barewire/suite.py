"""`barewire test`: a folder of MicroPython tests, each file in a guest of its own.

A file is a test if its name is test_*.py or *_test.py, or if *.py.exp lies beside it:

    NAME.py.exp         what it prints is compared with that, as MicroPython's own tests are (a
                        line of ######## stands for any lines); "SKIP" alone skips it
    unittest            each method of its TestCases is a case
    functions test_*    without arguments and not called by the file itself: each is a case
    else                it passes if it ends, without an exception and not by sys.exit(n) but 0

The folder is at /app in the guest, first on sys.path with the file's own folder; the current
folder is /, which can be written to. unittest comes from here (guestlib) unless the folder has it.
"""

import ast
import difflib
import json
import re
import shutil
import tempfile
import time
from pathlib import Path

from barewire import romfs
from barewire.paths import BarewireError

PASSED, FAILED, ERROR, SKIPPED = "passed", "failed", "error", "skipped"
GUESTLIB = Path(__file__).with_name("guestlib")
MAX_BYTES = 32 << 20  # of a folder: a guest of 64 MB holds it, and nobody means their home


class Result:
    """One case. file: the path in the folder. name: of the case, "" for a file that is one."""

    def __init__(self, file, name, state, seconds=0.0, why="", output="", logs=""):
        self.file, self.name, self.state, self.seconds = file, name, state, seconds
        self.why, self.output, self.logs = why, output, logs

    def as_dict(self):
        return {k: v for k, v in vars(self).items() if v or k in ("seconds", "name")}

    @property
    def title(self):
        return f"{self.file}::{self.name}" if self.name else self.file

    @property
    def bad(self):
        return self.state in (FAILED, ERROR)


class Suite:
    """The tests of a folder, or of one file in it. BarewireError."""

    def __init__(self, path, patterns=()):
        path = Path(path)
        self.root = path if path.is_dir() else path.parent
        if path.is_file():
            self.files = [path]
        else:
            self.files = [p for p in sorted(path.rglob("*.py")) if self._is_test(p, patterns)]

    def _is_test(self, path, patterns):
        inside = path.relative_to(self.root)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            return False
        if patterns:
            return any(inside.match(p) for p in patterns)
        named = path.stem.startswith("test_") or path.stem.endswith("_test")
        return named or path.with_name(path.name + ".exp").is_file()

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def image(self):
        """The romfs (bytes) that every guest of this suite gets."""
        size = 0

        def keep(path):
            nonlocal size
            size += path.stat().st_size
            if size > MAX_BYTES:
                raise BarewireError(f"{self.root} has more than {MAX_BYTES >> 20} MB of files")
            return path.suffix != ".exp"

        tree = romfs.read_tree(self.root, keep)
        return romfs.build({**romfs.read_tree(GUESTLIB), **tree})


def runs_itself(source):
    """Whether a test file's own statements, outside of functions, name a function test_*."""
    try:
        todo = list(ast.parse(source).body)
    except (SyntaxError, ValueError):
        return True
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Name) and node.id.startswith("test_"):
            return True
        todo += ast.iter_child_nodes(node)
    return False


def matches(output, expected):
    """Whether what a test printed is what its .exp has."""
    output, expected = (t.replace("\r\n", "\n") for t in (output, expected))
    if "########\n" not in expected:
        return output == expected
    parts = [re.escape(p) for p in expected.split("########\n")]
    return re.fullmatch("(?:.*\n)*?".join(parts), output) is not None


class Job:
    """One file to be run in a guest, in whatever process. options: of Guest."""

    def __init__(self, suite, path, initrd, options, timeout=60.0, logs=None, network=True):
        self.name, self.path, self.initrd = suite.name(path), path, initrd
        self.options, self.timeout, self.network = options, timeout, network
        self.logs = logs and Path(logs) / re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name)

    def run(self):
        """The file's Results, at least one."""
        began = time.monotonic()
        scratch = Path(tempfile.mkdtemp(prefix="bw-test-"))
        try:
            results = self._run(scratch)
            if self.logs and any(r.bad for r in results):
                shutil.copytree(scratch, self.logs, dirs_exist_ok=True)
                for r in results:
                    r.logs = str(self.logs)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if len(results) == 1:
            results[0].seconds = results[0].seconds or time.monotonic() - began
        return results

    def _run(self, scratch):
        from barewire.console import GuestError, ReplTimeout
        from barewire.guest import Guest, GuestFault
        from barewire.net import UserNet

        source = self.path.read_bytes()
        expected = self.path.with_name(self.path.name + ".exp")
        expected = expected.read_text(errors="replace") if expected.is_file() else None
        functions = expected is None and not runs_itself(source)
        net = UserNet(pcap=scratch / "net.pcap") if self.network else None
        guest = Guest(
            net=net, initrd=self.initrd, logs=scratch, boot_timeout=max(30, self.timeout),
            **{**self.options, "append": {"main": "_barewire_idle", **self.options["append"]}},
        )  # fmt: skip
        code = f"import _barewire_tests\n_barewire_tests.run('/app/{self.name}', {functions})"
        try:
            with guest:
                said = guest.exec(code, self.timeout)
        except ReplTimeout:
            return [self._broke(f"no end in {self.timeout:g} s", scratch)]
        except EOFError:
            return [self._broke("the machine ended in the middle of it", scratch)]
        except (GuestFault, GuestError) as e:
            return [self._broke(str(e), scratch)]
        return self._read(said, expected)

    def _broke(self, why, scratch):
        log = scratch / "console.log"
        text = log.read_text(errors="replace").replace("\r\n", "\n") if log.is_file() else ""
        return Result(self.name, "", ERROR, why=f"{why}\nthe console's last lines:\n{text[-2000:]}")

    def _read(self, said, expected):
        """Results from what the guest printed: the test's output and lines of ours between."""
        results, output, end = [], "", {"end": -1, "why": "it told nothing"}
        for line in re.split("(?<=\n)", said):
            before, mark, told = line.partition("\x1e{")
            output += before
            if not mark:
                continue
            told = json.loads("{" + told)
            if "case" in told:
                seconds = told["ms"] / 1000
                results.append(
                    Result(self.name, told["case"], told["state"], seconds, told["why"], output)
                )
                output = ""
            else:
                end = told
        if expected is not None:
            return [self._compare(output + end["why"], expected)]
        if output.strip() in ("SKIP", "SKIP-TOO-LARGE"):
            return [Result(self.name, "", SKIPPED, why="it printed SKIP")]
        if results and (end["end"] == 0 or end["end"] > 0 and any(r.bad for r in results)):
            return results
        if end["end"] == 0:
            return [Result(self.name, "", PASSED, output=output)]
        why = end["why"] or f"it ended by sys.exit({end['end']})"
        state = FAILED if end["end"] > 0 or "AssertionError" in why else ERROR
        return [*results, Result(self.name, "", state, why=why, output=output)]

    def _compare(self, output, expected):
        if output.strip() in ("SKIP", "SKIP-TOO-LARGE"):
            return Result(self.name, "", SKIPPED, why="it printed SKIP")
        if matches(output, expected):
            return Result(self.name, "", PASSED, output=output)
        diff = difflib.unified_diff(
            expected.splitlines(), output.splitlines(), f"{self.name}.exp", "printed", lineterm=""
        )
        return Result(self.name, "", FAILED, why="\n".join(diff), output=output)


def run(job):
    """Job.run, for a pool of processes."""
    return job.run()
