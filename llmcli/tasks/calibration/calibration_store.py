"""Calibrations under names: one file each, readable by its owner only."""

from __future__ import annotations

import io
import json
import re
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmcli.errors import CannotCreate, ConfigError, MissingError, UsageError
from llmcli.errors.saved_state_errors import DamagedCalibration, UnreadableState, name_differences
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files import private_files
from llmcli.tasks.calibration.calibration import Calibration, Cascade
from llmcli.tasks.calibration.calibration_figures import figures_from_json
from llmcli.tasks.calibration.feature_set import Matrix
from llmcli.tasks.calibration.fitted_problem import FittedProblem, gain_from_json
from llmcli.tasks.calibration.learning_curve import curve_from_json
from llmcli.tasks.calibration.model_selection import FitChoice, LinearScores

VERSION = 4
"""Of the format. Other versions are refused."""
_SUFFIX = ".npz"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
NAME_RULE = "use letters A to Z, digits and ._- only, 100 at most, and do not begin with . or -"
_COEFFICIENTS = "coefficients."
_CASCADE = "cascade."
_FORMAT_ERRORS = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, MemoryError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, NotImplementedError, SyntaxError),
)
"""What json, zipfile and numpy raise for damaged content, and what the types of a calibration raise for other values."""


def is_calibration_name(text: str) -> bool:
    """Return whether a calibration may have this name (``NAME_RULE``)."""
    return _NAME.fullmatch(text) is not None


def require_calibration_name(text: str) -> None:
    """Raise ``UsageError`` unless a calibration may have this name."""
    if not is_calibration_name(text):
        raise UsageError(f"{text!r} is no name for a calibration: {NAME_RULE}")


@frozen
class StoredCalibration:
    """The fitted ``problems`` by name, and everything that their features depend on: ``identity``, JSON values by name.

    Labels that exclude each other are one problem; labels that do not are one each, with the labels of
    ``presence_calibration``. ``model`` is the model's name for people, ``created`` a time in ISO 8601.
    """

    problems: Mapping[str, FittedProblem]
    identity: Mapping[str, Any]
    model: str
    created: str

    @property
    def weights(self) -> str | None:
        """The type of the weights that it was made with; None for a server."""
        found = self.identity.get("weights")
        return None if found is None else str(found)

    @property
    def labels(self) -> tuple[str, ...]:
        """What records get: the labels of the only problem, or the names of several."""
        if len(self.problems) > 1:
            return tuple(self.problems)
        (only,) = self.problems.values()
        return only.calibration.labels

    def answering(self) -> dict[str, FittedProblem]:
        """Return the problems whose calibrations answer: those that gain."""
        return {name: each for name, each in self.problems.items() if each.gain.is_gain}

    def answering_probabilities(self, name: str) -> Matrix:
        """Return the probabilities (rows, labels) that the labelled rows of a problem get from what answers."""
        problem = self.problems[name]
        if not problem.gain.is_gain:
            return problem.uncalibrated
        assert problem.calibration.heldout is not None
        return problem.calibration.heldout

    def require_identity(self, name: str, identity: Mapping[str, Any], *, is_remote: bool = False) -> None:
        """Raise ``ConfigError`` unless ``identity`` is that of this calibration, called ``name``.

        ``is_remote``: a server has chosen the weights of ``identity``.
        """
        own, other = (json.loads(json.dumps(dict(each))) for each in (self.identity, identity))
        differences = tuple(key for key in {**own, **other} if own.get(key) != other.get(key))
        if differences:
            advice = "Use what it was made with, or make a new one: --calibrate FILE --calibration NAME"
            if differences == ("weights",):
                start = "On the server's machine: llm serve" if is_remote else "Try:"
                advice = f"{start} --set weights={self.weights}"
            raise ConfigError(
                name,
                message=f"the calibration {{subject}} was made with another {name_differences(differences)}",
                advice=advice,
                type_name="CalibrationMismatch",
            )

    def to_json(self) -> dict[str, Any]:
        """Return everything but the coefficients, as JSON values; several problems are an object by name."""
        head = {"model": self.model, "created": self.created}
        found = {name: problem.to_json() for name, problem in self.problems.items()}
        return {**head, **next(iter(found.values()))} if len(found) == 1 else {**head, "problems": found}


