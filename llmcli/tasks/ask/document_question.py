"""A question about documents: they are read whole if they fit the context, else the passages that may answer it.

A model that has ranked the passages quotes each of the best ones, and answers from the quotes. A passage depends on
nothing that stands before it then, so that a worker evaluates it once for all questions. Other models, and small ones,
read the best passages by words together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import ContextOverflow, LlmError, Unsupported
from llmcli.errors.incomplete_results import NoLabelAnswered
from llmcli.fast_dataclass import replace
from llmcli.interrupt import check_interrupt
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.passage_index import IndexedPassage
from llmcli.store.word_ranking import fuse_rankings
from llmcli.tasks.ask.question_prompts import DOCUMENTS_PROMPT, EXCERPT_PROMPT, PASSAGES_PROMPT
from llmcli.tasks.ask.question_sources import IndexedSource, name_of_inputs, number_passage, share_of_tokens
from llmcli.tasks.ask.reference_quotes import (
    QuotedPassage,
    find_references,
    is_answered,
    place_in_document,
    quotable_passage,
    quote_references,
    unknown_citations,
)
from llmcli.tasks.quotes.quotable_text import Quote
from llmcli.tasks.quotes.quote_generation import MAX_QUOTE_CALLS, QUOTE_TOKENS, generate_quote
from llmcli.tasks.retrieval.passage_cutter import PASSAGE_CHARS
from llmcli.tasks.retrieval.passage_pool import (
    DocumentPassages,
    FoundPassage,
    PassageCollection,
    PassagePool,
    prose_first,
)
from llmcli.tasks.runner.answers import aggregate_tokens_per_s
from llmcli.tasks.runner.context_budget import INEXACT_CONTEXT_SHARE, MAX_CHARS_PER_TOKEN
from llmcli.tasks.runner.task_requests import GenerationOptions, count_common_chars, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import ask_for_text, text_result
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange
from llmcli.types import Priority, Progress, Request, Result, Timings

MAX_CANDIDATES = 16
"""Passages that the model ranks: few enough that what is evaluated before the answer is at most four times what it
reads."""
MAX_PASSAGES = 12
"""Passages that an answer is written from."""
KEPT_FIRST = 6
"""The first passages by words and vectors, before which the model's ranking puts no other."""
MIN_RANKING_PARAMETERS = 500_000_000
"""The yes and no of a smaller model rank passages worse than their words do."""
_MIN_TOKENS_PER_CHARACTER = 0.25
MODEL_RANKING = "yes/no"
"""The name of the ranking by the model, in ``ranking`` of a result."""
MAX_RESERVED_TOKENS = 512
"""Tokens that are kept free for the answer, unless the user set a limit; at most a quarter of the context."""


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
        self._started_at = time.monotonic()

    def fits_whole(self, documents: Sequence[Document]) -> bool:
        """Whether the documents fit the context as a whole, with room for an answer."""
        characters = sum(len(each.text) for each in documents)
        if characters > MAX_CHARS_PER_TOKEN * self._context:
            return False
        return self._fits(self._documents_request(documents), characters)

    async def answer(
        self, run: TaskRun, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()
    ) -> Result:
        """Return the answer, whose text is reported while it comes.

        Fields of the result: ``method`` ("whole" or "retrieval"), ``coverage`` (the share of the documents' tokens
        that the model read for the answer), ``answered`` (False: the documents do not answer the question); with
        retrieval or citations ``references``, with retrieval ``passages`` (read and all) and ``ranking``. Raises
        ``ContextOverflow`` if not even one passage fits, and the failure of a request.
        """
        run.name = name_of_inputs(documents, indexed)
        whole = self.whole_request(documents, indexed)
        if whole is not None:
            return await self._ask(run, *whole, {"method": "whole", "coverage": 1.0})
        return await self._answer_from(run, self.make_pool(documents, indexed))

    def whole_request(
        self, documents: Sequence[Document], indexed: Sequence[IndexedSource]
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
        longest = self._passage_chars(documents)
        collections: list[PassageCollection] = [
            each.collection(self._backend, self._question, longest) for each in indexed
        ]
        if documents:
            collections.append(DocumentPassages(documents, longest))
        return PassagePool(collections)

    def _passage_chars(self, documents: Sequence[Document]) -> int:
        """Return the most characters of a passage: it takes half of the context at most, by a sample of the texts."""
        starts = (each.text[:PASSAGE_CHARS] for each in documents)
        sample = max(starts, key=lambda each: len(each.encode()), default="")
        texts = [[Document("", sample)], [Document("", "")]] if sample else []
        tokens, _ = self._backend.count([self._documents_request(each) for each in texts])
        density = (tokens[0] - tokens[1]) / len(sample) if sample else 0.0
        return min(PASSAGE_CHARS, int(self._context / 2 / max(density, _MIN_TOKENS_PER_CHARACTER)))

    def find_candidates(self, pool: PassagePool) -> tuple[list[FoundPassage], list[str]]:
        """Return the passages that match the question by words and vectors, or a sample of all; and which it is."""
        found = pool.search(self._question, MAX_CANDIDATES)
        return (found, ["words"]) if found else (pool.sample(MAX_PASSAGES), ["sample"])

    def ranking_requests(self, found: Sequence[FoundPassage], ranking: Sequence[str]) -> list[Request]:
        """Return the requests that rank the candidates, if the model is to do that and there is something to rank."""
        if not self._backend.info().scores or self._is_small or len(found) <= 1 or "sample" in ranking:
            return []
        prompt = self._prompts.get(RELEVANCE_PROMPT)
        return list(relevance_requests(prompt, self._question, found, self._passage_options))

    def excerpt_requests(self, found: Sequence[FoundPassage]) -> list[Request]:
        """Return the requests that quote passages, which were ranked: they begin like the ranking ones."""
        prompt = self._prompts.get(EXCERPT_PROMPT)
        options = replace(self._passage_options, max_tokens=min(QUOTE_TOKENS, self._context // 4))
        return list(passage_requests(prompt, self._question, found, options, "excerpt."))

    def count(self, requests: Sequence[Request]) -> int:
        """Return the tokens of prompts."""
        return sum(self._backend.count(requests)[0]) if requests else 0

    @property
    def expected_tokens(self) -> int:
        """About how long the answer is."""
        return self._reserved // 2

    def work_range(self, calls: int, tokens: int, *, quoted: int) -> WorkRange:
        """Return the range of work from so many calls and tokens on; ``quoted``: quotes that may be tried for.

        No prompt has more tokens than the context.
        """
        most = calls + quoted * MAX_QUOTE_CALLS
        return WorkRange(calls, most, tokens, tokens if not quoted else tokens + most * self._context)

    def work_range_of_any_passages(self, base: int, vectors: int) -> WorkRange:
        """Return the range of work where vectors find other passages; ``base``: the tokens of a prompt without any."""
        most = vectors + MAX_CANDIDATES + 1 + 2 * MAX_PASSAGES * MAX_QUOTE_CALLS
        return WorkRange(1, most, base, most * self._context)

    @property
    def _is_small(self) -> bool:
        parameters = self._backend.info().parameters
        return parameters is not None and parameters < MIN_RANKING_PARAMETERS

    async def _answer_from(self, run: TaskRun, pool: PassagePool) -> Result:
        """Answer from the passages that are most likely to contain the answer."""
        self.require_room(run.name)
        found, ranking = await self._rank(run, pool)
        if MODEL_RANKING in ranking:
            quoted, failed = await self._quote_passages(run, found[:MAX_PASSAGES])
            if quoted:
                return await self._answer_from_quotes(run, quoted, found, pool, ranking, failed=failed)
        sizes = self.measure(found)
        chosen = self.choose(found, sizes)
        if not chosen:
            (tokens,), _ = self._backend.count([self.passages_request(found[:1])])
            raise ContextOverflow(run.name, tokens=tokens + self._reserved, context=self._context)
        coverage = share_of_tokens(found, sizes, chosen, pool.characters)
        return await self._answer_from_part(
            run,
            self.passages_request(chosen),
            [each.passage for each in chosen],
            {"coverage": coverage, "passages": {"read": len(chosen), "all": len(pool)}, "ranking": ranking},
        )

    async def _answer_from_quotes(
        self,
        run: TaskRun,
        quoted: Sequence[QuotedPassage],
        found: Sequence[FoundPassage],
        pool: PassagePool,
        ranking: list[str],
        *,
        failed: int,
    ) -> Result:
        """Answer from what the best of the passages ``found`` say; ``failed`` of them could not be quoted."""
        read = found[:MAX_PASSAGES]
        coverage = share_of_tokens(read, self.measure(read), read, pool.characters)
        chosen = self._choose_quotes(quoted)
        passages = {"read": len(read), "quoted": len(chosen), "all": len(pool)}
        return await self._answer_from_part(
            run,
            self._quotes_request(chosen),
            [each.found.passage for each in chosen],
            {"coverage": coverage, "passages": passages, "ranking": ranking},
            quotes=[each.quote for each in chosen],
            failed=failed,
        )

    async def _answer_from_part(
        self,
        run: TaskRun,
        request: Request,
        passages: Sequence[IndexedPassage],
        fields: dict[str, Any],
        *,
        quotes: Sequence[Quote] = (),
        failed: int = 0,
    ) -> Result:
        """Ask; tell which share of the documents was read for the answer."""
        run.warn(
            f"the documents do not fit the context, so the answer is from {'quotes of ' if quotes else ''}"
            f"{len(passages)} of {fields['passages']['all']:,} passages "
            f"({max(fields['coverage'], 0.001):.1%} of the text was read)"
        )
        if failed:
            run.warn(f"{failed} of {fields['passages']['read']} passages could not be quoted: the request failed")
        fields = {"method": "retrieval", **fields, "coverage": round(fields["coverage"], 6)}
        return await self._ask(run, request, passages, fields, quotes=quotes)

    async def _rank(self, run: TaskRun, pool: PassagePool) -> tuple[list[FoundPassage], list[str]]:
        """Return the candidates, the best first, and how they were ranked."""
        found, ranking = self.find_candidates(pool)
        requests = self.ranking_requests(found, ranking)
        if requests:
            try:
                margins = await score_passages(run, requests)
            except (Unsupported, NoLabelAnswered):  # the order by words stays
                return prose_first(found), ranking
            found, ranking = [found[number] for number in fuse_margins(margins)], [*ranking, MODEL_RANKING]
        return prose_first(found), ranking

    async def _quote_passages(self, run: TaskRun, found: Sequence[FoundPassage]) -> tuple[list[QuotedPassage], int]:
        """Return what the passages say about the question, and how many requests failed; report progress.

        Raises the first error if all did.
        """
        errors: list[LlmError] = []
        done = 0

        async def quote(asked: tuple[FoundPassage, Request]) -> QuotedPassage | None:
            nonlocal done
            passage, request = asked[0].passage, asked[1]
            try:
                generated = await generate_quote(run, quotable_passage(passage), request, self._passage_options)
            except LlmError as error:
                check_interrupt()
                errors.append(error)
                return None
            finally:
                done += 1
                run.report(Progress(done, len(found), "passages", "quoting"))
            return (
                None
                if generated.quote is None
                else QuotedPassage(asked[0], place_in_document(generated.quote, passage))
            )

        asked = zip(found, self.excerpt_requests(found), strict=True)
        quoted = await run.gather(map(quote, asked))
        if len(errors) == len(found):
            raise errors[0]
        return [each for each in quoted if each is not None], len(errors)

    def _choose_quotes(self, quoted: Sequence[QuotedPassage]) -> list[QuotedPassage]:
        """Return the best quotes that fit the context together, in the order of the documents."""
        chosen = list(quoted)
        while len(chosen) > 1 and not self._fits(self._quotes_request(chosen), None):
            chosen.pop()
        return sorted(chosen, key=lambda each: each.found.position)

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
    def _passage_options(self) -> GenerationOptions:
        """Those of the requests about one passage: they end alike whatever the answer is to be."""
        return replace(self._options, system="", schema=None, reasoning=False, max_tokens=None, progress=False)

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

    def require_room(self, name: str) -> None:
        """Raise ``ContextOverflow`` for a question that leaves no room for an answer."""
        (tokens,), _ = self._backend.count([self.passages_request([])])
        if tokens + self._reserved > self._context:
            raise ContextOverflow(name, tokens=tokens + self._reserved, context=self._context)

    def _documents_request(self, documents: Sequence[Document]) -> Request:
        return self._request(DOCUMENTS_PROMPT, {"documents": list(documents)})

    def passages_request(self, found: Sequence[FoundPassage]) -> Request:
        """Return the request with numbered passages."""
        return self._numbered_request([each.passage for each in found])

    def _quotes_request(self, quoted: Sequence[QuotedPassage]) -> Request:
        """Return the request with numbered quotes."""
        texts = [replace(each.found.passage, text=each.quote.text) for each in quoted]
        return replace(self._numbered_request(texts), document_chars=0)  # other questions get other quotes

    def _numbered_request(self, texts: Sequence[IndexedPassage]) -> Request:
        passages = [number_passage(number, each) for number, each in enumerate(texts, 1)]
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

    async def _ask(
        self,
        run: TaskRun,
        request: Request,
        passages: Sequence[IndexedPassage],
        fields: dict[str, object],
        *,
        quotes: Sequence[Quote] = (),
    ) -> Result:
        """Return the answer about numbered passages (none: about whole documents), or about their ``quotes``."""
        prompt, began_at = PASSAGES_PROMPT if passages else DOCUMENTS_PROMPT, time.monotonic()
        found = await ask_for_text(run, request, self._options)
        first = run.usage.last.first_token_s
        answer = found.text
        answered = is_answered(answer)
        fields = {**fields, "answered": answered}
        if passages:
            references = find_references(answer, passages)
            for warning in unknown_citations(answer, references):
                run.warn(warning)
            if quotes:
                references = [replace(each, quote=quote) for each, quote in zip(references, quotes, strict=True)]
            elif answered:
                references = await quote_references(run, self._prompts, self._options, request, answer, references)
            fields["references"] = [each.as_fields() for each in references]
        result = text_result(run, found, self._options, prompt=prompt, fields=fields)
        first = None if first is None else began_at - self._started_at + first
        total = time.monotonic() - self._started_at
        rate = aggregate_tokens_per_s(result.usage, total)
        return replace(result, timings=Timings(first, total, rate))


_TOKENS_PER_QUOTED_TOKEN = 3
"""Tokens of a passage for each that is quoted."""


def estimate_question(
    question: DocumentQuestion, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()
) -> WorkEstimate:
    """Return the work of an answer; the backend only counts tokens.

    The passages that are read are those that rank highest by their words: the model's ranking is part of the work, and
    what quotes them begins with the passages that were evaluated then. Each quote is taken to be a third of its
    passage. Quotes of references and second attempts at a quote are in the range alone, since answers decide about
    them; so is what vectors of the question find, which the search here goes without. Raises ``ContextOverflow`` for a
    question that does not fit.
    """
    name = name_of_inputs(documents, indexed) or "documents"
    whole = question.whole_request(documents, indexed)
    if whole is not None:
        request, passages = whole
        tokens = question.count([request])
        texts, work = len(passages) or len(documents), question.work_range(1, tokens, quoted=len(passages))
        return WorkEstimate(name, "whole", texts, 1, tokens, question.expected_tokens, decided_by_answers=work)
    question.require_room(name_of_inputs(documents, indexed))
    pool, vectors = question.make_pool(documents, indexed), sum(each.has_vectors for each in indexed)
    found, by = question.find_candidates(pool)
    ranking = question.ranking_requests(found, by)
    best = prose_first(found)[:MAX_PASSAGES]
    sizes, base = question.measure(best), question.count([question.passages_request([])])
    if not ranking:
        chosen = question.choose(best, sizes)
        tokens, quoted = question.count([question.passages_request(chosen)]), len(chosen)
        work = (
            question.work_range(1, tokens, quoted=quoted)
            if not vectors
            else question.work_range_of_any_passages(base, vectors)
        )
        return WorkEstimate(name, "retrieval", len(pool), 1, tokens, question.expected_tokens, decided_by_answers=work)
    excerpts, quoted = question.excerpt_requests(best), sum(sizes) // _TOKENS_PER_QUOTED_TOKEN
    tokens = question.count([*ranking, *excerpts]) + base + quoted
    calls = len(ranking) + len(excerpts) + 1
    begun = (each.document_chars >= len(one.passage.text) for each, one in zip(excerpts, best, strict=True))
    reused = sum(size for size, again in zip(sizes, begun, strict=True) if again)
    if vectors:
        work = question.work_range_of_any_passages(base, vectors)
    else:
        few = sorted(question.count([each]) for each in question.excerpt_requests(found))[: len(best)]
        least = question.count(ranking) + sum(few) + base
        work = question.work_range(calls, least, quoted=2 * len(best))
    answers = question.expected_tokens + quoted
    return WorkEstimate(name, "retrieval", len(pool), calls, tokens, answers, reused, work)


RELEVANCE_PROMPT = "ask.relevance"
ANSWERS = ("yes", "no")


def relevance_requests(
    prompt: Prompt, question: str, passages: Sequence[FoundPassage], options: GenerationOptions
) -> Iterator[Request]:
    """Yield a request for each passage; its id is the position."""
    for request in passage_requests(prompt, question, passages, options):
        yield replace(request, candidates=ANSWERS)


def passage_requests(
    prompt: Prompt, question: str, passages: Sequence[FoundPassage], options: GenerationOptions, prefix: str = ""
) -> Iterator[Request]:
    """Yield a request about each passage, whose evaluation later ones can begin with; its id ends with the position."""
    for number, each in enumerate(passages):
        messages = prompt.render({"question": question, "text": each.passage.text})
        unasked = prompt.render({"question": "", "text": each.passage.text})
        yield make_request(
            f"{prefix}{number}",
            messages,
            prompt,
            options,
            max_tokens=options.max_tokens,
            priority=Priority.INTERACTIVE,
            document_chars=count_common_chars(messages, unasked),
        )


async def score_passages(run: TaskRun, requests: Sequence[Request]) -> list[float]:
    """Return log P(yes) - log P(no) of each passage; reports progress. Raises the failure of a request."""
    margins: list[float] = []
    async for answer in run.each(requests, run.ask):
        yes, no = (each.logprob for each in answer.scores)
        margins.append(yes - no)
        run.report(Progress(len(margins), len(requests), "passages", "ranking"))
    return margins


def fuse_margins(margins: Sequence[float]) -> list[int]:
    """Return the positions of passages in their new order, from the margins in the order of the given ranking.

    Both rankings are joined by reciprocal rank fusion. The given first one stays the first and the given first
    ``KEPT_FIRST`` stay before the others, so that none of them is lost: the model's judgement alone is too unreliable.
    """
    by_answer = sorted(range(len(margins)), key=lambda number: -margins[number])
    fused = dict.fromkeys([0, *fuse_rankings([range(len(margins)), by_answer])])
    return sorted(fused, key=lambda number: number >= KEPT_FIRST)
