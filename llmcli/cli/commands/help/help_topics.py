"""The topics of ``llm help``: the pages of the documentation, which the package contains.

The table of ``docs/index.md`` lists the pages in order, with the purpose of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from llmcli.cli import command_registry
from llmcli.fast_dataclass import frozen

_ROW = re.compile(r"^\| (?P<purpose>.+?) \| (?P<links>.*\]\(.+\)) \|$", re.MULTILINE)
_PAGE_LINK = re.compile(r"\]\(([\w/-]+\.md)\)")
_COMMAND_PAGES = "reference/index.md"  # llm help itself shows what this page lists


@frozen
class HelpTopic:
    """A page of the documentation; ``purpose`` completes "you want to"."""

    name: str
    purpose: str
    path: Path

    def read(self) -> str:
        """Return its Markdown."""
        return self.path.read_text(encoding="utf-8")


def docs_directory() -> Path:
    """Return where this installation keeps the pages: beside the package in a checkout, else inside the package."""
    package = Path(__file__).parents[3]
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "docs" / "index.md").is_file():
        return checkout / "docs"
    return package / "_docs"


def topic_name(page: str) -> str:
    """Return the topic of a page (``exit-codes`` of ``reference/exit-codes.md``); ``-guide`` marks a command's page."""
    stem = Path(page).stem
    return f"{stem}-guide" if command_registry.find_command(stem) else stem


def list_topics() -> Iterator[HelpTopic]:
    """Yield the topics in reading order."""
    directory = docs_directory()
    for row in _ROW.finditer((directory / "index.md").read_text(encoding="utf-8")):
        for page in _PAGE_LINK.findall(row["links"]):
            if page != _COMMAND_PAGES:
                yield HelpTopic(topic_name(page), row["purpose"].replace("`", ""), directory / page)


def find_topic(name: str) -> HelpTopic | None:
    """Return the topic called ``name``, or None."""
    return next((topic for topic in list_topics() if topic.name == name), None)
