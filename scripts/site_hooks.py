"""Hooks of mkdocs.yml: the reference out of docstrings, the sources that pages link to.

The reference is read by griffe from the syntax tree, since the modules are MicroPython's and
are not to be imported. A link of a page to a file of the repository (`../stack/host.py`) leads
to that file inside the site, as a page with numbered lines. A block that the tests do not run
says so (tests/docs/blocks.py).
"""

import inspect
import logging
import re
from pathlib import Path

import griffe
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LOG = logging.getLogger("mkdocs.hooks.site")

# The page, its title, and its modules: (as a program imports it, the file).
REFERENCE = (
    ("net", "net", (
        ("net", "stack/api/net.py"), ("net.dns", "stack/api/dns.py"),
        ("net.dns: Resolver", "stack/api/_recursor.py"),
        ("net.dns: Server", "stack/api/dnsserver.py"),
        ("net.http", "stack/api/http.py"), ("net.httpd", "stack/api/httpd.py"),
        ("net.websocket", "stack/api/websocket.py"), ("net.tls", "stack/api/tls.py"),
        ("net.aio", "stack/api/aio.py"),
    )),
    ("stock", "Stock modules", (
        ("socket", "stack/api/socket.py"), ("ssl", "stack/api/ssl.py"),
        ("select", "stack/api/select.py"), ("network", "stack/api/network.py"),
        ("machine", "stack/api/machine.py"), ("os", "stack/api/os.py"),
        ("requests", "stack/api/requests.py"), ("mip", "stack/api/mip.py"),
        ("ntptime", "stack/api/ntptime.py"), ("hashlib", "stack/api/hashlib.py"),
        ("cryptolib", "stack/api/cryptolib.py"), ("webrepl", "stack/api/webrepl.py"),
    )),
    ("machines", "The machines inside", (
        ("stack.host", "stack/host.py"), ("stack.iface", "stack/iface.py"),
        ("stack.core.frame", "stack/core/frame.py"), ("stack.core.ring", "stack/core/ring.py"),
        ("stack.transport.tcp.conn", "stack/transport/tcp/conn.py"),
        ("stack.tls.connection", "stack/tls/connection.py"),
        ("stack.http.h2.connection", "stack/http/h2/connection.py"),
        ("stack.ws.connection", "stack/ws/connection.py"),
        ("stack.dns.stub", "stack/dns/stub.py"), ("stack.dns.message", "stack/dns/message.py"),
    )),
    ("host", "On the host", (
        ("barewire.guest", "host/barewire/guest.py"), ("barewire.lab", "host/barewire/lab.py"),
        ("barewire.console", "host/barewire/console.py"),
        ("barewire.impair", "host/barewire/impair.py"),
        ("barewire.pytest_plugin", "host/barewire/pytest_plugin.py"),
    )),
)  # fmt: skip

_LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")
_BLOCK = re.compile(r"^([ \t]*)<!--\s*block:\s*(.*?)\s*-->", re.M | re.DOTALL)


def on_config(config):
    """Pages that the navigation does not name come last in it, then the reference."""
    named = re.findall(r"[\w.-]+\.md", str(config.nav))
    more = sorted(p.name for p in (ROOT / "docs").glob("*.md") if p.name not in named)
    if more:
        config.nav.append({"More": more})
    entries = [{title: f"reference/{name}.md"} for name, title, _ in REFERENCE]
    config.nav.append({"Reference": entries})
    return config


def on_files(files, config):
    """The pages of the reference, and those of every source that a page links to."""
    for name, title, modules in REFERENCE:
        text = f"# {title}\n\n" + "\n".join(module(*m) for m in modules)
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    wanted = set()
    for page in list(files.documentation_pages()):
        wanted |= {_target(page, m[1]) for m in _LINK.finditer(page.content_string)}
    for path in sorted(filter(None, wanted)):
        files.append(File.generated(config, f"source/{path}.md", content=source(path)))
    return files


