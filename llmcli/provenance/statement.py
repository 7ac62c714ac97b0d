"""The statement about an output: what it is, and what it was made of.

The form is a Statement of in-toto's attestation framework, version 1: its subject is the output, its predicate is ours.
Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. It is plain JSON, so no library writes
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen
from llmcli.schema_validation import SchemaValidator

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:x-llmcli:provenance:v1"
SUFFIX = ".provenance.json"
"""What the name of an output's statement adds to that of the output."""
FIELD = "provenance"
"""The field with the statement in a result as JSON."""

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

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.name, "digest": dict(self.digest)}],
            "predicateType": PREDICATE_TYPE,
            "predicate": dict(self.predicate),
        }


def parse_statement(data: bytes, name: str) -> Statement:
    """Return the statement in the file ``name``. Raises ``BadDocument``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadDocument(name, detail="it is no JSON", kind="statement") from error
    return read_statement(value, name)


def read_statement(value: Any, name: str) -> Statement:
    """Return the statement that JSON values are, in the file ``name``. Raises ``BadDocument``."""
    problem = next(SchemaValidator(_SCHEMA).iter_errors(value), None)
    if problem is not None:
        raise BadDocument(name, detail=f"it is no statement of llm: {problem}", kind="statement")
    subject = value["subject"][0]
    return Statement(subject["name"], subject["digest"], value["predicate"])
