"""What llm remembers about models."""

from __future__ import annotations

from llmcli.models.registry import FileRecord, Registry


def test_only_what_is_gone_is_forgotten(tmp_path, tiny):
    """A file that cannot be looked at now (a directory that may not be entered) may be there again tomorrow."""
    registry = Registry(tmp_path / "models.json")
    hidden, gone = tmp_path / ("x" * 300), tmp_path / "gone"
    record = FileRecord(1, 1, "0" * 64)
    registry.remember({tiny("llama"): record, hidden: record, gone: record, tiny("llama") / "below": record})
    registry.forget_gone()
    assert set(registry.data["files"]) == {str(tiny("llama")), str(hidden)}
