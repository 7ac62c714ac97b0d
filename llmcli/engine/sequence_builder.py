"""Builds the sequence of a request from its tokenized prompt, with hints for the prefix cache.

``PrefixHints`` finds how much of a prompt the cache may keep, by rendering the chat template with other texts. If a
template cannot be rendered with these, only the reuse is lost (length 0), never the request.
"""

from __future__ import annotations

import contextlib
import re

from llmcli.engine.llama.context import computes_logits_too
from llmcli.engine.llama.model import Model
from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.sequences.generation_sequence import GenerationSequence
from llmcli.engine.sequences.scoring_sequence import HiddenStateSequence, ScoringSequence
from llmcli.engine.sequences.sequence import EventSink, Sequence, common_prefix_length
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.detokenizer import OutputProcessor
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import BadModelFile, ContextOverflow, Unsupported, UsageError
from llmcli.fast_dataclass import field, frozen, replace
from llmcli.types import Message, Request, Role

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
        keeps_documents: bool,
    ) -> None:
        self._model = model
        self._template = template
        self._tokenizer = tokenizer
        self._context_limit = context_limit
        self._prefix_hints = prefix_hints
        self._pooling_hints = PrefixHints(template)
        self._grammar_compiler = grammar_compiler
        self._keeps_documents = keeps_documents

    def build(self, request: Request, sink: EventSink, token_lists: list[list[int]], *, inside: bool) -> Sequence:
        """Return the sequence of a request whose events go to ``sink``.

        ``token_lists`` and ``inside``: as ``ChatTemplate.tokenize_request`` returned them. Raises ``UsageError``,
        ``ContextOverflow``, ``Unsupported`` or ``BadGrammar``.
        """
        tokens, *candidates = token_lists
        if request.hidden_states:
            self._check_states(request)
        if request.needs_only_states:
            sequence: Sequence = self._build_hidden_states(request, sink, tokens)
        elif request.candidates:
            sequence = self._build_scoring(request, sink, tokens, candidates)
        else:
            sequence = self._build_generation(request, sink, tokens, inside=inside)
        try:
            if request.state_layers:
                sequence.pooling_start = self._pooling_start(request, tokens)
            if not request.needs_only_states:  # prefixes on disk have no states
                self._set_prefix_lengths(sequence, tokens)
        except BaseException:
            sequence.release()
            raise
        return sequence

    def _pooling_start(self, request: Request, tokens: list[int]) -> int:
        """Return the first token that the mean state is over: of the last message, or the second one of a plain text.

        The first token of a text draws attention without telling anything, so its state has other dimensions (Xiao et
        al. 2024, Efficient Streaming Language Models with Attention Sinks).
        """
        return self._pooling_hints.public_prefix_length(request, tokens) if request.messages else 1

    def _check_states(self, request: Request) -> None:
        """Raise ``Unsupported`` if the model cannot give the hidden states of a request."""
        header = self._model.header
        if request.state_layers:
            layers = header.readable_layers or 0
            if not all(0 < each < layers for each in request.state_layers):
                raise Unsupported("hidden states", detail=f"those of layers {request.state_layers} cannot be read")
        elif not (request.needs_only_states or computes_logits_too(self._model)):
            detail = f"the architecture {header.architecture} gives them only without scores or text"
            raise Unsupported("hidden states", detail=detail)

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


_PROBE_TEXTS = ("\ue000", "\U0010fffd")
"""Two messages whose texts differ from the first byte on, in case a tokenizer falls back on bytes."""


@frozen
class _Prefix:
    """The tokens of ``messages`` before a last message that begins with ``start``."""

    messages: tuple[Message, ...]
    start: str
    reasoning: bool
    tokens: list[int] = field(default_factory=list, compare=False)


class PrefixHints:
    """Lengths in tokens for the prompts of one ``template``."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._public_prefix = self._document_prefix = _Prefix((), "", reasoning=False)

    def public_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on the text of the last message."""
        self._public_prefix = self._update(self._public_prefix, request, "")
        return common_prefix_length(self._public_prefix.tokens, tokens)

    def document_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on what follows the document in the last message."""
        if not request.document_chars or not request.messages:
            return 0
        document = request.messages[-1].content[: request.document_chars]
        self._document_prefix = self._update(self._document_prefix, request, document)
        return common_prefix_length(self._document_prefix.tokens, tokens)

    def _update(self, known: _Prefix, request: Request, start: str) -> _Prefix:
        """Return the prefix of requests whose last message begins with ``start``: ``known`` if it is that one."""
        wanted = _Prefix(request.messages[:-1], start, reasoning=request.reasoning)
        if known == wanted and known.tokens:
            return known
        probes = []
        with contextlib.suppress(BadModelFile):
            probes = [
                self._template.tokenize(
                    (*wanted.messages, replace(request.messages[-1], content=start + other)),
                    reasoning=request.reasoning,
                )[0]
                for other in _PROBE_TEXTS
            ]
        tokens = probes[0][: common_prefix_length(*probes)] if probes else []
        return replace(wanted, tokens=tokens)

    def turn_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many of ``tokens`` the next turn's prompt will begin with, whatever the answer is."""
        next_prompts: list[list[int]] = []
        with contextlib.suppress(BadModelFile):
            next_prompts = [
                self._template.tokenize(
                    (*request.messages, Message(Role.ASSISTANT, text), Message(Role.USER, text)),
                    reasoning=request.reasoning,
                    tools=request.tools,
                )[0]
                for text in _PROBE_TEXTS
            ]
        return min((common_prefix_length(tokens, prompt) for prompt in next_prompts), default=0)
