"""The formats of documents that can be translated: one module each, and one registration in ``builtin_formats``."""

from llmcli.documents.formats import builtin_formats  # noqa: F401 (registers the formats)
