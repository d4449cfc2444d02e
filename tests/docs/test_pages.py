"""Every code block of README.md and docs/ is executed, and what it prints compared with the page.

How a page says what is to be done with a block: tests/docs/blocks.py. What is not run is counted
and named at the end of the test run, with its reason (tests/conftest.py).
"""

import pytest

from barewire.paths import root
from tests.docs import blocks
from tests.docs.places import Place
from tests.docs.running import Differs, Page

PAGES = ["README.md", *sorted(f"docs/{p.name}" for p in (root() / "docs").glob("*.md"))]


def read(page):
    return blocks.read(root() / page, page)


def test_every_block_says_what_it_is():
    """Of all pages, without running any."""
    count = sum(len(read(page)) for page in PAGES)
    assert count > 20, "the reader of pages lost its way"


@pytest.mark.boot
@pytest.mark.bridge
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in PAGES if "```" in (root() / p).read_text()])
def test_page(page, rig, artifacts, record_property):
    found = read(page)
    runner = Page(artifacts / "page", Place(rig, artifacts / "place", page))
    wrong = []
    try:
        for block in found:
            try:
                runner.run(block)
            except Differs as e:
                wrong.append(str(e))
            except Exception as e:
                e.add_note(str(block))
                raise
    finally:
        runner.close()
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)
    record_property("docs", {
        "page": page, "blocks": len(found), "compared": runner.compared,
        **{kind: sum(b.kind == kind for b in found) for kind in ("run", "drawing")},
        "without": [(str(b), b.kind, b.why) for b in found if b.kind in ("dry", "not run")],
    })  # fmt: skip
