"""Remote servers as described in the configuration: ``backends: {NAME: {type: openai, base_url: ..., ...}}``.

A description with ``base_urls`` is of several servers that share everything but the address.

The name of a preset implies its type and its address. A description contains no secret, only where the key is stored,
so it can be shown.

Well-known servers: a backend with one of these names needs nothing but a key, or an address.

Sources: the API references of the providers, and the default ports of the local servers.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from llmcli.fast_dataclass import field, frozen, replace
from llmcli.types import Usage

LOCAL_BACKEND = "local"
"""The backend name that means this machine."""
BACKEND_TYPES = ("openai", "openai-responses", "anthropic", "gemini")
"""The protocols that a server may speak."""
_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_MAX_CONCURRENCY = 1024
_MAX_PORT = 65535


@frozen
class ServerConfig:
    """A server at ``base_url``, which ends before the path of a request, such as ``/chat/completions``.

    ``type`` is its protocol, one of ``BACKEND_TYPES``. ``name`` is its name in the configuration, "" for a server given
    by its address. ``model`` None selects its only model. The key is in the environment variable ``key_env`` or in the
    file ``key_file``. ``concurrency``: most concurrent requests; ``timeout``: seconds without data after which an
    answer fails; ``context``: tokens, None to ask the server; ``consent``: the user agreed to send it data;
    ``plain_http``: the key may be sent unencrypted; ``price``: of all models except those in ``model_prices``, None if
    unknown.
    ``redact``: "on", "off" or "names", None for the setting of that name. ``base_urls``: several servers behind one
    name (see ``members``), of which ``base_url`` is the first; ``mixed``: they may have different models.
    """

    base_url: str
    name: str = ""
    model: str | None = None
    key_env: str | None = None
    key_file: str | None = None
    concurrency: int = 16
    timeout: float = 120.0
    context: int | None = None
    consent: bool = False
    plain_http: bool = False
    type: str = "openai"
    price: Price | None = None
    model_prices: Mapping[str, Price] = field(default_factory=dict)
    redact: str | None = None
    base_urls: tuple[str, ...] = ()
    mixed: bool = False

    @property
    def members(self) -> tuple[ServerConfig, ...]:
        """The servers that answer: one for each of ``base_urls``, else this one."""
        if not self.base_urls:
            return (self,)
        return tuple(replace(self, base_url=url, base_urls=()) for url in self.base_urls)

    def price_of(self, model: str | None) -> Price | None:
        """Return what the tokens of ``model`` cost, None where the configuration does not say."""
        return self.model_prices.get(model or "", self.price)

    @property
    def origin(self) -> str:
        """Scheme, host and port, of each of several servers; a key and a consent apply to one origin."""
        if self.base_urls:
            return ", ".join(dict.fromkeys(member.origin for member in self.members))
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def label(self) -> str:
        """Its name in messages."""
        where = f"{len(self.base_urls)} servers" if self.base_urls else self.origin
        return f"{self.name} ({where})" if self.name else where

    @property
    def address(self) -> str:
        """Its address, or those of all servers."""
        return ", ".join(self.base_urls) or self.base_url

    @property
    def identity(self) -> str:
        """What names it in results that are kept: its address; of several servers, which come and go, their name."""
        return self.name if self.base_urls else self.base_url

    @property
    def host(self) -> str:
        """The name or address of its machine, in lower case."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.base_url).scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Whether the server runs on this machine, or all of several do, so that no data leaves it."""
        if self.base_urls:
            return all(member.is_loopback for member in self.members)
        return is_loopback_host(self.host)


def is_loopback_host(host: str) -> bool:
    """Return whether a host name or IP address in lower case is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_base_url(value: Any) -> str:
    """Return a server's address with scheme and host in lower case and without a trailing slash.

    Raises ``ValueError``.
    """
    wrong = "expected an address such as https://HOST/v1"
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError(wrong)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(wrong)
    if "@" in parts.netloc:
        raise ValueError(f"{wrong}, without a user name and password (set key_env or key_file instead)")
    if parts.query or parts.fragment:
        raise ValueError(f"{wrong} without a query or fragment")
    return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/?#")


def _parse_base_urls(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of addresses such as [http://a:8033, http://b:8033]")
    return [parse_base_url(url) for url in value]


def _add_api_path(url: str, server_type: str) -> str:
    """Return the address of one of several servers: without a path, OpenAI's protocol is below /v1."""
    has_no_path = not urlsplit(url).path.strip("/")
    return f"{url}/v1" if has_no_path and server_type.startswith("openai") else url


def _parse_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a string")
    return value


def _parse_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 (as for all other bad values)
    return value


def _parse_redact(value: Any) -> str:
    word = ("on" if value else "off") if isinstance(value, bool) else value  # YAML reads on and off as booleans
    if word not in {"on", "off", "names"}:
        raise ValueError("expected on, off or names")
    return str(word)


def _integer_parser(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return parse


def _parse_seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value > 0 and math.isfinite(value)):
        raise ValueError("expected a positive number of seconds")
    return float(value)


