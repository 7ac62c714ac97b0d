"""Matchers for constrained answers: llguidance says which tokens a JSON schema, labels or a grammar allow next.

llguidance never raises for a bad grammar or token: a matcher has an error from then on, so it is asked for it after its
construction and after each use.

The vocabulary is read once for a model and kept in the cache directory. llguidance's tokenizer cannot be written to a
file, but the bytes of the tokens can: reading 49,000 of them from the model takes 60 ms, from the file 6 ms, and making
the tokenizer 110 ms. Control tokens and those that end a generation have no bytes here, so that no grammar allows them
inside a text.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import Model
from llmcli.engine.sampling.json_schema import prepare_schema
from llmcli.engine.sampling.schema_keywords import schema_error
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import InternalError
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.types import Request

_PANIC, _FULL, _UNDECIDED = "panic:", "too many expressions", "Unable to determine if regex is empty"
"""Words in errors of llguidance."""
_MAX_MESSAGE_CHARACTERS = 200


class GrammarMatcher:
    """The state of one answer in its grammar."""

    def __init__(self, tokenizer: Any, grammar: str, subject: str, vocab_size: int) -> None:
        """``tokenizer``: llguidance's; ``grammar``: in its format; ``subject``: what errors are about.

        Raises ``BadGrammar``.
        """
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._subject = subject
        self._vocab_size = vocab_size
        self._mask_words = -(-tokenizer.vocab_size // 32)  # llguidance adds an EOS to a model that has none
        self._mask: Any = None
        self._tokens: list[int] = []
        self._num_tokens_at_rebuild = 0
        self._matcher = self._make_matcher()
        self._check()

    def accept(self, token: int) -> bool:
        """Advance by a token and return True; return False where it is not allowed. Raises ``BadGrammar``."""
        accepted: int = self._matcher.try_consume_tokens([token])
        if self._rebuild():
            accepted = self._matcher.try_consume_tokens([token])
        self._check()
        if accepted:
            self._tokens.append(token)
        return accepted == 1

    def allowed_prefix(self, tokens: list[int]) -> list[int]:
        """Return as many of ``tokens`` as may follow."""
        count: int = self._matcher.validate_tokens(tokens)  # 0 after an error, which ``accept`` reports
        return tokens[:count]

    def allowed_tokens(self) -> Any:
        """Return the numbers of the tokens that may follow (int64, ascending). Raises ``BadGrammar``."""
        import numpy as np

        if self._mask is None:
            self._mask = np.zeros(self._mask_words, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if self._rebuild():
            self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        self._check()
        bits = np.unpackbits(self._mask.view(np.uint8), count=self._vocab_size, bitorder="little")
        return np.flatnonzero(bits)

    def _make_matcher(self) -> Any:
        from llguidance import LLMatcher, LLParserLimits

        return LLMatcher(self._tokenizer, self._grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))

    def _rebuild(self) -> bool:
        """Replace a matcher whose memory of expressions is full, and return True; False for all other matchers.

        It gathers those of every mask. A new one gets only those of the answer so far.
        """
        full = self._matcher.is_error() and _FULL in self._matcher.get_error()
        if not full or len(self._tokens) == self._num_tokens_at_rebuild:
            return False
        self._num_tokens_at_rebuild = len(self._tokens)
        self._matcher = self._make_matcher()
        self._matcher.consume_tokens(self._tokens)
        return True

    @property
    def is_complete(self) -> bool:
        """Nothing but the end may follow."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            raise BadGrammar(self._subject, detail=_describe(self._matcher.get_error()))
        reason = self._matcher.stop_reason()
        if reason in {"ParserTooComplex", "LexerTooComplex", "MaxTokensTotal", "MaxTokensParser"}:
            raise BadGrammar(self._subject, detail="it takes too long to follow")
        if reason == "InternalError":
            raise InternalError("sampling", detail="llguidance cannot follow the grammar")


