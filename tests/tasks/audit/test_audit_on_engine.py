"""An audit on the real engine, on a tiny model of random weights: texts share what their prompts have in common."""

from __future__ import annotations

import pytest

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.records.record import Record
from llmcli.engine.engine import Engine
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.audit import Audit, AuditOptions
from llmcli.tasks.audit.swap_file import parse_swap_file, read_bundled, read_templates
from llmcli.tasks.audit.swapper import swap_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import sentiment_spec
from llmcli.types import Result

MOST = 1.3
"""Of the tokens that must be evaluated."""


class RecordingEngine(Engine):
    """An engine that keeps the tokens of its prompts."""

    def submit(self, request, sink):
        """Queue a request."""
        found, _ = self._tokenize_prompt(request)
        self.tokens.append(tuple(found[0]))
        super().submit(request, sink)


@pytest.fixture
def engine(tiny):
    """Return the engine on a tiny model."""
    opened = RecordingEngine(tiny("llama"), "m", "m", EngineOptions(ctx=4096, threads=1), lambda: None)
    opened.tokens = []
    yield opened
    opened.close()


def count_unique(sequences):
    """Return the number of different beginnings of the sequences."""
    unique, previous = 0, ()
    for tokens in sorted(sequences):
        shared = next(
            (at for at, (one, other) in enumerate(zip(previous, tokens, strict=False)) if one != other),
            min(len(previous), len(tokens)),
        )
        unique, previous = unique + len(tokens) - shared, tokens
    return unique


@pytest.mark.slow
def test_an_audit_evaluates_little_more_than_it_must(engine, tmp_path):
    """50 templates with 8 groups: at most 1.3 times the tokens of all prompts, common beginnings counted once."""
    swaps = parse_swap_file(read_bundled("names"), "names")
    records = [Record(at, text, at + 1) for at, text in enumerate(read_templates().splitlines())]
    spec = sentiment_spec(PromptLibrary(tmp_path))
    task = spec.make_task(spec.make_scorer(engine, GenerationOptions()))
    audit = Audit(swap_records(records, swaps), swaps, AuditOptions())
    (result,) = (event for event in audit.run(engine, task) if isinstance(event, Result))
    evaluated = result.usage.prompt_tokens - result.usage.cached_tokens
    assert audit.result.answers == 400 and audit.result.failed == 0
    assert evaluated <= MOST * count_unique(engine.tokens)
