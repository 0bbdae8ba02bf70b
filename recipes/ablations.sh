#!/bin/sh
# What each part of the recipe is worth: sequence against channel concatenation, virtual-time offset against none, cached against
# full context attention, joint training against editing alone, each trained for the same minutes on one GPU, or as many steps.
#
#   recipes/ablations.sh --minutes 5 [--base runs/nano] [options of benchmarks/ablations.py]
#   recipes/ablations.sh --toy [options of benchmarks/ablations.py]
#
# --base: a run of recipes/nano.sh, for its autoencoder and text encoder. --toy: instead, at the size of `tiny-edit` on a CPU,
# six variants of six seeds each: 36 runs of 80 steps, of one core 14 s each to train and 12 to judge, together a quarter of an
# hour (docs/train.md says what that can show). Resumable.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
base=runs/nano is_toy=false before=
for word; do # --toy and --base are taken out, wherever they stand
  shift
  if [ "$before" = --base ]; then
    base=$word
  elif [ "$word" = --toy ]; then
    is_toy=true
  elif [ "$word" != --base ]; then
    set -- "$@" "$word"
  fi
  before=$word
done
[ "$before" != --base ] || { echo "recipes/ablations.sh: --base: a folder must follow, such as runs/nano" >&2; exit 2; }
if "$is_toy"; then
  PYTHONPATH=. exec "$python" benchmarks/ablations.py --preset tiny-edit --steps 80 --seeds 0,1,2,3,4,5 \
    --ae nano --text nano --out runs/toy-ablations "$@"
fi
PYTHONPATH=. exec "$python" benchmarks/ablations.py --ae "$base/ae/weights" --text "$base/text/weights" "$@"
