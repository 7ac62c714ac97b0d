"""Validation of a value against a JSON schema, by the ``jsonschema`` package.

References are resolved inside the schema only: nothing is fetched. ``$schema`` selects the draft, by default 2020-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmcli.errors import InputError

MAX_DEPTH_LEVELS = 64
_MAX_MESSAGE_CHARS = 300


class SchemaValidator:
    """Validates values against one schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Raises ``InputError`` for an invalid schema."""
        import jsonschema
        import referencing

        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise _schema_error(f"{error.json_path}: {_shorten(error.message)}") from error
        except RecursionError as error:
            raise _schema_error("it is nested too deeply") from error
        self._validator = kind(schema, registry=referencing.Registry())

    def iter_errors(self, value: Any) -> Iterator[str]:
        """Yield the errors in a value decoded from JSON, each a sentence that begins with a path.

        Raises ``InputError`` if the schema refers to another document, or to itself without end.
        """
        import referencing.exceptions

        if _is_deeper(value, MAX_DEPTH_LEVELS):
            yield f"$: nested more than {MAX_DEPTH_LEVELS} levels deep"
            return
        try:
            for error in self._validator.iter_errors(value):
                yield f"{error.json_path}: {_shorten(error.message)}"
        except referencing.exceptions.Unresolvable as error:
            raise _schema_error(f"it refers to {error.ref!r}, which it does not contain") from error
        except RecursionError as error:
            raise _schema_error("it refers to itself without end") from error


def _schema_error(detail: str) -> InputError:
    return InputError("schema", detail=detail)


def _shorten(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE_CHARS else f"{message[:_MAX_MESSAGE_CHARS]}..."


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether arrays and objects are nested more than ``levels`` deep."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [item for each in layer for item in _children(each)]
        if not layer:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []
