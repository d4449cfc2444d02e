"""Random bytes: RDRAND and the clock, stirred by SHA-256.

`strong` is False where the CPU has no RDRAND; then `secret` refuses, while ports and
identifiers still get what the clock gives.
"""

import hashlib


class Random:
    def __init__(self, hw):
        self._hw = hw
        self._key = b""
        self._left = b""
        self.strong = hw.rdrand() is not None
        self._stir()

    def _stir(self):
        """Fresh input into the key; 32 bytes out, from which the key cannot be found back."""
        hw = self._hw
        fresh = [self._key]
        for _ in range(4):
            r = hw.rdrand()
            fresh.append((hw.ticks_us() if r is None else r).to_bytes(8, "little"))
        fresh.append(hw.ticks_us().to_bytes(8, "little"))
        seed = hashlib.sha256(b"".join(fresh)).digest()
        self._key = hashlib.sha256(seed + b"key").digest()
        self._left = hashlib.sha256(seed + b"out").digest()

    def __call__(self, n):
        """n random bytes."""
        out = b""
        while len(out) < n:
            if not self._left:
                self._stir()
            take = n - len(out)
            out += self._left[:take]
            self._left = self._left[take:]
        return out

    def secret(self, n):
        """n bytes for a key. OSError where nothing here is unpredictable."""
        if not self.strong:
            raise OSError("no random numbers for secrets: this CPU has no RDRAND")
        return self(n)
