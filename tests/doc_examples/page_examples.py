"""The examples of the documentation: each fenced block of the README and docs/, and what it shows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL_KINDS = frozenset({"sh", "console"})
OTHER_KINDS = frozenset({"text", "yaml", "json", "python", "markdown", "csv"})


@dataclass(frozen=True)
class Block:
    """A fenced block: ``line`` is that of its fence, counted from 1; ``kind`` the word behind the fence."""

    page: str
    line: int
    kind: str
    body: str

    @property
    def name(self) -> str:
        """The id of its test."""
        return f"{self.page}:{self.line}"

    def commands(self) -> list[Command]:
        """Return the commands of a console block, each with the output that is shown."""
        found: list[Command] = []
        for number, line in enumerate(self.body.splitlines(keepends=True), self.line + 1):
            if line.startswith("$ "):
                found.append(Command(number, line[2:].rstrip("\n"), ""))
            elif found:
                last = found[-1]
                found[-1] = Command(last.line, last.typed, last.shown + line)
        return found


@dataclass(frozen=True)
class Command:
    """What a reader types on a line of a page, and sees then."""

    line: int
    typed: str
    shown: str


def find_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page that are code, also indented ones and those in lists."""
    name = page.relative_to(ROOT).as_posix()
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in {"fence", "code_block"}:
            assert token.map is not None
            yield Block(name, token.map[0] + 1, token.info.partition(" ")[0], token.content)


BLOCKS = {page.relative_to(ROOT).as_posix(): list(find_blocks(page)) for page in PAGES}
EXAMPLES = [block for blocks in BLOCKS.values() for block in blocks if block.kind in SHELL_KINDS]


def find_changed_pages() -> frozenset[str]:
    """Return the pages that differ from the last commit; none outside of a git checkout, or without git."""
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--no-renames", "-z", "--", *map(str, PAGES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return frozenset()
    return frozenset(entry[3:] for entry in done.stdout.split("\0") if entry)
