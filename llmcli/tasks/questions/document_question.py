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
from llmcli.tasks.execution.task_requests import GenerationOptions, count_common_chars, make_request, max_answer_tokens
from llmcli.tasks.questions.question_prompts import DOCUMENTS_PROMPT, PASSAGES_PROMPT
from llmcli.tasks.questions.reference_quotes import ReferenceQuotes
from llmcli.tasks.questions.references import find_references, is_answered, unknown_citations
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
    """A passage in the prompt."""

    number: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A directory or large file with an index, of ``characters``: read whole by ``read``, searched in ``collection``.

    ``collection`` gets the longest passage that may be made, in characters. ``name``: that of a file.
    """

    characters: int
    read: Callable[[], list[Document]]
    collection: Callable[[Backend, str, int], PassageCollection]
    name: str = ""


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

        Fields of the result: ``method`` ("whole" or "retrieval"), ``coverage`` (the share of the documents' tokens
        that the model read for the answer), ``answered`` (False: the documents do not answer the question); with
        retrieval or citations ``references``, with retrieval ``passages`` (read and all) and ``ranking``.
        """
        name = name_of_inputs(documents, indexed)
        whole = self.whole_request(documents, indexed)
        if whole is not None:
            yield from self._run(*whole, {"method": "whole", "coverage": 1.0}, name)
            return
        yield from self._answer_from(self.make_pool(documents, indexed), name)

    def whole_request(
        self, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()
    ) -> tuple[Request, list[IndexedPassage]] | None:
        """Return the request with all documents and its numbered passages (none if that is not wanted), if it fits."""
        total = sum(len(each.text) for each in documents) + sum(each.characters for each in indexed)
        if total > MAX_CHARS_PER_TOKEN * self._context:
            return None
        whole = [*documents, *(document for each in indexed for document in each.read())]
        request, passages = self._documents_request(whole), list[IndexedPassage]()
        if self._cite:
            pool = PassagePool([DocumentPassages(whole, PASSAGE_CHARS)])
            request, passages = self.passages_request(pool.all()), [each.passage for each in pool.all()]
        return (request, passages) if self._fits(request, total) else None

    def make_pool(self, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()) -> PassagePool:
        """Return all passages."""
        longest = min(PASSAGE_CHARS, 2 * self._context)
        collections: list[PassageCollection] = [
            each.collection(self._backend, self._question, longest) for each in indexed
        ]
        if documents:
            collections.append(DocumentPassages(documents, longest))
        return PassagePool(collections)

    def find_candidates(self, pool: PassagePool) -> list[FoundPassage]:
        """Return the passages that match the question by their words and vectors; else a sample of all."""
        return pool.search(self._question, MAX_CANDIDATES) or pool.sample(MAX_PASSAGES)

    def ranking_requests(self, found: Sequence[FoundPassage]) -> list[Request]:
        """Return the requests that rank the candidates, if there is something to rank."""
        if not self._backend.info().scores or len(found) <= 1:
            return []
        prompt = self._prompts.get(passage_reranker.PROMPT)
        return list(passage_reranker.relevance_requests(prompt, self._question, found, self._options))

    def count(self, requests: Sequence[Request]) -> int:
        """Return the tokens of prompts."""
        return sum(self._backend.count(requests)[0]) if requests else 0

    @property
    def expected_tokens(self) -> int:
        """About how long the answer is."""
        return self._reserved // 2

    def _answer_from(self, pool: PassagePool, name: str) -> Iterator[TaskEvent]:
        """Answer from the passages that are most likely to contain the answer."""
        problem = self._overflow(self.passages_request([]), name)
        if problem is not None:
            yield ItemFailed(0, name, problem)
            return
        found, ranking = yield from self._rank(pool)
        sizes = self.measure(found)
        chosen = self.choose(found, sizes)
        if not chosen:
            (tokens,), _ = self._backend.count([self.passages_request(found[:1])])
            yield ItemFailed(0, name, ContextOverflow(name, tokens=tokens + self._reserved, context=self._context))
            return
        coverage = _share_read(found, sizes, chosen, pool.characters)
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
        for event in self._run(self.passages_request(chosen), passages, fields, name):
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
            margins: list[float] = yield from passage_reranker.score_passages(
                self._backend,
                prompt,
                self._question,
                found,
                options=replace(self._options, system="", schema=None),
                tally=self._tally,
            )
        except Unsupported:
            return found, ["words"]
        return [found[number] for number in passage_reranker.fuse_margins(margins)], ["words", "yes/no"]

    def measure(self, found: Sequence[FoundPassage]) -> list[int]:
        """Return the tokens of each passage in a prompt."""
        counts, _ = self._backend.count([self.passages_request(each) for each in ([], *([one] for one in found))])
        return [count - counts[0] for count in counts[1:]]

    def choose(self, found: Sequence[FoundPassage], sizes: Sequence[int]) -> list[FoundPassage]:
        """Return the best passages that fit the context together, in the order of the documents."""
        (base,), exact = self._backend.count([self.passages_request([])])
        free = self._planned(exact=exact) - base - self._reserved
        chosen: list[FoundPassage] = []
        for each, size in zip(found, sizes, strict=True):
            if len(chosen) < MAX_PASSAGES and size <= free:
                chosen.append(each)
                free -= size
        while chosen and not self._fits(self.passages_request(chosen), None):
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

    def passages_request(self, found: Sequence[FoundPassage]) -> Request:
        """Return the request with numbered passages."""
        passages = [_number(number, each.passage) for number, each in enumerate(found, 1)]
        return self._request(PASSAGES_PROMPT, {"passages": passages})

    def _request(self, name: str, values: dict[str, object]) -> Request:
        prompt = self._prompts.get(name)
        messages = prompt.render({"question": self._question} | values)
        return make_request(
            "ask",
            messages,
            prompt,
            self._options,
            max_tokens=max_answer_tokens(prompt, self._options, None),
            priority=Priority.INTERACTIVE,
            document_chars=count_common_chars(messages, prompt.render({"question": ""} | values)),
        )

    def _run(
        self, request: Request, passages: Sequence[IndexedPassage], fields: dict[str, object], name: str
    ) -> Iterator[TaskEvent]:
        prompt = PASSAGES_PROMPT if passages else DOCUMENTS_PROMPT
        events: Iterator[TaskEvent] = run_single_request(
            self._backend, request, self._options, prompt=prompt, name=name, fields=fields
        )
        for event in events:
            if not isinstance(event, Result):
                yield event
                continue
            answer = event.text or ""
            answered = is_answered(answer)
            fields, warnings = {**event.fields, "answered": answered}, event.warnings
            if passages:
                references = find_references(answer, passages)
                unknown = unknown_citations(answer, references)
                yield from (Notice(warning, event.item) for warning in unknown)
                if answered:
                    quotes = ReferenceQuotes(self._backend, self._prompts, self._options, request, self._tally)
                    references = yield from quotes.add(answer, references)
                fields["references"] = [each.as_fields() for each in references]
                warnings = (*warnings, *unknown)
            yield replace(event, fields=fields, warnings=warnings, usage=event.usage + self._tally.usage)


def name_of_inputs(documents: Sequence[Document], indexed: Sequence[IndexedSource]) -> str:
    """Return the name of the only input, "" for several."""
    names = [*(each.name for each in documents), *(each.name for each in indexed)]
    return names[0] if len(names) == 1 else ""


def _share_read(
    found: Sequence[FoundPassage], sizes: Sequence[int], chosen: Sequence[FoundPassage], characters: int
) -> float:
    """Return the share of the tokens of all documents that are in the chosen passages.

    The documents, of so many ``characters``, are not counted: their tokens are as long as those of the passages found.
    """
    size_of = {each.position: size for each, size in zip(found, sizes, strict=True)}
    tokens_per_character = sum(sizes) / max(1, sum(len(each.passage.text) for each in found))
    total = tokens_per_character * characters
    return min(1.0, sum(size_of[each.position] for each in chosen) / total) if total else 1.0


def _number(number: int, passage: IndexedPassage) -> NumberedPassage:
    name = passage.source if passage.page is None else f"{passage.source}, page {passage.page}"
    return NumberedPassage(number, name, passage.text)
