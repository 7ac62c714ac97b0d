"""Answers in a form: by a grammar or a schema where the backend has them, else without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from llmcli.errors import Unsupported
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import replace
from llmcli.tasks.runner.answers import Answer
from llmcli.types import Request

Constraint = Callable[[Request], Request]
"""Adds a grammar or a schema to a request."""


async def ask_constrained(
    ask: Callable[[Request], Awaitable[Answer]], request: Request, constraints: Sequence[Constraint]
) -> tuple[Answer, int]:
    """Return the answer of ``ask`` under the first of the constraints that the backend has, and how many it has not.

    If it has none of them, the answer is that to the request as it is.

    A server may not know grammars, and that of a text with many equal parts may be too large (``BadGrammar``). A schema
    that is refused is the user's mistake. The caller checks an answer under a weaker constraint. Raises the failure of
    a request.
    """
    for number, constrain in enumerate(constraints):
        constrained = constrain(request)
        try:
            return await ask(constrained), number
        except (Unsupported, BadGrammar) as error:
            if isinstance(error, BadGrammar) and constrained.grammar is None:
                raise
            request = replace(request, id=f"{request.id}.free")
    return await ask(request), len(constraints)
