"""The argument ``--schema``: the short form, a file with a JSON Schema, the schema itself, or a Python type."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmcli.errors import BadDocument, MissingExtra, UsageError
from llmcli.interrupt import Interrupt
from llmcli.tasks.schemas.schema_shorthand import parse_shorthand, shorthand_schema

PYDANTIC_EXTRA = "pydantic"
_PYTHON_TYPE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_IMPORT_ERRORS = (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, OSError, LookupError)


def read_schema(argument: str, interrupt: Interrupt, *, nullable: bool = False) -> dict[str, Any]:
    """Return the JSON Schema that ``argument`` gives.

    It is ``@FILE``, or a name that ends in ".json" or holds a slash: a file with a JSON Schema; a text that begins with
    "{": a JSON Schema; ``MODULE:CLASS``: a type that pydantic knows, of a module found from the working directory too;
    else the short form (``parse_shorthand``), whose fields may be null if ``nullable``.

    Raises ``UsageError``, ``BadDocument``, ``MissingError``, ``MissingExtra``, and what reading a file raises. Whether
    the keywords of a JSON Schema are valid is not checked.
    """
    given = argument.strip()
    if given.startswith("@"):
        return _read_schema_file(given[1:], interrupt)
    if given.startswith("{"):
        return _parse_json_schema(given, "--schema")
    python_type = _PYTHON_TYPE.fullmatch(given)
    if python_type is not None:
        return _python_schema(*python_type.groups())
    if given.endswith(".json") or (os.sep in given and not any(map(str.isspace, given))):
        return _read_schema_file(given, interrupt)
    return shorthand_schema(parse_shorthand(given), nullable=nullable)


def _read_schema_file(name: str, interrupt: Interrupt) -> dict[str, Any]:
    from llmcli.documents.reading.file_reader import read_file

    if not name:
        raise UsageError("--schema @ names no file", detail="Try: --schema @schema.json")
    return _parse_json_schema(read_file(name, interrupt).text, name)


def _parse_json_schema(text: str, name: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadDocument(name, detail=f"not valid JSON: {error.msg}", line=error.lineno, kind="schema") from error
    except RecursionError as error:
        raise BadDocument(name, detail="nested too deeply", kind="schema") from error
    if not isinstance(schema, Mapping):
        raise BadDocument(name, detail="a JSON Schema is an object", kind="schema")
    return dict(schema)


def _python_schema(module: str, name: str) -> dict[str, Any]:
    try:
        import pydantic
    except ModuleNotFoundError as error:
        raise MissingExtra("pydantic", detail=PYDANTIC_EXTRA) from error
    try:
        with _importing_from_working_directory():
            value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
        return dict(pydantic.TypeAdapter(value).json_schema())
    except (*_IMPORT_ERRORS, pydantic.errors.PydanticUserError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(
            f"--schema {module}:{name} cannot be used: {reason}",
            detail="It is MODULE:CLASS, a class of an importable module; a description follows a colon and a blank.",
        ) from error


@contextlib.contextmanager
def _importing_from_working_directory() -> Iterator[None]:
    """Make modules of the working directory importable, as ``python -m`` does."""
    directory = str(Path.cwd())
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the module has changed the path itself
            sys.path.remove(directory)
