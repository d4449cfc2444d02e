"""Wires that break: every transfer ends with the right octets or with a clean error, and nothing
is left of it. Seeds vary the sides, the wire, and when it is down.
"""

from stack.core.errors import ECONNRESET, ETIMEDOUT
from stack.transport.tcp.states import CLOSED
from tests.sim.network import OFFLOAD, SEC, Random, Receiver, Sender, Sim, connect

SIZE = 150_000
SEEDS = 40
WIRES = (
    {}, {"loss": 0.05}, {"reorder": 0.1, "dup": 0.05}, {"corrupt": 0.02, "delay": 20_000},
    {"rate": 500, "buffer": 16_000}, {"jitter": 20_000, "loss": 0.02},
)  # fmt: skip
SIDES = (
    {}, {"caps": OFFLOAD}, {"rcv_max": 8192}, {"congestion": "newreno"}, {"sack": False},
    {"timestamps": False}, {"sack": False, "timestamps": False},
)  # fmt: skip
# One in three wires does not come back.
OUTAGES_US = (SEC // 10, SEC, 20 * SEC, 120 * SEC)


def _run(seed):
    """"whole", "cut" (an error that says so), and what the connections said."""
    r = Random(seed + 77)
    sim = Sim(seed, dict(SIDES[seed % len(SIDES)]), dict(SIDES[seed // 2 % len(SIDES)]),
              **WIRES[seed % len(WIRES)])  # fmt: skip
    c, s, listener = connect(sim)
    noise = Random(seed).bytes(4096)
    data = (noise * (SIZE // 4096 + 1))[:SIZE]
    sender, receiver = Sender(sim, c, data), Receiver(sim, s)

    def down(forever, now):
        sim.wire.down = True
        if not forever:
            sim.at(now + OUTAGES_US[r.below(4)], up, None)

    def up(_, now):
        sim.wire.down = False

    forever = seed % 3 == 0
    sim.at(sim.now + 1000 + r.below(200_000), down, forever)

    def each():
        for p in (sender, receiver):
            if not p.conn.error:
                p.go()

    def over():
        # A receiver alone hears nothing of an end and may wait for ever: it has no keepalive.
        return c.error or s.state == CLOSED or receiver.done

    sim.run(over, 3600 * SEC, each)
    for conn in (c, s):
        assert conn.error in (0, ETIMEDOUT, ECONNRESET), (seed, conn.error)
    assert bytes(receiver.data) == data[: len(receiver.data)], seed
    whole = s.eof() and not s.error
    assert not whole or receiver.data == data, (seed, len(receiver.data))
    assert whole or c.error or s.error or forever, seed
    sim.wire.down = forever
    for conn in (c, s):
        conn.close(sim.now)
    listener.close(sim.now)
    sim.flush()
    sim.assert_clean()
    return whole


def test_outages():
    whole = sum(_run(seed) for seed in range(SEEDS))
    print(f"{whole} of {SEEDS} came through")
    assert SEEDS // 3 < whole < SEEDS, "some come through, some do not"