def _describe(error: str) -> str:
    """Return one line of an error of llguidance; a pattern's error is in its last line."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if not lines or lines[0].startswith(_PANIC):
        return "llguidance does not accept it"
    if lines[0].startswith(_UNDECIDED):
        return "a pattern in it is too large"
    line = f"pattern: {lines[-1].removeprefix('error: ')}" if lines[0].startswith("regex parse error") else lines[0]
    return line[:_MAX_MESSAGE_CHARACTERS]


_WHITE_SPACE = " ?"
"""White space between the tokens of JSON, at most: more would take tokens, and small models write it without end."""
_MAX_GRAMMAR_CHARACTERS, _MAX_GRAMMAR_RULES = 1 << 20, 500
"""Characters and rules of a grammar: llguidance recurses through rules, and some thousands overflow the stack."""
_RULE = re.compile(
    r"^[ \t]*[?!]?[A-Za-z_][A-Za-z_0-9]*(?:\.-?[0-9]+)?(?:\{[^}\n]*\}|\[[^\]\n]*\])?[ \t]*:", re.MULTILINE
)
_SPECIAL_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|/(?:\\.|[^/\\\n])*/|//[^\n]*|(?P<token><[^>\n]*>)')


class GrammarCompiler:
    """Makes matchers for one model; reads its vocabulary at the first constrained request."""

    def __init__(self, model: Model, tokenizer: Tokenizer, cache: Path | None, model_id: str) -> None:
        """``cache``: None where nothing may be kept; ``model_id``: the model's SHA-256 otherwise."""
        self._model = model
        self._tokenizer = tokenizer
        self._cache = cache
        self._model_id = model_id
        self._lock = threading.Lock()
        self._guided_tokenizer: Any = None

    def compile(self, request: Request) -> GrammarMatcher | None:
        """Return the matcher of a request's answer; None where it is free. Raises ``BadGrammar``."""
        if request.schema is not None:
            return self._make_matcher("schema", schema_grammar(request.schema, request.max_tokens))
        if request.labels:
            return self._make_matcher("labels", _labels_grammar(request.labels))
        return None if request.grammar is None else self._make_matcher("grammar", _lark_grammar(request.grammar))

    def _make_matcher(self, subject: str, grammar: str) -> GrammarMatcher:
        with self._lock:
            if self._guided_tokenizer is None:
                vocabulary = load_or_read_vocabulary(self._model, self._tokenizer, self._cache, self._model_id)
                self._guided_tokenizer = _make_guided_tokenizer(vocabulary, self._tokenizer)
        return GrammarMatcher(self._guided_tokenizer, grammar, subject, self._model.vocab_size)


def schema_grammar(schema: Any, max_tokens: int | None = None) -> str:
    """Return llguidance's grammar of a JSON schema. Raises ``BadGrammar``."""
    from llguidance import LLMatcher

    prepared = json.dumps(prepare_schema(schema, max_tokens), ensure_ascii=False).encode("utf-8", "replace").decode()
    try:
        return LLMatcher.grammar_from_json_schema(prepared, overrides={"whitespace_pattern": _WHITE_SPACE})
    except ValueError as error:
        raise schema_error("it is nested more than 100 deep") from error


