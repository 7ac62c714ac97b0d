"""Values that a model takes from real documents: how many results do not fit the schema, how many quotes are not there.

The documents are parts of the descriptions of the installed Python packages, as in `check_quality.py`, with several
schemas in turn. With `--liar`, a backend that ignores the grammar answers with valid, false and broken JSON instead of
a model. At last 10,000 values are looked up in a passage.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import jsonschema
from check_quality import load_documents

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.extract import MAX_PASSAGE_CHARACTERS, extract
from llmcli.tasks.extract.extraction_plan import PROMPT, ExtractionPlan, read_extraction_schema
from llmcli.tasks.extract.value_locator import ValueLocator
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.retrieval.passage_cutter import cut_document
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.schema_argument import parse_shorthand, shorthand_schema
from llmcli.types import ItemFailed, Request, Result

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

_PASSAGE_CHARS = 360
_LOOKUPS = 10_000
_PROGRESS_STEP = 50
_SCHEMAS = (
    ("name, version, year int, released (date)", False),
    ("product: what it is, size (number), free bool, tags list", False),
    ("feature, count int", True),
)


def main() -> None:
    """Extract, check and count."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--count", type=int, default=1000, help="results")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--threads", type=int, help="one thread is faster than two on a busy machine")
    parser.add_argument("--liar", action="store_true", help="a scripted backend that lies, instead of a model")
    options = parser.parse_args()
    documents = [Document(name, text) for name, text in load_documents(0).items() if len(text) > 1000]
    passages = [each.text for document in documents for each in cut_document(document, _PASSAGE_CHARS)]
    chosen = random.Random(1).choices(passages, k=options.count)  # noqa: S311 (the same passages each time)
    started = time.perf_counter()
    if options.liar:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        print(_run(import_module("scripted").ScriptedBackend(_Liar()), chosen, options.temperature))
    else:
        with tempfile.TemporaryDirectory() as kept:
            model = common.model_path(options.model)
            with common.open_engine(model, EngineOptions(cache=Path(kept), threads=options.threads)) as backend:
                print(_run(backend, chosen, options.temperature))
    print(f"{time.perf_counter() - started:.0f} s")
    print(f"{_LOOKUPS:,} values looked up in one passage in {_time_lookups(passages):.2f} s")


class _Liar:
    """Answers with objects whose values are partly those of the text, partly others, and with broken JSON."""

    def __init__(self) -> None:
        self._choice = random.Random(2)  # noqa: S311 (the same texts each time)

    def __call__(self, request: Request) -> str:
        text = request.messages[-1].content
        words = text.split()
        names = [part.partition('"')[0] for part in text.partition("\n")[0].split('"')[1::2]]
        values: list[Any] = [
            "Evil Inc.",
            words[-20],
            " ".join(words[-30:-26]),
            99,
            None,
            True,
            ["x", words[-9]],
            "2024-13-01",
        ]
        one = {name: self._choice.choice(values) for name in names}
        answer: Any = [one, one] if "JSON list" in text else one
        if self._choice.random() < 0.1:
            return json.dumps(answer)[:-1] + "x" * self._choice.choice([0, 1, 10_000])
        return json.dumps(answer)


def _run(backend: Backend, passages: list[str], temperature: float) -> str:
    """Return what came of the passages, with each schema a part of them."""
    results = failed = invalid = quotes = foreign = incomplete = 0
    prompt = PromptLibrary(Path("/nonexistent")).get(PROMPT)
    for number, (fields, many) in enumerate(_SCHEMAS):
        schema = shorthand_schema(parse_shorthand(fields), nullable=True)
        texts = passages[number :: len(_SCHEMAS)]
        options = GenerationOptions(temperature=temperature, seed=1)
        node = read_extraction_schema(schema, free=False)
        plan = ExtractionPlan(backend, prompt, options, schema, node, many)
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        for event in extract(plan, [Document(str(n), text) for n, text in enumerate(texts)]):
            failed += isinstance(event, ItemFailed)
            if isinstance(event, Result):
                results += 1
                if results % _PROGRESS_STEP == 0:
                    print(f"{results}/{len(passages)}, not valid: {invalid}, not in the text: {foreign}", flush=True)
                incomplete += event.cut
                values = event.fields["values"]
                invalid += not all(map(validator.is_valid, values if many else [values]))
                for found in event.fields["found"]:
                    quote = found["quote"]
                    quotes += quote is not None
                    foreign += quote is None and not isinstance(found["value"], bool)
                    foreign += quote is not None and texts[event.item][quote["start"] : quote["end"]] != quote["text"]
    return (
        f"{results} results ({incomplete} incomplete, exit 3), {failed} failed; not valid for the schema: {invalid}\n"
        f"{quotes} quotes; not in the text: {foreign}"
    )


def _time_lookups(passages: list[str]) -> float:
    """Return the seconds in which values of three words are found in a passage of the longest kind."""
    text = "\n\n".join(passages)[:MAX_PASSAGE_CHARACTERS]
    words = text.split()
    choice = random.Random(3)  # noqa: S311 (the same texts each time)
    values = [" ".join(words[at : at + 3]) for at in choice.choices(range(len(words) - 3), k=_LOOKUPS)]
    locator = ValueLocator(QuotableDocument("text", text).whole())
    started = time.perf_counter()
    for value in values:
        locator.locate_text(value, exact=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
