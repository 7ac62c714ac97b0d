"""The value of --schema: short form, file, JSON, Python type."""

from __future__ import annotations

import sys

import pytest

from llmcli.errors import BadDocument, MissingError, MissingExtra, UsageError
from llmcli.interrupt import Interrupt
from llmcli.tasks.schema_argument import read_schema

SCHEMA = '{"type": "object", "properties": {"name": {"type": "string"}}}'


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a schema in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return lambda argument, **options: read_schema(argument, Interrupt(), **options)


@pytest.mark.parametrize("argument", ["@s.txt", "s.json", "./s.json", "sub/s", f"  {SCHEMA} "])
def test_a_json_schema_comes_from_a_file_or_the_argument(read, tmp_path, argument):
    """A name needs no @ if it ends in .json or holds a slash."""
    (tmp_path / "sub").mkdir()
    for name in ("s.txt", "s.json", "sub/s"):
        (tmp_path / name).write_text(SCHEMA)
    assert read(argument)["properties"] == {"name": {"type": "string"}}


def test_anything_else_is_the_short_form(read, tmp_path):
    """Also if a file of that name exists, and if a description holds a slash."""
    (tmp_path / "name").write_text(SCHEMA)
    assert list(read("name")["properties"]) == ["name"]
    assert read("price (number): in EUR/kg")["properties"]["price"]["description"] == "in EUR/kg"
    assert read("name", nullable=True)["properties"]["name"]["type"] == ["string", "null"]


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, ""])
def test_a_file_that_holds_no_schema_is_refused(read, tmp_path, content):
    """The error names the file."""
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(BadDocument) as caught:
        read("s.json")
    assert caught.value.subject == "s.json" and caught.value.kind == "schema"


def test_a_missing_file_is_missing(read):
    """And @ alone names none."""
    with pytest.raises(MissingError):
        read("@none.json")
    with pytest.raises(UsageError):
        read("@")


def test_a_python_type_is_found_from_the_working_directory(read, tmp_path):
    """Its schema is that of pydantic; the search path is as before afterwards."""
    (tmp_path / "invoice_types.py").write_text(
        "import pydantic\nclass Invoice(pydantic.BaseModel):\n    total: float\n"
    )
    before = list(sys.path)
    assert read("invoice_types:Invoice")["properties"]["total"]["type"] == "number"
    assert sys.path == before


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("no_such_module:Invoice", "ModuleNotFoundError"),
        ("json:Invoice", "AttributeError"),
        ("json:JSONDecoder", "PydanticSchemaGenerationError"),
        ("broken_types:Invoice", "SyntaxError"),
    ],
)
def test_an_unusable_python_type_is_refused_with_its_reason(read, tmp_path, argument, reason):
    """In one line."""
    (tmp_path / "broken_types.py").write_text("class\n")
    with pytest.raises(UsageError) as caught:
        read(argument)
    assert argument in caught.value.subject and reason in caught.value.subject


def test_without_pydantic_the_extra_is_named(read, monkeypatch):
    """Nothing is imported then."""
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(MissingExtra) as caught:
        read("json:Invoice")
    assert (caught.value.subject, caught.value.detail) == ("pydantic", "pydantic")
