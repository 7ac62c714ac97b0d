"""Errors of copies of a model in another type, of adapters, grammars and engines; the package has the tree."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.errors import (
    CannotCreate,
    ConfigError,
    InputError,
    TemporaryFailure,
    UnavailableError,
    Unsupported,
)


class NoRoomForWeights(CannotCreate):
    """The copy ``subject`` needs ``needed`` bytes of disk; ``available`` are free.

    ``limit``: bytes that the setting derived_weights allows for all copies, None if the disk itself is too small.
    """

    replaceable = True
    """Whether the original weights would do instead."""

    def __init__(self, subject: str, *, needed: int, available: int, limit: int | None = None) -> None:
        super().__init__(subject)
        self.needed = needed
        self.available = available
        self.limit = limit


class CannotStoreCopies(CannotCreate):
    """Copies cannot be made in the directory ``subject``; ``detail`` says why."""

    replaceable = True
    """As in ``NoRoomForWeights``."""


class DerivationRefused(UnavailableError):
    """The model ``subject`` cannot be stored in another type; ``detail`` says why."""


class DerivedWeightsMissing(TemporaryFailure):
    """The copy of the model ``subject`` in type ``weights`` was removed before it was loaded."""

    def __init__(self, subject: str, *, weights: str) -> None:
        super().__init__(subject, detail=f"its copy in {weights} was removed")
        self.weights = weights


class BadAdapter(InputError):
    """The file ``subject`` is no LoRA adapter, or not one for the chosen model; ``detail`` gives the reason.

    ``mismatch``: it is an adapter, but for another model; ``base_model``: the name of that model in the file, or "".
    """

    def __init__(self, subject: str, *, detail: str, mismatch: bool = False, base_model: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.mismatch = mismatch
        self.base_model = base_model


class UnsupportedAdapter(Unsupported):
    """The adapter or option ``subject`` cannot apply where the model runs; ``detail`` gives the reason."""


class BadGrammar(InputError):
    """A schema, labels or a grammar that no answer can be held to; ``subject`` says which."""

    exit_code = 2


class EngineNotInstalled(Unsupported):
    """This machine has no library of llama.cpp: none was compiled with the binding, and none installed.

    ``package``: the kind of a prebuilt one that suits this machine, of ``size`` bytes; "" if there is none.
    """

    def __init__(self, *, package: str = "", size: int = 0, detail: str = "") -> None:
        super().__init__("llama.cpp", detail=detail)
        self.package = package
        self.size = size


class EngineRefused(ConfigError):
    """The library of llama.cpp called ``subject`` must not run models; ``detail`` gives the reason."""


class EngineUnavailable(Unsupported):
    """There is no prebuilt library ``subject`` for this machine; ``detail`` gives the reason.

    ``kinds``: those that this machine can install, such as "cpu" and "vulkan".
    """

    def __init__(self, subject: str, *, detail: str = "", kinds: Sequence[str] = ()) -> None:
        super().__init__(subject, detail=detail)
        self.kinds = tuple(kinds)
