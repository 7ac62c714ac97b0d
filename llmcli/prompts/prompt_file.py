"""The content of a prompt file as frozen data; ``Prompt.render`` turns it into the messages of one request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from llmcli.errors import BadVariables, ConfigError
from llmcli.fast_dataclass import asdict, field, frozen
from llmcli.prompts.jinja_template import Template, TemplateError
from llmcli.types import Message, Role

ROW_VARIABLE = "row"
"""The variable with the columns of a record, such as ``row.title``; empty if the input has no records."""
VariableType = Literal["text", "number", "choice"]
OutputKind = Literal["text", "labels", "schema"]


@frozen
class Variable:
    """A value that the user may set. ``default`` None: required. ``choices`` is for ``type`` "choice" only."""

    name: str
    type: VariableType = "text"
    default: str | None = None
    choices: tuple[str, ...] = ()
    description: str = ""

    def find_problem(self, value: object) -> str | None:
        """Return what is wrong with ``value``, as a sentence, or None."""
        if self.type == "choice" and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}"
        if self.type == "number":
            try:
                float(str(value))
            except ValueError:
                return f"{self.name} must be a number, not {value!r}"
        return None


@frozen
class PromptOptions:
    """Sampling that suits the prompt; None leaves the choice to the verb. Ranges are those of ``types.Sampling``."""

    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None


@frozen
class Prompt:
    """One prompt file.

    ``variables`` are declared in the file. ``contract_variables`` are the names of those that the command passes in
    addition (see ``contracts``); ``public_variables`` are the ones among these that never hold the user's text.
    ``labels`` is set when ``output`` is "labels", ``schema`` (a JSON schema) when it is "schema". ``content_free`` are
    texts that say nothing: what the model answers to them is its prior of the labels. ``label_temperature`` divides the
    log-probabilities of the labels, after the prior is taken out.
    """

    name: str
    origin: Path
    description: str
    user: Template
    system: Template | None = None
    examples: tuple[tuple[Template, Template], ...] = ()
    variables: Mapping[str, Variable] = field(default_factory=dict)
    contract_variables: tuple[str, ...] = ()
    options: PromptOptions = PromptOptions()
    output: OutputKind = "text"
    labels: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    public_variables: frozenset[str] = frozenset()
    content_free: tuple[str, ...] = ()
    label_temperature: float = 1.0

    @property
    def public_prefix(self) -> bool:
        """Whether the text before the user's turn is the file's own: no variable in it can hold the user's text."""
        before = (self.system, *(template for pair in self.examples for template in pair))
        return all(template is None or template.names <= self.public_variables for template in before)

    def uses(self, variable: str) -> bool:
        """Whether the text depends on a variable."""
        pairs = [template for pair in self.examples for template in pair]
        return any(template is not None and variable in template.names for template in (self.system, self.user, *pairs))

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the file tells the model, and of its sampling options."""
        import hashlib

        pairs = [template.source for pair in self.examples for template in pair]
        said = [self.system.source if self.system else "", self.user.source, *pairs, repr(self.options)]
        scoring = [*self.content_free, str(self.label_temperature)]
        return hashlib.sha256("\0".join([*said, *scoring]).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return all of it but name and origin, as values that JSON can represent if its schema can."""
        pairs = [[each.to_json() for each in pair] for pair in self.examples]
        texts = {"user": self.user.to_json(), "system": self.system and self.system.to_json(), "examples": pairs}
        variables = [asdict(each) for each in self.variables.values()]
        same = ("description", "contract_variables", "output", "labels", "schema", "content_free", "label_temperature")
        public = sorted(self.public_variables)
        kept = {"variables": variables, "public_variables": public, "options": asdict(self.options)}
        return {**texts, **kept, **{name: getattr(self, name) for name in same}}

    @classmethod
    def from_json(cls, name: str, origin: Path, fields: Mapping[str, Any]) -> Prompt:
        """Return what ``to_json`` was called on. Raises ``TypeError`` and ``KeyError`` for other values."""
        variables = [Variable(**{**each, "choices": tuple(each["choices"])}) for each in fields["variables"]]
        options = fields["options"]
        return cls(
            name,
            origin,
            fields["description"],
            Template.from_json(fields["user"]),
            None if fields["system"] is None else Template.from_json(fields["system"]),
            tuple((Template.from_json(one), Template.from_json(other)) for one, other in fields["examples"]),
            {each.name: each for each in variables},
            tuple(fields["contract_variables"]),
            PromptOptions(**{**options, "stop": tuple(options["stop"])}),
            fields["output"],
            tuple(fields["labels"]),
            fields["schema"],
            frozenset(fields["public_variables"]),
            tuple(fields["content_free"]),
            fields["label_temperature"],
        )

    def render(self, variables: Mapping[str, object]) -> tuple[Message, ...]:
        """Return the messages: system (omitted if it renders blank), the examples as pairs of turns, user.

        Values are texts, or what the contract lets the command pass (lists of documents). They are data and are never
        rendered themselves. Raises ``BadVariables``, which names every unknown, missing and wrong variable at once, and
        ``ConfigError`` when an expression of the file fails.
        """
        values = self._values(variables)
        try:
            return self._messages(values)
        except TemplateError as error:
            origin = str(self.origin)
            raise ConfigError(origin, origin=origin, prompt=self.name, detail=str(error)) from error

    def _messages(self, values: Mapping[str, object]) -> tuple[Message, ...]:
        messages = []
        if self.system is not None:
            text = self.system.render(values)
            if text.strip():
                messages.append(Message(Role.SYSTEM, text))
        for question, answer in self.examples:
            messages.append(Message(Role.USER, question.render(values)))
            messages.append(Message(Role.ASSISTANT, answer.render(values)))
        messages.append(Message(Role.USER, self.user.render(values)))
        return tuple(messages)

    def _values(self, given: Mapping[str, object]) -> dict[str, object]:
        known = {*self.variables, *self.contract_variables}
        problems = []
        unknown = [name for name in given if name not in known]
        if unknown:
            takes = ", ".join(self.variables) or "none"
            problems.append(f"unknown variables: {', '.join(unknown)} (the prompt takes: {takes})")
        defaults = {name: v.default for name, v in self.variables.items() if v.default is not None}
        values: dict[str, object] = {**defaults, **{name: value for name, value in given.items() if name in known}}
        if ROW_VARIABLE in self.contract_variables:
            values.setdefault(ROW_VARIABLE, {})
        missing = [name for name in (*self.contract_variables, *self.variables) if name not in values]
        if missing:
            problems.append(f"missing variables: {', '.join(missing)}")
        for name, value in given.items():
            if name in self.variables:
                problem = self.variables[name].find_problem(value)
                if problem is not None:
                    problems.append(problem)
        if problems:
            raise BadVariables(f"{self.name}: " + "; ".join(problems), prompt=self.name, missing=missing)
        return values
