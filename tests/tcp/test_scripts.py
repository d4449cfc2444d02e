"""Every case of tests/tcp/scripts on the virtual clock."""

import pytest

from tests.tcp import musts
from tests.tcp.language import _Draft, load
from tests.tcp.play import Mismatch, Player
from tests.tcp.virtual import Virtual

CASES = load()
PLAYED = [c for c in CASES if c.guest is None]


SIX = [c for c in PLAYED if c.six]


@pytest.mark.parametrize("case", PLAYED, ids=[c.id for c in PLAYED])
def test_script(case):
    Player(case, Virtual(case)).play()


@pytest.mark.parametrize("case", SIX, ids=[c.id for c in SIX])
def test_script_over_ipv6(case):
    Player(case, Virtual(case, six=True)).play()


def test_there_are_enough():
    """The issue's number; each name says once what it shows."""
    assert len(CASES) >= 300, len(CASES)


def test_every_must_has_its_case():
    shown = musts.cases_of(CASES)
    ids = musts.ids()
    assert sorted(ids) == list(range(1, 70)), "appendix B has MUST-1 to MUST-69"
    for n in ids:
        assert n in shown or n in musts.ELSEWHERE or n in musts.NOT_DONE, f"MUST-{n} has no case"
    assert set(shown) <= set(ids)


def test_the_table_is_true():
    """MUSTS.md is what `python -m tests.tcp.musts` makes, and what it names is there."""
    assert musts.TABLE.read_text() == musts.render(CASES), "run python -m tests.tcp.musts"
    root = musts.TABLE.parents[2]
    for names in musts.ELSEWHERE.values():
        for name in names:
            path, _, function = name.partition("::")
            assert f"def {function}(" in (root / path).read_text(), name


def test_a_wrong_script_is_found():
    """The player can say no: each of these differs from what the stack does."""
    text = "case wrong\n established\n send 10\n %s\n"
    for line in (
        "> PA 1:12", "> PA 2:11", "> A 1:11 ack 2", "> FPA 1:11", "quiet", "> PA 1:11 win 5",
        "> PA 1:11 <mss 1>", "+1s > PA 1:11", "state FIN-WAIT-1", "error EPIPE", "recv 1",
        "recv eof", "check c.mss == 3", "drain 11", "send 1 = EPIPE",
    ):  # fmt: skip
        draft = _Draft("wrong", [], musts.TABLE, 1)
        draft.lines = [(i, x.strip()) for i, x in enumerate((text % line).splitlines()[1:])]
        (case,) = draft.cases()
        try:
            Player(case, Virtual(case)).play()
        except Mismatch:
            continue
        raise AssertionError(line)
