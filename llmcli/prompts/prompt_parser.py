"""Parses a prompt file into a ``Prompt``, or into the list of everything that is wrong with it, line by line."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.fast_dataclass import frozen
from llmcli.prompts.contracts import IMPLICIT_VARIABLES, contract_of, is_own_name, prefix_of
from llmcli.prompts.jinja_template import RESERVED_NAMES, Template, TemplateError
from llmcli.prompts.prompt_file import OutputKind, Prompt, PromptOptions, Variable

if TYPE_CHECKING:
    import yaml

PROMPT_KEYS = (
    *("description", "system", "user", "examples", "variables", "options", "output"),
    *("content_free", "label_temperature"),
)
_VARIABLE_KEYS = ("type", "default", "choices", "description")
_VARIABLE_TYPES = ("text", "number", "choice")

_FilePath = tuple[str | int, ...]
"""The path of a value in a file: ("options", "temperature") or ("examples", 0, "user")."""


@frozen
class PromptProblem:
    """A problem of a prompt file; ``line`` counts from 1, None if the problem has no line."""

    name: str
    origin: Path
    line: int | None
    message: str


_MakeProblem = Callable[[int | None, str], PromptProblem]
"""Makes a problem of one file from a line and a message."""


class BadPrompt(ValueError):
    """An invalid prompt file; ``problems`` are in the order of their lines."""

    def __init__(self, problems: Collection[PromptProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))


def parse_prompt(name: str, origin: Path, text: str) -> Prompt:
    """Return the prompt described by ``text``, the content of the file ``origin``.

    Raises ``BadPrompt`` with every unknown key, wrong type, broken template and undefined variable.
    """
    tree, lines, problems = _parse_yaml(text, partial(PromptProblem, name, origin))
    return _PromptBuilder(name, origin, lines, problems).build(tree)


def _parse_yaml(
    text: str, problem: _MakeProblem
) -> tuple[dict[str, Any], dict[_FilePath, tuple[int, int]], list[PromptProblem]]:
    """Return the file's mapping, the lines of each path (of its key and of its text), and duplicate keys."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    lines: dict[_FilePath, tuple[int, int]] = {}
    problems: list[PromptProblem] = []
    try:
        node = loader.get_single_node()
        excess = None if node is None else _find_excess(node)
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
    node: yaml.Node, path: _FilePath, lines: dict[_FilePath, tuple[int, int]], depth: int = 0
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


def _format_path(path: _FilePath) -> str:
    """Return a path for people, who count from 1: "examples 1 user"."""
    return " ".join(str(step + 1) if isinstance(step, int) else step for step in path)


