"""CUBIC (RFC 9438) against its formulas in floating point, and HyStart++ (RFC 9406)."""

from stack.transport.tcp import block
from stack.transport.tcp.block import SND_UNA, TS_OFF
from stack.transport.tcp.congestion import INFINITE, MAX_CWND, algorithm
from stack.transport.tcp.cubic import Cubic, cube_root
from stack.transport.tcp.hystart import HyStart
from stack.transport.tcp.newreno import NewReno
from tests.unit.transport.tcp.harness import MS, SEC, T, drain, full, seg, send, write

M = 1000


class Rtt:
    def __init__(self, us):
        self.w = block.make()
        self.w[block.SRTT_US] = us


def _after_loss(w_max, rtt=100 * MS):
    """A window of w_max segments, all out, and a loss at time 0."""
    cc = Cubic(M, 10, Rtt(rtt))
    cc.cwnd = w_max * M
    cc.on_loss(w_max * M, 0)
    return cc


def test_choice():
    assert algorithm("cubic") is Cubic
    assert algorithm("newreno") is NewReno and algorithm("reno") is NewReno
    try:
        algorithm("vegas")
        raise AssertionError
    except ValueError:
        pass


def test_cube_root():
    for x in (0, 1, 7, 8, 9, 26, 27, 999999, 1000000, (1 << 54) - 1, 1 << 54, 12345678901234567):
        r = cube_root(x)
        assert r**3 <= x < (r + 1) ** 3, x


def test_reduction():
    """4.6: ssthresh = flight * 0.7, at least two segments; a timeout goes on from one."""
    for flight, want in ((100, 70), (10, 7), (2, 2), (0, 2)):
        cc = Cubic(M)
        cc.cwnd = 100 * M
        cc.on_loss(flight * M, 0)
        assert abs(cc.ssthresh - want * M) <= M // 10, (flight, cc.ssthresh)
        assert cc.cwnd == cc.ssthresh
    cc = Cubic(M)
    cc.cwnd = 100 * M
    cc.on_timeout(100 * M, 0)
    assert cc.cwnd == M and abs(cc.ssthresh - 70 * M) < 100


