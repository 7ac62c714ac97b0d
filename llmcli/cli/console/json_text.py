r"""JSON for programs that is also harmless where people look at it.

Letters of all scripts are written as they are. json.dumps then leaves DEL, C1 controls and the bidirectional controls
of Unicode as they are too, which drive a terminal or turn the reading order around, and U+2028 and U+2029, which some
programs take for the end of a line. They are written as ``\uXXXX``, wherever the text goes: parsed it is the same.
"""

from __future__ import annotations

import json
from typing import Any

from llmcli.control_characters import control_character_pattern


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON text."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)  # such characters occur in strings only
    return control_character_pattern().sub(lambda match: f"\\u{ord(match.group()):04x}", text)
