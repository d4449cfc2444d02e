"""The site builds without a warning, has what it should, and needs nothing from elsewhere; links of
README.md and of docs/ lead to files, and to functions that are in them."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from barewire.paths import root
from tests.docs.test_pages import PAGES

# [`Ipv4.on_frame`](../stack/net/ipv4.py)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


class _Tags(HTMLParser):
    """What a page loads: the sources of scripts, styles, images and frames."""

    def __init__(self):
        super().__init__()
        self.loads, self.links = [], []

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag in ("script", "img", "iframe", "link") and (a.get("src") or a.get("href")):
            self.loads.append(a.get("src") or a["href"])
        elif tag == "a" and a.get("href"):
            self.links.append(a["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", folder]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=root(), capture_output=True, text=True, timeout=280, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site(site):
    wrong = []
    for path in site.rglob("*.html"):
        tags = _Tags()
        tags.feed(path.read_text())
        wrong += [f"{path.name} loads {u}" for u in tags.loads if re.match(r"(https?:)?//", u)]
        for link in tags.links:
            target = link.partition("#")[0]
            if target and not re.match(r"\w+:|/", target) and target != ".":
                if not (path.parent / target).exists():
                    wrong.append(f"{path.name} links to {link}")
    assert not wrong, wrong
    for page in (p for p in PAGES if p.startswith("docs/")):
        assert (site / page.removeprefix("docs/").replace(".md", ".html")).exists(), page


def test_the_reference(site):
    """It has the functions and classes of the modules, with their words."""
    net = (site / "reference" / "net.html").read_text()
    for name in ("interfaces()", "ping(host, count=4", "class Resolver", "serve(app"):
        assert name in net, name
    stock = (site / "reference" / "stock.html").read_text()
    for name in ("class SSLContext", "class LAN", "class poll"):
        assert name in stock or name.replace("class ", "") in stock, name


def names_in(path):
    """Functions and classes of a Python file, methods as Class.name too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}" for n in node.body if hasattr(n, "name")}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    at = root() / page
    text = re.sub(r"^```.*?^```", "", at.read_text(), flags=re.M | re.S)
    wrong = []
    for words, link in _LINK.findall(text):
        if re.match(r"\w+:|#", link):
            continue
        target = (at.parent / link.partition("#")[0]).resolve()
        if not target.exists():
            wrong.append(link)
        name = re.fullmatch(r"`([A-Za-z_][\w.]*)(\(\))?`", words)
        if name and target.suffix == ".py" and name[1] != target.name:
            if name[1] not in names_in(target):
                wrong.append(f"{name[1]} in {link}")
    assert not wrong, wrong
