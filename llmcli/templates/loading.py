"""From the text of a prompt file to a ``Prompt``, or to everything that is wrong with it, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.templates import trees
from llmcli.templates.contracts import GENERATE, contract_of
from llmcli.templates.options import read_options
from llmcli.templates.rendering import RESERVED, Template, TemplateFailure
from llmcli.templates.schema import Output, Prompt, Variable
from llmcli.values import frozen

if TYPE_CHECKING:
    import yaml

KEYS = ("description", "system", "user", "examples", "variables", "options", "output")
_VARIABLE_KEYS = ("type", "default", "choices", "description")
_TYPES = ("text", "number", "choice")
_OUTPUTS = ("text", "labels", "schema")

Place = tuple[str | int, ...]
"""Where a value stands in a file: ("options", "temperature") or ("examples", 0, "user")."""


@frozen
class Fault:
    """One thing wrong with a prompt file; ``line`` counts from 1, None where no line can be named."""

    line: int | None
    message: str


class BadPrompt(ValueError):
    """A file that is no prompt; ``faults`` in the order of their lines."""

    def __init__(self, faults: Collection[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))


def parse(name: str, origin: Path, text: str, cache: Path | None = None) -> Prompt:
    """Return the prompt that ``text``, the content of the file ``origin``, describes; see ``trees`` about ``cache``.

    Raises ``BadPrompt`` with every unknown key, wrong type, broken template and undefined variable.
    """
    known = None if cache is None else trees.recall(cache, text)
    if known is not None:
        return _Reader(name, origin, known[1], []).prompt(known[0])
    tree, lines, faults = _load(text)
    if cache is not None and not faults:
        trees.keep(cache, text, tree, lines)
    return _Reader(name, origin, lines, faults).prompt(tree)


def _load(text: str) -> tuple[dict[str, Any], dict[Place, tuple[int, int]], list[Fault]]:
    """Return the file's mapping, the lines of each place (of its key, of its first line of text), and doubled keys."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    lines: dict[Place, tuple[int, int]] = {}
    faults: list[Fault] = []
    try:
        node = loader.get_single_node()
        tree = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip("\n").count("\n")  # a mark at the end of the file lies behind its last line
        raise BadPrompt([Fault(min(mark.line, last) + 1 if mark else None, f"not YAML: {error.problem}")]) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise BadPrompt([Fault(None, f"not YAML: {' '.join(str(error).split())}")]) from error
    finally:
        loader.dispose()
    if not isinstance(tree, dict):
        raise BadPrompt([Fault(1, f"expected a mapping with {', '.join(KEYS)}")])
    if node is not None:
        _find_lines(node, (), lines, faults)
    return tree, lines, faults


def _find_lines(
    node: yaml.Node, place: Place, lines: dict[Place, tuple[int, int]], faults: list[Fault], depth: int = 0
) -> None:
    if depth > 3:  # noqa: PLR2004 (nothing of ours lies deeper; a schema may, and may refer to itself by an anchor)
        return
    import yaml

    children: list[tuple[str | int, int, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key.start_mark.line + 1, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, child.start_mark.line + 1, child) for index, child in enumerate(node.value)]
    for key, line, child in children:
        if (*place, key) in lines:
            faults.append(Fault(line, f"{_words((*place, key))} is given twice"))
        block = isinstance(child, yaml.ScalarNode) and child.style in {"|", ">"}
        lines[(*place, key)] = (line, child.start_mark.line + (2 if block else 1))
        _find_lines(child, (*place, key), lines, faults, depth + 1)


def _words(place: Place) -> str:
    """Return the name of a place for people, who count from 1: "examples 1 user"."""
    return " ".join(str(step + 1) if isinstance(step, int) else step for step in place)


