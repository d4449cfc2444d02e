"""Runs the blocks of a page, in order: a folder, a host and a guest that they share.

The folder has the repository's files in it, by links, and what the page's blocks save. Commands
run in a network namespace of the page's own, so `-p 8080:80` takes no port of this machine's.
"""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect

from barewire.cli import main as barewire
from barewire.console import Console, GuestError
from barewire.guest import _ChildStream
from barewire.paths import build_dir, root
from tests.docs.blocks import WrongBlock, examples

PATIENCE = 180
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?")
# What only the tests' machines have: they run as root in namespaces of their own.
_NOISE = re.compile(r'^Running as user "root" and group "root"\. This could be dangerous\.\n', re.M)
_MAKE = re.compile(r"^(\$ )?make\b", re.M)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# QEMU's user network asks the servers that /etc/resolv.conf names: here the page's own host.
_NAMES = "mount --bind {} /etc/resolv.conf && exec \"$@\""
# A line at the prompt: an expression's value is printed.
_AT_THE_PROMPT = "exec(compile({!r}, '<stdin>', 'single'))"


class Differs(AssertionError):
    """A block printed something else than its page says, or failed."""


def compare(block, source, want, got):
    """Differs unless `got` is what the page says; "..." stands for anything."""
    got = _ESCAPES.sub("", _NOISE.sub("", got))
    if "numbers vary" in block.words:
        want, got = _NUMBER.sub("#", want), _NUMBER.sub("#", got)
    if "case varies" in block.words:
        want, got = want.lower(), got.lower()
    got = "\n".join(line.rstrip() for line in got.splitlines()).strip("\n")
    if not doctest.OutputChecker().check_output(want + "\n", got + "\n", _FLAGS):
        raise Differs(f"{block}: {source}\nthe page says:\n{want}\nit printed:\n{got}")


class _Terminal(_ChildStream):
    """What `barewire run` is on: Ctrl-A is QEMU's there, and twice itself."""

    def write(self, data):
        super().write(data.replace(b"\x01", b"\x01\x01"))


