"""Pages of the documentation on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.cli.commands.help.help_topics import topic_name
from llmcli.cli.console.environment import Environment
from llmcli.cli.render.terminal_markdown import MarkdownWriter
from llmcli.frozen_dataclass import replace

_MAX_COLUMNS = 100  # longer lines are hard to read
_FENCE = "```"
_HIDDEN = ("![", "<!--")
_SINGLE_LINE = re.compile(r"\s*(?:\||#|$)")
"""The beginning of a line that the next one does not continue: a table's row, a heading, an empty line."""
_NEW_BLOCK = re.compile(r"\s*(?:[-*+] |\d+\. |\||#|>|```|$)")
"""The beginning of a line that does not continue the one before."""
_PAGE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([\w./-]*)(?:#[\w-]*)?\)")


class _Buffer:
    """Takes the bytes that would go to the terminal."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def render_page(markdown: str, environment: Environment) -> str:
    """Return a page as a terminal shows it, with escape sequences."""
    columns = min(environment.columns(environment.stdout), _MAX_COLUMNS)
    narrow = replace(environment, environ={**environment.environ, "COLUMNS": str(columns)})
    buffer = _Buffer()
    writer = MarkdownWriter(narrow, buffer, terminal=False)
    for line in _prepare_lines(markdown):
        writer.feed(f"{line}\n")
    writer.finish()
    return buffer.data.decode()


def _prepare_lines(markdown: str) -> Iterator[str]:
    """Yield the lines of a page: one line per paragraph, links name the topic, pictures are left out."""
    paragraph: list[str] = []
    in_fence = False
    for line in [*markdown.splitlines(), ""]:
        if paragraph and not _NEW_BLOCK.match(line):
            paragraph.append(line.strip())
            continue
        if paragraph:
            yield _PAGE_LINK.sub(_name_topic, " ".join(paragraph))
            paragraph = []
        fence = line.lstrip().startswith(_FENCE)
        if in_fence or fence:
            yield line
        elif _SINGLE_LINE.match(line):
            yield _PAGE_LINK.sub(_name_topic, line)
        elif not line.startswith(_HIDDEN):
            paragraph = [line]
        in_fence ^= fence


def _name_topic(link: re.Match[str]) -> str:
    """Return the text of a link to a page, and the command that shows the page."""
    text, page = link.groups()
    if not page:  # a section of the same page
        return text
    command = page.removeprefix("../").removeprefix("reference/").removesuffix(".md")
    command = "index" if command == "index-command" else "" if command == "index" else command
    if "reference/" in page and command != "exit-codes":
        return f"{text} (`llm help {command}`)" if command else f"{text} (`llm help`)"
    return f"{text} (`llm help {topic_name(page)}`)"
