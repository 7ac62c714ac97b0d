"""summarize --style key-sentences: the sentences of a document that carry it, chosen without generating anything.

Each sentence is a request of its own for its mean hidden state, so that sentences fill the batches of the engine and
none pays for attention to a long text before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedText, iter_text_blocks
from llmcli.errors import EmptyInput, Unsupported
from llmcli.fast_dataclass import replace
from llmcli.state_layers import sentence_layers, vector_layers
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.summarize.sentence_candidates import SentenceCandidate, SentenceStore, find_candidates
from llmcli.tasks.summarize.sentence_ranking import ChosenSentence, choose_sentences
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES, SummaryOptions, length_warning
from llmcli.types import Priority, Request, Result

MAX_WORDS, MIN_WORDS, WORDS_SHARE = 100, 20, 1 / 3
"""The length without ``--words``: this share of the text, within these limits."""
MAX_PENDING = 512
"""Sentences that are requested at once: more than a batch holds, few enough that a long text is not kept twice."""
_MAX_READ_CHARS = 2000


async def choose_key_sentences(
    run: TaskRun,
    document: Document | StreamedText,
    options: GenerationOptions,
    wanted: SummaryOptions,
    *,
    is_record: bool,
) -> Result:
    """Return the sentences that carry a document, by the hidden states of its prose, some hundred at a time.

    ``is_record``: the document is one of many records, whose warnings are in their results only. Raises ``EmptyInput``
    for a document without a letter or digit, the failure of a request, and ``Unsupported`` if the backend reports no
    hidden states.
    """

    async def read(sentence: tuple[int, tuple[SentenceCandidate, str]]) -> tuple[int, SentenceCandidate, Any]:
        number, (candidate, text) = sentence
        return number, candidate, await _mean_state(run, str(number), text, options, layers)

    # sentences are compared with a focus as other texts are with a question
    layers = (vector_layers if wanted.focus else sentence_layers)(run.backend.info())
    store = SentenceStore()
    try:
        sentences = enumerate(read_candidates(document))
        async for number, candidate, state in run.each(sentences, read, limit=MAX_PENDING, max_pending=MAX_PENDING):
            store.add(number, candidate, state)
        if not len(store):
            raise EmptyInput(run.name)
        focus = await _mean_state(run, "focus", wanted.focus, options, layers) if wanted.focus else None
        default_words = round(min(MAX_WORDS, max(MIN_WORDS, WORDS_SHARE * store.eligible_words)))
        chosen = choose_sentences(store, wanted.words or default_words, focus)
    finally:
        store.close()
    found = list(_describe(run.name, document, chosen))
    text = "\n".join(" ".join(sentence["text"].split()) for sentence in found)
    warning = length_warning(text, wanted.words)
    if warning and is_record:
        run.warnings.append(warning)
    elif warning:
        run.warn(warning)
    return run.result(text, {"method": KEY_SENTENCES, "sentences": found, "coverage": 1.0, "missing": []})


async def _mean_state(run: TaskRun, name: str, text: str, options: GenerationOptions, layers: tuple[int, ...]) -> Any:
    """Return the mean state of a text (width): most have one request, longer ones the mean of their passages."""
    import numpy as np

    size = _max_read_chars(run.backend.info().context)
    passages = [text]
    if len(text) > size:
        from llmcli.documents.text_cutting import cut_text

        passages = list(cut_text(text, lambda passage: len(passage) <= size))
    answers = await run.gather(
        run.ask(_state_request(f"{run.item}.{name}.{number}", passage, options, layers))
        for number, passage in enumerate(passages)
    )
    state: Any = None
    for passage, answer in zip(passages, answers, strict=True):
        if answer.states is None:
            raise Unsupported("hidden states", detail="the server reports none")
        share = np.frombuffer(answer.states.mean, dtype="<f4") * (len(passage) / len(text))
        state = share if state is None else state + share
    return state


def _describe(
    name: str, document: Document | StreamedText, chosen: Sequence[ChosenSentence]
) -> Iterator[dict[str, Any]]:
    """Yield what ``--json`` shows of sentences: exactly their text, and where that stands."""
    waiting = deque(chosen)
    sections = QuotableDocument.from_document(document).sections if isinstance(document, Document) else ()
    for block in iter_text_blocks(document):
        places = QuotableDocument(name, block.text, sections, offset=block.start, first_line=block.first_line)
        while waiting and waiting[0].start < block.start + len(block.text):
            sentence = waiting.popleft()
            found = places.quote(sentence.start - block.start, sentence.end - block.start)
            yield {
                "text": found.text,
                "start": found.start,
                "end": found.end,
                "page": found.page,
                "first_line": found.first_line,
                "last_line": found.last_line,
                "score": sentence.score,
            }
        if not waiting:
            return


def read_candidates(document: Document | StreamedText) -> Iterator[tuple[SentenceCandidate, str]]:
    """Yield the sentences of a document that may stand in a summary, with their texts; all if none may.

    The model reads no others, so that tables, markup and code cost nothing.
    """
    has_prose = False
    for sentence in _read_sentences(document):
        if sentence[0].eligible:
            has_prose = True
            yield sentence
    if not has_prose:
        yield from _read_sentences(document)


def _read_sentences(document: Document | StreamedText) -> Iterator[tuple[SentenceCandidate, str]]:
    for block in iter_text_blocks(document):
        for each in find_candidates(block.text):
            placed = replace(each, start=block.start + each.start, end=block.start + each.end)
            yield placed, block.text[each.start : each.end]


def sentence_requests(document: Document | StreamedText, context: int, options: GenerationOptions) -> Iterator[Request]:
    """Yield the requests for the sentences of a document."""
    size = _max_read_chars(context)
    for _, text in read_candidates(document):
        for first in range(0, len(text), size):
            yield _state_request("count", text[first : first + size], options)


def _max_read_chars(context: int) -> int:
    """Return how long a passage of a sentence may be: it fits with a token for each byte."""
    return max(1, min(_MAX_READ_CHARS, context // 4))


def _state_request(name: str, text: str, options: GenerationOptions, layers: tuple[int, ...] = ()) -> Request:
    return Request(
        name,
        (),
        prompt=text,
        priority=options.priority or Priority.BULK,
        deadline=options.deadline,
        hidden_states=True,
        state_layers=layers,
    )
