#!/bin/sh
# The whole road to `nano`: text encoder, autoencoder, flow, decoder, and the model folder made of them.
#
#   recipes/nano.sh --minutes 30 [--out runs/nano] [--stage STAGE] [--text-minutes 120] [--init RUN] [--pieces FOLDER]
#
# Stages run one after another, each from the best files of the one before; a stage that is over is not run again, and
# one that was stopped goes on where it was, today or on another day:
#   text     the text encoder learns to read; a CPU will do, in hours --text-minutes, not of --minutes
#   ae       the autoencoder, from nothing                            27 % of --minutes
#   flow     the flow transformer, the text encoder with it           65 %
#   finish   the decoder alone                                        8 %
#   model    OUT/model: a folder that `recast --model` takes, under 50 MB
# --init RUN: the flow starts from the averaged weights of an earlier run of this recipe, with its autoencoder and text
# encoder. --pieces FOLDER: after each stage its weights, packed and cut into files of at most 16 MiB (`cat flow.tar.* |
# tar x`); at the end there are eight, of flow and model. Anything after -- is handed to every `recast train`: -- --set data.workers=4
set -eu
cd "$(dirname "$0")/.."
out=runs/nano minutes= text_minutes=120 stage=all init= pieces=
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --text-minutes) text_minutes=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --stage) stage=$2; shift 2 ;;
    --init) init=$2; shift 2 ;;
    --pieces) pieces=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "recipes/nano.sh: $1: not an option; see the head of the file" >&2; exit 2 ;;
  esac
done
[ -n "$minutes" ] || { echo "recipes/nano.sh: --minutes: missing; a number of minutes accepted, 30 is usual" >&2; exit 2; }
case $stage in all|text|ae|flow|finish|model) ;; *)
  echo "recipes/nano.sh: --stage $stage: all, text, ae, flow, finish or model accepted" >&2; exit 2 ;;
esac
python=${PYTHON:-.venv/bin/python}
workers=$(($(nproc) > 2 ? $(nproc) - 2 : 0))
share() { awk "BEGIN { print $minutes * $1 }"; }
wanted() { [ "$stage" = all ] || [ "$stage" = "$1" ]; }
. recipes/pack.sh
train() { # train STAGE PRESET MINUTES [options]: unless it is over
  name=$1 where=$out/$1 preset=$2 length=$3
  shift 3
  what=${preset#nano-}
  [ "$what" != finish ] || what=ae
  if [ ! -d "$where/weights" ]; then
    "$python" -m recast train "$what" --preset "$preset" --minutes "$length" --out "$where" --workers "$workers" "$@"
  fi
  pack "$name" "$name/weights"
}

text=$out/text/weights ae=$out/ae/weights/ae.safetensors start=
if [ -n "$init" ]; then
  text=$init/flow/weights ae=$init/ae/weights/ae.safetensors start="--init $init/flow/weights"
else
  ! wanted text || train text nano-text "$text_minutes" "$@"
  ! wanted ae || train ae nano-ae "$(share 0.27)" "$@"
fi
! wanted flow || train flow nano-flow "$(share 0.65)" --ae "$ae" --text "$text" $start "$@"
! wanted finish || train finish nano-finish "$(share 0.08)" --init "$ae" "$@"
if wanted model; then
  rm -rf "$out/model"
  "$python" -m recast train export --preset nano-flow --flow "$out/flow" --text "$out/flow/weights" \
    --ae "$out/finish/weights/ae.safetensors" --out "$out/model" --limit-mb 50
  pack model model
  [ -z "$pieces" ] || rm -f "$pieces"/text.tar.* "$pieces"/ae.tar.* "$pieces"/finish.tar.*  # the model holds them
fi
