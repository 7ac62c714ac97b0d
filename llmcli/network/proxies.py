"""The proxy that the environment names for a server: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, also in lower case.

Source: the conventions of curl(1); there is no standard. Unlike curl, it respects upper-case HTTP_PROXY too: the caller
of a CGI script could set it, but llm is not one.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from llmcli.config.backend_config import is_loopback_host
from llmcli.errors import ConfigError
from llmcli.fast_dataclass import field, frozen

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@frozen
class Proxy:
    """A proxy, named by the variable ``origin``. A SOCKS proxy resolves the names of servers."""

    host: str
    port: int
    origin: str = ""
    scheme: str = "http"
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"the proxy {self.host}:{self.port}"

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection to the proxy itself uses TLS."""
        return self.scheme == "https"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5 instead of HTTP."""
        return self.scheme.startswith("socks")


def find_proxy(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a server at ``url``, None for one on this machine. Raises ``ConfigError``."""
    parts = urlsplit(url)
    if is_loopback_host(parts.hostname or ""):
        return None
    given = {name.lower(): value for name, value in environ.items() if name.isupper() and value}
    given |= {name: value for name, value in environ.items() if name.islower() and value}
    if _is_excluded(parts.hostname or "", parts.port, given.get("no_proxy", "")):
        return None
    names = (f"{parts.scheme}_proxy", "all_proxy")
    name = next((name for name in names if given.get(name)), None)
    return None if name is None else _parse_proxy(name, given[name])


def _is_excluded(host: str, port: int | None, rule: str) -> bool:
    for entry in filter(None, (entry.strip().lower() for entry in rule.split(","))):
        name, _, wanted = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if wanted and wanted != str(port):
            continue
        name = name.lstrip("*").lstrip(".")
        if not name or host == name or host.endswith("." + name):
            return True
    return False


def _parse_proxy(name: str, url: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in _DEFAULT_PORTS:
        detail = "expected http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
        raise ConfigError(name.upper(), origin="environment", detail=detail)
    credentials = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Proxy(host, port or _DEFAULT_PORTS[parts.scheme], name.upper(), parts.scheme, credentials)
