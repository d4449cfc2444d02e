"""`barewire completion SHELL`, in the shells themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {"run", "repl", "test", "doctor", "console", "export", "completion", "tap", "build"}

BASH = """
source <(barewire completion bash)
complete -p barewire >&2
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _barewire_completion barewire
        printf '%s\\n' "${COMPREPLY[@]}"; echo "=="; }
ask barewire ''; ask barewire do; ask barewire run --key; ask barewire run --machine micro
"""

# Of zsh's completion system what the script calls is stood in for: it prints what it is given.
ZSH = """
compdef() { print -u2 compdef "$@" }
_describe() { for each in ${(P)3[@]}; do print -r -- ${each%%:*}; done }
compadd() { shift $(($# - 1)); eval 'print -l ${'$1'[@]}' }
source <(barewire completion zsh)
ask() { words=("$@"); CURRENT=$#; _barewire_completion; print -r "==" }
ask barewire ''; ask barewire do; ask barewire run --key; ask barewire run --machine micro
"""

FISH = """
barewire completion fish | source
for line in 'barewire ' 'barewire do' 'barewire run --key' 'barewire run --machine micro'
    complete -C $line
    echo ==
end
"""


@pytest.mark.parametrize("shell, script", [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_a_shell_completes(shell, script, tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env={"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"},
    )  # fmt: skip
    answers = [
        [line.split("\t")[0] for line in part.splitlines() if line.strip()]
        for part in done.stdout.split("==\n")
    ]
    assert set(answers[0]) == COMMANDS, done.stdout + done.stderr
    assert answers[1:4] == [["doctor"], ["--keylog"], ["microvm"]], done.stdout + done.stderr
