"""The recurring options, each defined once: its names, help, and the setting that it gives.

Help, reference and the settings of a run are derived from ``Flags``. A program that adds its own options derives a
class from it and names the class in ``@command(flags=...)``.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from llmcli.cli.parsing.parameters import Option, OptionSection, class_annotations, option_names
from llmcli.errors import UsageError
from llmcli.fast_dataclass import fields, frozen
from llmcli.settings import parse_assignments

SEED_MAX = 2**32 - 1
STDOUT = "-"
"""The name of standard output on the command line."""


def _parse_output(name: str | None) -> str | None:
    """Return the file of -o; None for ``-``, which is standard output, as - is standard input among the inputs."""
    if name == "":
        raise UsageError("-o names no file (an unset variable?)", detail="Try: -o FILE, or leave -o out")
    return None if name == STDOUT else name


@frozen
class GivesSetting:
    """Marks an option that gives the setting of its own name, or ``name``; a switch gives ``value``."""

    name: str = ""
    value: str | None = None


@frozen
class ChoosesModel:
    """Marks an option that selects the model: suggested commands repeat it."""


@frozen
class InManifest:
    """Marks an option that changes the rows of a job, which is not continued with another value; its ``key`` there."""

    key: str


class Affects(StrEnum):
    """Marks an option by what it is about; commands that have nothing of the kind lack it."""

    ANSWER = "answer"
    """The text that a model writes."""
    EVALUATION = "evaluation"
    """What a model computes."""
    ROWS = "rows"
    """The rows of records in the output."""


class Writes(StrEnum):
    """What a command makes of its input."""

    TEXT = "text"
    """A text of the model, which options of answers shape."""
    SCORES = "scores"
    """Labels, probabilities or places, by the model's scores."""
    VECTORS = "vectors"
    RESPONSES = "responses"
    """Answers to requests, each of which has its own options."""
    COUNTS = "counts"
    """What is known without an evaluation."""


@frozen
class Flags:
    """The recurring options as typed; None where not given."""

    model: Annotated[
        str | None,
        Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Name, file or repository of the model.",
            autocompletion="models",
            section=OptionSection.MODEL,
        ),
        GivesSetting(),
        ChoosesModel(),
    ] = None
    lora: Annotated[
        list[str] | None,
        Option(
            "--lora",
            metavar="FILE[:SCALE]",
            help="Apply this LoRA adapter to the model; repeatable; none: no adapter.",
            section=OptionSection.ENGINE,
        ),
        GivesSetting(),
        ChoosesModel(),
    ] = None
    backend: Annotated[
        str | None,
        Option(
            "--backend",
            metavar="NAME",
            help="Where the model runs: local, or a configured server.",
            autocompletion="backends",
            section=OptionSection.MODEL,
        ),
        GivesSetting(),
        ChoosesModel(),
    ] = None
    base_url: Annotated[
        str | None,
        Option(
            "--base-url",
            metavar="URL",
            help="Use the server at this address (OpenAI's protocol).",
            section=OptionSection.MODEL,
            rare=True,
        ),
        GivesSetting(),
        ChoosesModel(),
    ] = None
    max_cost: Annotated[
        float | None,
        Option(
            "--max-cost",
            metavar="AMOUNT",
            help="Stop before the command costs more than this (exit 3).",
            section=OptionSection.MODEL,
            rare=True,
        ),
        GivesSetting(),
        Affects.EVALUATION,
    ] = None
    output: Annotated[
        str | None,
        Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to this file (an existing one is replaced).",
            callback=_parse_output,
            section=OptionSection.OUTPUT,
        ),
    ] = None
    force: Annotated[
        bool,
        Option(
            "--force",
            help="Replace files whose names llm derives; a file that -o names always is.",
            section=OptionSection.OUTPUT,
            rare=True,
        ),
    ] = False
    json: Annotated[
        bool, Option("--json", help="Print one JSON object per result, one per line.", section=OptionSection.OUTPUT)
    ] = False
    provenance: Annotated[
        bool | None,
        Option(
            "--provenance",
            help="Write what -o FILE was made of to FILE.provenance.json; with --json, a field.",
            section=OptionSection.OUTPUT,
            rare=True,
        ),
        GivesSetting(),
        Affects.EVALUATION,
    ] = None
    max_tokens: Annotated[
        int | None,
        Option("--max-tokens", min=1, metavar="N", help="Longest answer, in tokens.", section=OptionSection.OUTPUT),
        GivesSetting(),
        Affects.ANSWER,
    ] = None
    temperature: Annotated[
        float | None,
        Option(
            "--temperature",
            min=0.0,
            metavar="T",
            help="Randomness; 0 always takes the likeliest token.",
            section=OptionSection.MODEL,
        ),
        Affects.ANSWER,
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "--seed",
            min=0,
            max=SEED_MAX,
            metavar="N",
            help="Make random choices repeatable.",
            section=OptionSection.MODEL,
            rare=True,
        ),
    ] = None
    deterministic: Annotated[
        bool | None,
        Option("--deterministic", help="Bit-identical answers, alone or in a batch.", section=OptionSection.ENGINE),
        GivesSetting(),
        Affects.EVALUATION,
    ] = None
    reasoning: Annotated[
        bool,
        Option(
            "--reasoning", help="Show a thinking model's reasoning on stderr.", section=OptionSection.OUTPUT, rare=True
        ),
        Affects.ANSWER,
    ] = False
    ctx: Annotated[
        int | None,
        Option("--ctx", min=64, metavar="N", help="Context in tokens.", section=OptionSection.ENGINE),
        GivesSetting(),
    ] = None
    pull: Annotated[
        bool | None,
        Option("--pull", help="Download a missing model without asking.", section=OptionSection.MODEL),
        GivesSetting(),
    ] = None
    offline: Annotated[
        bool | None,
        Option("--offline", help="Connect to no other machine.", section=OptionSection.PRIVACY),
        GivesSetting(),
        ChoosesModel(),
    ] = None
    yes: Annotated[
        bool, Option("--yes", help="Consent to sending data to the server.", section=OptionSection.PRIVACY, rare=True)
    ] = False
    redact: Annotated[
        bool,
        Option("--redact", help="Replace private values before text goes to a server.", section=OptionSection.PRIVACY),
        GivesSetting(value="on"),
    ] = False
    no_stdin: Annotated[
        bool, Option("--no-stdin", help="Do not read standard input.", rare=True), GivesSetting("stdin", value="off")
    ] = False
    assignments: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set any setting for this command; repeatable (all of them: llm config show).",
            autocompletion="assignments",
            section=OptionSection.ENGINE,
        ),
        ChoosesModel(),
    ] = None
    timeout: Annotated[
        float | None,
        Option(
            "--timeout",
            min=0.001,
            metavar="S",
            help="Give up after S seconds (exit 124).",
            section=OptionSection.OUTPUT,
            rare=True,
        ),
        GivesSetting(),
    ] = None
    stats: Annotated[
        bool,
        Option(
            "--stats",
            help="Print tokens, speed, memory, energy and cost on stderr.",
            section=OptionSection.OUTPUT,
            rare=True,
        ),
    ] = False
    quiet: Annotated[
        bool, Option("-q", "--quiet", help="No warnings and no progress.", section=OptionSection.OUTPUT)
    ] = False
    verbose: Annotated[
        bool,
        Option(
            "-v",
            "--verbose",
            help="More messages on stderr; log a bug's traceback.",
            section=OptionSection.OUTPUT,
            rare=True,
        ),
    ] = False


