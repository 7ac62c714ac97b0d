"""Answers that are JSON of a schema, or one of some labels: by ``response_format`` where the server has it, else in words.

Servers that do not know the field may also just ignore it. So every answer is checked, one that is wrong is sent back with
what is wrong about it, and nothing is handed on before it is right. Labels are asked for as JSON too, since that is what
all such servers know; one that stands there in plain words is as good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from llmcli.backends.remote import body
from llmcli.backends.remote.call import Call
from llmcli.backends.remote.known import Known
from llmcli.backends.remote.schemas import problems
from llmcli.backends.remote.speaker import Speaker
from llmcli.errors import RemoteError
from llmcli.types import Finished, FinishReason, Message, Request, Role, Usage

_REPAIRS = 2
_SHOWN = 5
_FENCED = re.compile(r"\s*```[a-zA-Z]*\n(.*)\n```\s*", re.DOTALL)
_FIELD = "response_format"
_LABEL = "label"
_AROUND = 16
"""Tokens that the JSON around a label takes."""
_NO_JSON = "it is not JSON"
_MARKS = " \t\r\n\"'`*."


def answer(speaker: Speaker, call: Call, request: Request, model: str, known: Known) -> tuple[str, Finished]:
    """Return JSON that matches ``request.schema``, or one of ``request.labels``, and how the answer ended.

    Raises as ``Client.open``, and ``RemoteError`` when the answer is still wrong after some repairs. JSON that ended at a
    limit is returned as it is, with that end; of a label nothing is.
    """
    schema = _of_labels(request.labels) if request.labels else dict(request.schema or {})
    if request.labels and request.max_tokens is not None:
        request = replace(request, max_tokens=request.max_tokens + _AROUND)
    turns, usage = request.messages, Usage()
    for _ in range(_REPAIRS + 1):
        asked = replace(request, messages=turns)
        text, finished = speaker.text(call, asked, known, lambda asked=asked: _fields(asked, schema, model, known))  # type: ignore[misc]
        usage += finished.usage
        finished = replace(finished, usage=usage)
        fenced = _FENCED.fullmatch(text)
        text = (fenced.group(1) if fenced else text).strip()
        wrong = _wrong(text, schema)
        if request.labels:
            text, wrong = _label(text, wrong, request.labels, whole=finished.reason is not FinishReason.LENGTH)
            finished = finished if wrong else replace(finished, reason=FinishReason.STOP, limit=None)
        if not wrong or finished.reason is FinishReason.LENGTH:
            return text, finished
        if wrong.startswith(_NO_JSON):
            known.refuse(_FIELD)  # it does not refuse it, but does nothing about it: from now on in words
        repair = f"That is not JSON of the schema: {wrong}. Answer again, with the corrected JSON and nothing else."
        turns = (*turns, Message(Role.ASSISTANT, text or "{}"), Message(Role.USER, repair))
    raise RemoteError(speaker.server.label, detail=f"its answer does not match the schema: {wrong}")


def _of_labels(labels: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an object that holds one of the labels: at the top many servers want an object."""
    properties = {_LABEL: {"type": "string", "enum": list(labels)}}
    return {"type": "object", "properties": properties, "required": [_LABEL], "additionalProperties": False}


def _label(text: str, wrong: str, labels: Sequence[str], *, whole: bool) -> tuple[str, str]:
    """Return the label that an answer is, and "" as what is wrong with it; else what there is to say to it.

    ``wrong``: what is wrong with it as JSON; ``whole``: no limit ended it.
    """
    if not wrong:
        return str(json.loads(text)[_LABEL]), ""
    if not whole:
        return "", wrong
    said = text.strip(_MARKS)
    meant = [label for label in labels if label == said] or [
        label for label in labels if label.casefold() == said.casefold()
    ]
    return (meant[0], "") if meant else (text, wrong)


def _fields(request: Request, schema: Mapping[str, Any], model: str, known: Known) -> Mapping[str, Any]:
    """Return the body that asks for the schema; in words where the server refuses the field."""
    if _FIELD not in known.refused:
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return {**body.chat(request, model, known), _FIELD: wanted}
    told = f"Answer with JSON that matches this JSON schema, and with nothing else:\n{json.dumps(schema, ensure_ascii=False)}"
    first, *rest = request.messages
    if first.role is Role.SYSTEM:
        turns = (Message(Role.SYSTEM, f"{first.content}\n\n{told}"), *rest)
    else:
        turns = (Message(Role.SYSTEM, told), first, *rest)
    return body.chat(replace(request, messages=turns), model, known)


def _wrong(text: str, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with an answer, "" where nothing is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"{_NO_JSON} ({error})"
    return "; ".join(islice(problems(value, schema), _SHOWN))