def _parse_type(value: Any) -> str:
    if value not in BACKEND_TYPES:
        raise ValueError(f"expected one of {', '.join(BACKEND_TYPES)}")
    return str(value)


def _parse_models(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping such as {MODEL: {price: {input: 3.0, output: 15.0}}}")  # noqa: TRY004 (as for all bad values)
    for model, fields in value.items():
        if not isinstance(fields, Mapping) or set(fields) != {"price"}:
            raise ValueError(f"{model}: expected a mapping with price")
        _parse_price_fields(fields["price"], f"{model}.price: ")
    return dict(value)


def _parse_price_fields(value: Any, where: str = "") -> dict[str, Any]:
    """Return ``value``, which describes a price, as it is. Raises ``ValueError``."""
    try:
        parse_price(value)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    return dict(value)


_FIELD_PARSERS: dict[str, Callable[[Any], Any]] = {
    "type": _parse_type,
    "base_url": parse_base_url,
    "base_urls": _parse_base_urls,
    "mixed": _parse_switch,
    "model": _parse_text,
    "key_env": _parse_text,
    "key_file": _parse_text,
    "concurrency": _integer_parser(1, _MAX_CONCURRENCY),
    "timeout": _parse_seconds,
    "context": _integer_parser(64, 2**24),
    "consent": _parse_switch,
    "plain_http": _parse_switch,
    "redact": _parse_redact,
    "price": _parse_price_fields,
    "models": _parse_models,
}


def parse_backends(value: Any) -> dict[str, dict[str, Any]]:
    """Check the server descriptions of the configuration and return them. Raises ``ValueError``."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping in config.yaml: {NAME: {type: openai, base_url: ...}}")  # noqa: TRY004 (as for all bad values)
    return {parse_backend_name(name): parse_backend_fields(name, fields) for name, fields in value.items()}


def parse_backend_name(name: Any) -> str:
    """Return the name of a server, which may also name a file. Raises ``ValueError``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"expected names of letters, digits, - and _ (one is {name})")
    if name == LOCAL_BACKEND:
        raise ValueError(f"expected a name other than {LOCAL_BACKEND}, which means this machine")
    return name


