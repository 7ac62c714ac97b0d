"""The requests that score claims."""

from __future__ import annotations

from scripted import ScriptedBackend

from llmcli.tasks.claim_verification.support_scorer import Claim, SupportScorer
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.runner.task_requests import GenerationOptions

TEXT = "The library opened in 1950. It is closed on Mondays."


def test_all_requests_about_a_passage_begin_alike(prompts):
    """So the evaluated passage serves every claim; what stands in no document is not marked as one."""
    scorer = SupportScorer(ScriptedBackend(lambda _: "yes", token_scores=True), prompts, GenerationOptions())
    passage = QuotableDocument("a.txt", TEXT).whole()
    claims = [Claim("The library is new."), Claim(TEXT)]
    starts = set()
    for claim in claims:
        requests = scorer.passage_requests("a", claim, passage)
        assert len(requests) == 2
        starts |= {each.messages[-1].content[: each.document_chars] for each in requests}
        assert {each.document_chars for each in scorer.claim_requests("a", claim)} == {0}
    (start,) = starts
    assert start.rstrip().endswith(TEXT)
