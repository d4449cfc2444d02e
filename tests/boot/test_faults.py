"""A fault prints what, where and the registers, and ends the machine: never a silent hang."""

import pexpect
import pytest

pytestmark = pytest.mark.boot

# (why, code at the prompt, what the report says)
FAULTS = [
    ("reading the null page", "hw.read32(8)", r"(?i)page fault|#PF"),
    ("writing code", "hw.write8(0x100000 + 4096, 0)", r"(?i)page fault|#PF"),
    ("calling nowhere", "hw.call(8)", r"(?i)page fault|#PF"),
    ("a non-canonical address", "hw.read8(1 << 61)", r"(?i)protection|#GP|page fault|#PF"),
]


@pytest.mark.parametrize("why, code, says", FAULTS, ids=[f[0] for f in FAULTS])
@pytest.mark.guest_options(append={"ip": "none"})
def test_a_fault_is_reported_and_ends_with_its_own_status(guest, why, code, says):
    child = guest.friendly()
    child.send(f"import hw; {code}\r")
    child.expect(says, timeout=10)
    child.expect(r"(?i)rip")
    assert guest.wait_exit(10) not in (None, 0, 1), "no status of its own"


@pytest.mark.guest_options(append={"ip": "none"})
def test_recursion_is_an_exception_and_no_fault(guest):
    child = guest.friendly()
    child.send("f = lambda: f()\r")
    child.expect_exact(">>> ")
    child.send("f()\r")
    child.expect("RuntimeError|RecursionError", timeout=10)
    child.expect_exact(">>> ")


@pytest.mark.guest_options(append={"ip": "none"}, mem=32)
def test_no_memory_is_an_exception_and_no_fault(guest):
    child = guest.friendly()
    child.send("b = bytearray(1 << 30)\r")
    child.expect("MemoryError", timeout=10)
    child.expect_exact(">>> ")
    child.send("1 + 1\r")
    assert child.expect_exact(["2\r\n", pexpect.EOF], timeout=10) == 0
