"""``python -m llmcli`` is ``llm``."""

from llmcli.cli.main import run

run()