class _PromptBuilder:
    """Reads one file; collects all problems instead of stopping at the first."""

    def __init__(
        self, name: str, origin: Path, lines: Mapping[_FilePath, tuple[int, int]], problems: list[PromptProblem]
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
        is_own = bool(prefix_of(self.name)) or is_own_name(self.name)
        implicit = {name: Variable(name, description=text) for name, text in IMPLICIT_VARIABLES.items() if is_own}
        known = {*variables, *passed, *implicit}
        system = self.read_template(("system",), tree.get("system"), known)
        user = self.read_template(("user",), tree.get("user"), known, required=True)
        examples = self.read_examples(tree.get("examples"), known)
        content_free = self.read_content_free(tree.get("content_free"))
        label_temperature = self.read_label_temperature(tree.get("label_temperature"))
        options, wrong = _read_options(tree.get("options"))
        for key, message in wrong:
            self.add_problem(("options", key), message)
        output, labels, schema = self.read_output(tree.get("output", "text"))
        if self.problems or user is None:
            raise BadPrompt(self.problems)
        used = {name for each in (system, user, *chain(*examples)) if each is not None for name in each.names}
        variables |= {name: each for name, each in implicit.items() if name in used and name not in variables}
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

    def add_problem(self, path: _FilePath, message: str, *, inner: int | None = None) -> None:
        """Record a problem at ``path``, or at line ``inner`` of its text."""
        around = (path[:depth] for depth in range(len(path), 0, -1))  # a missing value has no line of its own
        key, first = next((self.lines[near] for near in around if near in self.lines), (None, None))
        line = key if inner is None or first is None else first + inner - 1
        self.problems.append(PromptProblem(self.name, self.origin, line, message))

    def check_keys(self, path: _FilePath, tree: Mapping[Any, Any], known: Collection[str]) -> None:
        for key in tree:
            if key not in known:
                import difflib

                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(known)})"
                self.add_problem((*path, str(key)), f"unknown key {_format_path((*path, str(key)))}{hint}")

    def read_text(self, path: _FilePath, value: object, *, required: bool = False) -> str:
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not (value.strip() or not required):
            self.add_problem(path, f"{_format_path(path)} {'is missing' if value is None else 'must be a text'}")
            return ""
        return value

    def read_template(
        self, path: _FilePath, value: object, known: Collection[str], *, required: bool = False
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
            path: _FilePath = ("examples", index)
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
        path: _FilePath = ("variables", name)
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


def _number_reader(high: float = math.inf, *, above_zero: bool = False) -> Callable[[Any], float | None]:
    """Return a reader of numbers from 0 (``above_zero``: greater than that) to ``high``; None for anything else."""

    def read(value: Any) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return float(value) if 0 <= value <= high and not (above_zero and value == 0) else None

    return read


def _read_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def _read_stop(value: Any) -> tuple[str, ...] | None:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        return None
    return tuple(texts)


_OPTION_READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "temperature": (_number_reader(), "a number of at least 0"),
    "max_tokens": (_read_count, "a whole number of at least 1"),
    "stop": (_read_stop, "a text or a list of texts, none empty"),
    "top_k": (_read_count, "a whole number of at least 1"),
    "top_p": (_number_reader(1, above_zero=True), "a number above 0, up to 1"),
    "min_p": (_number_reader(1), "a number from 0 to 1"),
    "repeat_penalty": (_number_reader(above_zero=True), "a number above 0"),
}


def _read_options(value: object) -> tuple[PromptOptions, list[tuple[str, str]]]:
    """Return the options and their problems as (key, sentence); ``given`` None stands for no options."""
    if value is None:
        return PromptOptions(), []
    if not isinstance(value, dict):
        return PromptOptions(), [("", f"options must be a mapping with {', '.join(_OPTION_READERS)}")]
    values: dict[str, Any] = {}
    wrong = []
    for key, given in value.items():
        if key not in _OPTION_READERS:
            wrong.append((str(key), f"unknown key options {key} (known: {', '.join(_OPTION_READERS)})"))
            continue
        read, expected = _OPTION_READERS[key]
        parsed = read(given)
        if parsed is None:
            wrong.append((key, f"options {key} must be {expected}, not {given!r}"))
        else:
            values[key] = parsed
    return PromptOptions(**values), wrong


_MAX_EXPANDED_VALUES = 100_000
"""Values of a document with aliases, each of which counts as all that it stands for."""


_MAX_NUMBER_CHARS = 100
"""Converting a number of base 60 takes time that grows with the square of its length."""
_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


def _find_excess(root: yaml.Node) -> tuple[int, str] | None:
    """Return the line and the problem of a document that exceeds a limit, or whose aliases stand for what they are in.

    A document without aliases may have any number of values.
    """
    sizes: dict[int, int] = {}  # of the nodes that are done, with everything in them
    open_nodes: set[int] = set()
    ahead = [root]
    while ahead:
        node = ahead[-1]
        children = _children(node)
        if id(node) in sizes:
            ahead.pop()
        elif node.tag in _NUMBER_TAGS and len(node.value) > _MAX_NUMBER_CHARS:
            return node.start_mark.line + 1, f"a number has more than {_MAX_NUMBER_CHARS} characters"
        elif id(node) in open_nodes or not children:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            open_nodes.discard(id(node))
            ahead.pop()
        else:
            open_nodes.add(id(node))
            if any(id(child) in open_nodes for child in children):
                return node.start_mark.line + 1, "an alias refers to a value that it is a part of"
            ahead += children
    if sizes[id(root)] > max(len(sizes), _MAX_EXPANDED_VALUES):
        return root.start_mark.line + 1, f"its aliases stand for more than {_MAX_EXPANDED_VALUES:,} values"
    return None


def _children(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