def parse_backend_fields(name: str, fields: Any) -> dict[str, Any]:
    """Return the description of the server ``name``, checked, and completed by its preset. Raises ``ValueError``."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{name}: expected a mapping with type and base_url")  # noqa: TRY004 (as for all bad values)
    preset = find_preset(name)
    parsed = (
        {} if preset is None else {"type": preset.type, **({"base_url": preset.base_url} if preset.base_url else {})}
    )
    for field_name, value in fields.items():
        if field_name not in _FIELD_PARSERS:
            raise ValueError(f"{name}: expected {', '.join(_FIELD_PARSERS)} (one key is {field_name})")
        try:
            parsed[field_name] = _FIELD_PARSERS[field_name](value)
        except ValueError as error:
            raise ValueError(f"{name}.{field_name}: {error}") from None
    if "type" not in parsed:
        raise ValueError(f"{name}: expected the key type")
    if "base_urls" in parsed:
        _complete_addresses(name, parsed, has_both="base_url" in fields)
    elif "mixed" in parsed:
        raise ValueError(f"{name}: expected mixed only with base_urls")
    elif "base_url" not in parsed:
        raise ValueError(f"{name}: expected the key base_url, or base_urls for several servers")
    if "key_env" in parsed and "key_file" in parsed:
        raise ValueError(f"{name}: expected either key_env or key_file, not both")
    return parsed


def _complete_addresses(name: str, parsed: dict[str, Any], *, has_both: bool) -> None:
    """Complete the addresses of several servers. Raises ``ValueError``."""
    if has_both:
        raise ValueError(f"{name}: expected either base_url or base_urls, not both")
    parsed["base_urls"] = urls = [_add_api_path(url, parsed["type"]) for url in parsed["base_urls"]]
    parsed["base_url"] = urls[0]
    twice = next((url for url in urls if urls.count(url) > 1), None)
    if twice is not None:
        raise ValueError(f"{name}.base_urls: expected each address once ({twice} is there twice)")


def make_server_config(name: str, described: Mapping[str, Any]) -> ServerConfig:
    """Return the server for a description from ``parse_backends``."""
    fields = dict(described)
    price, models = fields.pop("price", None), fields.pop("models", {})
    fields["base_urls"] = tuple(fields.get("base_urls", ()))
    return ServerConfig(
        **fields,
        name=name,
        price=None if price is None else parse_price(price),
        model_prices={model: parse_price(each["price"]) for model, each in models.items()},
    )


def described_address(described: Mapping[str, Any]) -> str:
    """Return the address of a description from ``parse_backends``, or those of all its servers."""
    return ", ".join(described.get("base_urls", (described["base_url"],)))


def preset_server(name: str) -> ServerConfig | None:
    """Return the well-known server ``name`` as it is without any configuration, None where there is none."""
    preset = find_preset(name)
    return None if preset is None or not preset.base_url else ServerConfig(preset.base_url, name, type=preset.type)


@frozen
class BackendPreset:
    """What is known of the server ``name``.

    ``type``: its protocol. ``base_url``: "" where each customer has an address of their own. ``key_env``: the variable
    that usually holds its key, "" for a server without keys. ``host_suffix``: the hosts that may have this key where
    ``base_url`` is "". ``example``: an address to show where one has to be given.
    """

    name: str
    type: str
    base_url: str
    key_env: str = ""
    host_suffix: str = ""
    example: str = ""

    def has_host_of(self, base_url: str) -> bool:
        """Whether ``base_url`` is an address of this server, so that its usual key may go there."""
        asked = urlsplit(base_url)
        if self.host_suffix:
            return asked.scheme == "https" and (asked.hostname or "").endswith(self.host_suffix)
        known = urlsplit(self.base_url)
        return (asked.scheme, asked.netloc) == (known.scheme, known.netloc)


BACKEND_PRESETS = (
    BackendPreset("openai", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    BackendPreset("anthropic", "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    BackendPreset("gemini", "gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY"),
    BackendPreset("openrouter", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    BackendPreset("groq", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    BackendPreset("mistral", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    BackendPreset(
        "azure",
        "openai",
        "",
        "AZURE_OPENAI_API_KEY",
        host_suffix=".azure.com",
        example="https://RESOURCE.openai.azure.com/openai/v1",
    ),
    BackendPreset("ollama", "openai", "http://localhost:11434/v1"),
    BackendPreset("vllm", "openai", "http://localhost:8000/v1"),
    BackendPreset("lmstudio", "openai", "http://localhost:1234/v1"),
)


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return [preset.name for preset in BACKEND_PRESETS]


def find_preset(name: str) -> BackendPreset | None:
    """Return the preset called ``name``, None where there is none."""
    return next((preset for preset in BACKEND_PRESETS if preset.name == name), None)


def usual_key_variable(base_url: str) -> str:
    """Return the variable that usually holds the key of the server at ``base_url``, "" where none is known."""
    known = (preset.key_env for preset in BACKEND_PRESETS if preset.has_host_of(base_url))
    return next(known, "")


_DEFAULT_CURRENCY = "USD"
_TOKENS_PER_UNIT = 1_000_000
_CURRENCY = re.compile(r"[A-Z]{3}")
_NUMBERS = ("input", "cached_input", "output")
_MAX_DECIMALS = 9


@frozen
class Price:
    """Amounts of ``currency`` for a million tokens of a prompt, of its cached part, and of an answer."""

    input: float
    output: float
    cached_input: float
    currency: str = _DEFAULT_CURRENCY

    def of_usage(self, usage: Usage) -> float:
        """Return what the tokens of ``usage`` cost."""
        fresh = max(0, usage.prompt_tokens - usage.cached_tokens)
        total = fresh * self.input + usage.cached_tokens * self.cached_input + usage.completion_tokens * self.output
        return round(total / _TOKENS_PER_UNIT, _MAX_DECIMALS)

    def as_fields(self, usage: Usage) -> dict[str, Any]:
        """Return the cost of ``usage`` as fields of a JSON object; null where the usage is not known."""
        return {"cost": self.of_usage(usage) if usage.is_known else None, "currency": self.currency}

    def of_tokens(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the most that a prompt and an answer of so many tokens cost."""
        dearer = max(self.input, self.cached_input)
        return (prompt_tokens * dearer + completion_tokens * self.output) / _TOKENS_PER_UNIT

    def tokens_for(self, amount: float) -> int:
        """Return how many tokens of answers ``amount`` pays for; a huge number where they are free."""
        return int(amount * _TOKENS_PER_UNIT / self.output) if self.output > 0 else 1 << 60


def format_amount(amount: float, currency: str) -> str:
    """Return an amount for people: "0.0031 USD", with more digits the smaller it is."""
    digits = 2 if amount == 0 or amount >= 1 else 4 if amount >= 0.01 else 6  # noqa: PLR2004 (dollars)
    return f"{amount:.{digits}f} {currency}"


def parse_price(value: Any) -> Price:
    """Return a price as the configuration describes it. Raises ``ValueError``."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping such as {input: 3.0, output: 15.0}")  # noqa: TRY004 (as for all bad values)
    for key in value:
        if key not in {*_NUMBERS, "currency"}:
            raise ValueError(f"expected {', '.join(_NUMBERS)}, currency (one key is {key})")
    for needed in ("input", "output"):
        if needed not in value:
            raise ValueError(f"expected the key {needed} too: the price of a million tokens")
    amounts = {key: _parse_amount(key, value[key]) for key in _NUMBERS if key in value}
    currency = value.get("currency", _DEFAULT_CURRENCY)
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise ValueError("currency: expected three capital letters, such as USD")
    return Price(amounts["input"], amounts["output"], amounts.get("cached_input", amounts["input"]), currency=currency)


def _parse_amount(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{key}: expected the price of a million tokens, a number from 0")
    return float(value)
