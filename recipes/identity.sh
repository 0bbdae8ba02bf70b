#!/bin/sh
# The networks that know the people of the world, from nothing, on one core: recast/nano/identity.safetensors.
#
#   recipes/identity.sh --minutes 25 [--out runs/identity] [--seed 0]
#
# Resumable: a run that was stopped goes on where it was. At its end OUT/identity.safetensors is there;
# `benchmarks/identity_calibration.py --weights OUT/identity.safetensors` measures it and writes its limit beside it.
set -eu
cd "$(dirname "$0")/.."
OMP_NUM_THREADS=1 "${PYTHON:-.venv/bin/python}" -m recast.train.identity "$@"
