"""Remote servers as described in the configuration: ``backends: {NAME: {type: openai, base_url: ..., ...}}``.

The name of a preset implies its type and its address. A description contains no secret, only where the key is stored,
so it can be shown.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from llmcli.configuration.backend_presets import find_preset
from llmcli.configuration.pricing import Price, parse_price
from llmcli.frozen_dataclass import field, frozen

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

    ``type`` is its protocol, one of ``BACKEND_TYPES``. ``name`` is its name in the configuration, "" for a server given by
    its address. ``model`` None selects its only model. The key is in the environment variable ``key_env`` or in the file
    ``key_file``. ``concurrency``: most concurrent requests; ``timeout``: seconds without data after which an answer
    fails; ``context``: tokens, None to ask the server; ``consent``: the user agreed to send it data; ``plain_http``: the
    key may be sent unencrypted; ``price``: of all models except those in ``model_prices``, None if unknown.
    ``redact``: "on", "off" or "names", None for the setting of that name.
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

    def price_of(self, model: str | None) -> Price | None:
        """Return what the tokens of ``model`` cost, None where the configuration does not say."""
        return self.model_prices.get(model or "", self.price)

    @property
    def origin(self) -> str:
        """Scheme, host and port; a key and a consent apply to one origin."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"{self.name} ({self.origin})" if self.name else self.origin

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
        """Whether the server runs on this machine, so that no data leaves it."""
        host = self.host
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def parse_base_url(value: Any) -> str:
    """Return a server's address with scheme and host in lower case and without a trailing slash. Raises ``ValueError``."""
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
        raise ValueError("expected a mapping such as {MODEL: {price: {input: 3.0, output: 15.0}}}")  # noqa: TRY004
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
        raise ValueError("expected a mapping in config.yaml: {NAME: {type: openai, base_url: ...}}")  # noqa: TRY004
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
        raise ValueError(f"{name}: expected a mapping with type and base_url")  # noqa: TRY004
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
    for needed in ("type", "base_url"):
        if needed not in parsed:
            raise ValueError(f"{name}: expected the key {needed}")
    if "key_env" in parsed and "key_file" in parsed:
        raise ValueError(f"{name}: expected either key_env or key_file, not both")
    return parsed


def make_server_config(name: str, described: Mapping[str, Any]) -> ServerConfig:
    """Return the server for a description from ``parse_backends``."""
    fields = dict(described)
    price, models = fields.pop("price", None), fields.pop("models", {})
    return ServerConfig(
        **fields,
        name=name,
        price=None if price is None else parse_price(price),
        model_prices={model: parse_price(each["price"]) for model, each in models.items()},
    )


def preset_server(name: str) -> ServerConfig | None:
    """Return the well-known server ``name`` as it is without any configuration, None where there is none."""
    preset = find_preset(name)
    return None if preset is None or not preset.base_url else ServerConfig(preset.base_url, name, type=preset.type)
