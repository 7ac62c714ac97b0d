"""translate: the same documents in another language, with everything around the words as it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from llmcli.backends.base import Backend
from llmcli.documents.reading import Document
from llmcli.tasks.base import Options
from llmcli.tasks.languages import Language
from llmcli.tasks.plain import Piece, split_plain
from llmcli.tasks.segments import Segment, Segments, Translator
from llmcli.tasks.together import Step, together
from llmcli.templates import Library
from llmcli.types import Delta, Event, FinishReason, ItemFailed, Notice, Result, TaskEvent, Timings

PROMPT = "translate"
BOM = "\ufeff"


class _Translation:
    """One document: its pieces come out in their order as soon as all before them are done."""

    def __init__(self, translator: Translator, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._translator = translator
        self._document = document
        self._segments = Segments(translator, str(item), (), ())
        self._left: deque[tuple[Piece, Segment | None]] = deque()  # what was not delivered yet
        self._out: list[str] = []
        self._line = 1
        self._warnings: list[str] = []

    def start(self) -> Iterator[Step]:
        """Begin. Raises ``ContextOverflow`` when the instructions leave no room for text."""
        pieces, tokens = self._fitting(split_plain(self._document.text))
        texts = [piece.text for piece in pieces if piece.text]
        self._segments = Segments(self._translator, str(self.item), texts, tokens)
        segments = iter(self._segments.all)
        self._left.extend((piece, next(segments) if piece.text else None) for piece in pieces)
        if self._document.bom:
            yield self._write(BOM)
        yield from self._segments.start()
        yield from self._deliver()

    def take(self, event: Event) -> Iterator[Step]:
        """Go on after an event."""
        yield from self._segments.take(event)
        yield from self._deliver()

    def _fitting(self, pieces: list[Piece]) -> tuple[list[Piece], list[int]]:
        """Cut pieces that are too large; return all, and the tokens of those with a text."""
        texts = [piece.text for piece in pieces if piece.text]
        if not texts:
            return pieces, []
        room = self._translator.room(self.name)
        sizes = iter(room.count(texts))
        fitting: list[Piece] = []
        tokens: list[int] = []
        for piece in pieces:
            if not piece.text:
                fitting.append(piece)
            elif room.holds(size := next(sizes)):
                fitting.append(piece)
                tokens.append(size)
            else:
                parts = piece.parts(room.split(piece.text))
                fitting += parts
                tokens += room.count([part.text for part in parts if part.text])
        return fitting, tokens

    def _deliver(self) -> Iterator[Step]:
        while self._left:
            piece, segment = self._left[0]
            if segment is not None and segment.translation is None:
                return
            self._left.popleft()
            yield from self._piece(piece, segment)
        yield self._result()

    def _piece(self, piece: Piece, segment: Segment | None) -> Iterator[Step]:
        if segment is not None and segment.problem:
            line = self._line + piece.before.count("\n")
            warning = f"line {line}: left untranslated: {segment.problem}"
            self._warnings.append(warning)
            yield Notice(warning, self.item)
        self._line += piece.join(piece.text).count("\n")
        text = piece.join(segment.translation or "" if segment is not None else "")
        if text:
            yield self._write(text)

    def _write(self, text: str) -> Delta:
        self._out.append(text)
        return Delta(text, self.item)

    def _result(self) -> Result:
        segments = self._segments
        kept = sum(bool(segment.problem) for segment in segments.all)
        return Result(
            self.item,
            self.name,
            "".join(self._out),
            fields={"to": self._translator.target.code, "segments": len(segments.all), "untranslated": kept},
            model=self._translator.backend.info().model,
            prompt=self._translator.prompt.name,
            finish_reason=FinishReason.LENGTH if segments.limited else FinishReason.STOP,
            usage=segments.tally.usage,
            timings=segments.tally.timings if segments.all else Timings(),
            warnings=tuple(self._warnings),
            cut=kept > 0,
        )


def translate(
    backend: Backend,
    prompts: Library,
    documents: Iterable[Document | ItemFailed],
    options: Options,
    *,
    to: Language,
    source: Language | None = None,
) -> Iterator[TaskEvent]:
    """Translate each document by paragraph: per item its Deltas in order, then Result or ItemFailed.

    White space, line endings and a byte order mark come out as they were; an empty document gives an empty text. A
    paragraph whose translation fails twice keeps its source text: a ``Notice`` says so, the Result's field
    ``untranslated`` counts them and its ``cut`` is set. An ``ItemFailed`` among the documents is passed on in its place.
    ``Progress`` counts "paragraphs".
    """
    translator = Translator(backend, prompts.get(PROMPT), options, to, source)
    yield from together(
        backend, documents, lambda item, document: _Translation(translator, item, document), "paragraphs"
    )
