"""The short form of a schema."""

from __future__ import annotations

import pytest

from llmcli.cli.console.error_messages import describe
from llmcli.errors import UsageError
from llmcli.tasks.schema_argument import SchemaField, parse_shorthand, shorthand_schema


def test_a_field_has_a_name_a_type_and_a_description():
    """The type is text unless it is given; a type may be written as in JSON Schema or Python."""
    fields = parse_shorthand("name, age int, price float: with tax ,due (date), total(Number), tags list")
    assert fields == [
        SchemaField("name"),
        SchemaField("age", "int"),
        SchemaField("price", "number", "with tax"),
        SchemaField("due", "date"),
        SchemaField("total", "number"),
        SchemaField("tags", "list"),
    ]


def test_on_lines_of_their_own_descriptions_may_hold_commas():
    """Commas separate fields only if the short form is one line."""
    assert parse_shorthand("name: first, then last,\nage int\n\n") == [
        SchemaField("name", "text", "first, then last"),
        SchemaField("age", "int"),
    ]


def test_all_fields_are_required_and_no_others_allowed():
    """Numbers, texts and lists are bounded."""
    schema = shorthand_schema(parse_shorthand("name, age int: in years, tags list, ok bool"))
    assert schema["required"] == ["name", "age", "tags", "ok"] == list(schema["properties"])
    assert schema["additionalProperties"] is False
    assert schema["properties"]["age"]["description"] == "in years"
    assert schema["properties"]["age"]["maximum"] > 0
    assert schema["properties"]["tags"]["items"]["maxLength"] == schema["properties"]["name"]["maxLength"]


def test_values_may_be_null_on_request():
    """A list may be empty instead."""
    schema = shorthand_schema(parse_shorthand("name, tags list"), nullable=True)
    assert schema["properties"]["name"]["type"] == ["string", "null"]
    assert schema["properties"]["tags"]["type"] == "array"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no field"),
        (" , ,", "no field"),
        ("first name text", "'first name text'"),
        ("first name", "'first name'"),
        ("total (foo)", "unknown type 'foo'"),
        ("(number)", "'(number)'"),
        ("name, age int\ncity", "'name, age int'"),
        ("2nd", "'2nd'"),
        (": x", "': x'"),
        ("a, b, a int", "'a' twice"),
        ("a strng", "unknown type 'strng'"),
        (",".join(f"f{number}" for number in range(101)), "101 fields"),
    ],
)
def test_what_is_no_short_form_is_refused(text, message):
    """The message names the part that is wrong."""
    with pytest.raises(UsageError) as caught:
        parse_shorthand(text)
    assert message in caught.value.subject


def test_a_misspelled_type_gets_a_suggestion():
    """The advice lists all types as well."""
    with pytest.raises(UsageError) as caught:
        parse_shorthand("a nubmer")
    assert "Did you mean number?" in caught.value.detail and "date" in caught.value.detail


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("order number", ["order_number (a name)", "order (number)"]),
        ("Order DATE: of the invoice", ["Order_DATE (a name)", "Order (date)"]),
        ("invoice order number", ["invoice_order_number (a name)", "invoice_order (number)"]),
        ("first name", ["first_name"]),
        ("first name text", ["first_name text"]),
        ("first name (date)", ["first_name (date)"]),
        ("amount (in EUR)", ["amount: in EUR", "amount_in_EUR"]),
    ],
)
def test_a_name_of_several_words_is_refused_with_forms_that_work(text, forms):
    """A last word number or date could be the end of the name or a type, so both forms are shown."""
    with pytest.raises(UsageError) as caught:
        parse_shorthand(text)
    for form in forms:
        assert form in caught.value.detail
        assert parse_shorthand(form.removesuffix(" (a name)"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("seller, due (date): when, at the latest, tax int", ["seller", "due (date): when, at the latest", "tax int"]),
        ("due: day, month and year, if known, tax int", ["due: day, month and year, if known", "tax int"]),
        ("name: first, name", ["name: first, name"]),
        ("a: first, second, 3rd", ["a: first, second, 3rd"]),
        ("a: with tax, b number", ["a: with tax, b number"]),
    ],
)
def test_an_error_after_a_comma_in_a_description_shows_a_line_for_each_field(text, lines):
    """That form works as it is shown."""
    with pytest.raises(UsageError) as caught:
        parse_shorthand(text)
    assert caught.value.type_name == "CommaInDescription"
    assert describe(caught.value)[1].splitlines()[1:] == [f"  {line}" for line in lines]
    fields = parse_shorthand("\n".join([*lines, "last"]))
    assert [field.name for field in fields] == [line.split(":")[0].split()[0] for line in lines] + ["last"]
