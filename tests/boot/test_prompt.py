"""The prompt on COM1: friendly REPL, raw REPL, and how a machine ends."""

import pexpect
import pytest

from barewire.console import GuestError

pytestmark = pytest.mark.boot

CTRL_C, CTRL_D, CTRL_E = "\x03", "\x04", "\x05"
PROMPT = ">>> "
UP, TAB = "\x1b[A", "\t"


def ask(child, line, answer):
    """Type a line at the friendly prompt; the answer must be the output before the next prompt."""
    child.send(line + "\r")
    child.expect_exact(line + "\r\n")
    child.expect_exact(PROMPT)
    assert child.before.decode().replace("\r\n", "\n") == answer


@pytest.mark.core
def test_evaluates(guest):
    ask(guest.friendly(), "6 * 7", "42\n")
    # A quarter of RAM is the heap, whatever the firmware leaves of it and where.
    assert guest.eval("__import__('gc').mem_free() * 5 > __import__('hw').ram()")


def test_banner_names_micropython(guest):
    assert b"MicroPython v1.25" in guest.child.before


def test_history_brings_back_a_line(guest):
    child = guest.friendly()
    ask(child, "x = 20 + 1", "")
    ask(child, "x", "21\n")
    child.send(UP + UP + "\r")
    child.expect_exact("x = 20 + 1")
    child.expect_exact(PROMPT)
    ask(child, "x * 2", "42\n")


def test_tab_completes(guest):
    child = guest.friendly()
    ask(child, "import micropython", "")
    child.send("micropython.heap_l" + TAB + "\r")
    child.expect_exact("micropython.heap_lock")
    child.send(CTRL_C)
    child.expect_exact(PROMPT)


def test_auto_indent_and_blocks(guest):
    child = guest.friendly()
    child.send("for i in range(3):\r")
    child.expect_exact("... ")
    child.send("print('line', i)\r")
    child.expect_exact("... ")
    child.send("\x7f\r")  # backspace takes the indent away; an empty line runs it
    child.expect_exact("line 0\r\nline 1\r\nline 2\r\n")
    child.expect_exact(PROMPT)


def test_paste_mode(guest):
    child = guest.friendly()
    child.send(CTRL_E)
    child.expect_exact("=== ")
    child.send("def f(n):\r  return n + 1\r\rprint(f(41))\r" + CTRL_D)
    child.expect_exact("\r\n42\r\n")
    child.expect_exact(PROMPT)


BUSY = {"loop": "while True: pass", "sleep": "import time; time.sleep(1000)", "input": "input()"}


@pytest.mark.parametrize("busy", BUSY.values(), ids=BUSY)
def test_ctrl_c_interrupts(guest, busy):
    child = guest.friendly()
    child.send(f"{busy}\r")
    if busy.startswith("while"):
        child.expect_exact("... ")
        child.send("\x7f\r")
    child.expect_exact("\n")
    # There is nothing to see of a loop that has begun: Ctrl-C is typed until it is heard.
    for _ in range(50):
        child.send(CTRL_C)
        if child.expect(["KeyboardInterrupt", pexpect.TIMEOUT], timeout=0.2) == 0:
            break
    else:
        pytest.fail("Ctrl-C was not heard")
    child.expect_exact(PROMPT)
    child.send("\r")
    child.expect_exact(PROMPT)
    child.send("40 + 2\r")
    child.expect_exact("42\r\n")


@pytest.mark.core
def test_ctrl_d_soft_resets(guest):
    child = guest.friendly()
    ask(child, "kept = 1", "")
    child.send(CTRL_D)
    child.expect_exact("soft reboot")
    child.expect_exact(PROMPT)
    child.send("kept\r")
    child.expect_exact("NameError")
    child.expect_exact(PROMPT)


def test_raw_repl_returns_output_and_errors(guest):
    assert guest.exec("print('a'); print('b')") == "a\nb\n"
    with pytest.raises(GuestError) as caught:
        guest.exec("print('before')\n1/0")
    assert caught.value.kind == "ZeroDivisionError"
    assert caught.value.output == "before\n"


def test_raw_paste_takes_a_large_source(guest):
    # More than any buffer on the way, so the flow control is what carries it.
    lines = [f"v{i} = {i}" for i in range(1500)]
    guest.exec("\n".join(lines) + "\nprint(v0 + v1499)", timeout=60)
    assert guest.eval("v1499") == 1499


def test_console_is_eight_bits_clean(guest):
    text = guest.exec("import sys\nsys.stdout.buffer.write(bytes(range(0x20, 0x100)))", timeout=10)
    assert text == bytes(range(0x20, 0x100)).decode(errors="replace")


def test_a_program_reads_its_standard_input(guest):
    running = guest.run_async("import sys\nprint('ready')\nprint('got', sys.stdin.readline())")
    running.expect("ready")
    running.write(b"a line\n")
    assert "got a line" in running.wait()


def test_files_in_the_ram_file_system(guest):
    data = bytes(range(256)) * 20
    guest.put("blob", data)
    assert guest.get("blob") == data
    assert guest.eval("__import__('os').stat('blob')[6]") == len(data)


@pytest.mark.core
@pytest.mark.parametrize("n", [0, 3, 42])
def test_exit_status(guest, n):
    guest.friendly().send(f"import hw; hw.exit({n})\r")
    assert guest.wait_exit(10) == n


def test_sys_exit_at_the_end_of_a_main_run_with_exit_1(rig, artifacts):
    from barewire import romfs

    app = artifacts / "app.romfs"
    app.write_bytes(romfs.build({"main.py": b"import sys\nprint('main ran')\nsys.exit(7)\n"}))
    guest = rig.guest(initrd=app, append={"exit": "1", "ip": "none"}, prompt=False)
    guest.child.expect_exact("main ran")
    assert guest.wait_exit(10) == 7


@pytest.mark.core
def test_initrd_is_mounted_at_app_and_first_on_the_path(rig, artifacts):
    from barewire import romfs

    app = artifacts / "app.romfs"
    app.write_bytes(romfs.build({"greet.py": b"WHO = 'initrd'\n", "data": {"x": b"1234"}}))
    guest = rig.guest(initrd=app, append={"ip": "none"})
    assert guest.exec("import greet; print(greet.WHO)") == "initrd\n"
    assert guest.exec("print(open('/app/data/x').read())") == "1234\n"
    assert guest.eval("__import__('sys').path[0]") == "/app"


def test_unknown_key_is_named_and_ignored(rig):
    guest = rig.guest(append={"ip": "none", "colour": "blue"})
    assert b"colour" in guest.child.before
