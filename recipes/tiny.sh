#!/bin/sh
# The whole road with `tiny`, at 64 x 64, on a CPU: every stage in turn, to see them work. What it learns in a few minutes
# is not yet a picture; its settings are `presets.tiny_ae` and `tiny_flow`.
#
#   recipes/tiny.sh OUT [ae steps] [flow steps]
set -eu
cd "$(dirname "$0")/.."
out=$1 ae_steps=${2:-400} flow_steps=${3:-400}
python=${PYTHON:-.venv/bin/python}
"$python" -m recast train ae --preset tiny-ae --steps "$ae_steps" --out "$out/ae" --device cpu
"$python" -m recast train flow --preset tiny-flow --steps "$flow_steps" --ae "$out/ae/weights/ae.safetensors" \
  --out "$out/flow" --device cpu
rm -rf "$out/model"
"$python" -m recast train export --preset tiny-flow --flow "$out/flow" --text "$out/flow/weights" \
  --ae "$out/ae/weights/ae.safetensors" --out "$out/model"
