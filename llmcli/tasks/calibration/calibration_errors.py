"""Why a calibration cannot be used; ``errors.py`` has the tree."""

from __future__ import annotations

from llmcli.errors import ConfigError, InputError


class CalibrationMismatch(ConfigError):
    """The calibration ``subject`` was made with other settings: those named in ``differences``."""

    def __init__(self, subject: str, differences: tuple[str, ...], *, weights: str | None = None) -> None:
        """``weights``: those that it needs, if only these differ."""
        super().__init__(subject)
        self.differences = differences
        self.weights = weights


class DamagedCalibration(ConfigError):
    """The file of the calibration ``subject`` cannot be read; ``detail`` says why."""


class TooFewLabels(InputError):
    """The labelled rows of ``subject`` are too few for a calibration; ``detail`` says what is missing."""
