"""Settings with their origin: flag > environment (LLMCLI_*) > config.yaml > default; and the paths that llm uses.

``config.yaml`` may nest (``worker: {idle_timeout: 300}``) or not (``worker.idle_timeout: 300``); the environment
variable of ``worker.idle_timeout`` is ``LLMCLI_WORKER_IDLE_TIMEOUT``. An unknown key is an error, in the file and in
the environment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from llmcli.errors import BadDocument, ConfigError, MissingError, UsageError
from llmcli.fast_dataclass import field, frozen

NO_DRAFT = "off"
"""The setting ``draft`` without a draft model."""


@frozen
class _WordParser:
    """A parser that takes ``words`` as they are, among other values or alone."""

    words: tuple[str, ...]
    parse: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        """Return the parsed value. Raises ``ValueError``."""
        return self.parse(value)


def _parse_text(value: Any) -> str:
    """Return a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a string that is not blank" if isinstance(value, str) else "expected a string")
    return value


def _parse_draft_name(value: Any) -> str:
    """Return the name of a draft model, or "off"."""
    return NO_DRAFT if value is False else _parse_text(value)  # YAML reads off as a boolean


_parse_draft = _WordParser((NO_DRAFT,), _parse_draft_name)


def _parse_boolean(value: Any) -> bool:
    """Return whether a switch is on; on, true, yes, 1 and their opposites are accepted."""
    if isinstance(value, bool):
        return value
    words = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("expected on or off") from None


_parse_switch = _WordParser(("on", "off"), _parse_boolean)


def _integer_parser(low: int, high: int, word: str | None = None) -> Callable[[Any], Any]:
    """Parse a whole number from low to high, or the given word."""
    expected = f"expected a whole number from {low} to {high}" + (f" or {word}" if word else "")

    def parse(value: Any) -> int | str:
        if word is not None and value == word:
            return word
        try:
            number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse if word is None else _WordParser((word,), parse)


def _positive_parser(expected: str) -> Callable[[Any], float]:
    """Parse a positive number below 1e9, which is some 30 years in seconds, and more than any bill."""

    def parse(value: Any) -> float:
        try:
            number = float(value) if not isinstance(value, bool) else -1.0
        except (TypeError, ValueError):
            number = -1.0
        if not 0 < number < _NUMBER_LIMIT:
            raise ValueError(f"expected {expected}, below 1e9")
        return number

    return parse


_NUMBER_LIMIT = 1e9
_parse_seconds = _positive_parser("a positive number of seconds")
_parse_money = _positive_parser("a positive amount")


def _choice_parser(*choices: str) -> Callable[[Any], Any]:
    """Parse one of ``choices``."""

    def parse(value: Any) -> str:
        word = ("on" if value else "off") if isinstance(value, bool) else value  # YAML reads on and off as booleans
        if word not in choices:
            raise ValueError("expected one of " + ", ".join(choices))
        return str(word)

    return _WordParser(choices, parse)


