"""The code blocks of a page of Markdown, and what is to be done with each.

A block is fenced, and its language says where it runs:

    python      a program for the guest              pycon    the guest's prompt: `>>> `, `... `
    sh          commands of the host, by bash -eu    console  `$ command` and what it prints
    bash zsh fish   commands of that shell           text     what the block before it printed

A comment on the line before it says what else there is to know, several with semicolons:

    <!-- block: cpython -->            it runs on the host's Python, with the stack to import
    <!-- block: pytest -->             it is a file of tests, run by pytest
    <!-- block: file NAME -->          it is saved beside the page's other files
    <!-- block: numbers vary -->       numbers are not compared, the rest is
    <!-- block: case varies -->        letters may be upper or lower case
    <!-- block: until WORDS -->        the command goes on until the page ends or another one of
                                       this kind comes; the page goes on when it has printed WORDS
    <!-- block: raises -->             it is to end with an exception, or a status that is not 0
    <!-- block: guest NAME -->         another guest of the page
    <!-- block: dry: WHY -->           looked at and not run: shell's syntax, `make -n`, options
    <!-- block: not run: WHY -->       neither
    <!-- block: drawing -->            no code

Nothing else is skipped: an indented block, or one of another language, is an error.
"""

import re

from markdown_it import MarkdownIt

LANGUAGES = ("python", "pycon", "sh", "console", "bash", "zsh", "fish", "text")
_WORDS = ("cpython", "pytest", "file", "numbers vary", "case varies", "until", "raises", "guest",
          "dry:", "not run:", "drawing")  # fmt: skip
_COMMENT = re.compile(r"<!--\s*block:\s*(.*?)\s*-->", re.DOTALL)
_NEXT = re.compile("; (?=%s)" % "|".join(_WORDS))


class WrongBlock(Exception):
    """The page, not the code in it, is wrong."""


class Block:
    """One block: `language`, `text`, `line` (of its fence) and what the comment says."""

    def __init__(self, page, line, language, text, comment):
        self.page, self.line, self.language, self.text = page, line, language, text
        self.words = {}
        for part in filter(None, _NEXT.split(comment or "")):
            word = next((w for w in _WORDS if part.startswith(w)), None)
            if word is None:
                raise WrongBlock(f"{self}: what is {part!r}?")
            self.words[word] = " ".join(part[len(word) :].split())
        if language not in LANGUAGES and not {"file", "drawing"} & set(self.words):
            raise WrongBlock(f"{self}: a block of {language or 'no language'}: {LANGUAGES}")
        for word in ("dry:", "not run:", "until", "file", "guest"):
            if self.words.get(word) == "":
                raise WrongBlock(f"{self}: {word} what?")

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def kind(self):
        """"run", "dry", "not run" or "drawing"."""
        for word in ("dry:", "not run:", "drawing"):
            if word in self.words:
                return word.rstrip(":")
        return "run"

    @property
    def why(self):
        """Why it is not run."""
        return self.words.get("dry:") or self.words.get("not run:")


def read(path, page):
    """The blocks of the file, in order. WrongBlock."""
    found, comment = [], None
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text()):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            raise WrongBlock(f"{page}:{line}: an indented block; fence it and name its language")
        if token.type == "fence":
            language = (token.info.split() or [""])[0]
            found.append(Block(page, line, language, token.content, comment))
            comment = None
        elif comment is not None:
            raise WrongBlock(f"{page}:{line}: no block follows the comment {comment!r}")
        elif token.type == "html_block":
            said = _COMMENT.search(token.content)
            comment = " ".join(said[1].split()) if said else None
    return found


def examples(text, prompt=">>> ", more="... "):
    """[(source, expected output or "")] of a session; what precedes the first prompt is dropped."""
    found, source, want = [], None, []
    for line in text.splitlines():
        if line.startswith(prompt) or line == prompt.rstrip():
            if source is not None:
                found.append(("\n".join(source), "\n".join(want)))
            source, want = [line[len(prompt) :]], []
        elif source is not None and not want and (line.startswith(more) or line == more.rstrip()):
            source.append(line[len(more) :])
        elif source is not None:
            want.append(line)
    if source is not None:
        found.append(("\n".join(source), "\n".join(want)))
    return found
