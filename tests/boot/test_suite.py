"""`barewire test`: each kind of test passes, fails and is told apart; JUnit, JSON, exit status."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pexpect
import pytest

from barewire.paths import build_dir
from barewire.suite import matches, runs_itself

FILES = {
    "helper.py": "V = 5\n",
    "main.py": "print('an application, not to be run')\n1 / 0\n",
    "test_cases.py": """
import unittest, helper

class A(unittest.TestCase):
    def setUp(self):
        self.log = [1]
        self.addCleanup(self.log.append, 3)

    def test_good(self):
        self.assertEqual(helper.V, 5)
        with self.assertRaises(ValueError) as caught:
            int("x")
        self.assertIsInstance(caught.exception, ValueError)
        self.assertRaises(KeyError, {}.pop, 1)

    def test_bad(self):
        print("printed before it failed")
        self.assertEqual(self.log, [2])

    def test_error(self):
        [][0]

    @unittest.skip("not today")
    def test_skipped(self):
        self.fail()

    @unittest.expectedFailure
    def test_expected(self):
        self.assertIn(1, [])

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)

    async def test_awaited(self):
        import asyncio
        await asyncio.sleep(0.001)
        self.assertTrue(False, "after the await")

if __name__ == "__main__":
    unittest.main()
""",
    "test_functions.py": "def test_one():\n    pass\n\ndef test_two():\n    assert 0, 'zero'\n",
    "test_ends.py": "import sys\nsys.exit(0)\n",
    "test_exits.py": "import sys\nsys.exit(3)\n",
    "test_raises.py": "def test_it():\n    raise OSError(5)\n\ntest_it()\n",
    "test_syntax.py": "x = (\n",
    "up/hangs.py": "while True:\n    pass\n",
    "test_resets.py": "import machine\nmachine.reset()\n",
    "up/same.py": "print('a')\nprint(1 + 1)\n",
    "up/same.py.exp": "a\n########\n",
    "up/other.py": "print('a')\nprint('c')\n",
    "up/other.py.exp": "a\nb\n",
    "up/skips.py": "print('SKIP')\nraise SystemExit\n",
    "up/skips.py.exp": "b\n",
    "up/plain.py": "1 / 0\n",
}  # fmt: skip

EXPECTED = {
    "test_cases.py::A.test_good": "passed", "test_cases.py::A.test_bad": "failed",
    "test_cases.py::A.test_error": "error", "test_cases.py::A.test_skipped": "skipped",
    "test_cases.py::A.test_expected": "passed", "test_cases.py::A.test_unexpected": "failed",
    "test_cases.py::A.test_sub": "failed", "test_cases.py::A.test_awaited": "failed",
    "test_functions.py::test_one": "passed", "test_functions.py::test_two": "failed",
    "test_ends.py": "passed", "test_exits.py": "failed", "test_raises.py": "error",
    "test_syntax.py": "error", "test_resets.py": "error",
    "up/same.py": "passed", "up/other.py": "failed", "up/skips.py": "skipped",
}  # fmt: skip


def barewire_test(*words):
    return subprocess.run(
        [sys.executable, "-m", "barewire.cli", "test", *map(str, words)], capture_output=True,
        text=True, timeout=280, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "suite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "suite"


@pytest.mark.boot
def test_every_kind_of_test(folder, tmp_path):
    xml, logs = tmp_path / "junit.xml", tmp_path / "logs"
    done = barewire_test(folder, "-j2", "--junit", xml, "--logs", logs, "--json")
    assert done.returncode == 1, done.stderr
    results = json.loads(done.stdout)
    title = lambda r: f"{r['file']}::{r['name']}" if r["name"] else r["file"]
    assert {title(r): r["state"] for r in results} == EXPECTED, done.stdout
    why = {title(r): r.get("why", "") for r in results}
    for name, words in (
        ("test_cases.py::A.test_bad", "AssertionError: [1] != [2]"),
        ("test_cases.py::A.test_sub", "[i=1]"),
        ("test_cases.py::A.test_awaited", "after the await"),
        ("test_cases.py::A.test_skipped", "not today"),
        ("test_exits.py", "sys.exit(3)"), ("test_raises.py", "EIO"),
        ("test_syntax.py", "SyntaxError"),
        ("test_resets.py", "the machine ended"), ("up/other.py", "-b\n+c"),
    ):  # fmt: skip
        assert words in why[name], (name, why[name])
    tree = ET.parse(xml).getroot()
    count = lambda *states: sum(s in states for s in EXPECTED.values())
    assert int(tree.get("tests")) == len(EXPECTED) == len(list(tree.iter("testcase")))
    assert len(list(tree.iter("failure"))) == int(tree.get("failures")) == count("failed")
    assert len(list(tree.iter("error"))) == int(tree.get("errors")) == count("error")
    assert len(list(tree.iter("skipped"))) == count("skipped")
    printed = tree.find(".//testcase[@name='A.test_bad']/system-out").text
    assert printed == "printed before it failed\n"
    # What a failed one leaves, and a passed one does not.
    assert (logs / "test_resets.py" / "console.log").is_file()
    assert (logs / "test_resets.py" / "net.pcap").stat().st_size > 24
    assert not (logs / "test_ends.py").exists()


@pytest.mark.boot
def test_words_and_the_other_ends(folder, tmp_path):
    done = barewire_test(folder / "test_ends.py", folder / "up" / "same.py", "--net", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed in 2 files" in done.stdout
    done = barewire_test(folder / "test_functions.py", "--net", "none")
    assert done.returncode == 1
    assert "1 passed, 1 failed in 1 files" in done.stdout
    assert "--- failed: test_functions.py::test_two" in done.stdout
    assert "AssertionError: zero" in done.stdout
    done = barewire_test(folder, "-k", "up/pl*.py", "--net", "none")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stdout
    done = barewire_test(folder / "up" / "hangs.py", "--timeout", 2, "--net", "none")
    assert done.returncode == 1 and "no end in 2 s" in done.stdout
    os.mkdir(tmp_path / "empty")
    done = barewire_test(tmp_path / "empty")
    assert done.returncode == 5 and "no tests in" in done.stderr
    assert barewire_test(tmp_path / "nowhere").returncode == 2


@pytest.mark.boot
def test_micropythons_own_tests_and_a_progress_bar():
    """As they come, with the output that MicroPython expects of them, at a terminal."""
    (tests,) = build_dir().glob("micropython-*/tests/micropython")
    argv = ["-m", "barewire.cli", "test", str(tests), "-k", "const*.py", "--net", "none"]
    with pexpect.spawn(sys.executable, argv, timeout=200, encoding="utf-8") as child:
        child.expect("━.*[0-5]/5")
        child.expect("5 passed in 5 files")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0


def test_whether_a_file_runs_its_functions_itself():
    for source, itself in (
        ("def test_a(): pass\n", False),
        ("def test_a(): pass\ndef other(): test_a()\n", False),
        ("def test_a(): pass\ntest_a()\n", True),
        ("def test_a(): pass\nif __name__ == '__main__':\n    test_a()\n", True),
        ("def test_a(): pass\nfor t in (test_a,): t()\n", True),
        ("x = (", True),
    ):
        assert runs_itself(source) is itself, source


def test_what_matches_an_expected_output():
    for output, expected, good in (
        ("a\r\nb\r\n", "a\nb\n", True), ("a\nb\n", "a\n", False), ("a\n", "a\n########\n", True),
        ("a\nx\ny\nb\n", "a\n########\nb\n", True), ("a\nx\n", "a\n########\nb\n", False),
        ("a.c\n########\n", "abc\n########\n", False),
    ):  # fmt: skip
        assert matches(output, expected) is good, (output, expected)
