"""TCP under programs of lies: the corpus once more, new ones by a seed, and by hypothesis.

BAREWIRE_SEED=n repeats a run. `make fuzz` goes on for as long as one likes.
"""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import engine
from tests.fuzz.conversation import OP, play

SEED = int(os.environ.get("BAREWIRE_SEED", "20261125"))
EXECUTIONS = int(os.environ.get("BAREWIRE_EXECUTIONS", "60000"))


def test_the_corpus():
    """Each program ends as it should, and together they reach much."""
    programs = engine.read_corpus()
    assert len(programs) > 20
    reached = set()
    for p in programs:
        reached |= play(p)[1]
    assert len(reached) > 80
    print(f"{len(programs)} programs reach {len(reached)} things")


def test_new_programs():
    e = engine.Engine(SEED, engine.read_corpus())
    try:
        e.run(EXECUTIONS, 600)
    except engine.Failure as f:
        short = engine.shorten(f.program)
        raise AssertionError(f"seed {SEED}: {f}; program {short.hex()}") from f.error
    print(f"seed {SEED}: {e.executions} executions, {len(e.reached)} things reached")


_operation = st.tuples(st.integers(0, 31), *[st.integers(0, 255)] * (OP - 1)).map(bytes)


@settings(
    max_examples=150, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(st.integers(0, 255), st.lists(_operation, max_size=40))
def test_by_hypothesis(first, ops):
    play(engine.join(first, ops))
