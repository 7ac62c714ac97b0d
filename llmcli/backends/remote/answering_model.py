"""Whether the model that a server's answers name is the one that was asked for, or another one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable

from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import shorten_message
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig

_DIRECTORY = re.compile(r".*[/\\]", re.DOTALL)
_FILE_ENDING = ".gguf"
_NEWEST = re.compile(r"[-:@]latest\Z")
_VERSION_START = re.compile(r"[-:@_ ]|\.(?![0-9])")
"""Where a version or a variant begins after a name. Not at a point before a digit: gpt-4.1 is no version of gpt-4."""


def is_same_model(one: str, other: str) -> bool:
    """Return whether two names may be those of one model: of a provider, a file, an alias or a version of it."""
    short, long = sorted(map(_plain_name, (one, other)), key=len)
    return short == long or bool(short and long.startswith(short) and _VERSION_START.match(long, len(short)))


def _plain_name(name: str) -> str:
    """Return a name in lower case without the provider or directory, the file ending and "latest"."""
    last = _DIRECTORY.sub("", name.strip().rstrip("/\\")).casefold()
    return _NEWEST.sub("", last.removesuffix(_FILE_ENDING))


class AnsweringModelCheck:
    """Compares the models that the answers of one server name with those that were asked for. Safe for threads."""

    def __init__(self, server: ServerConfig, key: ApiKey) -> None:
        self._label = server.label
        self._key = key
        self._lock = threading.Lock()
        self._listed: frozenset[str] | None = None
        self.warning = ""
        """The warning about the first answer of another model, "" if there was none."""

    def set_listed(self, names: Iterable[str]) -> None:
        """Take the names that the server lists."""
        self._listed = frozenset(names)

    def check(self, call: RemoteCall, requested: str, answered: object) -> None:
        """Give ``call`` a warning if its answer names a model that was not asked for and that is not listed.

        The list must be known: see ``check_last``.
        """
        call.answering_model = answered if isinstance(answered, str) else ""
        if self._listed is None or not call.answering_model or is_same_model(requested, call.answering_model):
            return
        if any(is_same_model(name, call.answering_model) for name in self._listed):
            return
        warning = self._describe(requested, call.answering_model)
        call.add_warning(warning)
        with self._lock:
            self.warning = self.warning or warning

    def check_last(self, call: RemoteCall, requested: str, list_names: Callable[[], Iterable[str]]) -> None:
        """Check the last answer of ``call`` if that needed the list, which ``list_names`` then asks the server for."""
        if self._listed is None and call.answering_model and not is_same_model(requested, call.answering_model):
            self.set_listed(list_names())
            self.check(call, requested, call.answering_model)

    def _describe(self, requested: str, answered: str) -> str:
        name = shorten_message(self._key.redact(answered))
        unlisted = ", which it does not list" if self._listed else ""
        return f"{self._label} was asked for {requested}, but its answers name the model {name}{unlisted}"
