"""The command line: parse, run one task, show what it yields. The only importer of typer, rich and prompt_toolkit."""
