"""The tree of errors: what scripts and clients may rely on."""

from __future__ import annotations

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
