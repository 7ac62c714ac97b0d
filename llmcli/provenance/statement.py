"""The statement about an output: what it is, and what it was made of.

The form is a Statement of in-toto's attestation framework, version 1: its subject is the output, its predicate is ours.
Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. It is plain JSON, so no library writes
it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, frozen
from llmcli.provenance.digest_key import KEYED, DigestKey
from llmcli.schema_validation import SchemaValidator

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:x-llmcli:provenance:v1"
SUFFIX = ".provenance.json"
"""What the name of an output's statement adds to that of the output."""
FIELD = "provenance"
"""The field with the statement in a result as JSON."""
MAC = "mac"
"""The field of the predicate with the HMAC over the whole statement without this field, and the name of its key."""

_TEXT = {"type": "string"}
_DIGESTS = {"type": "object", "additionalProperties": _TEXT}
_THING = {"type": "object", "required": ["name"], "properties": {"name": _TEXT, "digest": _DIGESTS, "note": _TEXT}}
_MODEL = {
    "type": "object",
    "required": ["name", "reference", "digest", "weights"],
    "properties": {
        "name": _TEXT,
        "reference": _TEXT,
        "digest": _DIGESTS,
        "weights": _TEXT,
        "copy": _DIGESTS,
        "adapters": {"type": "array", "items": {**_THING, "required": ["name", "digest"]}},
        "draft": {**_THING, "required": ["name", "digest"]},
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "properties": {
        "_type": {"const": STATEMENT_TYPE},
        "subject": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "digest"],
                "properties": {"name": _TEXT, "digest": {**_DIGESTS, "required": ["sha256"]}},
            },
        },
        "predicateType": {"const": PREDICATE_TYPE},
        "predicate": {
            "type": "object",
            "required": ["command", "parameters", "settings", "directory", "key", "inputs", "prompts", "versions"],
            "properties": {
                "command": _TEXT,
                "parameters": {"type": "object"},
                "settings": {"type": "object"},
                "directory": _TEXT,
                "key": _TEXT,
                MAC: {**_DIGESTS, "required": ["key", KEYED]},
                "inputs": {"type": "array", "items": _THING},
                "prompts": {"type": "array", "items": _THING},
                "versions": _DIGESTS,
                "model": _MODEL,
                "server": {"type": "object"},
            },
        },
    },
}


@frozen
class Statement:
    """A statement: the name of the output, its digests, and the predicate (see ``docs/provenance.md``)."""

    name: str
    digest: Mapping[str, str]
    predicate: Mapping[str, Any]
    source: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The JSON values that it was read from, with fields that are none of ours."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.name, "digest": dict(self.digest)}],
            "predicateType": PREDICATE_TYPE,
            "predicate": dict(self.predicate),
        }


class StatementMac(StrEnum):
    """What the HMAC of a statement says about it."""

    OK = "ok"
    CHANGED = "changed"
    ABSENT = "absent"
    NO_KEY = "no key"


def add_mac(value: dict[str, Any], key: DigestKey) -> dict[str, Any]:
    """Return a statement as JSON values with the HMAC over all of it."""
    return {**value, "predicate": {**value["predicate"], MAC: {"key": key.id, **key.digest(_canonical_bytes(value))}}}


def check_mac(statement: Statement, key: DigestKey | None) -> StatementMac:
    """Compare a statement that was read with its HMAC. Its maker is known by either name of the key in it."""
    predicate = statement.predicate
    if MAC not in predicate:
        return StatementMac.ABSENT
    mac = predicate[MAC]
    if key is None or key.id not in {mac["key"], predicate["key"]}:
        return StatementMac.NO_KEY
    value = dict(statement.source or statement.to_json())
    value["predicate"] = {name: each for name, each in predicate.items() if name != MAC}
    digest = key.digest(_canonical_bytes(value))[KEYED]
    same = hmac.compare_digest(digest.encode(), mac[KEYED].encode("utf-8", "replace"))
    return StatementMac.OK if same and mac == {"key": key.id, KEYED: digest} else StatementMac.CHANGED


def _canonical_bytes(value: Mapping[str, Any]) -> bytes:
    """Return JSON values in one form: fields in order, no blanks; what is no character as it is written to a pipe."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def parse_json(data: bytes, name: str) -> Any:
    """Return the JSON values in a file. Raises ``ValueError``; ``BadDocument`` if an object has a field twice."""

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise BadDocument(name, detail="an object in it has a field twice", kind="statement")
        return found

    return json.loads(data, object_pairs_hook=read_object)


def parse_statement(data: bytes, name: str) -> Statement:
    """Return the statement in the file ``name``. Raises ``BadDocument``."""
    try:
        value = parse_json(data, name)
    except (ValueError, RecursionError) as error:
        raise BadDocument(name, detail="it is no JSON", kind="statement") from error
    return read_statement(value, name)


def read_statement(value: Any, name: str) -> Statement:
    """Return the statement that JSON values are, in the file ``name``. Raises ``BadDocument``."""
    problem = next(SchemaValidator(_SCHEMA).iter_errors(value), None)
    if problem is not None:
        raise BadDocument(name, detail=f"it is no statement of llm: {problem}", kind="statement")
    subject = value["subject"][0]
    return Statement(subject["name"], subject["digest"], value["predicate"], value)
