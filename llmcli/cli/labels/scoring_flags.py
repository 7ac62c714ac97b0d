"""The options of verbs that score labels, in addition to those of records."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.parsing.parameters import Option, OptionSection
from llmcli.cli.records.record_flags import OnError, OnErrorOption, RecordFlags
from llmcli.fast_dataclass import frozen

_ThresholdOption = Annotated[
    float | None,
    Option("--threshold", min=0.0, max=1.0, metavar="P", help="Least probability of a label or a match."),
]


@frozen
class _SummaryFlags(RecordFlags):
    """Those of every such verb."""

    threshold: _ThresholdOption = None
    summary: Annotated[
        str | None, Option("--summary", metavar="FILE", help="Write counts and means to this file, as JSON.", rare=True)
    ] = None


@frozen
class CalibrationFlags(_SummaryFlags):
    """Those of verbs whose probabilities labelled rows correct."""

    target_precision: Annotated[
        float | None,
        Option(
            "--target-precision",
            min=0.0,
            max=1.0,
            metavar="P",
            help="Answer only from the probability from which this share is right, by the calibration.",
            section=OptionSection.CALIBRATION,
            rare=True,
        ),
    ] = None
    calibrate: Annotated[
        str | None,
        Option(
            "--calibrate", metavar="FILE", help="Learn from these labelled rows.", section=OptionSection.CALIBRATION
        ),
    ] = None
    calibration: Annotated[
        str | None,
        Option(
            "--calibration",
            metavar="NAME",
            help="Use this calibration, or save that of --calibrate.",
            autocompletion="calibrations",
            section=OptionSection.CALIBRATION,
        ),
    ] = None
    evaluate: Annotated[
        str | None,
        Option(
            "--eval",
            metavar="FILE",
            help="Report how good the labels of these labelled rows are.",
            section=OptionSection.CALIBRATION,
        ),
    ] = None
    plot: Annotated[
        str | None,
        Option(
            "--plot",
            metavar="FILE",
            help="Draw reliability and learning curve (.svg or .png).",
            section=OptionSection.CALIBRATION,
        ),
    ] = None
    label_column: Annotated[
        str,
        Option(
            "--label-column",
            metavar="NAME",
            help="Column with the label in labelled rows.",
            section=OptionSection.CALIBRATION,
            rare=True,
        ),
    ] = "label"


@frozen
class ScoringFlags(CalibrationFlags):
    """Those of verbs that give labels."""

    examples: Annotated[
        str | None, Option("--examples", metavar="FILE", help="Labelled rows to show to the model as examples.")
    ] = None


@frozen
class FilterFlags(CalibrationFlags):
    """Those of filter: a record that fails is reported, but it is no match."""

    on_error: OnErrorOption = OnError.SKIP
