"""Parses a prompt file into a ``Prompt``, or into the list of everything that is wrong with it, line by line."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.frozen_dataclass import frozen
from llmcli.prompts import yaml_cache
from llmcli.prompts.contracts import contract_of, is_own_name, prefix_of
from llmcli.prompts.jinja_template import RESERVED_NAMES, Template, TemplateError
from llmcli.prompts.prompt_file import OutputKind, Prompt, Variable
from llmcli.prompts.sampling_options import read_options
from llmcli.prompts.yaml_limits import find_excess

if TYPE_CHECKING:
    import yaml

PROMPT_KEYS = (
    *("description", "system", "user", "examples", "variables", "options", "output"),
    *("content_free", "label_temperature"),
)
_VARIABLE_KEYS = ("type", "default", "choices", "description")
_VARIABLE_TYPES = ("text", "number", "choice")
_OUTPUTS = ("text", "labels", "schema")

FilePath = tuple[str | int, ...]
"""The path of a value in a file: ("options", "temperature") or ("examples", 0, "user")."""


@frozen
class PromptProblem:
    """A problem of a prompt file; ``line`` counts from 1, None if the problem has no line."""

    name: str
    origin: Path
    line: int | None
    message: str


MakeProblem = Callable[[int | None, str], PromptProblem]
"""Makes a problem of one file from a line and a message."""


class BadPrompt(ValueError):
    """An invalid prompt file; ``problems`` are in the order of their lines."""

    def __init__(self, problems: Collection[PromptProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))


def parse_prompt(name: str, origin: Path, text: str, cache: Path | None = None) -> Prompt:
    """Return the prompt described by ``text``, the content of the file ``origin``; for ``cache`` see ``yaml_cache``.

    Raises ``BadPrompt`` with every unknown key, wrong type, broken template and undefined variable.
    """
    known = None if cache is None else yaml_cache.load_tree(cache, text)
    if known is not None:
        return _PromptBuilder(name, origin, known[1], []).build(known[0])
    tree, lines, problems = _parse_yaml(text, partial(PromptProblem, name, origin))
    if cache is not None and not problems:
        yaml_cache.store_tree(cache, text, tree, lines)
    return _PromptBuilder(name, origin, lines, problems).build(tree)


def _parse_yaml(
    text: str, problem: MakeProblem
) -> tuple[dict[str, Any], dict[FilePath, tuple[int, int]], list[PromptProblem]]:
    """Return the file's mapping, the lines of each path (of its key and of its text), and duplicate keys."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    lines: dict[FilePath, tuple[int, int]] = {}
    problems: list[PromptProblem] = []
    try:
        node = loader.get_single_node()
        excess = None if node is None else find_excess(node)
        tree = None if node is None or excess is not None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip("\n").count("\n")  # a mark at the end of the file is beyond its last line
        line = min(mark.line, last) + 1 if mark else None
        raise BadPrompt([problem(line, f"not YAML: {error.problem}")]) from error
    except RecursionError as error:
        raise BadPrompt([problem(None, "not YAML: it is nested too deeply")]) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise BadPrompt([problem(None, f"not YAML: {' '.join(str(error).split())}")]) from error
    finally:
        loader.dispose()
    if excess is not None:
        raise BadPrompt([problem(*excess)])
    if not isinstance(tree, dict):
        raise BadPrompt([problem(1, f"expected a mapping with {', '.join(PROMPT_KEYS)}")])
    if node is not None:
        problems = [problem(*repeated) for repeated in _find_lines(node, (), lines)]
    return tree, lines, problems


def _find_lines(
    node: yaml.Node, path: FilePath, lines: dict[FilePath, tuple[int, int]], depth: int = 0
) -> Iterator[tuple[int, str]]:
    """Add the lines of each path to ``lines``; yield the line and the message of each duplicate key."""
    if depth > 3:  # noqa: PLR2004 (nothing of ours lies deeper; a schema may)
        return
    import yaml

    children: list[tuple[str | int, int, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key.start_mark.line + 1, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, child.start_mark.line + 1, child) for index, child in enumerate(node.value)]
    for key, line, child in children:
        if (*path, key) in lines:
            yield line, f"{_format_path((*path, key))} is given twice"
        block = isinstance(child, yaml.ScalarNode) and child.style in {"|", ">"}
        lines[(*path, key)] = (line, child.start_mark.line + (2 if block else 1))
        yield from _find_lines(child, (*path, key), lines, depth + 1)


