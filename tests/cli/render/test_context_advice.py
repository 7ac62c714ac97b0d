"""The advice about an answer or a summary that was cut."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from llmcli.cli.render.context_advice import advise_on_context
from llmcli.errors.incomplete_results import AnswerTruncated, EmptyAnswer, MissingPart, PartsMissing


def runtime(*, is_remote=False, ctx="auto"):
    return SimpleNamespace(is_remote=is_remote, settings={"ctx": ctx}, verb="ask")


@pytest.mark.parametrize("kind", [AnswerTruncated, EmptyAnswer])
def test_the_limit_of_a_server_is_raised_with_max_tokens(kind):
    """The option --ctx does not reach a server."""
    advice = advise_on_context(runtime(is_remote=True, ctx=4096), kind(limit="context"))
    assert "--max-tokens" in advice and "--ctx" not in advice


@pytest.mark.parametrize(
    ("ctx", "reason", "advised"), [(512, "cut", True), (512, "empty", False), ("auto", "cut", False)]
)
def test_a_summary_cut_by_a_small_context_needs_a_larger_one(ctx, reason, advised):
    """Only where the user chose the context, and the summary was cut."""
    error = PartsMissing("book.txt", (MissingPart(1, 20, part=1, parts=3, stage=0, reason=reason),))
    assert ("--ctx" in advise_on_context(runtime(ctx=ctx), error)) is advised
