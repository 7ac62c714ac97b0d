"""Answers in JSON of a schema that the user gives: an answer is valid, or the exit code is 3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import json_text
from llmcli.cli.input.inputs import decode_argument
from llmcli.errors.incomplete_results import AnswerTruncated, InvalidAnswer
from llmcli.fast_dataclass import replace
from llmcli.schema_validation import SchemaValidator
from llmcli.tasks.schema_argument import read_schema
from llmcli.types import FinishReason, Result, TaskEvent


def read_answer_schema(ctx: CommandContext, argument: str) -> Mapping[str, Any]:
    """Return the schema of ``--schema``. Raises what ``read_schema`` raises, and ``InputError`` for an invalid one."""
    schema = read_schema(decode_argument(argument), ctx.runtime.interrupt)
    SchemaValidator(schema)
    return schema


def schema_instructions(schema: Mapping[str, Any]) -> str:
    """Return the instructions that describe a schema to the model, with the descriptions of its fields."""
    return f"Answer only with JSON of this schema:\n{json_text.dumps(schema)}"


def require_valid(events: Iterator[TaskEvent], schema: Mapping[str, Any]) -> Iterator[TaskEvent]:
    """Add the field ``value``, the decoded answer, to a Result; an answer that is not valid becomes incomplete.

    That is one at whose end a limit of tokens stands, the user's own included, or one of a server that does not hold to
    the schema.
    """
    validator = SchemaValidator(dict(schema))
    for event in events:
        if not isinstance(event, Result):
            yield event
            continue
        value, problem = _decode(event.text or "", validator)
        if problem:
            wrong = InvalidAnswer("answer", detail=f"the answer is not valid JSON of the schema: {problem}")
            said = AnswerTruncated() if event.finish_reason is FinishReason.LENGTH else wrong
            yield replace(event, cut=True, incomplete=event.incomplete or said)
        else:
            yield replace(event, fields={**event.fields, "value": value})


def _decode(text: str, validator: SchemaValidator) -> tuple[Any, str]:
    """Return the value of an answer, and what is wrong with it, "" if nothing is."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return None, f"{error}"
    except RecursionError:
        return None, "nested too deeply"
    return value, next(validator.iter_errors(value), "")
