"""Extraction by a real engine of random weights: it would write anything, and the grammar admits only the document."""

from __future__ import annotations

import random

import pytest

from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.schema_validation import SchemaValidator
from llmcli.tasks.extract import extract
from llmcli.tasks.extract.extraction_plan import PROMPT, ExtractionPlan, read_extraction_schema
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.schema_argument import parse_shorthand, shorthand_schema
from llmcli.types import Result

WORDS = [
    "Zo\u00eb",
    "has",
    "3.5",
    "(a)",
    "dogs.",
    "The",
    "cat",
    "sat\non",
    "it,",
    "while\n\nNo",
    '"one"',
    "3 May 2024",
    "a\\b",
]


@pytest.mark.parametrize("many", [False, True])
def test_whatever_the_model_would_say_values_stand_in_the_document(engines, many, tmp_path):
    """Sampled at a high temperature; results fit the schema, and quotes are parts of the document at their offsets."""
    choice = random.Random(3)
    texts = [" ".join(choice.choices(WORDS, k=8)) for _ in range(4)]
    schema = shorthand_schema(parse_shorthand("n, size (number), due (date), ok bool"), nullable=True)
    (tmp_path / "extract.yaml").write_text('description: short\nuser: "{{ text }}"\n')
    prompt = PromptLibrary(tmp_path).get(PROMPT)
    node = read_extraction_schema(schema, free=False)
    options = GenerationOptions(temperature=2.0, seed=1)
    plan = ExtractionPlan(engines("chatml"), prompt, options, schema, node, many)
    events = list(extract(plan, [Document(str(number), text) for number, text in enumerate(texts)]))
    results = [event for event in events if isinstance(event, Result)]
    assert results
    found = [(texts[each.item], value) for each in results for value in each.fields["found"]]
    for each in results:
        for values in each.fields["values"] if many else [each.fields["values"]]:
            assert list(SchemaValidator(schema).iter_errors(values)) == []
    placed = [(text, value["quote"]) for text, value in found if value["quote"] is not None]
    assert placed and all(text[quote["start"] : quote["end"]] == quote["text"] for text, quote in placed)
    assert all(value["quote"] is not None for _, value in found if not isinstance(value["value"], bool))
    assert all(0 <= value["probability"] <= 1 for _, value in found)
