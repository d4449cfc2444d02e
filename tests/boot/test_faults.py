"""A fault prints what, where and the registers, and ends the machine: never a silent hang."""

import pexpect
import pytest

pytestmark = pytest.mark.boot

STATUS = 0x7F  # what firmware/trap.c gives to isa-debug-exit; QEMU's own is then 255

# (why, code at the prompt, what the report says)
FAULTS = [
    ("reading the null page", "hw.read32(8)", r"page fault \(read of 8, null pointer\)"),
    ("writing code", "hw.write8(0x101000, 0)", r"page fault \(write of 101000\)"),
    ("calling nowhere", "hw.call(8)", r"page fault \(execution of 8, null pointer\)"),
    ("calling data", "hw.call(hw.addr(bytearray(64)))", r"page fault \(execution of"),
    ("a non-canonical address", "hw.read8(1 << 61)", "general protection"),
]


@pytest.mark.parametrize("why, code, says", FAULTS, ids=[f[0] for f in FAULTS])
@pytest.mark.guest_options(append={"ip": "none"})
def test_a_fault_is_reported_and_ends_with_its_own_status(guest, why, code, says):
    child = guest.friendly()
    child.send(f"import hw; {code}\r")
    child.expect(f"FAULT: {says}.* at [0-9a-f]+", timeout=10)
    child.expect_exact("in <module>")  # the running Python function
    child.expect("rax [0-9a-f]{16}")
    child.expect("cr2 [0-9a-f]{16}")
    assert guest.wait_exit(10) == STATUS


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
