"""The messages for calibrations that cannot be used or made."""

from __future__ import annotations

from llmcli.cli.console.messages.message_text import Descriptions, ErrorText, append_detail, subject_of
from llmcli.errors.saved_state_errors import CalibrationMismatch, DamagedCalibration, TooFewLabels


def _describe_mismatch(error: CalibrationMismatch) -> ErrorText:
    what = f"the calibration {subject_of(error)} was made with another {', '.join(error.differences)}"
    if error.weights is not None:
        return what, f"Try: --weights {error.weights}"
    return what, "Use what it was made with, or make a new one: --calibrate FILE --calibration NAME"


CALIBRATION_DESCRIPTIONS: Descriptions = {
    CalibrationMismatch: _describe_mismatch,
    DamagedCalibration: lambda x: (
        append_detail(f"the calibration {subject_of(x)} cannot be read", x),
        f"Remove it and make it again: llm calibrations rm {subject_of(x)}",
    ),
    TooFewLabels: lambda x: (
        f"{subject_of(x)} has too few labelled rows: {x.detail}",
        "Label more rows: 200 are a good start.",
    ),
}
"""What happened and what to do next, for each class."""
