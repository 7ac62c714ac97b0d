"""The work of an extraction, without running the model."""

from __future__ import annotations

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile
from llmcli.errors import EmptyInput
from llmcli.tasks.extraction.extraction_job import cut_for_extraction
from llmcli.tasks.extraction.extraction_plan import ExtractionPlan
from llmcli.tasks.extraction.value_schema import iter_leaves
from llmcli.tasks.runner.work_estimate import WorkEstimate, count_requests

_TOKENS_OF_VALUE, _VALUES_OF_ANY_SCHEMA = 16, 8
"""A value with its name in JSON, and how many values an answer has if its schema does not tell."""


def estimate_extraction(plan: ExtractionPlan, document: Document | StreamedFile) -> WorkEstimate:
    """Return the work for a document; the backend only counts tokens. With ``many``, an object in each passage is assumed.

    Raises ``EmptyInput`` and ``ContextOverflow``.
    """
    passages = cut_for_extraction(plan, document)
    requests = (plan.request(str(number), passage.text) for number, passage in enumerate(passages))
    calls, tokens = count_requests(plan.backend, requests)
    if not calls:
        raise EmptyInput(document.name)
    values = _VALUES_OF_ANY_SCHEMA if plan.node is None else sum(1 for _ in iter_leaves(plan.node))
    return WorkEstimate(document.name, plan.method, calls, calls, tokens, calls * values * _TOKENS_OF_VALUE)
