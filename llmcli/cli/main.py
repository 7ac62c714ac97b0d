"""The entry: ``main`` returns every exit code; ``run``, the scripts' entry, turns some of them into death by a signal.

Until ``run`` has begun, Ctrl-C shows Python's traceback, so this module imports next to nothing; not even ``typing``.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

_GARBAGE = 100_000
"""Objects that are made before cycles among them are looked for: imports make tens of thousands, which all stay."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from llmcli.cli.world import World


def main(argv: Sequence[str] | None = None, world: World | None = None) -> int:
    """Run the command line ``argv`` (default: the process's) and return its exit code; raises nothing.

    Signal handlers and streams are as before when it returns.
    """
    from llmcli.cli.dispatch import dispatch
    from llmcli.cli.world import World

    return dispatch(list(sys.argv[1:] if argv is None else argv), World() if world is None else world)


def run() -> NoReturn:
    """Run the process's command line and end the process as its code says.

    Where Python would raise KeyboardInterrupt while it imports or ends, Ctrl-C is plain death.
    """
    gc.set_threshold(_GARBAGE)  # Python's 700 cost a tenth of the start
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from llmcli.cli.signals import DEADLY, die
    from llmcli.cli.world import World

    closed = _open_closed()
    code = main(None, World(closed=closed))
    if code in DEADLY:
        die(DEADLY[code])
    # All is closed and written. What the interpreter would still take apart, for some 40 ms, the kernel frees at once.
    os._exit(code)


def _open_closed() -> frozenset[int]:
    """Open /dev/null on each closed descriptor of 0, 1, 2, else the next file that is opened would become it."""
    closed = set()
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            closed.add(fd)
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
    return frozenset(closed)
