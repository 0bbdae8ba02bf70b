#!/bin/sh
# What each part of the recipe is worth: sequence against channel concatenation, virtual-time offset against none, cached against
# full context attention, joint training against editing alone, each trained for the same minutes on one GPU.
#
#   recipes/ablations.sh --minutes 5 [--base runs/nano] [options of benchmarks/ablations.py]
#
# --base: a run of recipes/nano.sh, for its autoencoder and text encoder. Resumable.
set -eu
cd "$(dirname "$0")/.."
base=runs/nano minutes=
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --base) base=$2; shift 2 ;;
    *) break ;;
  esac
done
[ -n "$minutes" ] || { echo "recipes/ablations.sh: --minutes: missing; minutes of each run accepted" >&2; exit 2; }
PYTHONPATH=. "${PYTHON:-.venv/bin/python}" benchmarks/ablations.py --minutes "$minutes" \
  --ae "$base/ae/weights" --text "$base/text/weights" "$@"
