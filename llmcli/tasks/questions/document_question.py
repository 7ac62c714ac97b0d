"""A question about documents: they are read whole if they fit the context, else the passages that may answer it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import ContextOverflow, Unsupported
from llmcli.prompts import PromptLibrary
from llmcli.store.retrieval.passage_index import IndexedPassage
from llmcli.tasks.execution.context_budget import INEXACT_CONTEXT_SHARE, MAX_CHARS_PER_TOKEN
from llmcli.tasks.execution.response_buffer import UsageTally
from llmcli.tasks.execution.single_request import run_single_request
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.execution.text_fence import text_fence
from llmcli.tasks.questions.question_prompts import DOCUMENTS_PROMPT, PASSAGES_PROMPT
from llmcli.tasks.questions.references import add_references, is_answered
from llmcli.tasks.retrieval import passage_reranker
from llmcli.tasks.retrieval.passage_cutter import PASSAGE_CHARS
from llmcli.tasks.retrieval.passage_pool import DocumentPassages, FoundPassage, PassageCollection, PassagePool
from llmcli.types import ItemFailed, Notice, Priority, Request, Result, TaskEvent

MAX_CANDIDATES = 24
"""Passages that the model ranks."""
MAX_PASSAGES = 12
"""Passages that an answer is written from."""
MAX_RESERVED_TOKENS = 512
"""Tokens that are kept free for the answer, unless the user set a limit; at most a quarter of the context."""


@dataclass(frozen=True, slots=True)
class NumberedPassage:
    """A passage in the prompt. ``fence``: quotation marks that are not in the text, which stand around it."""

    number: int
    name: str
    text: str
    fence: str


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A directory that has an index, of ``characters``: read whole by ``read``, searched in ``collection``."""

    characters: int
    read: Callable[[], list[Document]]
    collection: Callable[[Backend, str], PassageCollection]


