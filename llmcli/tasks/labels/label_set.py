"""The labels of a classification: their names, descriptions and examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmcli.errors import BadDocument, UsageError
from llmcli.fast_dataclass import field, frozen

_KEYS = ("description", "examples")


@frozen
class Label:
    """``description`` says when it applies, "" without one; ``examples`` are texts that have it."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()


@frozen
class LabelSet:
    """Two labels or more, with distinct names."""

    labels: tuple[Label, ...] = field(default_factory=tuple)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the user's order."""
        return tuple(label.name for label in self.labels)

    @property
    def examples(self) -> tuple[tuple[str, str], ...]:
        """All (text, label), the labels taking turns, so that none stands last every time."""
        longest = max((len(label.examples) for label in self.labels), default=0)
        return tuple(
            (label.examples[index], label.name)
            for index in range(longest)
            for label in self.labels
            if index < len(label.examples)
        )


def parse_label_names(text: str) -> LabelSet:
    """Return the labels of a list with commas. Raises ``UsageError``."""
    return _make_label_set(Label(name.strip()) for name in text.split(","))


def parse_label_file(text: str, name: str) -> LabelSet:
    """Return the labels of a YAML file called ``name``.

    It holds a list of names, or a mapping from names to a description, or to ``description`` and ``examples``. Raises
    ``BadDocument`` for other content and ``UsageError`` for labels that do not make a set.
    """
    from llmcli.yaml_file import parse_yaml_file  # labels on the command line do not need it

    return parse_label_tree(parse_yaml_file(text, name, kind="labels", as_texts=True), name)


def parse_label_tree(tree: Any, name: str) -> LabelSet:
    """Return the labels of a list of names, or of a mapping as in ``parse_label_file``, whose errors it raises."""
    if isinstance(tree, list) and not any(isinstance(each, list | dict) for each in tree):
        tree = dict.fromkeys(map(str, tree)) if len({*map(str, tree)}) == len(tree) else _duplicates(tree)
    if not isinstance(tree, dict):
        raise BadDocument(name, detail="expected a list of labels, or a mapping from labels to descriptions")
    return _make_label_set(_read_label(str(label), body, name) for label, body in tree.items())


def _duplicates(names: list[Any]) -> Any:
    twice = next(each for each in names if names.count(each) > 1)
    raise UsageError(f"the label {twice} is given twice")


def _read_label(label: str, body: Any, file: str) -> Label:
    if body is None or isinstance(body, str):
        return Label(label.strip(), (body or "").strip())
    if not isinstance(body, dict):
        raise BadDocument(file, detail=f"label {label}: expected a description, or {' and '.join(_KEYS)}")
    unknown = [str(key) for key in body if key not in _KEYS]
    if unknown:
        raise BadDocument(file, detail=f"label {label}: unknown key {unknown[0]} (known: {', '.join(_KEYS)})")
    description, examples = body.get("description") or "", body.get("examples") or []
    if not isinstance(description, str):
        raise BadDocument(file, detail=f"label {label}: the description must be a text")
    if not isinstance(examples, list) or not all(isinstance(each, str) and each.strip() for each in examples):
        raise BadDocument(file, detail=f"label {label}: examples must be a list of texts")
    return Label(label.strip(), description.strip(), tuple(examples))


def _make_label_set(labels: Iterable[Label]) -> LabelSet:
    found = tuple(labels)
    names = [label.name for label in found]
    if "" in names:
        raise UsageError("a label is empty", detail="Try: --labels billing,bug,praise")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the label {twice} is given twice")
    if len(found) < 2:  # noqa: PLR2004 (a choice)
        raise UsageError("two labels or more are needed", detail="Try: --labels billing,bug,praise")
    return LabelSet(found)
