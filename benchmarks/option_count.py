"""The options of all help pages, hidden ones included, by command, and their sum.

``--help`` and ``--help-all`` are not counted, and a subcommand is a command. A change that adds options names their
number and this sum.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import common

from llmcli.cli import command_registry, reference
from llmcli.cli.parsing.parameters import HELP_ALL

_HELP = frozenset({"help", HELP_ALL})


def parsers() -> Iterator[tuple[str, Any]]:
    """Yield the name and the parser of each command, and of each command of a group."""
    for command in command_registry.COMMANDS:
        parser = reference.load_parser(command.name)
        if command.is_group:
            for name, each in reference.subcommands(parser).items():
                yield f"{command.name} {name}", each
        else:
            yield command.name, parser


def count_options(parser: Any) -> int:
    """Return the number of the options of a command."""
    return sum(each.param_type_name == "option" and each.name not in _HELP for each in parser.params)


def main() -> None:
    """Print a row for each command, the one with the most options first, and one for all."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    counts = {name: count_options(parser) for name, parser in parsers()}
    rows = [[name, str(count)] for name, count in sorted(counts.items(), key=lambda item: -item[1])]
    common.print_table([*rows, [f"all {len(counts)}", str(sum(counts.values()))]], ["command", "options"])


if __name__ == "__main__":
    main()
