#!/usr/bin/env bash
# Starts one training as several processes on this machine's CPU, to try what clusters do.
#
#   launch/local_processes.sh 2 -- train.py --config=configs/cpca1.py:cpu --workdir=runs/two \
#     --config.data.store=STORE
#
# They find each other at a free port of this machine. Ctrl-C and SIGTERM reach all of them; they
# save and exit with 75, and the same command resumes the training. The exit code is that of the
# first process that did not exit with 0.
set -euo pipefail

PYTHON=${PYTHON:-.venv/bin/python}

if ! [[ $# -ge 3 && $1 =~ ^[1-9][0-9]*$ && $2 == -- ]]; then
  echo "error: call it as local_processes.sh COUNT -- train.py FLAGS" >&2
  exit 2
fi
count=$1
shift 2

port=$("$PYTHON" -c 'import socket
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1])')
processes=()
for ((index = 0; index < count; index++)); do
  JAX_PLATFORMS=cpu "$PYTHON" "$@" --distributed="127.0.0.1:$port,$count,$index" &
  processes+=($!)
done

asked=no
trap 'asked=yes; kill -TERM "${processes[@]}" 2> /dev/null || true' TERM INT
code=0
for process in "${processes[@]}"; do
  while true; do
    asked=no one=0
    wait "$process" || one=$?
    [[ $asked == yes ]] || break # a signal ends the wait, not the process
  done
  [[ $code -ne 0 ]] || code=$one
done
exit "$code"