def _grow(cc, seconds, rtt=100 * MS, at=0):
    """Acknowledge everything, segment by segment, for a time; [(time, cwnd)] of each round."""
    out = []
    now = at
    while now < at + seconds * SEC:
        now += rtt
        cwnd = cc.cwnd
        for i in range(cwnd // M):
            cc.on_ack(M, cwnd, now - rtt + rtt * i // (cwnd // M))
        out.append((now, cc.cwnd))
    return out


def test_cubic_growth():
    """4.2: W_cubic(t) = C * (t - K)^3 + W_max, K = cubic_root((W_max - cwnd_epoch) / C): the
    window stays within 2 % of it over concave, plateau and convex.
    """
    for w_max in (100, 400):
        cc = _after_loss(w_max)
        start = cc.cwnd / M
        k = ((w_max - start) / 0.4) ** (1 / 3)
        for now, cwnd in _grow(cc, 1.6 * k):
            t = now / 1e6
            want = 0.4 * (t - k) ** 3 + w_max
            # It follows W_cubic(t + RTT) from below within a round trip or two.
            low = 0.4 * (t - 0.2 - k) ** 3 + w_max
            high = 0.4 * (t + 0.1 - k) ** 3 + w_max
            assert low * 0.98 <= cwnd / M <= high * 1.02 + 1, (w_max, t, cwnd, want)


def test_reno_friendly_region():
    """4.3: where Reno would be larger (small windows, short paths), as large as that: with
    alpha = 0.529 until the old window, then 1.
    """
    cc = _after_loss(20, 10 * MS)
    w = cc.cwnd / M
    for now, cwnd in _grow(cc, 1, 10 * MS):
        w += 3 * 0.3 / 1.7 if w < 20 else 1
        assert abs(cwnd / M - w) < 0.12 * w, (now, cwnd, w)
    assert cc.cwnd > 60 * M


def test_not_faster_than_half_again():
    """4.2: target is at most 1.5 * cwnd."""
    cc = _after_loss(1000)
    cc.on_ack(M, cc.cwnd, 0)
    cwnd = cc.cwnd
    for _ in range(cwnd // M):
        cc.on_ack(M, cwnd, 60 * SEC)
    assert cwnd < cc.cwnd <= 1.5 * cwnd + M


def test_fast_convergence():
    """4.7: a loss below the last W_max: W_max <- cwnd * (1 + beta) / 2."""
    cc = _after_loss(1000)
    assert cc._w_max == 1000 * M
    cc.on_loss(cc.cwnd, SEC)
    assert abs(cc._w_max - 700 * M * 0.85) < M
    cc.cwnd = 2000 * M
    cc.on_loss(2000 * M, 2 * SEC)
    assert cc._w_max == 2000 * M


def test_undo():
    """4.9: window, threshold and W_max as before."""
    cc = _after_loss(1000)
    cc.cwnd = 900 * M
    before = (cc.cwnd, cc.ssthresh, cc._w_max)
    cc.on_loss(900 * M, SEC)
    cc.undo(SEC)
    assert (cc.cwnd, cc.ssthresh, cc._w_max) == before
    cc = Cubic(M)
    cc.on_timeout(10 * M, 0)
    cc.undo(0)
    assert cc.ssthresh == INFINITE and cc.cwnd == 10 * M


def test_idle_time_does_not_count():
    """4.2: "MUST NOT be considered": no leap after an hour of silence."""
    cc = _after_loss(1000)
    _grow(cc, 1)
    cc.cwnd = 800 * M
    cc.initial_window = 2000 * M
    cc.on_idle(3600 * SEC)
    before = cc.cwnd
    for _ in range(800):
        cc.on_ack(M, before, 3600 * SEC)
    assert cc.cwnd < before + 20 * M


def test_numbers_stay_small():
    """The largest window, segment and time: within 62 bits (a float or a long would allocate)."""
    cc = Cubic(65483, 0, Rtt(60 * SEC))
    cc.cwnd = MAX_CWND - 1
    cc.on_loss(MAX_CWND - 1, 0)
    for t in (0, 1, 3600 * SEC, 1 << 50):
        cc.on_ack(1 << 16, cc.cwnd, t)
        for v in (cc.cwnd, cc._w_est, cc._k, cc._rest):
            assert -(1 << 61) < v < 1 << 61
    d = 1 << 18
    assert (d * d >> 10) * d < 1 << 61 and ((d * d >> 10) * d >> 10) * 65483 * 2 < 1 << 61
    assert MAX_CWND * 65536 * 256 < 1 << 61


# -- HyStart++


def _rounds(h, *rtts):
    """A round of ten ACKs for each round trip given; the round in which it ends, or None."""
    una = 0
    for n, rtt in enumerate(rtts):
        nxt = una + 10 * M
        for _ in range(10):
            una += M
            if h.on_sample(una, nxt + M, rtt):
                return n
    return None


def test_hystart_ends_slow_start():
    """4.2: the shortest round trip of a round grew by RttThresh: five rounds of CSS, then out."""
    assert _rounds(HyStart(), 40, 40, 46, 50, 60, 70, 80, 90, 99, 99) in (7, 8)


def test_hystart_growth_in_css():
    h = HyStart()
    assert h.growth(4000) == 4000
    _rounds(h, 40, 40, 50)
    assert h.growth(4000) == 1000


def test_hystart_was_mistaken():
    """"if (currentRoundMinRTT < cssBaselineMinRtt)": back to slow start."""
    h = HyStart()
    assert _rounds(h, 40, 40, 50, 41, 41, 41, 41, 41, 41, 41, 41) is None
    assert h.growth(4000) == 4000


def test_hystart_threshold():
    """RttThresh = max(4, min(RTT / 8, 16)) ms."""
    for base, more, css in ((5, 3, False), (5, 4, True), (80, 9, False), (80, 10, True),
                            (400, 15, False), (400, 16, True)):
        h = HyStart()
        _rounds(h, base, base, base + more)
        assert (h.growth(4) == 1) == css, (base, more)


def test_hystart_needs_eight_samples():
    h = HyStart()
    for una in range(1, 8):
        h.on_sample(una, 100, 40)
    h.on_sample(101, 200, 90)
    assert h.growth(4) == 4


def test_slow_start_on_the_wire():
    """The connection feeds it: a path whose delay grows with the window leaves slow start
    without a loss.
    """
    s = full(snd_max=1 << 20, wscale=10)
    c = s.conn
    una = c.w[SND_UNA]
    at = 0
    rtt = 40
    s.data = bytes(300000)
    for _ in range(25):
        write(s, s.data)
        out = drain(s)
        sent = s.now // 1000
        rtt = 40 + len(out) // 2
        at += rtt
        for o in out:
            una = (una + len(o.data)) & 0xFFFFFFFF
            echo = (sent + c.w[TS_OFF]) & 0xFFFFFFFF
            send(s, seg("A", ack=una, ts=(T + at, echo), wnd=65535), at=at * MS, flush=False)
    assert c.cc.ssthresh < INFINITE and not c.retransmits