@frozen
class SharedOption:
    """A recurring option: its field of ``Flags``, the annotation with its declaration, and its marks."""

    name: str
    default: Any
    annotation: Any
    words: tuple[str, ...]
    marks: tuple[Any, ...]


_options_by_type: dict[type[Flags], tuple[SharedOption, ...]] = {}


def shared_options(flags_type: type[Flags] = Flags) -> tuple[SharedOption, ...]:
    """Return the recurring options that ``flags_type`` defines."""
    if flags_type not in _options_by_type:
        _options_by_type[flags_type] = tuple(_read_options(flags_type))
    return _options_by_type[flags_type]


def _read_options(flags_type: type[Flags]) -> Iterator[SharedOption]:
    hints = class_annotations(flags_type)
    for field in fields(flags_type):
        option, *marks = hints[field.name].__metadata__
        yield SharedOption(field.name, field.default, hints[field.name], option_names(option), tuple(marks))


def option_words(name: str) -> frozenset[str]:
    """Return the names of the recurring option called ``name``, such as -v and --verbose."""
    return frozenset(next(option.words for option in shared_options() if option.name == name))


def flag_settings(flags: Flags) -> dict[str, tuple[str, Any]]:
    """Return the flags that give settings: from the setting's name to the option's longest name and its value.

    Raises ``UsageError`` for an option of its own and ``--set`` that give the same setting, and as
    ``parse_assignments``.
    """
    given: dict[str, tuple[str, Any]] = {}
    for option in shared_options(type(flags)):
        value = getattr(flags, option.name)
        for mark in option.marks:
            if isinstance(mark, GivesSetting):
                value = value if mark.value is None else mark.value if value else None
                given[mark.name or option.name] = (max(option.words, key=len), value)
    for name, (origin, value) in parse_assignments(flags.assignments or ()).items():
        option_word, typed = given.get(name, ("", None))
        if typed is not None:
            raise UsageError(f"{option_word} and {origin} exclude each other", detail="Leave out one of them.")
        given[name] = (origin, value)
    return given


def manifest_options(flags: Flags) -> dict[str, Any]:
    """Return the part of a job's manifest that these options contribute, as JSON values."""
    marked = ((option.name, mark) for option in shared_options(type(flags)) for mark in option.marks)
    return {mark.key: getattr(flags, name) for name, mark in marked if isinstance(mark, InManifest)}


def model_options(flags: Flags) -> list[str]:
    """Return the options that select the model and where it runs; without them, another model would answer."""
    from llmcli.cli.console.suggestion import format_option

    return [
        word
        for option in shared_options(type(flags))
        if any(isinstance(mark, ChoosesModel) for mark in option.marks)
        for word in format_option(option.words[0], getattr(flags, option.name))
    ]
