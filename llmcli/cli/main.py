"""The entry points: ``main`` returns every exit code; ``run``, for scripts, turns some into death by a signal.

Until ``run`` has begun, Ctrl-C shows Python's traceback, so this module imports next to nothing; not even ``typing``.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

_GC_THRESHOLD = 100_000
"""New objects before garbage collection runs: imports create tens of thousands, which all stay."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from llmcli.cli.console.environment import Environment


def main(argv: Sequence[str] | None = None, environment: Environment | None = None) -> int:
    """Run the command line ``argv`` (default: the process's) and return its exit code; raises nothing.

    Signal handlers and streams are as before when it returns.
    """
    from llmcli.cli.console.environment import Environment
    from llmcli.cli.dispatch import dispatch

    return dispatch(list(sys.argv[1:] if argv is None else argv), Environment() if environment is None else environment)


def run() -> NoReturn:
    """Run the process's command line and end the process with its exit code.

    While Python imports or ends, Ctrl-C kills the process instead of raising KeyboardInterrupt.
    """
    gc.set_threshold(_GC_THRESHOLD)  # Python's default of 700 costs a tenth of the start
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # llmcli/__init__.py has done both, unless a packager has given the script another name
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    _name_process()
    from llmcli.cli.console.environment import Environment
    from llmcli.cli.console.signals import SIGNAL_BY_EXIT_CODE, die_by_signal

    closed = _open_closed_descriptors()
    code = main(None, Environment(closed_fds=closed))
    if code in SIGNAL_BY_EXIT_CODE:
        die_by_signal(SIGNAL_BY_EXIT_CODE[code])
    # Everything is closed and written. The kernel frees at once what the interpreter would take 40 ms to free.
    os._exit(code)


def _name_process() -> None:
    """Call the process llm, so that ``pkill -x llm`` finds it: Linux took the name of the script llmcli."""
    from contextlib import suppress

    with suppress(OSError), open("/proc/self/comm", "wb", buffering=0) as name:  # noqa: PTH123 (pathlib takes 2 ms)
        name.write(b"llm")


def _open_closed_descriptors() -> frozenset[int]:
    """Open /dev/null on each closed descriptor of 0, 1, 2; otherwise the next file opened would take its number."""
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