class DocumentQuestion:
    """Answers ``question``. ``cite``: passages are numbered and cited even if the documents fit the context."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        question: str,
        options: GenerationOptions,
        *,
        cite: bool = False,
    ) -> None:
        self._backend = backend
        self._prompts = prompts
        self._question = question
        self._options = options
        self._cite = cite
        self._context = backend.info().context
        self._tally = UsageTally()

    def fits_whole(self, documents: Sequence[Document]) -> bool:
        """Whether the documents fit the context as a whole, with room for an answer."""
        characters = sum(len(each.text) for each in documents)
        if characters > MAX_CHARS_PER_TOKEN * self._context:
            return False
        return self._fits(self._documents_request(documents), characters)

    def answer(self, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()) -> Iterator[TaskEvent]:
        """Yield Deltas, then one Result, or ItemFailed with ``ContextOverflow`` if not even one passage fits.

        Fields of the result: ``method`` ("whole" or "retrieval"), ``coverage`` (the share of the documents' characters
        that the model read for the answer), ``answered`` (False: the documents do not answer the question); with
        retrieval or citations ``references``, with retrieval ``passages`` (read and all) and ``ranking``.
        """
        name = documents[0].name if len(documents) == 1 and not indexed else ""
        total = sum(len(each.text) for each in documents) + sum(each.characters for each in indexed)
        if total <= MAX_CHARS_PER_TOKEN * self._context:
            whole = [*documents, *(document for each in indexed for document in each.read())]
            if self._cite:
                pool = PassagePool([DocumentPassages(whole, PASSAGE_CHARS)])
                request, passages = self._passages_request(pool.all()), [each.passage for each in pool.all()]
            else:
                request, passages = self._documents_request(whole), []
            if self._fits(request, total):
                fields = {"method": "whole", "coverage": 1.0}
                yield from self._run(request, passages, fields, name)
                return
        collections: list[PassageCollection] = [each.collection(self._backend, self._question) for each in indexed]
        if documents:
            collections.append(DocumentPassages(documents, min(PASSAGE_CHARS, 2 * self._context)))
        yield from self._answer_from(PassagePool(collections), name)

    def _answer_from(self, pool: PassagePool, name: str) -> Iterator[TaskEvent]:
        """Answer from the passages that are most likely to contain the answer."""
        problem = self._overflow(self._passages_request([]), name)
        if problem is not None:
            yield ItemFailed(0, name, problem)
            return
        found, ranking = yield from self._rank(pool)
        chosen = self._choose(found)
        if not chosen:
            (tokens,), _ = self._backend.count([self._passages_request(found[:1])])
            yield ItemFailed(0, name, ContextOverflow(name, tokens=tokens + self._reserved, context=self._context))
            return
        read = sum(len(each.passage.text) for each in chosen)
        coverage = min(1.0, read / max(1, pool.characters))
        note = (
            f"the documents do not fit the context, so the answer is from {len(chosen)} of {len(pool):,} passages "
            f"({max(coverage, 0.001):.1%} of the text)"
        )
        yield Notice(note)
        fields = {
            "method": "retrieval",
            "coverage": round(coverage, 6),
            "passages": {"read": len(chosen), "all": len(pool)},
            "ranking": ranking,
        }
        passages = [each.passage for each in chosen]
        for event in self._run(self._passages_request(chosen), passages, fields, name):
            yield replace(event, warnings=(note, *event.warnings)) if isinstance(event, Result) else event

    def _rank(self, pool: PassagePool) -> Generator[TaskEvent, None, tuple[list[FoundPassage], list[str]]]:
        """Yield progress; return the candidates, the best first, and how they were ranked."""
        found = pool.search(self._question, MAX_CANDIDATES)
        if not found:  # no passage has a word of the question
            return pool.sample(MAX_PASSAGES), ["sample"]
        if not self._backend.info().scores or len(found) == 1:
            return found, ["words"]
        prompt = self._prompts.get(passage_reranker.PROMPT)
        try:
            ranked: list[FoundPassage] = yield from passage_reranker.rerank_passages(
                self._backend,
                prompt,
                self._question,
                found,
                options=replace(self._options, system="", schema=None),
                tally=self._tally,
            )
        except Unsupported:
            return found, ["words"]
        return ranked, ["words", "yes/no"]

    def _choose(self, found: Sequence[FoundPassage]) -> list[FoundPassage]:
        """Return the best passages that fit the context together, in the order of the documents."""
        (base,), exact = self._backend.count([self._passages_request([])])
        counts, _ = self._backend.count([self._passages_request([each]) for each in found])
        free = self._planned(exact=exact) - base - self._reserved
        chosen: list[FoundPassage] = []
        for each, count in zip(found, counts, strict=True):
            if len(chosen) < MAX_PASSAGES and count - base <= free:
                chosen.append(each)
                free -= count - base
        while chosen and not self._fits(self._passages_request(chosen), None):
            chosen.pop()  # tokens at the borders of passages may differ
        return sorted(chosen, key=lambda each: each.position)

    @property
    def _reserved(self) -> int:
        return min(self._options.max_tokens or MAX_RESERVED_TOKENS, self._context // 4)

    def _planned(self, *, exact: bool) -> int:
        return self._context if exact else int(self._context * INEXACT_CONTEXT_SHARE)

    def _fits(self, request: Request, characters: int | None) -> bool:
        """Whether prompt and answer fit the context; a text of few ``characters`` is not counted."""
        if characters is not None and 4 * characters <= self._context:
            return True
        (tokens,), exact = self._backend.count([request])
        return tokens + self._reserved <= self._planned(exact=exact)

    def _overflow(self, request: Request, name: str) -> ContextOverflow | None:
        """Return the error of a prompt that leaves no room for an answer."""
        (tokens,), _ = self._backend.count([request])
        if tokens + self._reserved <= self._context:
            return None
        return ContextOverflow(name, tokens=tokens + self._reserved, context=self._context)

    def _documents_request(self, documents: Sequence[Document]) -> Request:
        return self._request(DOCUMENTS_PROMPT, {"documents": list(documents)})

    def _passages_request(self, found: Sequence[FoundPassage]) -> Request:
        passages = [_number(number, each.passage) for number, each in enumerate(found, 1)]
        return self._request(PASSAGES_PROMPT, {"passages": passages})

    def _request(self, name: str, values: dict[str, object]) -> Request:
        prompt = self._prompts.get(name)
        return make_request(
            "ask",
            prompt.render({"question": self._question} | values),
            prompt,
            self._options,
            max_tokens=max_answer_tokens(prompt, self._options, None),
            priority=Priority.INTERACTIVE,
        )

    def _run(
        self, request: Request, passages: Sequence[IndexedPassage], fields: dict[str, object], name: str
    ) -> Iterator[TaskEvent]:
        prompt = PASSAGES_PROMPT if passages else DOCUMENTS_PROMPT
        events: Iterator[TaskEvent] = run_single_request(
            self._backend, request, self._options, prompt=prompt, name=name, fields=fields
        )
        for event in add_references(events, passages) if passages else events:
            if isinstance(event, Result):
                answered = is_answered(event.text or "")
                usage = event.usage + self._tally.usage
                yield replace(event, fields={**event.fields, "answered": answered}, usage=usage)
            else:
                yield event


def _number(number: int, passage: IndexedPassage) -> NumberedPassage:
    name = passage.source if passage.page is None else f"{passage.source}, page {passage.page}"
    return NumberedPassage(number, name, passage.text, text_fence(passage.text))
