"""Some MB both ways over wires of every kind: the right bytes, nothing left."""

from tests.sim.network import MS, OFFLOAD, Random, Sim, transfer

# why, seed, bytes, sides, wire
CASES = (
    ("clean", 1, 3000000, {}, {}),
    ("offload", 2, 6000000, {"caps": OFFLOAD}, {"delay": 100}),
    ("offload, short device ring", 3, 3000000, {"caps": OFFLOAD, "ring": 2}, {"rate": 20000}),
    ("few frames", 4, 1000000, {"frames": 3}, {}),
    ("loss 2 %", 5, 1000000, {}, {"loss": 0.02}),
    ("loss 10 %", 6, 200000, {}, {"loss": 0.1}),
    ("loss 30 %", 7, 20000, {}, {"loss": 0.3}),
    ("reordering", 8, 1000000, {}, {"reorder": 0.2}),
    ("duplication", 9, 1000000, {}, {"dup": 0.3}),
    ("corruption", 10, 500000, {}, {"corrupt": 0.02}),
    ("jitter", 11, 500000, {}, {"jitter": 3 * MS}),
    ("long and thin", 12, 300000, {}, {"delay": 150 * MS, "rate": 200}),
    ("bottleneck with a small buffer", 13, 1000000, {}, {"rate": 2000, "buffer": 20000}),
    ("everything", 14, 500000, {}, {
        "loss": 0.02, "dup": 0.02, "reorder": 0.05, "corrupt": 0.01, "jitter": 500}),
    ("everything, offload", 15, 1000000, {"caps": OFFLOAD}, {
        "loss": 0.02, "dup": 0.02, "reorder": 0.05, "jitter": 500}),
    ("small MTU", 16, 300000, {"mtu": 576}, {"loss": 0.01}),
    ("jumbo frames", 17, 2000000, {"mtu": 9000}, {"loss": 0.005}),
    ("small rings", 18, 300000, {"snd_max": 4096, "rcv_max": 4096}, {"loss": 0.01}),
    ("one-segment slow start", 19, 300000, {"initial_segments": 1}, {}),
)


def _run(why, seed, size, side, wire):
    sim = Sim(seed, side, side, **wire)
    noise = Random(seed).bytes(4096)
    up = (noise * (size // 4096 + 1))[:size]
    down = bytes(reversed(up))
    took = transfer(sim, up, down)
    return took, sim


def test_transfers():
    for why, seed, size, side, wire in CASES:
        try:
            took, sim = _run(why, seed, size, side, wire)
        except AssertionError as e:
            raise AssertionError("%s (seed %d): %s" % (why, seed, e)) from e
        print("%-32s %8.1f KB/s %5d retransmits %7d steps" % (
            why, size / (took / 1e6) / 1000, sim.retransmits, sim.steps))


def test_slow_reader():
    """The window closes and opens; probes keep it alive."""
    sim = Sim(20, {}, {"rcv_max": 65536}, loss=0.02)
    transfer(sim, bytes(400000), b"", 70000, 700)


def test_small_writes():
    sim = Sim(21, loss=0.05)
    transfer(sim, bytes(range(256)) * 80, b"x" * 3000, 40)
