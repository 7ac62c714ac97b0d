"""Streamed Markdown: the resulting screen, and its cost."""

from __future__ import annotations

import re

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminal import RecordedScreen

from llmcli.cli.console.environment import Environment
from llmcli.cli.render.terminal_markdown import MAX_BLOCK_CHARS, MarkdownBlockSplitter, MarkdownWriter

DOCUMENT = """# Title

Some *text* with **bold** and `code`, long enough that it has to be wrapped at the end of a line of the terminal.

- one
- two
  - nested

1. first

   more of it
2. second
   ```python
   def f():
       return 1
   ```

| a | b |
|---|---|
| 1 | 2 |

> quote

Setext
------

```
code
```
end"""
LINE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Memory:
    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


def show(text, size=4, *, live=True, columns=60, **env):
    """Feed ``text`` in pieces of ``size`` and return (screen, bytes, renderer)."""
    memory = Memory()
    out = MarkdownWriter(
        Environment(stdout=-1, environ={"TERM": "xterm", "COLUMNS": str(columns), **env}), memory, terminal=live
    )
    for start in range(0, len(text), size):
        out.feed(text[start : start + size])
    out.finish()
    screen = RecordedScreen(columns)
    screen.set_mode(pyte.modes.LNM)
    pyte.ByteStream(screen).feed(memory.data)
    return "\n".join(screen.shown_rows()).rstrip(), memory.data, out


def test_the_final_screen_has_no_trace_of_the_preview():
    """The live preview leaves no trace: the screen is that of the finished blocks alone."""
    assert show(DOCUMENT)[0] == show(DOCUMENT, live=False)[0]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_pieces_do_not_matter(size):
    """The screen does not depend on how the answer was split."""
    assert show(DOCUMENT, size)[0] == show(DOCUMENT)[0]


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab *-#`>|_1.)\n ")), st.integers(1, 9))
def test_any_text_is_shown_completely(text, size):
    """Every letter of an answer is on the screen at the end, whatever its markup means."""
    screen = show(text, size)[0]
    fences = re.findall(r"^ *(?:`{3,}|~{3,}).*$", text, re.MULTILINE)
    for letter in "ab":
        assert screen.count(letter) >= text.count(letter) - "".join(fences).count(letter)


def test_marks_are_rendered():
    """Markdown markup becomes styles."""
    screen = show(DOCUMENT)[0]
    assert "**" not in screen and "• one" in screen and "def f():" in screen and "# Title" not in screen


def test_line_breaks_stay():
    """The lines of a poem are lines."""
    assert show("The rain\nit rains\n\non me\n")[0] == "The rain\nit rains\n\non me"


def test_finished_blocks_are_rendered_once_and_the_cost_of_one_is_constant():
    """The thirtieth paragraph costs what the first costs, counted in rendered characters and in bytes written."""
    paragraph = "A paragraph of *some* words that goes on for a while, twice the width of a line at least.\n\n"
    _, few, first = show(paragraph * 2)
    _, many, last = show(paragraph * 30)
    assert last.rendered_chars <= first.rendered_chars * 15 and len(many) <= len(few) * 16


@pytest.mark.slow
def test_one_long_block_costs_in_proportion_to_its_length():
    """An endless list or paragraph does not become slower."""
    item = "word after word "
    half, whole = show(item * 500)[2].rendered_chars, show(item * 1000)[2].rendered_chars
    assert whole <= 2.5 * half


def test_an_endless_block_is_bounded():
    """The unfinished part stays below a limit."""
    blocks = MarkdownBlockSplitter()
    longest = 0
    for _ in range(5000):
        list(blocks.feed_line("| a | b |"))
        longest = max(longest, len(blocks.open_block("").text))
    assert longest <= MAX_BLOCK_CHARS + 5000


def test_only_what_changed_is_written():
    """While one paragraph grows, rows above the last are not painted again."""
    _, data, _ = show("word " * 60)
    assert data.count(b"word") < 60 * 8


def test_no_color_means_no_color():
    """NO_COLOR leaves bold, but no colours."""
    data = show("# T\n\n`code` and\n\n```\nx\n```\n", NO_COLOR="1")[1].decode()
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])", data)


def test_entities_cannot_smuggle_control_characters():
    """An HTML entity for a control character is as harmless as the character."""
    data = show("a &#x9b;2J &#155;31m &#8238; b\n")[1].decode()
    assert not any(char in data for char in "\x9b\u202e")


def test_control_sequences_split_over_pieces_are_removed():
    """Their removal does not depend on the pieces."""
    screen, data, _ = show("a\x1b]0;evil\x07b", 1)
    assert screen == "ab" and b"evil" not in data


def test_an_empty_answer_is_an_empty_line():
    """An answer without text ends like any other."""
    assert show("")[1] == b"\n"
