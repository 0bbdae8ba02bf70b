#!/bin/sh
# What each part of the recipe is worth: sequence against channel concatenation, virtual-time offset against none, cached against
# full context attention, joint training against editing alone, each trained for the same minutes on one GPU.
#
#   recipes/ablations.sh --minutes 5 [--base runs/nano] [options of benchmarks/ablations.py]
#   recipes/ablations.sh --toy [options of benchmarks/ablations.py]
#
# --base: a run of recipes/nano.sh, for its autoencoder and text encoder. --toy: instead, at the size of `tiny-edit` on a CPU,
# six runs of 80 steps each; a quarter of an hour of one core (docs/train.md says what that can show). Resumable.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
if [ "${1:-}" = --toy ]; then
  shift
  PYTHONPATH=. exec "$python" benchmarks/ablations.py --preset tiny-edit --steps 80 --seeds 0,1,2,3,4,5 \
    --ae nano --text nano --out runs/toy-ablations "$@"
fi
base=runs/nano minutes=
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --base) base=$2; shift 2 ;;
    *) break ;;
  esac
done
[ -n "$minutes" ] || { echo "recipes/ablations.sh: --minutes: missing; minutes of each run accepted" >&2; exit 2; }
PYTHONPATH=. "$python" benchmarks/ablations.py --minutes "$minutes" \
  --ae "$base/ae/weights" --text "$base/text/weights" "$@"
