"""Runs of an extraction on a scripted backend."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from scripted import ScriptedBackend, last_message

from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.extract import extract
from llmcli.tasks.extract.extraction_plan import ExtractionPlan, read_extraction_schema
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.schema_argument import parse_shorthand, shorthand_schema
from llmcli.types import Request


def passage_of(request: Request) -> str:
    """Return the text in a request of the built-in prompt."""
    return re.search(r'Text:\n("{3,})\n(.*)\n\1\n', last_message(request), re.DOTALL)[2]


def make_plan(backend, schema, tmp_path, *, options=None, **choices):
    """Return a plan; ``schema`` is the short form, or a JSON Schema."""
    if isinstance(schema, str):
        schema = shorthand_schema(parse_shorthand(schema), nullable=True)
    node = read_extraction_schema(schema, free=choices.get("free", False))
    prompt = PromptLibrary(tmp_path / "none").get("extract")
    return ExtractionPlan(backend, prompt, options or GenerationOptions(), schema, node, **choices)


def run_extraction(
    answer: Callable[[Request], object], text, schema, tmp_path, *, context=2048, options=None, **choices
):
    """Return the backend and the events for one document, or several; an answer that is no text is sent as JSON."""

    def reply(request: Request):
        found = answer(request)
        return json.dumps(found) if isinstance(found, dict | list) else found

    backend = ScriptedBackend(reply, context=context)
    plan = make_plan(backend, schema, tmp_path, options=options, **choices)
    texts = [text] if isinstance(text, str) else text
    return backend, list(extract(plan, [Document(f"{n}.txt", each) for n, each in enumerate(texts)]))
