#!/bin/sh
# The road of training at 64 x 64 on a CPU, twice. First a flow between the autoencoder and the text encoder of `nano`
# (`presets.tiny_edit`), which learns to recolour within a minute: look at OUT/edit/samples. Then every part from nothing
# (`tiny_ae`, `tiny_flow`), to see each stage work: in a few minutes that draws nothing yet.
#
#   recipes/tiny.sh OUT [edit steps] [ae steps] [flow steps]
set -eu
case ${1:--} in
  -*) echo "recipes/tiny.sh: ${1:-OUT}: a folder accepted first, such as runs/tiny; see the head of the file" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
out=$1 edit_steps=${2:-120} ae_steps=${3:-400} flow_steps=${4:-400}
python=${PYTHON:-.venv/bin/python}
"$python" -m recast train flow --preset tiny-edit --steps "$edit_steps" --set run.sample_every_steps=1000 \
  --ae nano --text nano --out "$out/edit" --device cpu
rm -rf "$out/editor"
"$python" -m recast train export --preset tiny-edit --flow "$out/edit" --text nano --ae nano --out "$out/editor"
"$python" -m recast train ae --preset tiny-ae --steps "$ae_steps" --out "$out/ae" --device cpu
"$python" -m recast train flow --preset tiny-flow --steps "$flow_steps" --ae "$out/ae/weights/ae.safetensors" \
  --out "$out/flow" --device cpu
rm -rf "$out/model"
"$python" -m recast train export --preset tiny-flow --flow "$out/flow" --text "$out/flow/weights" \
  --ae "$out/ae/weights/ae.safetensors" --out "$out/model"
