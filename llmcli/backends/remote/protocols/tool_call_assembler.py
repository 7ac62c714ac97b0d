"""The calls of tools in one answer, whose arguments arrive in pieces."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from llmcli.frozen_dataclass import slotted
from llmcli.types import ToolCall


class InvalidToolCall(ValueError):
    """A call of an unknown tool, or with arguments that are not a JSON object."""


@slotted
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: str | Mapping[str, Any] = ""
    signature: str = ""


class ToolCallAssembler:
    """Collects calls under keys that the protocol chooses. Without ``tool_names``, calls are ignored."""

    def __init__(self, tool_names: Iterable[str]) -> None:
        self._tool_names = frozenset(tool_names)
        self._calls: dict[str, _PartialCall] = {}

    @property
    def num_calls(self) -> int:
        """The number of calls so far."""
        return len(self._calls)

    def add(
        self, key: object, *, call_id: Any = None, name: Any = None, arguments: Any = None, signature: Any = None
    ) -> int:
        """Add to the call ``key`` what is a non-empty string; return the number of characters that are new.

        Id, name and signature are whole, and repeated by some servers; ``arguments`` is a piece of JSON.
        """
        if not self._tool_names:
            return 0
        call = self._calls.setdefault(str(key), _PartialCall())
        call.id = call.id or _text(call_id)
        call.name = call.name or _text(name)
        call.signature = call.signature or _text(signature)
        if isinstance(call.arguments, str):
            call.arguments += _text(arguments)
        return len(_text(arguments)) + len(_text(name))

    def set_arguments(self, key: object, arguments: Any) -> int:
        """Replace the arguments of the call ``key`` by the complete ones, as JSON or as an object.

        Return the number of characters that are new, 1 for an object.
        """
        call = self._calls.get(str(key))
        if call is None or arguments is None:
            return 0
        added = max(0, len(arguments) - len(call.arguments)) if isinstance(arguments, str) else 1
        call.arguments = arguments if isinstance(arguments, str | Mapping) else "[]"  # another type, which is refused
        return added

    def finish(self, *, cut: bool) -> list[ToolCall]:
        """Return the calls in the order in which they began; ``cut``: the answer was truncated, so the last may be incomplete.

        Raises ``InvalidToolCall``.
        """
        calls: list[ToolCall] = []
        for number, partial in enumerate(self._calls.values(), 1):
            try:
                calls.append(self._complete(partial))
            except InvalidToolCall:
                if not (cut and number == len(self._calls)):
                    raise
        return calls

    def _complete(self, partial: _PartialCall) -> ToolCall:
        if partial.name not in self._tool_names:
            raise InvalidToolCall(f"its answer calls {partial.name!r}, which is not one of the tools")
        arguments = partial.arguments
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments.strip() or "{}", parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                raise InvalidToolCall(f"the arguments of its call of {partial.name} are not JSON") from error
        if not isinstance(arguments, Mapping):
            raise InvalidToolCall(f"the arguments of its call of {partial.name} are not an object")
        call_id = partial.id or f"call_{secrets.token_hex(12)}"  # some servers number no calls
        return ToolCall(call_id, partial.name, arguments, partial.signature)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are not JSON."""
    raise ValueError(name)
