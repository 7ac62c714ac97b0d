"""Text to tokens and back: control tokens come from the template only, never from untrusted text.

The text of a user, a file or a model may contain the name of a control token (``<|im_end|>``). Before the chat template
is rendered, ``escape_control_tokens`` puts a private-use character into every such text; the rendered prompt is then
split at the control tokens that are left, which can only come from the template, and the character is removed from the
plain runs, which are tokenized with special tokens disabled.

Far too long texts are refused without tokenizing them, by a lower bound of their number of tokens. Tokenizing a line of
megabytes without a blank takes minutes in one native call. But the tokens of a text are its bytes split into pieces of
the vocabulary, so a text of B bytes has at least B/N tokens, where N is the length of the longest token. A closer bound
is the smallest number of pieces, each no longer than the longest token that begins with the same two bytes: the
furthest end after k pieces is the furthest that a piece reaches from any position up to the end after k-1.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import ATTR_CONTROL, ATTR_LSTRIP, ATTR_RSTRIP, ATTR_UNKNOWN, Model
from llmcli.errors import ContextOverflow

_PRIVATE_USE = range(0xE000, 0xF900)
_MAX_CACHED_RUNS = 256
_MAX_CACHED_RUN_CHARACTERS = 1024
"""Most characters of a run of text whose tokens are cached: thousands of prompts share instructions and examples."""
LONG_TEXT_CHARACTERS = 65_536
"""Number of characters from which tokenizing a text takes noticeable time."""


class Tokenizer:
    """The vocabulary of one model. Safe to use from several threads: it only reads."""

    def __init__(self, model: Model) -> None:
        lib = bindings.lib()
        self._lib = lib
        self._vocab = model.vocab
        self._model = model  # keeps the vocabulary alive
        self.control_tokens: dict[str, int] = {}
        self._strip_flags: dict[int, int] = {}
        for token, attributes in enumerate(model.token_attributes()):
            # tokens that llama.cpp parses only when special tokens are enabled (tokenizer_st_partition)
            if attributes & (ATTR_CONTROL | ATTR_UNKNOWN):
                text = model.token_text(token)
                if len(text) > 1:  # a single character could not be told from the same character in a text
                    self.control_tokens[text] = token
                    self._strip_flags[token] = attributes & (ATTR_LSTRIP | ATTR_RSTRIP)
        self._control_pattern = self._escape_pattern = _compile_alternatives(self.control_tokens)
        self.bos: int | None = _token_or_none(lib.llama_vocab_bos(model.vocab))
        self.eos: int | None = _token_or_none(lib.llama_vocab_eos(model.vocab))
        self._add_bos = bool(lib.llama_vocab_get_add_bos(model.vocab)) and self.bos is not None
        self.adds_space_prefix = model.header.metadata.get("tokenizer.ggml.add_space_prefix") is True
        """SentencePiece models put a space before a text; the first token of an answer contains it."""
        self._eog_cache: dict[int, bool] = {}
        self._piece_cache: dict[int, bytes] = {}
        self._cached_encode = functools.lru_cache(_MAX_CACHED_RUNS)(self.encode)

    def encode(self, text: str) -> list[int]:
        """Tokenize ``text`` without parsing control tokens; no BOS is added."""
        return self._tokenize(text, add_special=False)

    def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        capacity = len(data) + 8
        while True:
            tokens = (ctypes.c_int32 * capacity)()
            count = self._lib.llama_tokenize(self._vocab, data, len(data), tokens, capacity, add_special, False)
            if count >= 0:
                return tokens[:count]
            capacity = -count

    @functools.cached_property
    def _token_bound(self) -> TokenBound:
        return TokenBound(self._model)

    def check_length(self, text: str, limit: int) -> None:
        """Raise ``ContextOverflow`` for a text that has more than ``limit`` tokens by its bytes alone.

        A text that passes may still have more.
        """
        self._check_lower_bound(((text, None),), "", limit)

    def check_prompt_length(self, prompt: str, mark: str, limit: int) -> None:
        """Check as ``check_length``, for a rendered prompt that ``encode_rendered`` would tokenize."""
        self._check_lower_bound(self._split_at_controls(prompt), mark, limit)

    def _check_lower_bound(self, runs: Iterable[tuple[str, int | None]], mark: str, limit: int) -> None:
        lower_bound = 0
        for run, control in runs:
            lower_bound += control is not None
            if len(run) > LONG_TEXT_CHARACTERS:
                lower_bound += self._token_bound.lower_bound(run.replace(mark, "") if mark else run, limit)
        if lower_bound > limit:
            raise ContextOverflow(tokens=lower_bound, context=limit, at_least=True)

    def encode_prompt(self, text: str) -> list[int]:
        """Tokenize a text for the model to continue: as text, after the BOS if the model uses one."""
        return [*([self.bos] if self._add_bos and self.bos is not None else []), *self.encode(text)]

    def encode_special(self, text: str) -> list[int]:
        """Tokenize a text as text, and add the special tokens that the model expects around it (BOS, EOS, CLS, SEP)."""
        return self._tokenize(text, add_special=True)

    def escape_control_tokens(self, texts: Sequence[str], template: str) -> tuple[list[str], str]:
        """Return ``texts`` with a private-use character inside every control-token name, and that character."""
        used = set().union(*map(set, (*texts, *self.control_tokens)), template)
        mark = next(chr(code) for code in _PRIVATE_USE if chr(code) not in used)
        return [self._escape_text(text, mark) for text in texts], mark

    def _escape_text(self, text: str, mark: str) -> str:
        if self._escape_pattern is None:
            return text
        while True:  # escaping one name may leave another that overlapped it
            escaped = self._escape_pattern.sub(lambda match: match[0][0] + mark + match[0][1:], text)
            if escaped == text or self._escape_pattern.search(escaped) is None:
                return escaped
            text = escaped

    def encode_rendered(self, prompt: str, mark: str) -> list[int]:
        """Tokenize a rendered prompt: control tokens are parsed, ``mark`` is removed, the rest is plain text."""
        tokens: list[int] = []
        for run, control in self._split_at_controls(prompt):
            if run:
                text = run.replace(mark, "")
                tokens += self._cached_encode(text) if len(text) <= _MAX_CACHED_RUN_CHARACTERS else self.encode(text)
            if control is not None:
                tokens.append(control)
        if self._add_bos and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos or 0)
        return tokens

    def _split_at_controls(self, prompt: str) -> Iterable[tuple[str, int | None]]:
        """Yield (plain run, control token after it), with white space stripped as the token's attributes require."""
        start, strip_next = 0, False
        matches = self._control_pattern.finditer(prompt) if self._control_pattern is not None else ()
        for match in matches:
            token = self.control_tokens[match[0]]
            run = prompt[start : match.start()]
            run = run.lstrip() if strip_next else run
            yield (run.rstrip() if self._strip_flags[token] & ATTR_LSTRIP else run), token
            strip_next = bool(self._strip_flags[token] & ATTR_RSTRIP)
            start = match.end()
        rest = prompt[start:]
        yield (rest.lstrip() if strip_next else rest), None

    def is_eog(self, token: int) -> bool:
        """Return whether ``token`` ends generation."""
        known = self._eog_cache.get(token)
        if known is None:
            known = self._eog_cache[token] = bool(self._lib.llama_vocab_is_eog(self._vocab, token))
        return known

    def token_to_piece(self, token: int) -> bytes:
        """Return the bytes of ``token``; control tokens have none. A token may end inside a character."""
        known = self._piece_cache.get(token)
        if known is None:
            (known,) = self._model.token_pieces((token,))
            self._piece_cache[token] = known
        return known

    def register_tags(self, tags: Iterable[str]) -> None:
        """Register the tags that split output: those that are control tokens keep their text as bytes.

        In untrusted text they are escaped like control tokens, since templates split messages at them.
        """
        for tag in tags:
            if tag in self.control_tokens:
                self._piece_cache[self.control_tokens[tag]] = tag.encode()
        self._escape_pattern = _compile_alternatives((*self.control_tokens, *tags))

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of ``tokens``; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_to_piece, tokens)).decode("utf-8", "replace")


