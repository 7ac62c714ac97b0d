"""Builds the sequence of a request from its tokenized prompt."""

from __future__ import annotations

import re

from llmcli.engine.kv.prefix_hints import PrefixHints
from llmcli.engine.llama.hidden_state_context import computes_logits_too
from llmcli.engine.llama.model import Model
from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.sequences.generation_sequence import GenerationSequence
from llmcli.engine.sequences.scoring_sequence import HiddenStateSequence, ScoringSequence
from llmcli.engine.sequences.sequence import EventSink, Sequence
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.detokenizer import OutputProcessor
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import ContextOverflow, Unsupported, UsageError
from llmcli.types import Request

_SESSION_ID = re.compile("[0-9a-f]{32}")


def check_session(session: str | None) -> None:
    """Raise ``UsageError`` for an invalid session id, since the id becomes a part of a file's name."""
    if session is not None and not _SESSION_ID.fullmatch(session):
        raise UsageError("a session id must be 32 hexadecimal digits")


class SequenceBuilder:
    """Builds sequences for one model; ``prefix_hints``: None if no prefixes are kept on disk.

    ``keeps_documents``: the evaluated state of documents is kept.
    """

    def __init__(
        self,
        model: Model,
        template: ChatTemplate,
        tokenizer: Tokenizer,
        context_limit: int,
        *,
        prefix_hints: PrefixHints | None,
        grammar_compiler: GrammarCompiler,
        keeps_documents: bool = False,
    ) -> None:
        self._model = model
        self._template = template
        self._tokenizer = tokenizer
        self._context_limit = context_limit
        self._prefix_hints = prefix_hints
        self._grammar_compiler = grammar_compiler
        self._keeps_documents = keeps_documents

    def build(self, request: Request, sink: EventSink, token_lists: list[list[int]], *, inside: bool) -> Sequence:
        """Return the sequence of a request whose events go to ``sink``.

        ``token_lists`` and ``inside``: as ``ChatTemplate.tokenize_request`` returned them. Raises ``UsageError``,
        ``ContextOverflow``, ``Unsupported`` or ``BadGrammar``.
        """
        tokens, *candidates = token_lists
        only_states = request.hidden_states and not (request.candidates or request.max_tokens)
        if request.hidden_states and not only_states and not computes_logits_too(self._model):
            detail = f"the architecture {self._model.header.architecture} gives them only without scores or text"
            raise Unsupported("hidden states", detail=detail)
        if only_states:
            return self._build_hidden_states(request, sink, tokens)
        if request.candidates:
            sequence: Sequence = self._build_scoring(request, sink, tokens, candidates)
        else:
            sequence = self._build_generation(request, sink, tokens, inside=inside)
        try:
            self._set_prefix_lengths(sequence, tokens)
        except BaseException:
            sequence.release()
            raise
        return sequence

    def _set_prefix_lengths(self, sequence: Sequence, tokens: list[int]) -> None:
        request, hints = sequence.request, self._prefix_hints
        if hints is None:
            return
        if request.public_prefix:
            sequence.public_prefix_length = hints.public_prefix_length(request, tokens)
        if self._keeps_documents:
            sequence.document_prefix_length = hints.document_prefix_length(request, tokens)
        if request.session and (self._model.recurrent or self._model.sliding_window):
            sequence.turn_prefix_length = hints.turn_prefix_length(request, tokens)

    def _build_hidden_states(self, request: Request, sink: EventSink, tokens: list[int]) -> HiddenStateSequence:
        if not tokens:
            raise UsageError("the prompt is empty")
        if len(tokens) > self._context_limit:
            raise ContextOverflow(tokens=len(tokens), context=self._context_limit)
        return HiddenStateSequence(request, tokens, sink)

    def _build_scoring(
        self, request: Request, sink: EventSink, tokens: list[int], candidates: list[list[int]]
    ) -> ScoringSequence:
        if not all(request.candidates):
            raise UsageError("an empty candidate cannot be scored")
        longest = max(map(len, candidates))
        if longest > self._context_limit:
            raise ContextOverflow(tokens=longest, context=self._context_limit)
        return ScoringSequence(request, tokens, candidates, sink, self._tokenizer.token_to_piece)

    def _build_generation(
        self, request: Request, sink: EventSink, tokens: list[int], *, inside: bool
    ) -> GenerationSequence:
        if not tokens:
            raise UsageError("the prompt is empty")
        if len(tokens) >= self._context_limit:
            raise ContextOverflow(tokens=len(tokens), context=self._context_limit)
        matcher = self._grammar_compiler.compile(request)
        raw = request.prompt is not None  # then the output is returned unchanged, with its white space and its tags
        tagged = not raw and matcher is None  # a grammar begins with the answer, and may allow the tags as text
        return GenerationSequence(
            request,
            tokens,
            sink,
            sampler=Sampler(self._model, request.sampling, matcher),
            stream=OutputProcessor(
                request.stop,
                self._template.reasoning_tags if tagged else None,
                inside=inside and tagged,
                lstrip=self._tokenizer.adds_space_prefix and not raw,
                repetition=request.repetition,
            ),
            tokenizer=self._tokenizer,
            context_limit=self._context_limit,
        )
