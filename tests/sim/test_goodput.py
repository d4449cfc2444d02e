"""goodput.txt is what the stack does. `make snapshots` writes it anew."""

import pytest

from tests.sim import goodput

ROWS = goodput.rows()
LINES = goodput.TABLE.read_text().splitlines()


def test_head():
    assert tuple(LINES[: len(goodput.HEAD)]) == goodput.HEAD
    assert len(LINES) == len(goodput.HEAD) + len(ROWS)


@pytest.mark.parametrize("i", range(len(ROWS)), ids=[name for name, _ in ROWS])
def test_goodput(i):
    was = LINES[len(goodput.HEAD) + i]
    now = ROWS[i][1]()
    assert now == was, f"it was\n  {was}\nand is\n  {now}\n(make snapshots, if that is better)"
