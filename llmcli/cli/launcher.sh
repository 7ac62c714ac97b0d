#!/bin/sh
# The command `llm`: it runs `llmcli`, the Python script beside it.
#
# Python prints a traceback for a Ctrl-C that arrives before it reaches the first line of llmcli. On Linux, SIGINT is
# therefore blocked here; llmcli/__init__.py unblocks it, and a SIGINT that arrived in between ends the process there.

path=$0
case $path in */*) ;; *) path=./$path ;; esac
while [ -L "$path" ]; do # pipx and uv put a link to this file on the PATH
    target=$(readlink -- "$path")
    case $target in
        /*) path=$target ;;
        *) path=${path%/*}/$target ;;
    esac
done
llmcli=${path%/*}/llmcli

# GNU coreutils has --block-signal since version 8.31; BusyBox and macOS do not have it.
if [ -d /proc/self ] && /usr/bin/env --block-signal=INT >/dev/null 2>&1; then
    exec /usr/bin/env --block-signal=INT "$llmcli" "$@"
fi
exec "$llmcli" "$@"
