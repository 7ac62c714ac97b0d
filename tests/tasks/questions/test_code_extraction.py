"""The first code block of an answer, by the rules of CommonMark."""

from __future__ import annotations

import pytest

from llmcli.tasks.questions.code_extraction import CodeBlock, find_code_block


@pytest.mark.parametrize(
    ("text", "block"),
    [
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
    ],
)
def test_the_first_block_is_found(text, block):
    """Fences may be longer, of tildes, in a list, or left open; inline code is no block."""
    assert find_code_block(text) == block
