"""The sentences of a long text that cite a source are checked against the sources, as ``llm check`` does it."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.check import plain_claim
from llmcli.tasks.claim_verification.claim_checks import PASSAGES_PER_CLAIM, check_claims, find_evidence
from llmcli.tasks.claim_verification.support_scorer import SUPPORTED_FROM, SupportScorer
from llmcli.tasks.generate.sentence_forms import cited_marks, split_sentences, strip_item
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import PROBABILITY_DIGITS

_PREFIX = "check"


async def find_unsupported(
    run: TaskRun,
    prompts: PromptLibrary,
    options: GenerationOptions,
    texts: Sequence[str],
    documents: Sequence[Document],
) -> list[list[str]]:
    """Return for each text what is wrong with its sentences that cite something: no passage supports them.

    Raises the failure of a request.
    """
    sentences = [
        (number, plain_claim(strip_item(sentence)))
        for number, text in enumerate(texts)
        for paragraph in text.splitlines()
        for sentence in split_sentences(paragraph)
        if cited_marks(sentence)
    ]
    problems: list[list[str]] = [[] for _ in texts]
    if not sentences:
        return problems
    claims = [claim for _, claim in sentences]
    evidence = find_evidence(documents, claims, PASSAGES_PER_CLAIM)
    checked = await check_claims(run, SupportScorer(run.backend, prompts, options), claims, evidence, _PREFIX)
    for (number, claim), supports in zip(sentences, checked.supports, strict=True):
        probability = round(supports[0].probability, PROBABILITY_DIGITS) if supports else 0.0
        if probability < SUPPORTED_FROM:
            problems[number].append(f'the sources do not support "{claim.text}" ({probability:.2f})')
    return problems
