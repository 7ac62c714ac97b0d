"""Text to tokens and back: control tokens come from the template only, never from somebody's text.

The text of a user, a file or a model may contain what looks like a control token (``<|im_end|>``). Before the chat
template is rendered, ``neutralize`` puts a private-use character into every such text; the rendered prompt is then
split at the control tokens that are left, which can only come from the template, and the character is taken out of
the plain runs, which are tokenized with special tokens switched off.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Iterable, Sequence

from llmcli.engine import native
from llmcli.engine.model import Model
from llmcli.engine.token_bound import TokenBound
from llmcli.errors import ContextOverflow

_UNKNOWN, _CONTROL, _LSTRIP, _RSTRIP = 1 << 0, 1 << 3, 1 << 7, 1 << 8
_PRIVATE_USE = range(0xE000, 0xF900)
_RUNS = 256
_SHORT = 1024
"""Characters of a run of text that is remembered: instructions and examples are the same in thousands of prompts."""
LONG = 65_536
"""Characters from which it takes noticeable time to tokenize a text."""


class Tokenizer:
    """The vocabulary of one model. Safe to use from several threads: it only reads."""

    def __init__(self, model: Model) -> None:
        lib = native.lib()
        self._lib = lib
        self._vocab = model.vocab
        self._model = model  # keeps the vocabulary alive
        self.controls: dict[str, int] = {}
        self._strip: dict[int, int] = {}
        for token, attributes in enumerate(model.token_attributes()):
            # what llama.cpp parses only when special tokens are switched on (tokenizer_st_partition)
            if attributes & (_CONTROL | _UNKNOWN):
                text = model.token_text(token)
                if len(text) > 1:  # one character could not be told from the same character in somebody's text
                    self.controls[text] = token
                    self._strip[token] = attributes & (_LSTRIP | _RSTRIP)
        self._splitter = self._breakable = _alternatives(self.controls)
        self.bos: int | None = _token_or_none(lib.llama_vocab_bos(model.vocab))
        self.eos: int | None = _token_or_none(lib.llama_vocab_eos(model.vocab))
        self._add_bos = bool(lib.llama_vocab_get_add_bos(model.vocab)) and self.bos is not None
        self.adds_space = model.header.metadata.get("tokenizer.ggml.add_space_prefix") is True
        """SentencePiece models put a space before a text; the first token of an answer brings it along."""
        self._eog: dict[int, bool] = {}
        self._pieces: dict[int, bytes] = {}
        self._remembered = functools.lru_cache(_RUNS)(self.plain)
        self._buffer = ctypes.create_string_buffer(1024)

    def plain(self, text: str) -> list[int]:
        """Tokenize ``text`` as text, whatever it looks like; no BOS is added."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = self._lib.llama_tokenize(self._vocab, data, len(data), tokens, room, False, False)
            if count >= 0:
                return tokens[:count]
            room = -count

    @functools.cached_property
    def _bound(self) -> TokenBound:
        return TokenBound(self._model)

    def refuse_too_long(self, text: str, limit: int) -> None:
        """Raise ``ContextOverflow`` for a text that has more than ``limit`` tokens by its bytes alone.

        One that passes may have more of them.
        """
        self._refuse(((text, None),), "", limit)

    def refuse_too_long_prompt(self, prompt: str, mark: str, limit: int) -> None:
        """Do as ``refuse_too_long`` for a rendered prompt, which ``rendered`` would tokenize."""
        self._refuse(self._runs(prompt), mark, limit)

    def _refuse(self, runs: Iterable[tuple[str, int | None]], mark: str, limit: int) -> None:
        least = 0
        for run, control in runs:
            least += control is not None
            if len(run) > LONG:
                least += self._bound.least(run.replace(mark, "") if mark else run, limit)
        if least > limit:
            raise ContextOverflow(tokens=least, context=limit, at_least=True)

    def raw(self, text: str) -> list[int]:
        """Tokenize a text that a model continues: as text, behind the BOS of models that want one."""
        return [*([self.bos] if self._add_bos and self.bos is not None else []), *self.plain(text)]

    def enclosed(self, text: str) -> list[int]:
        """Tokenize a text as text, with the tokens around it that the model was trained to see (BOS, EOS, CLS, SEP)."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = self._lib.llama_tokenize(self._vocab, data, len(data), tokens, room, True, False)
            if count >= 0:
                return tokens[:count]
            room = -count

    def neutralize(self, texts: Sequence[str], template: str) -> tuple[list[str], str]:
        """Return ``texts`` with every control-token text broken by a private-use character, and that character."""
        used = set().union(*map(set, (*texts, *self.controls)), template)
        mark = next(chr(code) for code in _PRIVATE_USE if chr(code) not in used)
        return [self._break(text, mark) for text in texts], mark

    def _break(self, text: str, mark: str) -> str:
        if self._breakable is None:
            return text
        while True:  # breaking one text may leave another that overlapped it
            broken = self._breakable.sub(lambda match: match[0][0] + mark + match[0][1:], text)
            if broken == text or self._breakable.search(broken) is None:
                return broken
            text = broken

    def rendered(self, prompt: str, mark: str) -> list[int]:
        """Tokenize a rendered prompt: control tokens are parsed, ``mark`` is removed, the rest is plain text."""
        tokens: list[int] = []
        for run, control in self._runs(prompt):
            if run:
                text = run.replace(mark, "")
                tokens += self._remembered(text) if len(text) <= _SHORT else self.plain(text)
            if control is not None:
                tokens.append(control)
        if self._add_bos and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos or 0)
        return tokens

    def _runs(self, prompt: str) -> Iterable[tuple[str, int | None]]:
        """Yield (plain run, control token after it), white space stripped where the token's attributes say so."""
        start, strip_next = 0, False
        matches = self._splitter.finditer(prompt) if self._splitter is not None else ()
        for match in matches:
            token = self.controls[match[0]]
            run = prompt[start : match.start()]
            run = run.lstrip() if strip_next else run
            yield (run.rstrip() if self._strip[token] & _LSTRIP else run), token
            strip_next = bool(self._strip[token] & _RSTRIP)
            start = match.end()
        rest = prompt[start:]
        yield (rest.lstrip() if strip_next else rest), None

    def is_eog(self, token: int) -> bool:
        """Return whether ``token`` ends a generation."""
        known = self._eog.get(token)
        if known is None:
            known = self._eog[token] = bool(self._lib.llama_vocab_is_eog(self._vocab, token))
        return known

    def piece(self, token: int) -> bytes:
        """Return the bytes of ``token``; control tokens have none. They may end inside a character."""
        known = self._pieces.get(token)
        if known is None:
            length = self._lib.llama_token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, False)
            if length < 0:
                buffer = ctypes.create_string_buffer(-length)
                length = self._lib.llama_token_to_piece(self._vocab, token, buffer, -length, 0, False)
                known = buffer.raw[:length]
            else:
                known = self._buffer.raw[:length]
            self._pieces[token] = known
        return known

    def use_tags(self, tags: Iterable[str]) -> None:
        """Let ``tags`` be what output is split at: those that are control tokens keep their text as bytes.

        In somebody's text they are broken like control tokens: templates cut messages at them.
        """
        for tag in tags:
            if tag in self.controls:
                self._pieces[self.controls[tag]] = tag.encode()
        self._breakable = _alternatives((*self.controls, *tags))

    def text(self, tokens: Iterable[int]) -> str:
        """Return the text of ``tokens``; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")


def _alternatives(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Match any of ``texts``, the longest first; only positions with a right first character are tried."""
    ordered = sorted(texts, key=len, reverse=True)
    if not ordered:
        return None
    first = "".join(re.escape(character) for character in sorted({text[0] for text in ordered}))
    return re.compile(f"(?=[{first}])(?:{'|'.join(map(re.escape, ordered))})")


def _token_or_none(token: int) -> int | None:
    return token if token >= 0 else None
