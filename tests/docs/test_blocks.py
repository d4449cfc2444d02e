"""The reader of pages and the comparison of outputs refuse what they should."""

import pytest

from tests.docs import blocks
from tests.docs.running import Differs, compare

FENCE = "```"


def read(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text.replace("'''", FENCE))
    return blocks.read(path, "page.md")


@pytest.mark.parametrize("why, text", [
    ("indented", "Text:\n\n    code()\n"),
    ("no language", "'''\ncode()\n'''\n"),
    ("another language", "'''ruby\ncode()\n'''\n"),
    ("an unknown word", "<!-- block: skip -->\n'''sh\ntrue\n'''\n"),
    ("no reason", "<!-- block: not run: -->\n'''sh\ntrue\n'''\n"),
    ("no reason to be dry", "<!-- block: dry: -->\n'''sh\ntrue\n'''\n"),
    ("a comment without a block", "<!-- block: cpython -->\n\nText.\n"),
])  # fmt: skip
def test_a_wrong_page(tmp_path, why, text):
    with pytest.raises(blocks.WrongBlock):
        read(tmp_path, text)


def test_a_page(tmp_path):
    found = read(tmp_path, """
# Title

- an item with code:

  <!-- block: file x.py; numbers vary -->
  '''python
  print(1)
  '''

<!-- block: dry: it takes long; very -->
'''sh
make
'''
""")
    assert [(b.language, b.kind) for b in found] == [("python", "run"), ("sh", "dry")]
    assert [b.line for b in found] == [7, 12]
    assert found[0].words == {"file": "x.py", "numbers vary": ""}
    assert found[0].text == "print(1)\n" and found[1].why == "it takes long; very"


def test_a_session():
    text = "banner\n>>> def f():\n...     return 1\n...\n>>> f()\n1\n\n2\n>>>\n"
    assert blocks.examples(text) == [
        ("def f():\n    return 1\n", ""), ("f()", "1\n\n2"), ("", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("same, words, want, got", [
    (True, {}, "1 2", "1 2\n"),
    (False, {}, "1 2", "1 3\n"),
    (False, {}, "", "1\n"),
    (False, {}, "1", ""),
    (True, {"numbers vary": ""}, "1.5 ms", "17 ms"),
    (False, {"numbers vary": ""}, "1.5 ms", "17 us"),
    (True, {}, "a...z", "a\nb\nz\n"),
    (False, {}, "a...z", "a\nb\n"),
])  # fmt: skip
def test_outputs_are_compared(same, words, want, got):
    block = blocks.Block("page.md", 1, "python", "", None)
    block.words = words
    try:
        compare(block, "", want, got)
    except Differs:
        assert not same
    else:
        assert same
