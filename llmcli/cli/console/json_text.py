r"""JSON for programs that is also safe to show on a terminal, and the JSON object of a result.

Letters of all scripts are written unescaped. json.dumps would then also leave DEL, C1 and Unicode's bidirectional
controls and tags, which affect a terminal, and U+2028 and U+2029, which some programs treat as line ends. These are
always written as ``\uXXXX``, which parses to the same text.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from llmcli.control_characters import control_character_pattern
from llmcli.fast_dataclass import asdict
from llmcli.types import Result, Usage

if TYPE_CHECKING:
    from llmcli.runtime.runtime import Runtime

_UNDECODED_BYTE = re.compile("[\udc80-\udcff]")
"""A byte of a name that is no UTF-8, as Python has it (PEP 383)."""


def dumps(value: Any, *, indent: int | None = None) -> str:
    r"""Return ``value`` as JSON text; bytes of a name that are no UTF-8 are ``\xNN`` in it."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)  # such characters occur only in strings
    text = _UNDECODED_BYTE.sub(lambda match: rf"\\x{ord(match[0]) - 0xDC00:02x}", text)
    return control_character_pattern().sub(lambda match: json.dumps(match.group())[1:-1], text)


def result_as_object(result: Result, runtime: Runtime, *, named: bool = False) -> dict[str, Any]:
    """Return the object; ``named``: with the name of the input.

    It has the weights and adapters of a model on this machine, and the cost of a hosted one whose price is known.
    """
    price = runtime.price_of(result.model)
    head = {"name": result.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")} if named else {}
    text = {} if result.text is None else {"text": result.text}
    if result.data is not None:
        text = {"base64": base64.b64encode(result.data).decode()}
    return {
        **head,
        **text,
        **result.fields,
        "model": result.model,
        **({} if runtime.weights is None else {"weights": runtime.weights}),
        **({"adapters": [adapter.to_json() for adapter in runtime.adapters]} if runtime.adapters else {}),
        "prompt": result.prompt,
        "finish_reason": str(result.finish_reason),
        "usage": _usage_as_object(result.usage),
        "timings": asdict(result.timings),
        **({} if price is None else price.as_fields(result.usage)),
        "warnings": list(result.warnings),
    }


def _usage_as_object(usage: Usage) -> dict[str, Any]:
    """Return the token counts; those of a draft model only if it drafted."""
    counts = usage.to_json()
    return counts if usage.draft_tokens else {name: n for name, n in counts.items() if "draft" not in name}
