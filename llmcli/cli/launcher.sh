#!/bin/sh
# The command `llm`: it runs `llmcli`, the Python script beside it.
#
# Python prints a traceback for a Ctrl-C that arrives before it reaches the first line of llmcli. On Linux, SIGINT is
# therefore blocked here; llmcli/__init__.py unblocks it, and a SIGINT that arrived in between ends the process there.

# bash as sh forgets a SIGINT that arrives while it waits for a command that survives; a trap runs after the command.
trap 'trap - INT; kill -INT $$' INT

script=$0
[ -e "$script" ] || script=$(command -v -- "$script") # `bash -x llm` finds it on the PATH
case $script in /*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do # pipx and uv put a link to this file on the PATH
    target=$(command -p readlink -- "$script") # -p: whatever the PATH is
    case $target in
        /*) script=$target ;;
        *) script=${script%/*}/$target ;;
    esac
done
llmcli=${script%/*}/llmcli
set -- "$llmcli" "$@"

# GNU coreutils has --block-signal since version 8.31; BusyBox and macOS do not have it. A path with = is a variable to env.
if [ "${llmcli#*=}" = "$llmcli" ] && [ -d /proc/self ] && /usr/bin/env --block-signal=INT >/dev/null 2>&1; then
    set -- /usr/bin/env --block-signal=INT "$@"
fi
trap - INT
exec "$@"
