"""Web addresses as the user writes them, and as a redirect names them.

Source: RFC 3986 (URI), RFC 9110 (HTTP). A host name in another script is encoded as IDNA (RFC 3490).
"""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen

_PORTS = {"http": 80, "https": 443}
_SAFE = "/%:=&?~#+!$,;'@()*[]|-._"
"""Characters that stay as they are in a path or query; others are percent-encoded."""


@frozen
class WebAddress:
    """An address without its fragment. ``host`` is ASCII in lower case; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port as the Host field has them: no default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def url(self) -> str:
        """The whole address."""
        return self.origin + self.target

    def redirect(self, location: str) -> WebAddress:
        """Return the address that a redirect from here names. Raises ``UsageError`` for none that is of the web."""
        return parse_web_address(urljoin(self.url, location.strip()))


def parse_web_address(text: str) -> WebAddress:
    """Return a web address. Raises ``UsageError`` for a malformed one, and one with a user name or password."""
    problem = f"{text!r} is no web address"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = _encode_host(parts.hostname or "")
    except ValueError as error:
        raise UsageError(problem, detail="Write it as https://HOST/PATH") from error
    if parts.scheme not in _PORTS or not host or port == 0:
        raise UsageError(problem, detail="Write it as https://HOST/PATH")
    if "@" in parts.netloc:
        raise UsageError("a web address with a user name or password is not read", detail="Save the page as a file.")
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return WebAddress(parts.scheme, host, port or _PORTS[parts.scheme], target)


def _encode_host(host: str) -> str:
    """Return a host name in ASCII. Raises ``ValueError`` for one that cannot be encoded."""
    encoded = host if host.isascii() else host.encode("idna").decode("ascii")
    if not encoded.isprintable() or any(each in encoded for each in " /\\?#@<>"):
        raise ValueError(host)
    return encoded.lower()
