"""The command line: parse, call one task, show the result. The only importer of typer, rich and prompt_toolkit."""