def _compile_alternatives(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Compile a pattern of ``texts``, the longest first, that only tries positions with a possible first character."""
    ordered = sorted(texts, key=len, reverse=True)
    if not ordered:
        return None
    first = "".join(re.escape(character) for character in sorted({text[0] for text in ordered}))
    return re.compile(f"(?=[{first}])(?:{'|'.join(map(re.escape, ordered))})")


def _token_or_none(token: int) -> int | None:
    return token if token >= 0 else None


_VOCAB_SPM, _VOCAB_BPE = 1, 2
"""Kinds of vocabularies (``llama_vocab_type``) that keep every byte of a text; others drop white space or accents."""
_MAX_UTF8_BYTES = 4
"""The most bytes of a character in UTF-8: an unknown one may be a token."""
_WINDOW_BYTES = 1 << 18


class TokenBound:
    """The bound for one vocabulary; creating it reads every token."""

    def __init__(self, model: Model) -> None:
        self._longest_token_bytes = 0  # 0: unknown
        self._longest_by_prefix: Any = None
        self._untokenized_bytes = b""  # bytes that are no token by themselves: llama.cpp returns no token for them
        keeps_bytes = bindings.lib().llama_vocab_type(model.vocab) in {_VOCAB_SPM, _VOCAB_BPE}
        if not keeps_bytes or self._strips_whitespace(model):
            return
        pieces = [piece for piece in model.token_pieces(range(model.vocab_size)) if piece]
        self._untokenized_bytes = bytes({*range(256)} - {piece[0] for piece in pieces if len(piece) == 1})
        self._longest_token_bytes = max(_MAX_UTF8_BYTES, *map(len, pieces))
        self._longest_by_prefix = _longest_token_by_two_bytes(pieces)

    @staticmethod
    def _strips_whitespace(model: Model) -> bool:
        """Return whether tokens that a text may contain strip the white space around them."""
        return any(
            attributes & (ATTR_LSTRIP | ATTR_RSTRIP) and not attributes & (ATTR_CONTROL | ATTR_UNKNOWN)
            for attributes in model.token_attributes()
        )

    def lower_bound(self, text: str, limit: int) -> int:
        """Return a lower bound of the tokens of ``text``; above ``limit`` it is not refined."""
        if not self._longest_token_bytes:
            return 0
        import numpy as np

        whole = text.encode("utf-8", "replace")
        kept = whole.translate(None, self._untokenized_bytes)
        if not kept or len(kept) < len(whole):
            return len(kept) // self._longest_token_bytes
        data = np.frombuffer(whole, np.uint8)
        count = end = furthest = 0
        for start in range(0, len(data), _WINDOW_BYTES):
            window = data[start : start + _WINDOW_BYTES + 1].astype(np.int32)
            pairs = window[:-1] * 256 + window[1:]
            ends = np.arange(start, start + len(pairs)) + self._longest_by_prefix[pairs]
            reached = np.maximum.accumulate(np.maximum(ends, furthest)).tolist()
            while end - start < len(reached):
                count, end = count + 1, reached[end - start]
            furthest = reached[-1] if reached else furthest
            rest = -(-max(0, len(data) - end) // self._longest_token_bytes)
            if count + rest > limit or not rest:
                break
        # a space before the text, which some vocabularies add, may make one token longer
        return count + rest - 1


def _longest_token_by_two_bytes(pieces: list[bytes]) -> Any:
    """Return the length of the longest token for each pair of first bytes."""
    import numpy as np

    reach = np.full(1 << 16, _MAX_UTF8_BYTES, np.int64)
    for piece in pieces:
        if len(piece) > _MAX_UTF8_BYTES:
            key = piece[0] << 8 | piece[1]
            reach[key] = max(reach[key], len(piece))
    return reach
