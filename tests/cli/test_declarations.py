"""Each fact about a command is declared once: the table of commands is made of it, and no option is without effect."""

from __future__ import annotations

from pathlib import Path

from llmcli.cli import command_table, command_table_generator

ROWS = "id,text\n1,The invoice is wrong\n2,The invoice is wrong\n3,I love this bicycle\n4,It is late;very late\n"
FILES = {
    "rows.csv": ROWS,
    "lines.txt": "The invoice is wrong\nThe invoice is wrong\nI love this bicycle\nIt is late\n",
    "people.txt": "{person} called since {they} closed the workshop.\n",
    "answer.md": "The workshop is closed on Monday.\n",
    "notes.txt": "The workshop is closed on Monday.\n",
    "requests.jsonl": '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
    '"body": {"messages": [{"role": "user", "content": "When is the workshop closed?"}]}}\n',
}


def test_the_table_is_that_of_the_declarations():
    """``python -m llmcli.cli.command_table_generator`` writes it."""
    assert Path(command_table.__file__).read_text(encoding="utf-8") == command_table_generator.build_table()
