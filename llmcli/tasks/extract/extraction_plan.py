"""The plan that all passages of an extraction share: the schema, the prompt, the options, and the requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from llmcli.backends.base import Backend
from llmcli.errors import InputError
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import frozen
from llmcli.prompts.prompt_file import Prompt
from llmcli.schema_validation import SchemaValidator
from llmcli.tasks.extract.extraction_examples import ExtractionExample
from llmcli.tasks.extract.value_grammar import MAX_ITEMS, MAX_OBJECTS
from llmcli.tasks.extract.value_schema import (
    SUBJECT,
    LeafKind,
    LeafNode,
    ListNode,
    ObjectNode,
    ValueNode,
    iter_leaves,
    passage_schema,
    read_value_schema,
)
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.types import Message, Request, Role

PROMPT = "extract"
_TOKENS_PER_LEAF, _TOKENS_PER_LIST, _MIN_ANSWER_TOKENS, _TOKENS_OF_ANY_ANSWER = 64, 120, 64, 512
_FORMS = {
    LeafKind.TEXT: "text",
    LeafKind.INTEGER: "integer",
    LeafKind.NUMBER: "number",
    LeafKind.DATE: "YYYY-MM-DD",
    LeafKind.BOOLEAN: "true or false",
}


@frozen
class DescribedField:
    """A value with its path and description in the prompt."""

    name: str
    description: str


@frozen
class ExtractionPlan:
    """``schema`` is that of one object, ``node`` what was read from it; None for one that only free values can have.

    ``many``: a document may have any number of objects. ``free``: values need not stand in the text. ``examples`` are
    shown to the model before each text.
    """

    backend: Backend
    prompt: Prompt
    options: GenerationOptions
    schema: Mapping[str, Any]
    node: ObjectNode | None
    many: bool = False
    free: bool = False
    examples: Sequence[ExtractionExample] = ()

    @property
    def method(self) -> str:
        """How values are made: "copied" from the text, or "free"."""
        return "free" if self.free else "copied"

    @cached_property
    def object_validator(self) -> SchemaValidator:
        """Validates an object of the result."""
        return SchemaValidator(dict(self.schema))

    @cached_property
    def answer_schema(self) -> dict[str, Any]:
        """The JSON Schema of an answer about one passage."""
        one = dict(self.schema) if self.free or self.node is None else passage_schema(self.node, MAX_ITEMS)
        if not self.many:
            return one
        definitions: dict[str, Any] = {name: one.pop(name) for name in ("$defs", "definitions") if name in one}
        return {"type": "array", "items": one, "maxItems": MAX_OBJECTS, **definitions}

    @cached_property
    def answer_validator(self) -> SchemaValidator:
        """Validates an answer."""
        return SchemaValidator(self.answer_schema)

    @cached_property
    def example_texts(self) -> frozenset[str]:
        """The text values of the examples, in lower case."""
        return frozenset(text for example in self.examples for text in example.iter_texts())

    def request(self, request_id: str, text: str, max_tokens: int | None = None) -> Request:
        """Return the request for the values of a text, without a constraint."""
        messages = list(self._messages(text))
        for example in self.examples:
            answer = Message(Role.ASSISTANT, json.dumps(example.values, ensure_ascii=False))
            messages[-1:-1] = [self._messages(example.text)[-1], answer]
        limit = max_tokens or self.options.max_tokens or self.answer_tokens(len(text) // 3)
        return make_request(
            request_id, tuple(messages), self.prompt, self.options, max_tokens=limit, conversation=bool(self.examples)
        )

    def answer_tokens(self, text_tokens: int) -> int:
        """Return the tokens to keep free for the answer to a text of that many tokens."""
        context = self.backend.info().context
        one = _TOKENS_OF_ANY_ANSWER
        if self.node is not None:
            leaves = sum(1 for _ in iter_leaves(self.node))
            one = leaves * _TOKENS_PER_LEAF + _count_lists(self.node) * _TOKENS_PER_LIST + _MIN_ANSWER_TOKENS
        wanted = max(one, _TOKENS_OF_ANY_ANSWER, _MIN_ANSWER_TOKENS + 2 * text_tokens) if self.many else one
        return max(1, min(wanted, context // 3))

    def _messages(self, text: str) -> tuple[Message, ...]:
        values: dict[str, object] = {
            "text": text,
            "form": self._form,
            "fields": self._fields,
            "many": self.many,
        }
        return self.prompt.render(values)

    @cached_property
    def _form(self) -> str:
        return json.dumps(self.schema, ensure_ascii=False) if self.node is None else _describe_form(self.node)

    @cached_property
    def _fields(self) -> list[DescribedField]:
        return [] if self.node is None else _describe_fields(self.node, "")


def read_extraction_schema(schema: Mapping[str, Any], *, free: bool) -> ObjectNode | None:
    """Return the nodes of a schema; None for one whose values can only be ``free``, if they are.

    Raises ``BadGrammar`` for a schema that is invalid, or of which no grammar can be made.
    """
    try:
        SchemaValidator(dict(schema))
    except InputError as error:
        raise BadGrammar(SUBJECT, detail=error.detail) from error
    try:
        return read_value_schema(schema)
    except BadGrammar:
        if not free:
            raise
        return None


def _describe_form(node: ValueNode) -> str:
    """Return what a value looks like: ``{"name": text, "tags": [text]}``."""
    if isinstance(node, ListNode):
        return f"[{_describe_form(node.item)}]"
    if isinstance(node, ObjectNode):
        parts = (
            f"{json.dumps(each.name, ensure_ascii=False)}: {_describe_form(each.node)}" for each in node.properties
        )
        return "{" + ", ".join(parts) + "}"
    if node.kind is LeafKind.CHOICE:
        return " or ".join(json.dumps(each, ensure_ascii=False) for each in node.choices)
    return _FORMS[node.kind]


def _describe_fields(node: ValueNode, path: str) -> list[DescribedField]:
    if isinstance(node, ListNode):
        return _describe_fields(node.item, path)
    if isinstance(node, LeafNode):
        return []
    found = []
    for each in node.properties:
        name = f"{path}.{each.name}" if path else each.name
        found += [DescribedField(name, each.description), *_describe_fields(each.node, name)]
    return found


def _count_lists(node: ValueNode) -> int:
    if isinstance(node, ListNode):
        return 1 + _count_lists(node.item)
    return sum(_count_lists(each.node) for each in node.properties) if isinstance(node, ObjectNode) else 0
