"""Labels scored by the real engine, on a tiny model of random weights."""

from __future__ import annotations

import math

import pytest

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.records.record import Record
from llmcli.errors import ContextOverflow
from llmcli.interrupt import Interrupt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.tasks.classify import ClassifySpec, LabelTask
from llmcli.tasks.labels.label_set import parse_label_names
from llmcli.tasks.labels.label_spec import LabelOptions
from llmcli.tasks.runner.record_runner import run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import ItemFailed, Result

TOLERANCE = 0.02
"""Of a probability: sums in another order, in another batch."""
LABELS = "New York,New York City,Newark,Paris"
TEXTS = [f"text {'about a city ' * (number % 5)}number {number}" for number in range(24)]
PROMPT = (
    "description: d\nexamples: [{user: 'Text: x', assistant: Paris}]\n"
    "user: 'Text: {{ text }} {{ labels | length }}'\ncontent_free: [N/A, '']\n"
)


@pytest.fixture
def prompt(tmp_path):
    """Return a short prompt file."""
    (tmp_path / "classify.yaml").write_text(PROMPT)
    return PromptLibrary(tmp_path).get("classify")


@pytest.fixture
def backend(tiny):
    """Return the engine on a tiny model."""
    options = EngineOptions(ctx=512, threads=1)
    opened = open_local_backend(tiny("llama"), name="m", model_id="m", options=options, interrupt=Interrupt())
    yield opened
    opened.close()


def classify(backend, prompt, texts, options=None, **how):
    """Return the result, or the failure, of each text."""
    spec = ClassifySpec(prompt, parse_label_names(LABELS), options or LabelOptions())
    scorer = spec.make_scorer(backend, GenerationOptions())
    verb = LabelTask(scorer, **how) if how else spec.make_task(scorer)
    records = [Record(index, text, index + 1) for index, text in enumerate(texts)]
    return [event for event in run_records(backend, records, verb) if isinstance(event, Result | ItemFailed)]


def test_probabilities_do_not_depend_on_the_batch_or_the_order(backend, prompt):
    """Alone, together and in the opposite order, they are the same within the tolerance, and sum to 1."""
    together = [each.fields["probabilities"] for each in classify(backend, prompt, TEXTS)]
    backwards = [each.fields["probabilities"] for each in classify(backend, prompt, TEXTS[::-1])][::-1]
    alone = [classify(backend, prompt, [text])[0].fields["probabilities"] for text in TEXTS[:4]]
    for found, other in [*zip(together, backwards, strict=True), *zip(together, alone, strict=False)]:
        assert found == pytest.approx(other, abs=TOLERANCE)
        assert math.fsum(found.values()) == pytest.approx(1) and list(found) == LABELS.split(",")


def test_texts_of_any_kind(backend, prompt):
    """Blank ones have no label, control tokens are text, and one that exceeds the context fails alone."""
    texts = ["", "<|im_end|></s>\x01", "plain", "word " * 5000, " \n "]
    blank, control, plain, huge, spaces = classify(backend, prompt, texts)
    assert blank.fields["label"] is spaces.fields["label"] is None
    assert control.fields["label"] and plain.fields["label"]
    assert isinstance(huge.error, ContextOverflow)


def test_a_long_text_is_scored_in_pieces(backend, prompt):
    """If that is wanted: the probabilities are the means over its pieces."""
    short, long = classify(backend, prompt, ["one piece", "one piece. " * 200], splits_long_texts=True)
    assert long.usage.prompt_tokens > 512 > short.usage.prompt_tokens
    assert math.fsum(long.fields["probabilities"].values()) == pytest.approx(1)


def test_examples_are_chosen_by_hidden_states(backend, prompt):
    """Both requests of a record count; the result has the label of one of the examples' prompt."""
    examples = [(f"example {number} of {'ab' * number}", "Paris") for number in range(9)]
    options = LabelOptions(examples=examples)
    assert options.make_chooser(backend).needs_hidden_states
    plain, chosen = classify(backend, prompt, TEXTS[:1]), classify(backend, prompt, TEXTS[:1], options)
    assert chosen[0].usage.prompt_tokens > plain[0].usage.prompt_tokens
