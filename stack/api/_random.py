"""Random bytes: RDRAND, the host's entropy device and the clock, stirred by SHA-256.

Two kinds of need. What only should be hard to guess (ports, identifiers, sequence
numbers) takes what there is: `rng(n)`. What must be secret (keys, nonces, os.urandom)
takes `rng.secret(n)`, which refuses unless RDRAND works or a virtio-rng has given 32
bytes: a key that others can compute is worse than none.
"""

import hashlib

from micropython import const

_ENODEV = const(19)  # what Linux's /dev/hwrng says without a source
_ENOUGH = const(32)
# A host that has few random bytes itself lets us wait; longer than this is never.
_PATIENCE_US = const(1_000_000)


class Random:
    """hw: for RDRAND and the clock. device: None, or a VirtioRng (`take(within_us)`)."""

    def __init__(self, hw, device=None):
        self._hw = hw
        self._device = device
        self._key = b""
        self._left = b""
        self._rdrand = _rdrand_works(hw)
        self._got = 0  # bytes that the device gave
        self._stir(0 if self._rdrand else _PATIENCE_US)

    @property
    def strong(self):
        """Whether something unpredictable has gone in."""
        return self._rdrand or self._got >= _ENOUGH

    def sources(self):
        """What there is, in words."""
        names = ["RDRAND"] if self._rdrand else []
        if self._device is not None and self._device.error is None:
            names.append("virtio-rng")
        return names

    def _stir(self, within_us=0):
        """Fresh input into the key; 32 bytes out, from which the key cannot be found back."""
        hw = self._hw
        fresh = [self._key]
        for _ in range(4):
            r = hw.rdrand() if self._rdrand else None
            fresh.append((hw.ticks_us() if r is None else r).to_bytes(8, "little"))
        if self._device is not None:
            given = self._device.take(within_us)
            self._got = min(self._got + len(given), _ENOUGH)
            fresh.append(given)
        fresh.append(hw.ticks_us().to_bytes(8, "little"))
        seed = hashlib.sha256(b"".join(fresh)).digest()
        self._key = hashlib.sha256(seed + b"key").digest()
        self._left = hashlib.sha256(seed + b"out").digest()

    def __call__(self, n):
        """n random bytes, hard to guess; for secrets see `secret`."""
        # Under the lock: no byte may go to two that ask, one of them the network.
        self._hw.lock()
        try:
            out = b""
            while len(out) < n:
                if not self._left:
                    self._stir()
                take = n - len(out)
                out += self._left[:take]
                self._left = self._left[take:]
            return out
        finally:
            self._hw.unlock()

    def secret(self, n):
        """n bytes for a key. OSError(ENODEV) where nothing here is unpredictable."""
        self._hw.lock()
        try:
            if not self.strong and self._device is not None:
                # What lies in `_left` was made without it: stirring throws that away.
                self._stir(_PATIENCE_US)
            if not self.strong:
                raise OSError(
                    _ENODEV, "no random numbers for secrets: neither RDRAND nor a virtio-rng"
                )
            return self(n)
        finally:
            self._hw.unlock()


def _rdrand_works(hw):
    """RDRAND is there and not stuck: some CPUs return all ones, or the same for ever."""
    a, b = hw.rdrand(), hw.rdrand()
    return a is not None and b is not None and a != b