class CalibrationStore:
    """The calibrations in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        """Return the file of a calibration. Raises ``MissingError`` for an impossible name."""
        if not is_calibration_name(name):
            raise MissingError(name, kind="calibration", detail=NAME_RULE)
        return self._directory / f"{name}{_SUFFIX}"

    def names(self) -> list[str]:
        """Return the names, sorted. Raises ``MissingError`` for a directory that cannot be read."""
        try:
            found = (each.name.removesuffix(_SUFFIX) for each in self._directory.iterdir() if each.suffix == _SUFFIX)
            return sorted(name for name in found if is_calibration_name(name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableState(str(self._directory), detail=error.strerror or "") from error

    def save(self, name: str, stored: StoredCalibration) -> Path:
        """Save a calibration in the place of an earlier one, atomically; return its file. Raises ``CannotCreate``."""
        path = self.path(name)
        try:
            private_files.replace_file(path, encode_calibration(stored))
        except OSError as error:
            raise CannotCreate(str(path), detail=error.strerror or "") from error
        return path

    def load(self, name: str) -> StoredCalibration:
        """Return a calibration. Raises ``MissingError``, ``UnreadableState`` and ``DamagedCalibration``."""
        try:
            return decode_calibration(self.path(name).read_bytes())
        except FileNotFoundError as error:
            raise MissingError(name, kind="calibration", suggestions=self.names()) from error
        except OSError as error:
            raise UnreadableState(str(self.path(name)), detail=error.strerror or "") from error
        except _FORMAT_ERRORS as error:
            raise DamagedCalibration(name, detail=str(error)) from error

    def remove(self, name: str) -> None:
        """Remove a calibration. Raises ``MissingError`` if there is none."""
        try:
            self.path(name).unlink()
        except OSError as error:
            raise MissingError(
                name, kind="calibration", suggestions=self.names(), detail=error.strerror or ""
            ) from error


def encode_calibration(stored: StoredCalibration) -> bytes:
    """Return the content of a file: numpy's format of several arrays (no pickle), one of them text in JSON."""
    problems: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for number, (name, problem) in enumerate(stored.problems.items()):
        calibration, cascade = problem.calibration, problem.calibration.cascade
        problems.append(
            {
                "name": name,
                "labels": calibration.labels,
                "seen": calibration.seen,
                "choice": asdict(calibration.choice),
                "curve": None if calibration.curve is None else calibration.curve.to_json(),
                "figures": problem.figures.to_json(),
                "gain": problem.gain.to_json(),
                "cascade": None if cascade is None else {"choice": asdict(cascade.choice), "margin": cascade.margin},
            }
        )
        own = _encode_scores(calibration.scores)
        own |= {"targets": calibration.targets, "uncalibrated": problem.uncalibrated}
        if cascade is not None:
            own |= {_CASCADE + key: array for key, array in _encode_scores(cascade.scores).items()}
        if calibration.heldout is not None:
            own["heldout"] = calibration.heldout
        arrays |= {f"{number}.{key}": array for key, array in own.items()}
    text = {
        "version": VERSION,
        "problems": problems,
        "identity": dict(stored.identity),
        "model": stored.model,
        "created": stored.created,
        "keep": False,  # as in the last release: a job that uses a calibration has the hash of its file
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, json=np.frombuffer(json.dumps(text).encode(), dtype=np.uint8), allow_pickle=False, **arrays
    )
    return buffer.getvalue()


def decode_calibration(content: bytes) -> StoredCalibration:
    """Return the calibration of ``encode_calibration``. Raises one of ``_FORMAT_ERRORS`` for other content."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    text = json.loads(bytes(arrays["json"]))
    if text["version"] != VERSION:
        raise ValueError(f"format {text['version']}, this version of llm reads {VERSION}")
    problems = {}
    for number, problem in enumerate(text["problems"]):
        head = f"{number}."
        own = {name.removeprefix(head): array for name, array in arrays.items() if name.startswith(head)}
        problems[str(problem["name"])] = _decode_problem(problem, own)
    return StoredCalibration(problems, {**text["identity"]}, text["model"], text["created"])


def _encode_scores(scores: LinearScores) -> dict[str, Any]:
    return {"bias": scores.bias, **{_COEFFICIENTS + block: matrix for block, matrix in scores.coefficients.items()}}


def _decode_scores(arrays: Mapping[str, Any], head: str = "") -> LinearScores:
    start = head + _COEFFICIENTS
    coefficients = {name.removeprefix(start): matrix for name, matrix in arrays.items() if name.startswith(start)}
    return LinearScores(coefficients, arrays[f"{head}bias"])


def _decode_problem(text: Mapping[str, Any], arrays: Mapping[str, Any]) -> FittedProblem:
    cascade = text["cascade"]
    calibration = Calibration(
        tuple(text["labels"]),
        tuple(text["seen"]),
        _decode_scores(arrays),
        FitChoice(**text["choice"]),
        arrays["targets"],
        arrays.get("heldout"),
        None if text["curve"] is None else curve_from_json(text["curve"]),
        None
        if cascade is None
        else Cascade(_decode_scores(arrays, _CASCADE), FitChoice(**cascade["choice"]), float(cascade["margin"])),
    )
    figures, gain = figures_from_json(text["figures"]), gain_from_json(text["gain"])
    return FittedProblem(calibration, figures, arrays["uncalibrated"], gain)
