"""The tree of errors: what scripts and clients may rely on."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path

import llmcli
from llmcli.cli.console.error_messages import describe, error_as_json
from llmcli.errors import AccessDenied

FORMER_NAMES = {
    "AnswerTruncated": "AnswerCut",
    "ClaimedByOther": "Taken",
    "HubUnreachable": "Unreachable",
    "ModelNotDownloaded": "ModelNotHere",
    "ModelTooLarge": "DoesNotFit",
    "OutputPipeClosed": "ReaderGone",
    "ProcessStopped": "Stopped",
    "RateLimited": "Busy",
    "RequestRejected": "Refused",
    "NotOnServers": "Unsupported",
    "ServerStalled": "TryAgain",
    "ServerUnreachable": "Unreachable",
    "TemporaryFailure": "TryAgain",
    "TransferStalled": "Stalled",
    "Unauthorized": "KeyRefused",
    "UntrustedServer": "Untrusted",
    "WorkerCrashed": "Crashed",
}


def test_renamed_errors_keep_their_type(error_classes):
    """``error.type`` in JSON stays the same when a class is renamed; a subclass does not inherit it."""
    types = {kind.__name__: kind.type_name for kind in error_classes}
    assert {name: kind for name, kind in types.items() if name != kind} == FORMER_NAMES


def test_all_errors_are_in_one_package(error_classes):
    """The worker's protocol finds a class by its name there."""
    assert [kind for kind in error_classes if kind.__module__.partition(".errors")[0] != "llmcli"] == []


def test_each_class_is_raised_or_caught_in_several_places(error_classes):
    """No class exists for an error that only one place raises and no code catches by type."""
    package = Path(llmcli.__file__).parent
    texts = package / "cli" / "console" / "messages"
    uses = Counter(base.__name__ for kind in error_classes for base in kind.__bases__)
    for path in package.rglob("*.py"):
        if package / "errors" not in path.parents and texts not in path.parents:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                uses[getattr(node, "id", getattr(node, "attr", ""))] += 1
    assert [kind.__name__ for kind in error_classes if uses[kind.__name__] < 2] == []


def test_the_own_texts_of_an_error_are_shown():
    """The subject is shown as in other messages, and the type in JSON is that of the error."""
    own = {"message": "{subject} is shut: {detail}", "advice": ("Open:", "  llm\nopen"), "type_name": "Shut"}
    error = AccessDenied("-", detail="since {subject}", **own)
    assert describe(error) == ("standard input is shut: since {subject}", "Open:\n  llm open")
    assert json.loads(error_as_json(error))["error"] == {
        "code": 77,
        "type": "Shut",
        "message": "standard input is shut: since {subject}",
        "next": "Open:\n  llm open",
    }
    assert AccessDenied("x").type_name == "AccessDenied"
