"""The tree of errors: what scripts and clients may rely on."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import llmcli
from llmcli import errors

FORMER_NAMES = {
    "AnswerTruncated": "AnswerCut",
    "ClaimedByOther": "Taken",
    "ConsentRequired": "NoConsent",
    "HubUnreachable": "Unreachable",
    "IncompleteOutput": "LeftUndone",
    "ModelNotDownloaded": "ModelNotHere",
    "ModelTooLarge": "DoesNotFit",
    "OutputPipeClosed": "ReaderGone",
    "ProcessStopped": "Stopped",
    "RateLimited": "Busy",
    "RequestRejected": "Refused",
    "ServerUnreachable": "Unreachable",
    "TemporaryFailure": "TryAgain",
    "TransferStalled": "Stalled",
    "Unauthorized": "KeyRefused",
    "UntrustedServer": "Untrusted",
    "WorkerCrashed": "Crashed",
}


@pytest.fixture(scope="module")
def error_classes():
    """Return all error classes, also those of other modules."""
    for module in pkgutil.walk_packages(llmcli.__path__, "llmcli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, rest = [], [errors.LlmError]
    while rest:
        found.append(rest.pop())
        rest += found[-1].__subclasses__()
    return found


def test_renamed_errors_keep_their_type(error_classes):
    """``error.type`` in JSON stays the same when a class is renamed; a subclass does not inherit it."""
    types = {kind.__name__: kind.type_name for kind in error_classes if kind.__module__.startswith("llmcli.")}
    assert {name: kind for name, kind in types.items() if name != kind} == FORMER_NAMES
