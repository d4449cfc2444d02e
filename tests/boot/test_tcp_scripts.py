"""The scripts of tests/tcp against the booted guest, frame by frame on its wire, in real time.

Cases run beside each other in threads, each with a port of its own. BAREWIRE_SCRIPTS=part of a
name plays only those.
"""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tcp.language import load
from tests.tcp.live import GUEST, PREFIX, Bench, Live, text
from tests.tcp.play import Mismatch, Player

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.slow, pytest.mark.timeout(580)]

ONLY = os.environ.get("BAREWIRE_SCRIPTS", "")
BESIDE = 16
TURNS = 8
# Without offloads every segment is a frame, with the stack's own checksum.
NIC = {"csum": "off", "guest_csum": "off", "mrg_rxbuf": "off"}


@pytest.fixture
def bench(rig, platform):
    if not platform.virtio:
        pytest.skip(f"{platform}: the offloads of an {platform.nic} cannot be switched off")
    lab = rig.lab(servers=False, offload=False, subnet="10.77.0.0/16", capture_limit=3000)
    port = lab.tap(nic=NIC)
    guest = rig.guest(net=port, mem=128, append={"ip": f"{text(GUEST)}/{PREFIX}"})
    raw = lab.gateway.space.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind(("eth0", 3))
    with raw:
        made = Bench(guest, raw, port.mac)
        yield made
        made.close()


def play_once(bench, case, index):
    """(what was wrong or None, whether we or the guest were late)."""
    stage = Live(bench, index)
    player = Player(case, stage)
    try:
        player.play()
        return None, False
    except Mismatch as e:
        return str(e), player.late
    except Exception as e:
        return f"{case.id}: {e!r}", player.late
    finally:
        try:
            stage.finish()
        finally:
            stage.leave()


def play(bench, case, index, repeated):
    """What was wrong, or None. A conversation whose peer was held up for longer than TCP waits
    shows nothing either way: it is held again. One that was punctual counts."""
    for turn in range(TURNS):
        said, late = play_once(bench, case, index + turn * 1000)
        if said is None or not late:
            return said
        repeated.append(said)
    return said


def test_scripts(bench):
    cases = [c for c in load() if c.virtual is None and ONLY in c.id]
    began = time.monotonic()
    slowest, repeated, lock = [], [], threading.Lock()

    def one(item):
        start = time.monotonic()
        said = play(bench, item[1], item[0], repeated)
        with lock:
            slowest.append((time.monotonic() - start, item[1].id))
        return said

    # The longest first, so that none runs alone at the end.
    order = sorted(enumerate(cases), key=lambda item: -len(item[1].steps))
    # A flood of one fills what all listeners share: then others are answered by cookies.
    floods = [item for item in order if any(s.kind == "flood" for s in item[1].steps)]
    with ThreadPoolExecutor(BESIDE) as pool:
        said = [s for s in pool.map(one, [i for i in order if i not in floods]) if s]
    with ThreadPoolExecutor(2) as pool:
        said += [s for s in pool.map(one, floods) if s]
    print(f"{len(cases)} cases in {time.monotonic() - began:.1f} s")
    print("the slowest:", *(f"{t:.1f} s {n}" for t, n in sorted(slowest)[-5:]), sep="\n  ")
    print(f"{len(repeated)} held again, for the machine was busy:", *repeated, sep="\n  ")
    assert not bench.wrong, bench.wrong[:5]
    assert not said, f"{len(said)} of {len(cases)}:\n" + "\n".join(said)
    flows, live, half_open, waiting = bench.call("left()")
    assert (live, half_open) == (0, 0) and flows == waiting, (flows, live, half_open, waiting)
