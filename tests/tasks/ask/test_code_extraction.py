"""The first code block of an answer, by the rules of CommonMark."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.tasks.ask.code_extraction import CodeBlock, CodeBlockDetector, find_code_block

BLOCKS = [
    ("a\n```python\nx = 1\n```\nb\n```\ny\n```", CodeBlock("x = 1", "python")),
    ("~~~\n```\nx\n```\n~~~", CodeBlock("```\nx\n```", "")),
    ("````md\n```\nx\n```\n````", CodeBlock("```\nx\n```", "md")),
    ("```\nx\n  \n\ny\n``` \n", CodeBlock("x\n  \n\ny", "")),
    ("```sh title=a\nx", CodeBlock("x", "sh")),
    ("```\n\n```\n```\nx\n```", CodeBlock("x", "")),
    ("1. Do:\n   ```sh\n   x\n     y\n   ```\n", CodeBlock("x\n  y", "sh")),
    ("- ```sh\n  x\n  ```\n", CodeBlock("x", "sh")),
    ("```\r\nx\r\ny\r\n```\r\n", CodeBlock("x\ny", "")),
    ("```x``` inline", None),
    ("``\nx\n``", None),
    ("no code", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "block"), BLOCKS)
def test_the_first_block_is_found(text, block):
    """Fences may be longer, of tildes, in a list, or left open; inline code is no block."""
    assert find_code_block(text) == block


@all_rows("size", [1, 3, 100])
@all_rows(("text", "block"), BLOCKS)
def test_an_answer_ends_only_when_its_block_is_complete(text, block, size):
    """However it is cut into pieces: what came until then has the same first block as the whole."""
    detector, read = CodeBlockDetector(), ""
    for at in range(0, len(text), size):
        read += text[at : at + size]
        if detector.feed(text[at : at + size]):
            break
    assert find_code_block(read) == block


def test_an_answer_ends_with_its_first_block():
    """At once; a blank block is not counted, as in the result."""
    text = "a\n```\n\n```\n```sh\nx\n```\nb\n```\ny\n```\n"
    detector = CodeBlockDetector()
    end = next(index for index, char in enumerate(text) if detector.feed(char))
    assert text[: end + 1].endswith("```sh\nx\n```\n") and find_code_block(text[: end + 1]) == CodeBlock("x", "sh")
