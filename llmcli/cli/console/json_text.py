r"""JSON for programs that is also safe to show on a terminal.

Letters of all scripts are written unescaped. json.dumps would then also leave DEL, C1 and Unicode's bidirectional controls and tags, which affect a terminal, and U+2028 and U+2029, which some programs treat as line ends. These are always written as ``\uXXXX``, which parses to the same text.
"""

from __future__ import annotations

import json
from typing import Any

from llmcli.control_characters import control_character_pattern


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON text."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)  # such characters occur only in strings
    return control_character_pattern().sub(lambda match: json.dumps(match.group())[1:-1], text)