class _Reader:
    """Reads one file; collects faults instead of stopping at the first."""

    def __init__(self, name: str, origin: Path, lines: Mapping[Place, tuple[int, int]], faults: list[Fault]) -> None:
        self.name = name
        self.origin = origin
        self.lines = lines
        self.faults = faults

    def prompt(self, tree: Mapping[Any, Any]) -> Prompt:
        self.known_keys((), tree, KEYS)
        description = self.text(("description",), tree.get("description"), required=True)
        variables = self.variables(tree.get("variables"))
        contract = contract_of(self.name)
        passed = tuple(contract.passes) if contract is not None else ()
        for name in set(passed) & set(variables):
            self.fault(("variables", name), f"the variable {name} is one that the command passes: do not declare it")
        known = {*variables, *passed}
        system = self.template(("system",), tree.get("system"), known)
        user = self.template(("user",), tree.get("user"), known, required=True)
        examples = self.examples(tree.get("examples"), known)
        options, wrong = read_options(tree.get("options"))
        for key, message in wrong:
            self.fault(("options", key), message)
        output, labels, schema = self.output(tree.get("output", "text"))
        if self.faults or user is None:
            raise BadPrompt(self.faults)
        return Prompt(
            self.name,
            self.origin,
            description,
            user,
            system,
            examples,
            variables,
            passed,
            options,
            output,
            labels,
            schema,
        )

    def fault(self, place: Place, message: str, *, inner: int | None = None) -> None:
        """Note a fault at ``place``, or at line ``inner`` of its text."""
        around = (place[:depth] for depth in range(len(place), 0, -1))  # what is missing has no line of its own
        key, first = next((self.lines[near] for near in around if near in self.lines), (None, None))
        self.faults.append(Fault(key if inner is None or first is None else first + inner - 1, message))

    def known_keys(self, place: Place, tree: Mapping[Any, Any], known: Collection[str]) -> None:
        for key in tree:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(known)})"
                self.fault((*place, str(key)), f"unknown key {_words((*place, str(key)))}{hint}")

    def text(self, place: Place, value: object, *, required: bool = False) -> str:
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not (value.strip() or not required):
            self.fault(place, f"{_words(place)} must be a text" + ("" if value is not None else ", and is missing"))
            return ""
        return value

    def template(
        self, place: Place, value: object, known: Collection[str], *, required: bool = False
    ) -> Template | None:
        if value is None and not required:
            return None
        try:
            template = Template.parse(self.text(place, value, required=required))
        except TemplateFailure as error:
            self.fault(place, f"{_words(place)}: {error}", inner=error.line)
            return None
        undefined = sorted(template.names - set(known))
        if undefined:
            takes = ", ".join(sorted(known)) or "none"
            said = f"{_words(place)} uses undefined variables: {', '.join(undefined)} (defined: {takes})"
            self.fault(place, f"{said}; {self._how_to_declare(undefined)}")
        return template

    def _how_to_declare(self, names: Sequence[str]) -> str:
        """Return where variables are declared, with a line to copy; of a command only those with a default have a value."""
        default = "" if self.name.startswith(GENERATE) else 'default: "", '
        which = "it" if len(names) == 1 else "each of them"
        example = f"variables: {{{names[0]}: {{{default}description: what it holds}}}}"
        return f'declare {which} in {self.origin.name} under the key "variables:", for example: {example}'

    def examples(self, value: object, known: Collection[str]) -> tuple[tuple[Template, Template], ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.fault(("examples",), "examples must be a list of pairs: user and assistant")
            return ()
        pairs = []
        for index, pair in enumerate(value):
            place: Place = ("examples", index)
            if not isinstance(pair, dict):
                self.fault(place, f"{_words(place)} must have user and assistant")
                continue
            self.known_keys(place, pair, ("user", "assistant"))
            question = self.template((*place, "user"), pair.get("user"), known, required=True)
            answer = self.template((*place, "assistant"), pair.get("assistant"), known, required=True)
            if question is not None and answer is not None:
                pairs.append((question, answer))
        return tuple(pairs)

    def variables(self, value: object) -> dict[str, Variable]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fault(("variables",), "variables must be a mapping of names to type, default, choices, description")
            return {}
        return {str(name): self.variable(str(name), {} if body is None else body) for name, body in value.items()}

    def variable(self, name: str, body: object) -> Variable:
        place: Place = ("variables", name)
        if not name.isidentifier() or name.startswith("_") or name in RESERVED:
            self.fault(place, f"{name!r} cannot be the name of a variable")
        if not isinstance(body, dict):
            self.fault(place, f"{_words(place)} must be a mapping with {', '.join(_VARIABLE_KEYS)}")
            return Variable(name)
        self.known_keys(place, body, _VARIABLE_KEYS)
        choices = body.get("choices")
        if choices is not None and not _are_texts(choices):
            self.fault((*place, "choices"), f"{_words(place)} choices must be a list of texts, each once")
            choices = None
        kind = body.get("type", "choice" if choices else "text")
        if kind not in _TYPES:
            self.fault((*place, "type"), f"{_words(place)} type must be one of {', '.join(_TYPES)}")
            kind = "text"
        if (kind == "choice") != bool(choices):
            self.fault(place, f"{_words(place)}: choices go with the type choice, and it needs them")
        default = body.get("default")
        if isinstance(default, int | float) and not isinstance(default, bool) and kind == "number":
            default = str(default)
        if default is not None and not isinstance(default, str):
            self.fault((*place, "default"), f"{_words(place)} default must be a text: put it in quotes")
            default = None
        description = self.text((*place, "description"), body.get("description"))
        variable = Variable(name, kind, default, tuple(choices or ()), description)
        problem = None if default is None or (kind == "choice" and not choices) else variable.problem(default)
        if problem is not None:
            self.fault((*place, "default"), f"{_words(place)} default: {problem}")
        return variable

    def output(self, value: object) -> tuple[Output, tuple[str, ...], Mapping[str, Any] | None]:
        if value == "text":
            return "text", (), None
        if isinstance(value, dict) and len(value) == 1:
            kind, body = next(iter(value.items()))
            if kind == "labels" and _are_texts(body) and len(body) > 1:
                return "labels", tuple(body), None
            if kind == "schema" and isinstance(body, dict):
                return "schema", (), body
        self.fault(
            ("output",), "output must be text, or {labels: [at least two texts, each once]}, or {schema: a JSON schema}"
        )
        return "text", (), None


def _are_texts(value: object) -> bool:
    """Whether ``value`` is a list of texts, none blank and none twice."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, str) and item.strip() for item in value) and len(set(value)) == len(value)
