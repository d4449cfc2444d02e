"""The kernels in use: the inner loops of `stack/crypto`, chosen once at start.

Three tiers have the same functions and pass the same tests:

    plain    Python integers (plain.py, ec.py)          CPython's default
    viper    MicroPython's viper emitter (viper.py)     MicroPython's default
    asm      machine code, assembled at build time      after start(hw)

Callers say `kernels.sha256(...)`, so that a change of tier is seen. Objects
that keep a tier's state (an AEAD's key) belong to the tier that made them.
"""

import sys

# What a tier has to define; one that lacks a name inherits it from the tier before.
NAMES = (
    "sha256", "sha512", "keccak_f",
    "gcm_init", "gcm_seal", "gcm_open", "chapoly_seal", "chapoly_open",
    "x25519", "ec_base", "ec_mul", "ec_dual", "ed_base", "ed_dual", "modexp",
    "ntt", "intt", "basemul",
)  # fmt: skip

tier = ""
_asm = None


def use(name):
    """Switch to "plain", "viper" or "asm". ValueError if machine code was not started."""
    global tier
    from stack.crypto import plain

    modules = [plain]
    if name != "plain":
        from stack.crypto import viper

        modules.append(viper)
    if name == "asm":
        if _asm is None:
            raise ValueError("machine code was not started")
        modules.append(_asm)
    g = globals()
    for module in modules:
        for n in NAMES:
            f = getattr(module, n, None)
            if f is not None:
                g[n] = f
    tier = name


def start(hw, blob=None):
    """Load the machine code through `hw` (code, addr, call, cpuid) and use what this CPU has.

    blob: a module made by stack.crypto.asm.build, or None for the frozen one.
    Returns the tier in use; without machine code that is what was used before.
    """
    global _asm
    if blob is None:
        try:
            import crypto_kernels as blob
        except ImportError:
            return tier
    from stack.crypto import native

    if native.load(hw, blob):
        _asm = native
        use("asm")
    return tier


use("viper" if sys.implementation.name == "micropython" else "plain")
