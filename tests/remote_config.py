"""The configuration of remote servers in tests, and a key that must never appear in any output."""

from __future__ import annotations

import json
import os
from pathlib import Path

CANARY = "sk-canary-5f3b1c9e77d2"


def configure(**backends: dict) -> Path:
    """Write a configuration with these servers and return its path."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    described = {name: {"type": "openai", **fields} for name, fields in backends.items()}
    file.write_text(json.dumps({"backends": described}))
    return file
