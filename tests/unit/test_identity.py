"""The secret of stable addresses: where it is kept, and what happens where it cannot be."""

import os

from stack import identity
from stack.devices import SECRET6

DRAWN = bytes(range(16))
OTHER = b"\xee" * 16
PATH = "identity_test.bin"


class FwCfg:
    def __init__(self, **files):
        self.files = files

    def names(self):
        return [SECRET6] if "secret" in self.files else []

    def read(self, name):
        return self.files["secret"]


def _secret(drawn, fw_cfg=None, kept=False, strong=True, path=PATH):
    said = []
    return identity.secret6(drawn, strong, fw_cfg, kept, said.append, path), said


def _remove():
    try:
        os.remove(PATH)
    except OSError:
        pass


def test_without_a_place():
    """Each boot has its own."""
    _remove()
    assert _secret(DRAWN) == (DRAWN, [])
    assert _secret(OTHER, FwCfg()) == (OTHER, [])
    assert PATH not in os.listdir()


def test_a_file_of_the_disk():
    _remove()
    try:
        assert _secret(DRAWN, kept=True) == (DRAWN, [])
        assert _secret(OTHER, kept=True) == (DRAWN, [])
        # One of another length is of somebody else: it is written anew.
        for content in (b"", DRAWN[:15], DRAWN + b"x"):
            with open(PATH, "wb") as f:
                f.write(content)
            assert _secret(OTHER, kept=True) == (OTHER, [])
            assert _secret(DRAWN, kept=True) == (OTHER, [])
    finally:
        _remove()


def test_what_could_be_guessed_is_not_kept():
    _remove()
    assert _secret(DRAWN, kept=True, strong=False) == (DRAWN, [])
    assert PATH not in os.listdir()


def test_a_disk_that_cannot_be_written():
    assert _secret(DRAWN, kept=True, path="nowhere/at/all") == (DRAWN, [])


def test_fw_cfg_goes_first():
    _remove()
    try:
        first = _secret(DRAWN, FwCfg(secret=b"a secret of sixteen or more"), True)[0]
        assert len(first) == 16 and first != DRAWN
        assert _secret(OTHER, FwCfg(secret=b"a secret of sixteen or more"))[0] == first
        assert _secret(OTHER, FwCfg(secret=b"another one, of some length"))[0] != first
        got, said = _secret(OTHER, FwCfg(secret=b"short"))
        assert got == OTHER and len(said) == 1 and "fewer than 16" in said[0]
    finally:
        _remove()
