"""Examples of texts with their values, from a file, which are shown to the model before each passage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen
from llmcli.schema_validation import SchemaValidator

MAX_EXAMPLES = 20
_KEYS = {"text", "values"}


@frozen
class ExtractionExample:
    """A text and its values: an object of the schema, or a list of them with ``many``."""

    text: str
    values: Any

    def iter_texts(self) -> Iterator[str]:
        """Yield the text values, in lower case and without white space around them."""
        yield from _iter_texts(self.values)


def parse_examples(text: str, name: str, validator: SchemaValidator, *, many: bool) -> list[ExtractionExample]:
    """Return the examples in a file of JSON lines, or of a JSON list: objects with ``text`` and ``values``.

    Raises ``BadDocument`` for a file that is not of this form, and for values that do not fit the schema of one object
    (of each one of a list, with ``many``).
    """
    examples = []
    for number, given in _read_objects(text, name):
        problem = _find_problem(given, validator, many=many)
        if problem:
            raise BadDocument(name, detail=problem, line=number, kind="examples")
        examples.append(ExtractionExample(given["text"], given["values"]))
    if not 0 < len(examples) <= MAX_EXAMPLES:
        detail = f"it has {len(examples)} examples, more than {MAX_EXAMPLES}" if examples else "it has no examples"
        raise BadDocument(name, detail=detail, kind="examples")
    return examples


def _read_objects(text: str, name: str) -> Iterator[tuple[int | None, Any]]:
    """Yield each JSON value with its line."""
    whole = text.lstrip("\ufeff \t\r\n").startswith("[")
    lines = [(None, text)] if whole else [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    for number, line in lines:
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            where = error.lineno if number is None else number
            raise BadDocument(name, detail=f"not valid JSON: {error.msg}", line=where, kind="examples") from error
        except RecursionError as error:
            raise BadDocument(name, detail="nested too deeply", line=number, kind="examples") from error
        yield from [(None, each) for each in value] if whole else [(number, value)]


def _find_problem(given: Any, validator: SchemaValidator, *, many: bool) -> str:
    """Return what is wrong with an example, "" if nothing is."""
    if not isinstance(given, dict) or set(given) != _KEYS or not isinstance(given["text"], str):
        return 'an example is an object of two keys, "text" (a text) and "values"'
    if many and not isinstance(given["values"], list):
        return 'with --many, "values" is a list of objects'
    for value in given["values"] if many else [given["values"]]:
        problem = next(validator.iter_errors(value), "")
        if problem:
            return f"its values do not fit the schema: {problem}"
    return ""


def _iter_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip().casefold()
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _iter_texts(each)
