"""The JSON object of a result, by the pipe contract."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmcli.types import Result

if TYPE_CHECKING:
    from llmcli.configuration.pricing import Price


def result_as_object(result: Result, *, named: bool = False, price: Price | None = None) -> dict[str, Any]:
    """Return the object; ``named``: with the name of the input. It has the cost if the ``price`` is known."""
    head = {"name": result.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")} if named else {}
    text = {} if result.text is None else {"text": result.text}
    return {
        **head,
        **text,
        **result.fields,
        "model": result.model,
        "prompt": result.prompt,
        "finish_reason": str(result.finish_reason),
        "usage": asdict(result.usage),
        "timings": asdict(result.timings),
        **({} if price is None else price.as_fields(result.usage)),
        "warnings": list(result.warnings),
    }
