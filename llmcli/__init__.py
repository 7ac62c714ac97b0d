"""llmcli: work with language models from the shell, on your own machine."""

# The scripts import this module first. Python's handler would answer Ctrl-C during the imports with a traceback; the
# modules below are built in, so nothing is read before the handler is gone. cli/launcher.sh has blocked SIGINT until
# here. Programs that use the package keep theirs.
import _signal  # type: ignore[import-not-found]  # typeshed does not have it
import sys

if sys.argv[0].rpartition("/")[2] in {"llm", "llmcli", "-m"}:
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGINT])

__version__ = "0.1.0"
