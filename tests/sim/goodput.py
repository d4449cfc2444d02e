"""Goodput by loss and delay over a simulated link: the table of goodput.txt.

A megabyte over 100 Mbit/s with a buffer of 128 KB at the bottleneck; mean of three seeds. The
clock is virtual, so the figures are exact, and a change of TCP's behaviour is a diff.

    python -m tests.sim.goodput      writes goodput.txt (make snapshots)
"""

from pathlib import Path

from tests.sim.network import MS, Random, Sim, transfer

TABLE = Path(__file__).with_name("goodput.txt")
SIZE = 1_000_000
SEEDS = (1, 2, 3)
RATE = 12_500  # bytes a ms: 100 Mbit/s
BUFFER = 131_072
LOSSES = (0, 0.001, 0.01, 0.03, 0.1)
RTTS_MS = (1, 10, 40, 100)
# What else a path does, at a round trip of 20 ms.
PATHS = (
    ("reorder 5 %", {"reorder": 0.05}),
    ("duplicate 5 %", {"dup": 0.05}),
    ("corrupt 1 %", {"corrupt": 0.01}),
    ("jitter 5 ms", {"jitter": 5 * MS}),
    ("buffer 16 KB", {"buffer": 16_384}),
    ("buffer 16 KB, paced", {"buffer": 16_384, "side": {"pacing": True}}),
    ("buffer 1 MB", {"buffer": 1 << 20}),
    ("10 Mbit/s", {"rate": 1_250}),
    ("loss 1 %, reorder 5 %", {"loss": 0.01, "reorder": 0.05}),
)


def controls():
    """Names of congestion controls, the default first."""
    return ["cubic", "newreno"]


def one(control, seed, size=SIZE, side=None, **wire):
    """(bytes a second, segments sent again) of one transfer; the octets are compared and
    nothing may be left.
    """
    options = dict(side or {}, congestion=control)
    wire = {"rate": RATE, "buffer": BUFFER, **wire}
    sim = Sim(seed, options, options, **wire)
    noise = Random(seed).bytes(4096)
    data = (noise * (size // 4096 + 1))[:size]
    took = transfer(sim, data, b"")
    return size * 1_000_000 // took, sim.retransmits


def mean(control, **wire):
    """"KB/s (retransmitted segments)" over the seeds."""
    runs = [one(control, seed, **wire) for seed in SEEDS]
    rate = sum(r for r, _ in runs) // len(runs)
    again = sum(n for _, n in runs) // len(runs)
    return f"{rate // 1000} ({again})"


def row_of_loss(control, loss):
    cells = [mean(control, loss=loss, delay=rtt * MS // 2) for rtt in RTTS_MS]
    return f"{control:8} loss {loss * 100:4.1f} %" + "".join(f"{c:>14}" for c in cells)


def row_of_path(control, name, wire):
    return f"{control:8} {name:24}{mean(control, **{'delay': 10 * MS, **wire}):>14}"


def rows():
    """Every row: (name, function that makes its line)."""
    found = []
    for control in controls():
        for loss in LOSSES:
            found.append((f"{control} loss {loss}", lambda c=control, x=loss: row_of_loss(c, x)))
        for name, wire in PATHS:
            found.append(
                (f"{control} {name}", lambda c=control, n=name, w=wire: row_of_path(c, n, w))
            )
    return found


HEAD = (
    "Goodput in KB/s (segments sent again): 1 MB over 100 Mbit/s, buffer 128 KB, mean of 3 seeds.",
    "Made by `python -m tests.sim.goodput`; a test compares each line.",
    "",
    "                    " + "".join(f"{f'RTT {r} ms':>14}" for r in RTTS_MS),
)


if __name__ == "__main__":
    TABLE.write_text("\n".join([*HEAD, *(make() for _, make in rows())]) + "\n")
