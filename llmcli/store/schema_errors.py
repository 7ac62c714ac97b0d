"""The error for a database that this version of llm cannot use.

LlmError
`- ConfigError             78
   `- NewerSchema               (a database that a newer version of llm has changed)
"""

from __future__ import annotations

from llmcli.errors import ConfigError


class NewerSchema(ConfigError):
    """The database ``subject`` has the schema ``version``; this version of llm knows ``known`` at most."""

    def __init__(self, subject: str, *, version: int, known: int) -> None:
        super().__init__(subject, detail="a newer version of llm has changed this file; it stays as it is")
        self.version = version
        self.known = known