def _format_path(path: FilePath) -> str:
    """Return a path for people, who count from 1: "examples 1 user"."""
    return " ".join(str(step + 1) if isinstance(step, int) else step for step in path)


class _PromptBuilder:
    """Reads one file; collects all problems instead of stopping at the first."""

    def __init__(
        self, name: str, origin: Path, lines: Mapping[FilePath, tuple[int, int]], problems: list[PromptProblem]
    ) -> None:
        self.name = name
        self.origin = origin
        self.lines = lines
        self.problems = problems

    def build(self, tree: Mapping[Any, Any]) -> Prompt:
        self.check_keys((), tree, PROMPT_KEYS)
        description = self.read_text(("description",), tree.get("description"), required=True)
        variables = self.read_variables(tree.get("variables"))
        contract = contract_of(self.name)
        passed = tuple(contract.variables) if contract is not None else ()
        for name in set(passed) & set(variables):
            self.add_problem(("variables", name), f"the command passes the variable {name}: remove its declaration")
        known = {*variables, *passed}
        system = self.read_template(("system",), tree.get("system"), known)
        user = self.read_template(("user",), tree.get("user"), known, required=True)
        examples = self.read_examples(tree.get("examples"), known)
        content_free = self.read_content_free(tree.get("content_free"))
        label_temperature = self.read_label_temperature(tree.get("label_temperature"))
        options, wrong = read_options(tree.get("options"))
        for key, message in wrong:
            self.add_problem(("options", key), message)
        output, labels, schema = self.read_output(tree.get("output", "text"))
        if self.problems or user is None:
            raise BadPrompt(self.problems)
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
            contract.public if contract is not None else frozenset(),
            content_free,
            label_temperature,
        )

    def add_problem(self, path: FilePath, message: str, *, inner: int | None = None) -> None:
        """Record a problem at ``path``, or at line ``inner`` of its text."""
        around = (path[:depth] for depth in range(len(path), 0, -1))  # a missing value has no line of its own
        key, first = next((self.lines[near] for near in around if near in self.lines), (None, None))
        line = key if inner is None or first is None else first + inner - 1
        self.problems.append(PromptProblem(self.name, self.origin, line, message))

    def check_keys(self, path: FilePath, tree: Mapping[Any, Any], known: Collection[str]) -> None:
        for key in tree:
            if key not in known:
                import difflib

                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(known)})"
                self.add_problem((*path, str(key)), f"unknown key {_format_path((*path, str(key)))}{hint}")

    def read_text(self, path: FilePath, value: object, *, required: bool = False) -> str:
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not (value.strip() or not required):
            self.add_problem(path, f"{_format_path(path)} {'is missing' if value is None else 'must be a text'}")
            return ""
        return value

    def read_template(
        self, path: FilePath, value: object, known: Collection[str], *, required: bool = False
    ) -> Template | None:
        if value is None and not required:
            return None
        try:
            template = Template.parse(self.read_text(path, value, required=required))
        except TemplateError as error:
            self.add_problem(path, f"{_format_path(path)}: {error}", inner=error.line)
            return None
        undefined = sorted(template.names - set(known))
        if undefined:
            takes = ", ".join(sorted(known)) or "none"
            said = f"{_format_path(path)} uses undefined variables: {', '.join(undefined)} (defined: {takes})"
            self.add_problem(path, f"{said}; {self._declaration_hint(undefined)}")
        return template

    def _declaration_hint(self, names: Sequence[str]) -> str:
        """Return where to declare variables, with a line to copy; in a command's own prompt, they need a default."""
        default = "" if prefix_of(self.name) or is_own_name(self.name) else 'default: "", '
        which = "it" if len(names) == 1 else "each of them"
        example = f"variables: {{{names[0]}: {{{default}description: what it holds}}}}"
        return f'declare {which} in {self.origin.name} under the key "variables:", for example: {example}'

    def read_examples(self, value: object, known: Collection[str]) -> tuple[tuple[Template, Template], ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.add_problem(("examples",), "examples must be a list of pairs of user and assistant")
            return ()
        pairs = []
        for index, pair in enumerate(value):
            path: FilePath = ("examples", index)
            if not isinstance(pair, dict):
                self.add_problem(path, f"{_format_path(path)} must have user and assistant")
                continue
            self.check_keys(path, pair, ("user", "assistant"))
            question = self.read_template((*path, "user"), pair.get("user"), known, required=True)
            answer = self.read_template((*path, "assistant"), pair.get("assistant"), known, required=True)
            if question is not None and answer is not None:
                pairs.append((question, answer))
        return tuple(pairs)

    def read_content_free(self, value: object) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            self.add_problem(("content_free",), "content_free must be a list of texts")
            return ()
        return tuple(value)

    def read_label_temperature(self, value: object) -> float:
        if value is None:
            return 1.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            self.add_problem(("label_temperature",), "label_temperature must be a number above 0")
            return 1.0
        return float(value)

    def read_variables(self, value: object) -> dict[str, Variable]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.add_problem(
                ("variables",), "variables must be a mapping of names to type, default, choices, description"
            )
            return {}
        return {str(name): self.read_variable(str(name), {} if body is None else body) for name, body in value.items()}

    def read_variable(self, name: str, body: object) -> Variable:
        path: FilePath = ("variables", name)
        if not name.isidentifier() or name.startswith("_") or name in RESERVED_NAMES:
            self.add_problem(path, f"{name!r} is not a valid variable name")
        if not isinstance(body, dict):
            self.add_problem(path, f"{_format_path(path)} must be a mapping with {', '.join(_VARIABLE_KEYS)}")
            return Variable(name)
        self.check_keys(path, body, _VARIABLE_KEYS)
        choices = body.get("choices")
        if choices is not None and not _is_list_of_unique_texts(choices):
            self.add_problem((*path, "choices"), f"{_format_path(path)} choices must be a list of texts, each once")
            choices = None
        kind = body.get("type", "choice" if choices else "text")
        if kind not in _VARIABLE_TYPES:
            self.add_problem((*path, "type"), f"{_format_path(path)} type must be one of {', '.join(_VARIABLE_TYPES)}")
            kind = "text"
        if (kind == "choice") != bool(choices):
            self.add_problem(path, f"{_format_path(path)}: the type choice needs choices; no other type has them")
        default = body.get("default")
        if isinstance(default, int | float) and not isinstance(default, bool) and kind == "number":
            default = str(default)
        if default is not None and not isinstance(default, str):
            self.add_problem((*path, "default"), f"{_format_path(path)} default must be a text: put it in quotes")
            default = None
        description = self.read_text((*path, "description"), body.get("description"))
        variable = Variable(name, kind, default, tuple(choices or ()), description)
        problem = None if default is None or (kind == "choice" and not choices) else variable.find_problem(default)
        if problem is not None:
            self.add_problem((*path, "default"), f"{_format_path(path)} default: {problem}")
        return variable

    def read_output(self, value: object) -> tuple[OutputKind, tuple[str, ...], Mapping[str, Any] | None]:
        if value == "text":
            return "text", (), None
        if isinstance(value, dict) and len(value) == 1:
            kind, body = next(iter(value.items()))
            if kind == "labels" and _is_list_of_unique_texts(body) and len(body) > 1:
                return "labels", tuple(body), None
            if kind == "schema" and isinstance(body, dict):
                return "schema", (), body
        self.add_problem(
            ("output",), "output must be text, or {labels: [at least two texts, each once]}, or {schema: a JSON schema}"
        )
        return "text", (), None


def _is_list_of_unique_texts(value: object) -> bool:
    """Whether ``value`` is a list of texts without blank or duplicate ones."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, str) and item.strip() for item in value) and len(set(value)) == len(value)
