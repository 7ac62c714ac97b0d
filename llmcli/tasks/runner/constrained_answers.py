"""Answers in a form: by a grammar or a schema where the backend has them, else without."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmcli.errors import Unsupported
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import replace
from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.instruction_echo import ask_again
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Request

Constraint = Callable[[Request], Request]
"""Adds a grammar or a schema to a request."""


def unconstrained(request: Request) -> Request:
    """Return the request as it is."""
    return request


async def ask_constrained(
    run: TaskRun, request: Request, constraints: Sequence[Constraint], *, instructions: str = ""
) -> tuple[Answer, int]:
    """Return the answer under the first of the constraints that the backend has, and the number of that constraint.

    ``instructions`` are as in ``ask_again``.

    A server may not know grammars, and that of a text with many equal parts may be too large (``BadGrammar``). A schema
    that is refused is the user's mistake. The caller checks an answer under a weaker constraint. Raises the failure of
    a request; the last constraint must be met.
    """
    for number, constrain in enumerate(constraints[:-1]):
        constrained = constrain(request)
        try:
            return await ask_again(run, constrained, instructions), number
        except (Unsupported, BadGrammar) as error:
            if isinstance(error, BadGrammar) and constrained.grammar is None:
                raise
            request = replace(request, id=f"{request.id}.free")
    return await ask_again(run, constraints[-1](request), instructions), len(constraints) - 1
