"""The JSON object of a result, by the pipe contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmcli.frozen_dataclass import asdict
from llmcli.types import Result, Usage

if TYPE_CHECKING:
    from llmcli.runtime.runtime import Runtime


def result_as_object(result: Result, runtime: Runtime, *, named: bool = False) -> dict[str, Any]:
    """Return the object; ``named``: with the name of the input.

    It has the weights and adapters of a model on this machine, and the cost of a hosted one whose price is known.
    """
    price = runtime.price_of(result.model)
    head = {"name": result.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")} if named else {}
    text = {} if result.text is None else {"text": result.text}
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


def _usage_as_object(usage: Usage) -> dict[str, int]:
    """Return the token counts; those of a draft model only if it drafted."""
    counts = asdict(usage)
    return counts if usage.draft_tokens else {name: n for name, n in counts.items() if "draft" not in name}
