"""What a request demands of its answer as a matcher: a JSON schema, one of some labels, or a grammar."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from llmcli.engine.llama.model import Model
from llmcli.engine.sampling.grammar_matcher import GrammarMatcher
from llmcli.engine.sampling.guided_vocabulary import load_or_read_vocabulary, make_guided_tokenizer
from llmcli.engine.sampling.json_schema import prepare_schema
from llmcli.engine.sampling.schema_keywords import schema_error
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors.model_errors import BadGrammar
from llmcli.types import Request

WHITE_SPACE = " ?"
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
            return self._make_matcher("labels", labels_grammar(request.labels))
        return None if request.grammar is None else self._make_matcher("grammar", lark_grammar(request.grammar))

    def _make_matcher(self, subject: str, grammar: str) -> GrammarMatcher:
        with self._lock:
            if self._guided_tokenizer is None:
                vocabulary = load_or_read_vocabulary(self._model, self._tokenizer, self._cache, self._model_id)
                self._guided_tokenizer = make_guided_tokenizer(vocabulary, self._tokenizer)
        return GrammarMatcher(self._guided_tokenizer, grammar, subject, self._model.vocab_size)


def schema_grammar(schema: Any, max_tokens: int | None = None) -> str:
    """Return llguidance's grammar of a JSON schema. Raises ``BadGrammar``."""
    from llguidance import LLMatcher

    prepared = json.dumps(prepare_schema(schema, max_tokens), ensure_ascii=False).encode("utf-8", "replace").decode()
    try:
        return LLMatcher.grammar_from_json_schema(prepared, overrides={"whitespace_pattern": WHITE_SPACE})
    except ValueError as error:
        raise schema_error("it is nested more than 100 deep") from error


def labels_grammar(labels: tuple[str, ...]) -> str:
    """Return llguidance's grammar of some texts."""
    from llguidance import LLMatcher

    texts = [label.encode("utf-8", "replace").decode() for label in dict.fromkeys(labels)]
    return LLMatcher.grammar_from_lark("start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts))


def lark_grammar(grammar: str) -> str:
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
