"""The labels that a command gives records, as data. Scorer, task and the identity of a calibration follow from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.documents.records.record import value_as_text
from llmcli.fast_dataclass import frozen
from llmcli.tasks.labels.label_scorer import Examples, LabelCalibrator, LabelScorer, ScorerOptions

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.prompts.prompt_file import Prompt
    from llmcli.tasks.labels.example_choice import ExampleChooser
    from llmcli.tasks.runner.record_runner import RecordProcessor
    from llmcli.tasks.runner.task_requests import GenerationOptions

LABEL = "label"
"""The only target of a calibration of labels that exclude each other."""
NEAREST_EXAMPLES = 8
"""How many examples stand before a text. Of more, those that are nearest to it are chosen."""


class UnknownLabel(ValueError):
    """A cell whose ``text`` is not one of ``labels``."""

    def __init__(self, text: str, labels: Sequence[str]) -> None:
        super().__init__(text)
        self.text = text
        self.labels = tuple(labels)


@frozen
class LabelOptions:
    """``threshold``: the least probability of a label; None: the default of the command.

    ``examples`` are labelled texts that stand before each text: if there are more than ``NEAREST_EXAMPLES``, those that
    are nearest to it.
    """

    threshold: float | None = None
    examples: Examples = ()

    @property
    def fixed_examples(self) -> Examples:
        """The examples before a text for which none are chosen."""
        return self.examples[:NEAREST_EXAMPLES]

    @property
    def chooses_examples(self) -> bool:
        """Whether each text gets examples of its own."""
        return len(self.examples) > NEAREST_EXAMPLES

    def make_chooser(self, backend: Backend) -> ExampleChooser | None:
        """Return what chooses the examples of each text; None if all texts have the same.

        Raises the failure of a request.
        """
        if not self.chooses_examples:
            return None
        from llmcli.tasks.labels.example_choice import make_chooser

        return make_chooser(backend, self.examples, NEAREST_EXAMPLES)


class LabelSpec(ABC):
    """Which labels records get, and how.

    ``verb`` names the command. ``is_exclusive``: a record has one of the labels; otherwise each of them holds or not,
    by itself.
    """

    verb: str
    is_exclusive = True
    prompt: Prompt
    options: LabelOptions

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The labels or statements that are scored."""

    @property
    def targets(self) -> tuple[str, ...]:
        """What a calibration is fitted to: the choice of a label, or each name by itself."""
        return (LABEL,) if self.is_exclusive else self.names

    @property
    def probe(self) -> Path | None:
        """The file of a linear probe for the prompt; None if there is none."""
        return None

    @property
    def suits_small_models(self) -> bool | None:
        """Whether the labels of a small model are good enough; None: with labelled rows."""
        return False

    @property
    def is_inverted(self) -> bool:
        """Whether what does not hold is looked for."""
        return False

    def combine(self, probabilities: Mapping[str, float]) -> Mapping[str, float]:
        """Return the probabilities of the targets that are no labels from those of the names."""
        return probabilities

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All prompts that the results depend on."""
        return (self.prompt,)

    @property
    def variables(self) -> Mapping[str, object]:
        """The variables of the prompt beside the text and the row."""
        return {}

    @property
    def examples(self) -> Examples:
        """The examples before a text for which none are chosen."""
        return self.options.fixed_examples

    @abstractmethod
    def label_identity(self) -> dict[str, Any]:
        """Return what a calibration depends on beside prompt and model, as JSON values."""

    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """Return what the results depend on beside the prompts and the options of all commands, as JSON values."""

    def read_label(self, value: Any) -> Any:
        """Return what a cell of a labelled row says: the label, or the targets that hold; None: the row is left out.

        Raises ``UnknownLabel``.
        """
        text = value_as_text(value).strip()
        if text and text not in self.names:
            raise UnknownLabel(text, self.names)
        return text or None

    @abstractmethod
    def make_task(self, scorer: LabelScorer, thresholds: Mapping[str, float] | None = None) -> RecordProcessor:
        """Return the task with a scorer of ``make_scorer``; ``thresholds`` of targets replace that of the options.

        Raises the failure of a request.
        """

    def make_scorer(
        self,
        backend: Backend,
        generation: GenerationOptions,
        cache: Path | None = None,
        calibrator: LabelCalibrator | None = None,
    ) -> LabelScorer:
        """Return the scorer; ``cache`` is the directory of priors. Raises as ``LabelScorer`` does."""
        options = ScorerOptions(self.variables, self.examples, cache=cache, calibrator=calibrator, probe=self.probe)
        if self.is_exclusive:
            return LabelScorer(backend, self.prompt, self.names, generation, options)
        from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer

        return MultiLabelScorer(backend, self.prompt, self.names, generation, options)

    def identity(self, model_id: str, weights: str | None) -> dict[str, Any]:
        """Return everything that a calibration depends on, as JSON values."""
        model = {"model": model_id, "weights": weights}
        return {**model, "prompt": self.prompt.fingerprint, **self.label_identity(), "verb": self.verb}


def rows_digest(rows: Sequence[tuple[str, Any]]) -> str:
    """Return a hash of labelled rows, for the manifest of a job."""
    import hashlib

    return hashlib.sha256(repr(list(rows)).encode("utf-8", "surrogatepass")).hexdigest()
