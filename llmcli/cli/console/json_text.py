r"""JSON for programs that is also safe to show on a terminal.

Letters of all scripts are written unescaped. json.dumps would then also leave DEL, C1 and Unicode's bidirectional controls and tags, which affect a terminal, and U+2028 and U+2029, which some programs treat as line ends. These are always written as ``\uXXXX``, which parses to the same text.
"""

from __future__ import annotations

import json
import re
from typing import Any

from llmcli.control_characters import control_character_pattern

_UNDECODED_BYTE = re.compile("[\udc80-\udcff]")
"""A byte of a name that is no UTF-8, as Python has it (PEP 383)."""


def dumps(value: Any, *, indent: int | None = None) -> str:
    r"""Return ``value`` as JSON text; bytes of a name that are no UTF-8 are ``\xNN`` in it."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)  # such characters occur only in strings
    text = _UNDECODED_BYTE.sub(lambda match: rf"\\x{ord(match[0]) - 0xDC00:02x}", text)
    return control_character_pattern().sub(lambda match: json.dumps(match.group())[1:-1], text)