class Page:
    """Where the blocks of one page run.

    place: has `guest(name)`, which boots one, and `host`, a lab's Host for commands."""

    def __init__(self, folder, place):
        self.folder, self.place = folder, place
        folder.mkdir(parents=True, exist_ok=True)
        for path in root().iterdir():
            if not path.name.startswith(".") and path.name not in ("Makefile", "mk", "scripts"):
                (folder / path.name).symlink_to(path)
        (place.folder / "resolv.conf").write_text(f"nameserver {place.host.ip}\n")
        names = _NAMES.format(shlex.quote(str(place.folder / "resolv.conf")))
        self.enter = ["unshare", "-m", "sh", "-c", names, "sh"]
        for name in ("root.pem", "cert.pem", "key.pem"):
            (folder / name).write_bytes((place.folder / name).read_bytes())
        for name, text in place.files.items():
            self._save(name, text)
        self.env = {
            **os.environ, "PATH": f"{build_dir() / 'venv' / 'bin'}:{os.environ['PATH']}:/usr/sbin",
            "BASH_SILENCE_DEPRECATION_WARNING": "1", "NO_COLOR": "1", "COLUMNS": "100",
        }  # fmt: skip
        self.child = None  # a command that goes on
        self.output = None  # of the last block
        self.compared = 0
        self.session = []  # lines of CPython's, of all blocks so far

    def close(self):
        if self.child:
            self.child.close(force=True)
            self.child = None

    def run(self, block):
        """Do with the block what it says. Differs, WrongBlock."""
        if "file" in block.words:
            self._save(block.words["file"], block.text)
        elif block.kind == "dry":
            self.look_at(block)
        elif block.kind == "run":
            if block.language in ("sh", "console") and _MAKE.search(block.text):
                raise WrongBlock(f"{block}: make installs things; let it be dry")
            getattr(self, "_run_" + self._how(block))(block)

    def _how(self, block):
        for word in ("pytest", "cpython"):
            if word in block.words:
                return word
        return "shell" if block.language in ("sh", "bash", "zsh", "fish") else block.language

    def _save(self, name, text):
        path = self.folder / name
        if path.is_symlink():
            raise WrongBlock(f"{name} is a file of the repository")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    # The host

    def command(self, argv, **options):
        """(what it printed, status) of a command in the page's folder and namespace."""
        done = self.place.host.run(
            *self.enter, *argv, cwd=self.folder, env=self.env, check=False, timeout=PATIENCE,
            **options,
        )  # fmt: skip
        return done.stdout + done.stderr, done.returncode

    def _shell(self, block, text, shell="bash"):
        argv = [shell, "-euo", "pipefail", "-c"] if shell == "bash" else [shell, "-c"]
        said, status = self.command([*argv, text])
        if bool(status) != ("raises" in block.words):
            raise Differs(f"{block}: status {status}: {text}\n{said}")
        return said

    def _run_shell(self, block):
        if "until" in block.words:
            return self._start(block, block.text)
        shell = "bash" if block.language == "sh" else block.language
        self.output = self._shell(block, block.text, shell)

    def _run_console(self, block):
        found = examples(block.text, "$ ", "> ")
        if "until" in block.words:
            ((source, want),) = found
            self._start(block, source)
            return want and self._compare(block, source, want, self.output)
        for source, want in found:
            self.output = self._shell(block, source)
            if want or len(found) == 1:
                self._compare(block, source, want, self.output)

    def _start(self, block, text):
        """A command on a terminal of its own, until it has printed what the comment says."""
        self.close()
        argv = self.place.host.space.owner.enter(self.place.host.space.index)
        self.child = pexpect.spawn(
            argv[0], [*argv[1:], *self.enter, "bash", "-c",
             f"stty -onlcr -ocrnl; exec {text.strip()}"],
            cwd=str(self.folder), env=self.env, timeout=PATIENCE, echo=False, dimensions=(50, 200),
        )  # fmt: skip
        self.child.delaybeforesend = None
        try:
            self.child.expect_exact(block.words["until"])
        except (pexpect.EOF, pexpect.TIMEOUT):
            raise Differs(f"{block}: {text}\nit printed:\n{self.child.before}") from None
        said = self.child.before + self.child.after
        self.output = said.decode(errors="replace").replace("\r", "")
        self.console = None
        if block.words["until"] == ">>>":
            self.child.expect_exact(" ")
            self.console = Console(_Terminal(self.child))

    def _python(self, block, argv):
        said, status = self.command(["env", "PYTHONPATH=host:host/shim:.", sys.executable, *argv])
        if bool(status) != ("raises" in block.words):
            raise Differs(f"{block}: {said}")
        return said

    def _run_cpython(self, block):
        """In the page's one session: a process that runs what came before it, and this."""
        if block.language == "pycon":
            new = examples(block.text)
            self.session += [_AT_THE_PROMPT.format(source + "\n") for source, _ in new]
        else:
            new = [(block.text, None)]
            self.session.append(f"exec(compile({block.text!r}, 'block', 'exec'))")
        code = "import traceback\n"
        for line in self.session:
            code += f"try:\n {line}\nexcept Exception as e:\n print("
            code += "''.join(traceback.format_exception_only(e)).strip())\nprint('\\0')\n"
        self._save("_session.py", code)
        said = self._python(block, ["_session.py"]).split("\0\n")[-len(new) - 1 : -1]
        for (source, want), got in zip(new, said):
            self.output = got
            if want is not None:
                self._compare(block, source, want, got)
            elif re.search(r"^\w*(Error|Exception)\b", got, re.M):
                raise Differs(f"{block}: {got}")

    def _run_pytest(self, block):
        name = f"test_line_{block.line}.py"
        self._save(name, block.text)
        argv = ["-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider",
                "-p", "no:randomly", name]  # fmt: skip
        self.output = self._python(block, argv)

    def _run_text(self, block):
        if self.output is None:
            raise WrongBlock(f"{block}: no block before it has printed anything")
        self._compare(block, "", block.text.strip("\n"), self.output)

    def _compare(self, block, source, want, got):
        compare(block, source, want, got)
        self.compared += 1

    # The guest

    def _console_of(self, block):
        if "guest" not in block.words and self.child and self.console:
            return self.console  # the prompt of the command that goes on
        return self.place.guest(block.words.get("guest", "")).console

    def _run_python(self, block):
        console = self._console_of(block)
        try:
            self.output = console.exec(block.text, PATIENCE)
        except GuestError as e:
            if "raises" not in block.words:
                raise Differs(f"{block}: {e}") from None
            self.output = e.output + e.traceback
        else:
            if "raises" in block.words:
                raise Differs(f"{block}: no exception; it printed {self.output}")

    def _run_pycon(self, block):
        console = self._console_of(block)
        found = examples(block.text)
        if not found:
            raise WrongBlock(f"{block}: no prompt in it")
        for source, want in found:
            try:
                got = console.exec(_AT_THE_PROMPT.format(source + "\n"), PATIENCE)
            except GuestError as e:
                # A page shows the last line of a traceback, or all of it.
                trace = e.traceback.strip()
                got = e.output + (trace if want.startswith("Traceback") else
                                  trace.splitlines()[-1])  # fmt: skip
                if not want:
                    raise Differs(f"{block}: {source}\n{trace}") from None
            self._compare(block, source, want, got)
            self.output = got

    # Looking without running

    def look_at(self, block):
        """What can be said of commands that are not run: the shell reads them, make knows the
        targets, barewire the options, and other programs are there."""
        if block.language not in ("sh", "console", "bash"):
            raise WrongBlock(f"{block}: `dry` is for commands of bash")
        text = block.text
        if block.language == "console":
            text = "\n".join(source for source, _ in examples(text, "$ ", "> "))
        self._shell(block, f"bash -n <<'END'\n{text}\nEND")
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\|\||[|;]|do|done)\s", f" {line} "):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError as e:
                    raise WrongBlock(f"{block}: {part}: {e}") from None
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words.pop(0)
                if words:
                    self._look_at(block, words)

    def _look_at(self, block, words):
        program = Path(words[0]).name
        if program == "make":
            said, status = self.command(["make", "-C", root(), "-n", *words[1:]])
            if status:
                raise Differs(f"{block}: {' '.join(words)}: {said}")
        elif program == "barewire":
            _parse(block, [w for w in words[1:] if not re.match(r"[0-9]?>", w)], self.folder)
        elif not shutil.which(words[0], path=self.env["PATH"]) and not _is_builtin(words[0]):
            raise Differs(f"{block}: there is no {words[0]}")


def _is_builtin(word):
    return not subprocess.run(["bash", "-c", f"type {shlex.quote(word)}"],
                              capture_output=True).returncode  # fmt: skip


def _parse(block, words, folder):
    """Let the command line's own parser read the words."""
    import click

    context = click.Context(barewire)
    before = os.getcwd()
    os.chdir(folder)
    try:
        name, command, rest = barewire.resolve_command(context, list(words))
        command.make_context(name, rest)
    except click.ClickException as e:
        raise Differs(f"{block}: barewire {' '.join(words)}: {e.format_message()}") from None
    finally:
        os.chdir(before)
