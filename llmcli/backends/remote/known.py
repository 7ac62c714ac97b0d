"""What was learnt about a server: which fields it refuses. Kept in the cache, so that the next command need not ask again.

Servers of OpenAI's protocol differ in what they take. A field that says how to answer better, but without which the
answer is still one, is left out once the server refused it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import suppress
from pathlib import Path

from llmcli import private_files

_WEEK = 7 * 86_400
"""Seconds after which a server may have learnt something."""

OPTIONAL = frozenset(
    {
        "chat_template_kwargs",
        "frequency_penalty",
        "logprobs",
        "max_tokens",
        "min_p",
        "presence_penalty",
        "repeat_penalty",
        "response_format",
        "seed",
        "stream_options",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
"""Fields that may be left out; for max_tokens another name is tried first, for response_format a word in the prompt."""


class Known:
    """What is known of the model ``model`` at ``base_url``; kept below ``cache``, None to keep nothing."""

    def __init__(self, base_url: str, model: str, cache: Path | None) -> None:
        name = hashlib.sha256(f"{base_url}\n{model}".encode()).hexdigest()[:32]
        self._path = None if cache is None else cache / "servers" / f"{name}.json"
        self._lock = threading.Lock()
        self.refused = self._read()
        """Fields that the server refuses."""

    def refuse(self, field: str) -> bool:
        """Leave ``field`` out from now on; False where it was left out already."""
        with self._lock:
            if field in self.refused:
                return False
            self.refused = self.refused | {field}
            self._write()
            return True

    def _read(self) -> frozenset[str]:
        if self._path is None:
            return frozenset()
        try:
            kept = json.loads(self._path.read_bytes())
            fresh = 0 <= time.time() - kept["time"] < _WEEK
            return frozenset(kept["refused"]) & (OPTIONAL | {"max_completion_tokens"}) if fresh else frozenset()
        except (OSError, ValueError, KeyError, TypeError):  # what cannot be read is learnt again
            return frozenset()

    def _write(self) -> None:
        if self._path is None:
            return
        with suppress(OSError):  # then the next command asks again
            kept = {"time": time.time(), "refused": sorted(self.refused)}
            private_files.replace_file(self._path, json.dumps(kept).encode())
