"""Mutated DNS and Multicast DNS messages for a while; `make fuzz ARGS="--target dns"` goes on.

BAREWIRE_SEED=n repeats a run, BAREWIRE_EXECUTIONS=n makes it longer.
"""

import os

from tests.fuzz import engine, names

SEED = int(os.environ.get("BAREWIRE_SEED", "20261126"))
EXECUTIONS = int(os.environ.get("BAREWIRE_EXECUTIONS", "8000"))


def test_mutated_messages():
    e = names.Engine(SEED)
    try:
        e.run(EXECUTIONS, 600)
    except engine.Failure as f:
        short = names.shorten(f.program)
        raise AssertionError(f"seed {SEED}: {f}; message {short.hex()}") from f.error
    assert len(e.reached) > 60
    print(f"seed {SEED}: {e.executions} messages, {len(e.reached)} things reached")