def _parse_aliases(value: Any) -> dict[str, str]:
    """Return a mapping of names to strings; a string holds pairs "NAME=MODEL,NAME=MODEL"."""
    if isinstance(value, str):  # the environment has no mappings
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(name.strip() and text.strip() for name, _, text in pairs):
            raise ValueError("expected NAME=MODEL,NAME=MODEL,...")
        return {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise ValueError("expected a mapping of names to strings")
    return dict(value)


def _deferred_parser(module: str, function: str) -> Callable[[Any], Any]:
    """Parse with a function of ``module``, which is imported only if there is something to parse."""

    def parse(value: Any) -> Any:
        return getattr(import_module(f"llmcli.{module}"), function)(value)

    return parse


ENV_PREFIX = "LLMCLI_"
DATA_DIR_VARIABLE = "LLMCLI_DATA_DIR"
"""The variable that names the directory of chats, translations, imports and the registry."""
CACHE_DIR_VARIABLE = "LLMCLI_CACHE_DIR"
"""The variable that names the directory of what llm can make again, such as indexes."""
ORIGINAL_WEIGHTS, AUTO_WEIGHTS = "original", "auto"
DERIVED_TYPES = ("bf16", "q8_0", "f16")
"""Types in which llm may store a model again."""


@frozen
class Setting:
    """A value and where it came from: "--ctx", "LLMCLI_CTX", "/home/me/.config/llmcli/config.yaml" or "default"."""

    value: Any
    origin: str


@frozen
class SettingSpec:
    """One setting: dotted name, parser of a string or YAML value (raises ValueError), default, one line of help."""

    name: str
    parse: Callable[[Any], Any]
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENV_PREFIX + self.name.replace(".", "_").upper()

    @property
    def words(self) -> tuple[str, ...]:
        """The values that are words with a meaning of their own, such as "auto"."""
        return self.parse.words if isinstance(self.parse, _WordParser) else ()


_parse_adapters = _deferred_parser("config.engine_options", "parse_adapters")
_parse_backends = _deferred_parser("config.backend_config", "parse_backends")
_parse_base_url = _deferred_parser("config.backend_config", "parse_base_url")
_parse_kinds, _parse_patterns, _parse_words, _parse_hosts = (
    _deferred_parser("redaction.own_patterns", f"parse_{what}") for what in ("kinds", "patterns", "words", "hosts")
)


SETTING_SPECS = (
    SettingSpec("model", _parse_text, None, "the model used without -m: any name that -m accepts"),
    SettingSpec(
        "embedding_model", _parse_text, None, "the model on this machine whose vectors llm index keeps (--embed)"
    ),
    SettingSpec(
        "aliases",
        _parse_aliases,
        {},
        "other names for models: {short: owner/repo:QUANT}; in the environment: short=...",
    ),
    SettingSpec(
        "lora", _parse_adapters, (), "LoRA adapters of the model: [FILE, FILE:SCALE]; none: no adapters (as --lora)"
    ),
    SettingSpec("backend", _parse_text, "local", "where models run: local, or a name from backends (as --backend)"),
    SettingSpec(
        "backends", _parse_backends, {}, "remote servers: {NAME: {type: openai, base_url: https://HOST/v1, ...}}"
    ),
    SettingSpec("base_url", _parse_base_url, None, "the address of a remote server (as --base-url)"),
    SettingSpec("key_env", _parse_text, None, "the environment variable with the key of base_url"),
    SettingSpec("max_cost", _parse_money, None, "the most that a command may cost on a hosted model (as --max-cost)"),
    SettingSpec(
        "redact",
        _choice_parser("auto", "on", "off", "names"),
        "auto",
        "replace private values before sending; auto: for other machines that are not trusted; names: people's names too",
    ),
    SettingSpec(
        "redact.kinds", _parse_kinds, ("key", "iban", "card", "email", "phone", "id"), "what is private; also: ip"
    ),
    SettingSpec("redact.patterns", _parse_patterns, {}, r"your own regular expressions: {customer: 'CU-\d{6}'}"),
    SettingSpec("redact.words", _parse_words, {}, "your own words: a list, or {project: [Falcon], client: FILE}"),
    SettingSpec(
        "redact.model", _parse_text, None, "the model on this machine that finds names; default: as without -m"
    ),
    SettingSpec("trusted_hosts", _parse_hosts, (), "hosts that get private values: [gpu.lab, '*.example.org']"),
    SettingSpec(
        "ctx",
        _integer_parser(64, 2**24, "auto"),
        "auto",
        "context in tokens; auto: what the job needs, up to the model's limit",
    ),
    SettingSpec(
        "max_tokens",
        _integer_parser(1, 2**24, "auto"),
        "auto",
        "longest answer in tokens; auto: depends on the command",
    ),
    SettingSpec("stop_repetition", _parse_switch, True, "stop an answer that repeats itself over and over"),
    SettingSpec(
        "threads", _integer_parser(1, 1024, "auto"), "auto", "threads; auto: the cores that this process may use"
    ),
    SettingSpec("gpu_layers", _integer_parser(0, 10000, "auto"), "auto", "layers on the GPU; auto: as many as fit"),
    SettingSpec("kv_type", _choice_parser("auto", "f16", "q8_0", "bf16"), "auto", "type of the KV cache"),
    SettingSpec(
        "flash_attention",
        _choice_parser("auto", "on", "off"),
        "auto",
        "flash attention; auto: chosen for model and machine",
    ),
    SettingSpec(
        "kv_layout",
        _choice_parser("auto", "unified", "streams"),
        "auto",
        "KV cache: one buffer for all sequences, or one for each",
    ),
    SettingSpec(
        "tune", _choice_parser("auto", "off"), "auto", "auto: measure a model in the background when that pays"
    ),
    SettingSpec(
        "prefix_cache",
        _integer_parser(0, 2**24),
        512,
        "disk space in MiB for evaluated prompt prefixes; 0: keep none",
    ),
    SettingSpec("draft", _parse_draft, NO_DRAFT, "a small model that drafts tokens for the model, or off"),
    SettingSpec(
        "weights",
        _choice_parser(AUTO_WEIGHTS, ORIGINAL_WEIGHTS, *DERIVED_TYPES),
        AUTO_WEIGHTS,
        "type of the model's weights; auto: a copy in another type where that was measured to pay",
    ),
    SettingSpec(
        "derived_weights",
        _integer_parser(0, 2**24, "auto"),
        "auto",
        "disk space in MiB for copies of models in other types; auto: as much as this machine has memory; 0: make none",
    ),
    SettingSpec("deterministic", _parse_switch, False, "bit-identical answers, alone or in a batch"),
    SettingSpec("worker", _choice_parser("on", "off"), "on", "off: run the model in the command's own process"),
    SettingSpec("worker.idle_timeout", _parse_seconds, 300.0, "idle seconds after which a worker ends"),
    SettingSpec(
        "worker.memory",
        _integer_parser(1, 2**24, "auto"),
        "auto",
        "memory limit for all workers in MiB; auto: the free memory",
    ),
    SettingSpec("timeout", _parse_seconds, None, "seconds after which a command gives up (exit 124)"),
    SettingSpec("stdin", _choice_parser("on", "off"), "on", "off: never read standard input (the same as --no-stdin)"),
    SettingSpec("offline", _parse_switch, False, "connect to no other machine"),
    SettingSpec(
        "web.allow_private", _parse_switch, False, "read web addresses of this machine and of private networks"
    ),
    SettingSpec("pull", _parse_switch, False, "download a missing model without asking"),
    SettingSpec("logs", _choice_parser("on", "off"), "off", "on: keep the answers of ask and generate for llm logs"),
    SettingSpec(
        "provenance",
        _parse_switch,
        False,
        "write what an output was made of beside it, OUTPUT.provenance.json (as --provenance)",
    ),
    SettingSpec("chat.save", _choice_parser("on", "off"), "on", "off: save only chats that you name (as --no-save)"),
    SettingSpec(
        "chat.overflow",
        _choice_parser("summarize", "slide", "stop"),
        "summarize",
        "when a chat exceeds the context: summarize its beginning, leave it out (slide), or stop (as --overflow)",
    ),
    SettingSpec("chat.keys", _choice_parser("emacs", "vi"), "emacs", "keys for editing the line in a chat"),
    SettingSpec("markdown", _choice_parser("on", "off"), "on", "render Markdown on a terminal"),
)
_SPECS_BY_NAME = {key.name: key for key in SETTING_SPECS}
_MAPPING_SETTINGS = frozenset({"aliases", "backends", "redact.patterns", "redact.words"})
"""Settings whose values are mappings; others with keys under their name may nest."""
_OTHER_VARIABLES = frozenset(
    {
        "LLMCLI_CONFIG_DIR",
        DATA_DIR_VARIABLE,
        CACHE_DIR_VARIABLE,
        "LLMCLI_RUNTIME_DIR",
        "LLMCLI_PYTHON",
        "LLMCLI_SERVE_TOKEN",
        "LLMCLI_API_KEY",
    }
)


@frozen
class Settings:
    """All settings, resolved. ``settings["ctx"]`` is the value; ``settings.origin("ctx")`` where it came from."""

    values: Mapping[str, Setting] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def origin(self, name: str) -> str:
        """Where the value of ``name`` came from."""
        return self.values[name].origin

    @property
    def copies_bytes(self) -> int:
        """The most bytes of all copies of models in other types.

        Automatically as many as this machine has memory: a copy that cannot be loaded is not made anyway.
        """
        limit = self["derived_weights"]
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if limit == "auto" else int(limit) << 20


def _close_matches(name: str, known: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def find_setting(name: str) -> SettingSpec:
    """Return the setting called ``name``. Raises ``ConfigError`` with similar names."""
    spec = _SPECS_BY_NAME.get(name)
    if spec is None:
        raise ConfigError(name, detail="unknown key", suggestions=_suggest_settings(name))
    return spec


def parse_assignments(assignments: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the values of ``NAME=VALUE``, of each name the last one, as ``resolve_settings`` takes those of options.

    A value is written as in an environment variable. Raises ``UsageError`` for another form and an unknown name.
    """
    given = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected NAME=VALUE", detail="For example: --set threads=4")
        if name not in _SPECS_BY_NAME:
            near = _suggest_settings(name)
            meant = f"Did you mean {', '.join(near)}? " if near else ""
            raise UsageError(f"--set {name}: there is no such setting", detail=f"{meant}All settings: llm config show")
        given[name] = (f"--set {name}", value)
    return given


def _suggest_settings(name: str) -> list[str]:
    """Return names of settings similar to ``name``."""
    return _close_matches(name, list(_SPECS_BY_NAME))


def _flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in _MAPPING_SETTINGS:
            flat.update(_flatten(value, name + "."))
        else:
            flat[name] = value
    return flat


def parse_config(path: Path, text: str) -> Mapping[Any, Any]:
    """Return the mapping in the text of a configuration file. Raises ``ConfigError`` for another text."""
    from llmcli.yaml_file import parse_yaml_file  # without a configuration it is not needed

    try:
        tree = parse_yaml_file(text, str(path))
    except BadDocument as error:
        where = f"line {error.line}: " if error.line else ""
        raise ConfigError(str(path), origin=str(path), detail=f"{where}{error.detail}") from error
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(str(path), origin=str(path), detail="expected a mapping of settings")
    return tree


def read_config_text(path: Path) -> str:
    """Return the text of a configuration file, "" when there is none.

    Raises ``ConfigError`` (no regular file, not UTF-8) and ``MissingError`` (cannot be read).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would block
            raise ConfigError(str(path), origin=str(path), detail="not a regular file")
        return path.read_bytes().decode("utf-8-sig")
    except (
        FileNotFoundError,
        NotADirectoryError,
    ):  # the latter for a home that is no directory, such as /dev/null
        return ""
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), origin=str(path), detail=f"not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise MissingError(str(path), kind="configuration", detail=error.strerror or "") from error


def read_config(path: Path) -> dict[str, Any]:
    """Return the flat keys of a configuration file, {} when there is none.

    Raises as ``read_config_text`` and ``parse_config``, and ``ConfigError`` for unknown keys.
    """
    text = read_config_text(path)
    flat = _flatten(parse_config(path, text)) if text else {}
    for name in flat:
        if name not in _SPECS_BY_NAME:
            raise ConfigError(
                name, origin=str(path), detail="unknown key", suggestions=_close_matches(name, list(_SPECS_BY_NAME))
            )
    return flat


def _parse_setting(key: SettingSpec, value: Any, origin: str) -> Setting:
    try:
        return Setting(key.parse(value), origin)
    except ValueError as error:
        names_its_part = isinstance(value, Mapping) and not str(error).startswith("expected")
        problem = str(error) if names_its_part else f"{error}, not {_describe_value(value)}"
        if origin.startswith("--"):
            if isinstance(value, list | tuple):  # an option that was repeated
                problem = f"{error}, not {' '.join(map(repr, value))}"
            raise UsageError(f"{origin}: {problem}") from error
        raise ConfigError(key.name, origin=origin, detail=problem) from error


def _describe_value(value: Any) -> str:
    """Return a value as text without Python's syntax, and without the name and password of an address."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, Mapping | list):
        return "a list" if isinstance(value, list) else "a mapping"
    if not isinstance(value, str):
        return str(value)
    scheme, separator, rest = value.rpartition("@")[0].partition("//")
    return repr(f"{scheme}//***@{value.rpartition('@')[2]}" if separator and rest else value)


def resolve_settings(
    flags: Mapping[str, tuple[str, Any]], environ: Mapping[str, str], config_file: Path | None
) -> Settings:
    """Resolve every setting.

    ``flags`` maps a setting's name to (the option as typed, its value); None values count as not given. An empty
    environment variable counts as unset; ``config_file`` None: without a file. Raises ``ConfigError`` for unknown keys
    and bad values of file and environment, ``UsageError`` for a bad value of a flag.
    """
    variables = {key.variable: key for key in SETTING_SPECS}
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable not in variables and variable not in _OTHER_VARIABLES:
            known = [name.removeprefix(ENV_PREFIX) for name in (*variables, *_OTHER_VARIABLES)]
            near = [ENV_PREFIX + name for name in _close_matches(variable.removeprefix(ENV_PREFIX), known)]
            raise ConfigError(variable, origin="environment", detail="unknown key", suggestions=near)
    in_file = {} if config_file is None else read_config(config_file)
    values: dict[str, Setting] = {}
    for key in SETTING_SPECS:
        option, flag = flags.get(key.name, ("", None))
        if flag is not None:
            values[key.name] = _parse_setting(key, flag, option)
        elif environ.get(key.variable):
            values[key.name] = _parse_setting(key, environ[key.variable], key.variable)
        elif key.name in in_file:
            values[key.name] = _parse_setting(key, in_file[key.name], str(config_file))
        else:
            values[key.name] = Setting(key.default, "default")
    return Settings(values)
