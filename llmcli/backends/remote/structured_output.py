"""Answers that are JSON of a schema, or one of some labels: by the protocol's field if supported, else by prompt.

Servers that do not know the field may also ignore it. So every answer is checked, a wrong one is sent back with its
errors, and nothing is passed on before it is valid. Labels are requested as JSON too, since all such servers support
that; a plain label is accepted as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from llmcli.backends.remote.chat_client import ChatClient, ServerCapabilities, join_text
from llmcli.backends.remote.protocols.wire_protocol import ProtocolRequest, WireProtocol
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.errors import RemoteError
from llmcli.fast_dataclass import replace
from llmcli.schema_validation import SchemaValidator
from llmcli.types import Event, Finished, FinishReason, Message, Request, Role, TextDelta, TokenLogprobs, Usage

_MAX_REPAIRS = 2
_MAX_SHOWN_ERRORS = 5
_CODE_FENCE = re.compile(r"\s*```[a-zA-Z]*\n(.*)\n```\s*", re.DOTALL)
_LABEL_KEY = "label"
_LABEL_JSON_TOKENS = 16
"""Tokens that the JSON around a label takes."""
_NOT_JSON = "it is not JSON"
_STRIPPED_CHARACTERS = " \t\r\n\"'`*."


def generate_json(
    chat_client: ChatClient, call: RemoteCall, request: Request, model: str, capabilities: ServerCapabilities
) -> tuple[list[Event], Finished]:
    """Return JSON that matches ``request.schema``, or one of ``request.labels``, and how the answer ended.

    The text comes first, then the log-probabilities of its tokens as the server wrote them, if the request asks for
    them.

    Raises as ``HttpClient.open_response``, ``InputError`` for an invalid schema, and ``RemoteError`` when the answer is
    still wrong after some repairs. JSON that was cut at a limit is returned unchanged, with that end; a truncated label
    becomes "".
    """
    schema = _label_schema(request.labels) if request.labels else dict(request.schema or {})
    if request.labels and request.max_tokens is not None:
        request = replace(request, max_tokens=request.max_tokens + _LABEL_JSON_TOKENS)
    validator = SchemaValidator(schema)
    turns, usage = request.messages, Usage()
    for _ in range(_MAX_REPAIRS + 1):
        asked = replace(request, messages=turns)

        def build(asked: Request = asked) -> ProtocolRequest:
            return _build_request(chat_client.protocol, asked, schema, model, capabilities.refused_fields)

        events, finished = chat_client.collect_events(call, asked, capabilities, build)
        text, tokens = join_text(events), [event for event in events if isinstance(event, TokenLogprobs)]
        usage += finished.usage
        finished = replace(finished, usage=usage)
        fenced = _CODE_FENCE.fullmatch(text)
        text = (fenced.group(1) if fenced else text).strip()
        wrong = _describe_errors(text, validator)
        if request.labels:
            text, wrong = _parse_label(text, wrong, request.labels, whole=finished.reason is not FinishReason.LENGTH)
            finished = finished if wrong else replace(finished, reason=FinishReason.STOP, limit=None)
        if not wrong or finished.reason is FinishReason.LENGTH:
            return [TextDelta(request.id, text), *tokens], finished
        if wrong.startswith(_NOT_JSON):
            # it does not refuse the field, but ignores it: from now on another one, or the prompt, asks for JSON
            ignored = chat_client.protocol.schema_field(capabilities.refused_fields)
            if ignored is not None:
                capabilities.add_refused_field(ignored)
        repair = f"That is not JSON of the schema: {wrong}. Answer again, with the corrected JSON and nothing else."
        turns = (*turns, Message(Role.ASSISTANT, text or "{}"), Message(Role.USER, repair))
    raise RemoteError(chat_client.server.label, detail=f"its answer does not match the schema: {wrong}")


def _label_schema(labels: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an object that holds one of the labels: many servers require an object at the top."""
    properties = {_LABEL_KEY: {"type": "string", "enum": list(labels)}}
    return {"type": "object", "properties": properties, "required": [_LABEL_KEY], "additionalProperties": False}


def _parse_label(text: str, wrong: str, labels: Sequence[str], *, whole: bool) -> tuple[str, str]:
    """Return the label of an answer, and "" for no error; else the answer and its error.

    ``wrong``: its error as JSON; ``whole``: no limit ended it.
    """
    if not wrong:
        return str(json.loads(text)[_LABEL_KEY]), ""
    if not whole:
        return "", wrong
    said = text.strip(_STRIPPED_CHARACTERS)
    meant = [label for label in labels if label == said] or [
        label for label in labels if label.casefold() == said.casefold()
    ]
    return (meant[0], "") if meant else (text, wrong)


def _build_request(
    protocol: WireProtocol, request: Request, schema: Mapping[str, Any], model: str, refused: frozenset[str]
) -> ProtocolRequest:
    """Return the request that asks for the schema; in the prompt if the server refuses the fields for it."""
    if protocol.schema_field(refused) is not None:
        return protocol.build_request(request, model, refused, schema=schema)
    written = json.dumps(schema, ensure_ascii=False)
    told = f"Answer with JSON that matches this JSON schema, and with nothing else:\n{written}"
    first, *rest = request.messages
    if first.role is Role.SYSTEM:
        turns = (Message(Role.SYSTEM, f"{first.content}\n\n{told}"), *rest)
    else:
        turns = (Message(Role.SYSTEM, told), first, *rest)
    return protocol.build_request(replace(request, messages=turns), model, refused)


def _describe_errors(text: str, validator: SchemaValidator) -> str:
    """Return the errors in an answer, or ""."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"{_NOT_JSON} ({error})"
    return "; ".join(islice(validator.iter_errors(value), _MAX_SHOWN_ERRORS))