def _target(page, link):
    """The repository's file that a link of a page means, or None for one of docs/."""
    base = ROOT / "docs" / Path(page.src_uri).parent
    path = (base / link).resolve()
    if not path.is_relative_to(ROOT) or path.is_relative_to(ROOT / "docs"):
        return None
    if not path.exists():
        LOG.warning("%s links to %s, which is not there", page.src_uri, link)
        return None
    return path.relative_to(ROOT).as_posix()


def source(path):
    """A page with the file's lines; of a folder, its files' names."""
    full = ROOT / path
    if full.is_dir():
        names = sorted(p.name for p in full.iterdir() if not p.name.startswith(("_", ".")))
        return f"# {path}\n\n" + "\n".join(f"- `{n}`" for n in names) + "\n"
    language = {".py": "python", ".c": "c", ".S": "gas", ".md": "markdown"}.get(full.suffix, "text")
    head = f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n"
    fence = f'~~~~~~~~{{ .{language} linenums="1" }}\n'
    return f"{head}{fence}{full.read_text().rstrip()}\n~~~~~~~~\n"


def on_page_markdown(markdown, page, config, files):
    def link(m):
        path = _target(page.file, m[1])
        if path is None:
            return m[0]
        up = "../" * page.file.src_uri.count("/")
        return f"]({up}source/{path}.md{m[2] or ''})"

    def block(m):
        for word, text in (("dry:", "Looked at by the tests, not run"), ("not run:", "Not run")):
            if word in m[2]:
                why = m[2].partition(word)[2].strip()
                return f"{m[1]}*{text}: {why}.*\n"
        return ""

    return _BLOCK.sub(block, _LINK.sub(link, markdown))


# The reference.


def module(name, path):
    """Markdown of a module: what it says of itself, its public functions and classes."""
    full = ROOT / path
    loaded = griffe.visit(name, filepath=full, code=full.read_text())
    out = [f"## {name}\n\n[{path}](../../{path})\n", _doc(loaded)]
    for member in loaded.members.values():
        if _public(member):
            out.append(_function(member, "###") if member.is_function else _class(member))
    return "\n".join(out)


def _public(member):
    known = not member.is_alias and (member.is_function or member.is_class)
    return known and not member.name.startswith("_") and member.docstring


def _class(member):
    out = [f"### class {member.name} {{ #{_anchor(member)} }}\n", _doc(member)]
    out += [_function(m, "####") for m in member.members.values() if _public(m) and m.is_function]
    return "\n".join(out)


def _anchor(member):
    return re.sub(r"[^a-z0-9]+", "-", member.path.lower())


def _function(member, level):
    words = []
    for p in member.parameters:
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(str(p.kind.value), "")
        # griffe says () and {} for the values of these.
        default = "" if p.default is None or star else f"={p.default}"
        words.append(star + p.name + default)
    if words and member.parent.is_class and "staticmethod" not in member.labels:
        words.pop(0)
    signature = f"{member.name}({', '.join(words)})"
    if "property" in member.labels:
        signature = member.name
    return f"{level} `{signature}` {{ #{_anchor(member)} }}\n\n{_doc(member)}"


def _doc(member):
    """A docstring as Markdown: its indented parts are code, its words are words."""
    text = inspect.cleandoc(member.docstring.value) if member.docstring else ""
    out, fenced = [], False
    lines = text.splitlines()
    for i, line in enumerate(lines):
        code = line.startswith("    ") or (
            fenced and not line and any(s.startswith("    ") for s in lines[i + 1 : i + 2])
        )
        if code != fenced:
            out += ["```text"] if code else ["```", ""]
            if code:
                out.insert(len(out) - 1, "")
            fenced = code
        out.append(line[4:] if code else _escaped(line))
    if fenced:
        out.append("```")
    return "\n".join(out) + "\n"


def _escaped(line):
    return re.sub(r"([<*_\[\]])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"\\\1", line)
