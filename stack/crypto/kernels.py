"""The kernels in use: the inner loops of `stack/crypto`, chosen once at start.

Three tiers have the same functions and pass the same tests:

    plain    Python integers (plain.py, ec.py)          CPython's default
    viper    MicroPython's viper emitter (viper.py)     MicroPython's default
    asm      machine code, assembled at build time      the image's default; else start(hw)

Callers say `kernels.sha256(...)`, so that a change of tier is seen. Objects
that keep a tier's state (an AEAD's key) belong to the tier that made them.
"""

import sys

from stack import crypto

# What the kernels are. A tier that lacks one takes it from the tier before.
NAMES = (
    "hmac", "sha256", "sha512", "sha256_finish", "sha512_finish", "keccak_f",
    "gcm_init", "gcm_seal", "gcm_open", "chapoly_init", "chapoly_seal", "chapoly_open",
    "x25519", "ec_base", "ec_mul", "ec_dual", "ec_invert", "ed_base", "ed_dual", "modexp",
    "ntt", "intt", "basemul", "sample_ntt", "sample_cbd",
)  # fmt: skip

# In use, or to be loaded at the first call: importing a tier takes some milliseconds.
tier = "viper" if sys.implementation.name == "micropython" else "plain"
_asm = None


def __getattr__(name):
    # A kernel is not there yet: nothing was loaded.
    if name in NAMES and name not in globals():
        if crypto.machine is None or start(crypto.machine) != "asm":
            use(tier)
        return globals()[name]
    raise AttributeError(name)


def tiers():
    """The tiers that `use` takes now."""
    return ("plain", "viper", "asm") if _asm else ("plain", "viper")


def use(name):
    """Switch to "plain", "viper" or "asm". ValueError if machine code was not started."""
    global tier
    if name not in tiers():
        raise ValueError("no such tier now")
    g = globals()
    if name != "asm" or len(_asm) < len(NAMES):
        from stack.crypto import plain

        for n in NAMES:
            g[n] = getattr(plain, n)
        if name != "plain":
            try:
                from stack.crypto import viper
            except ImportError:  # the libraries for boards are plain Python
                name = "plain"
            else:
                for n in NAMES:
                    if hasattr(viper, n):
                        g[n] = getattr(viper, n)
    if name == "asm":
        for n in _asm:
            g[n] = _asm[n]
    tier = name


def start(hw, blob=None):
    """Load the machine code through `hw` (exec, addr, call, cpuid) and use what this CPU has.

    blob: what stack.crypto.asm.build made; None for the module frozen into the
    image. Returns the tier in use: without machine code the one from before.
    """
    global _asm
    if blob is None:
        try:
            import crypto_kernels as blob
        except ImportError:
            return tier
    from stack.crypto import native

    functions = native.load(hw, blob)
    if functions:
        _asm = functions
        use("asm")
    return tier