def _labels_grammar(labels: tuple[str, ...]) -> str:
    """Return llguidance's grammar of some texts."""
    from llguidance import LLMatcher

    texts = [label.encode("utf-8", "replace").decode() for label in dict.fromkeys(labels)]
    return LLMatcher.grammar_from_lark("start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts))


def _lark_grammar(grammar: str) -> str:
    """Return llguidance's grammar of a Lark grammar with a rule ``start``. Raises ``BadGrammar``."""
    from llguidance import LLMatcher

    if not grammar.strip():
        raise BadGrammar("grammar", detail="it is empty")
    if len(grammar) > _MAX_GRAMMAR_CHARACTERS:
        raise BadGrammar("grammar", detail=f"it is longer than {_MAX_GRAMMAR_CHARACTERS} characters")
    if len(_RULE.findall(grammar)) > _MAX_GRAMMAR_RULES:
        raise BadGrammar("grammar", detail=f"it has more than {_MAX_GRAMMAR_RULES} rules")
    for found in _SPECIAL_TOKEN.finditer(grammar):
        if found["token"]:
            raise BadGrammar("grammar", detail=f"{found['token']}: control tokens cannot be part of an answer")
    return LLMatcher.grammar_from_lark(grammar.encode("utf-8", "replace").decode())


_FORMAT = b"llm vocabulary 1\n"
_DIGEST_BYTES = 32


@frozen
class GuidedVocabulary:
    """The bytes of each token, and the tokens that end a generation."""

    pieces: list[bytes]
    eog_tokens: list[int]


def read_vocabulary(model: Model, tokenizer: Tokenizer) -> GuidedVocabulary:
    """Return the vocabulary of a loaded model."""
    pieces = list(model.token_pieces(range(model.vocab_size)))
    eog_tokens = list(filter(tokenizer.is_eog, range(model.vocab_size)))
    for token in eog_tokens:
        pieces[token] = b""
    if tokenizer.eos in eog_tokens:  # the first one is llguidance's own
        eog_tokens.sort(key=lambda token: token != tokenizer.eos)
    return GuidedVocabulary(pieces, eog_tokens)


def load_or_read_vocabulary(model: Model, tokenizer: Tokenizer, cache: Path | None, model_id: str) -> GuidedVocabulary:
    """Return the vocabulary, from ``cache`` if it is there; else it is read and saved for the next process.

    ``model_id``: the model's SHA-256. Files that are damaged, or of another version, are replaced.
    """
    if cache is None:
        return read_vocabulary(model, tokenizer)
    path = cache / "vocabularies" / model_id
    identity = repr((model_id, bindings.version(), model.vocab_size)).encode()
    with suppress(OSError, ValueError):
        return _decode(path.read_bytes(), identity)
    vocabulary = read_vocabulary(model, tokenizer)
    with suppress(OSError):  # it is read again the next time
        private_files.replace_file(path, _encode(vocabulary, identity))
    return vocabulary


def _encode(vocabulary: GuidedVocabulary, identity: bytes) -> bytes:
    import numpy as np

    lengths = np.array([len(piece) for piece in vocabulary.pieces], "<u4").tobytes()
    ends = np.array(vocabulary.eog_tokens, "<u4").tobytes()
    counts = np.array([len(identity), len(vocabulary.pieces), len(vocabulary.eog_tokens)], "<u4").tobytes()
    body = b"".join((_FORMAT, counts, identity, lengths, ends, *vocabulary.pieces))
    return hashlib.sha256(body).digest() + body


def _decode(data: bytes, identity: bytes) -> GuidedVocabulary:
    """Return the vocabulary of a file. Raises ``ValueError`` for another one than ``identity``'s, or a damaged one."""
    import numpy as np

    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest or not body.startswith(_FORMAT):
        raise ValueError("the file is damaged")
    position = len(_FORMAT)
    identity_length, num_pieces, num_ends = np.frombuffer(body, "<u4", 3, position).tolist()
    position += 12
    if body[position : position + identity_length] != identity:
        raise ValueError("the file is of another model or version")
    position += identity_length
    lengths = np.frombuffer(body, "<u4", num_pieces, position)
    ends = np.frombuffer(body, "<u4", num_ends, position + lengths.nbytes).tolist()
    position += lengths.nbytes + 4 * num_ends
    stops = (np.cumsum(lengths, dtype=np.int64) + position).tolist()
    starts = [position, *stops[:-1]]
    return GuidedVocabulary([body[start:stop] for start, stop in zip(starts, stops, strict=True)], ends)


class TokenizerAdapter:
    """What llguidance asks of a tokenizer (``llguidance.TokenizerWrapper``): the tokens of a text that must follow."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, vocabulary: GuidedVocabulary, tokenizer: Tokenizer) -> None:
        self.tokens = vocabulary.pieces
        self.special_token_ids: list[int] = []
        self.eos_token_id = vocabulary.eog_tokens[0] if vocabulary.eog_tokens else None
        self._tokenizer = tokenizer
        self._token_by_piece: dict[bytes, int] = {}
        self._longest_piece = max(map(len, vocabulary.pieces))

    def __call__(self, text: str) -> list[int]:
        """Return tokens whose bytes are exactly ``text``, those of the model where they are."""
        data = text.encode()
        tokens = self._tokenizer.encode(text)
        return tokens if self._join(tokens) == data else self._tokenize_greedily(data)

    def _join(self, tokens: Iterable[int]) -> bytes:
        return b"".join(self.tokens[token] for token in tokens)

    def _tokenize_greedily(self, data: bytes) -> list[int]:
        """Return the longest token at each position. Raises ``ValueError`` where there is none."""
        if not self._token_by_piece:
            self._token_by_piece = {piece: token for token, piece in enumerate(self.tokens) if piece}
        tokens, start = [], 0
        while start < len(data):
            sizes = range(min(self._longest_piece, len(data) - start), 0, -1)
            size = next((size for size in sizes if data[start : start + size] in self._token_by_piece), 0)
            if not size:
                raise ValueError("the model has no token for a text that must follow")
            tokens.append(self._token_by_piece[data[start : start + size]])
            start += size
        return tokens


def _make_guided_tokenizer(vocabulary: GuidedVocabulary, tokenizer: Tokenizer) -> Any:
    """Return llguidance's tokenizer. It keeps Python's lock meanwhile: about a tenth of a second for 49,000 tokens."""
    from llguidance import LLTokenizer

    adapter: Any = TokenizerAdapter(vocabulary, tokenizer)
    slices = LLTokenizer.json_slices()
    return LLTokenizer(adapter, eos_token=vocabulary.eog_tokens or None, slices=slices)
