"""Command lines: what commands declare, the parser of usual command lines, and Typer for all else."""
