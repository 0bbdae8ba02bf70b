#!/bin/sh
# The whole road to `nano`: text encoder, autoencoder, flow, decoder, and the model folder made of them.
#
#   recipes/nano.sh --minutes 30 [--out runs/nano] [--stage STAGE] [--text-minutes N] [--pieces FOLDER]
#                   [--text-from FOLDER | --init RUN] [-- options of `recast train`]
#
# Stages run one after another, each from the best files of the one before; a stage that is over is not run again, and
# one that was stopped goes on where it was, today or on another day:
#   text     the text encoder learns to read; a CPU will do, in --text-minutes (120), not of --minutes. Without them
#            it is the one of recipes/nano-text, which has learned to read already, where the flow is to be trained and
#            no encoder has been begun; --stage text trains one
#   ae       the autoencoder, from nothing                            27 % of --minutes
#   flow     the flow transformer, the text encoder with it           65 %, less if its held-out loss is flat by then
#   finish   the decoder alone                                        8 %
#   model    OUT/model: a folder that `recast --model` takes, under 50 MB
#   score    only as --stage score, and not of --minutes: what the model does on held-out edits and on real photographs,
#            in OUT/score/worldbench-1 and photo-edits-1, with a page each; goes on where it was stopped
# --text-from FOLDER: no stage text, but a copy of the encoder in FOLDER/text_encoder, as `train text` publishes it.
# --init RUN: the flow starts from the averaged weights of an earlier run of this recipe, with copies of its text
# encoder and of its autoencoder, the finished one if there is one; that run may itself have begun so, and what its
# pieces hold is enough. Copies lie in OUT/text and OUT/ae as if these stages had made them; what lies there stays.
# --pieces FOLDER: after each stage its weights, packed and cut into files of at most 16 MiB (`cat flow.tar.* | tar x`);
# at the end there are eight, of flow and model. What comes after -- goes to every training: -- --set data.workers=4 (no --data or --size where text is trained).
set -eu
cd "$(dirname "$0")/.."
out=runs/nano minutes= text_minutes= stage=all text_from= init= pieces=
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --text-minutes) text_minutes=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --stage) stage=$2; shift 2 ;;
    --text-from) text_from=$2; shift 2 ;;
    --init) init=$2; shift 2 ;;
    --pieces) pieces=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "recipes/nano.sh: $1: not an option; see the head of the file" >&2; exit 2 ;;
  esac
done
fail() { echo "recipes/nano.sh: $1" >&2; exit 2; }
case $stage in all|text|ae|flow|finish|model|score) ;; *)
  fail "--stage $stage: all, text, ae, flow, finish, model or score accepted" ;;
esac
[ -n "$minutes" ] || [ "$stage" = model ] || [ "$stage" = score ] ||
  fail "--minutes: missing; a number of minutes accepted, 30 is usual"
if [ -n "$init" ]; then
  [ -z "$text_from" ] || fail "--text-from $text_from: with --init the flow keeps the encoder it has learned; drop one"
  [ ! "$init" -ef "$out" ] || fail "--init $init: is --out; another folder for --out accepted, or no --init to go on"
  autoencoder=$init/ae/weights
  for each in "$init/model" "$init/finish/weights"; do [ ! -d "$each" ] || autoencoder=$each; done
  for each in "$init/flow/weights/text_encoder" "$autoencoder"; do
    [ -d "$each" ] ||
      fail "--init $init: no ${each#"$init/"} in it; a run whose ae and flow are over accepted; end them first"
  done
elif [ -n "$text_from" ] && [ ! -d "$text_from/text_encoder" ]; then
  fail "--text-from $text_from: no text_encoder in it; a folder such as runs/nano/text/weights accepted; check the path"
fi
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

carry() { # carry STAGE FILE...: copies of these as the weights of STAGE, all or none, unless it has some
  name=$1 where=$out/$1
  shift
  if [ -d "$where/weights" ]; then
    echo "recipes/nano.sh: $where/weights are there already and stay" >&2
  else
    rm -rf "$where/.weights"
    mkdir -p "$where/.weights"
    cp -R "$@" "$where/.weights"
    mv "$where/.weights" "$where/weights"
  fi
}

if [ -n "$init" ]; then
  carry text "$init/flow/weights/text_encoder"
  case $autoencoder in
    */model) carry ae "$autoencoder/ae.safetensors" "$autoencoder/config.json" ;;
    *) carry ae "$autoencoder"/* ;;
  esac
elif [ -n "$text_from" ]; then
  carry text "$text_from/text_encoder"
elif [ -z "$text_minutes" ] && [ ! -d "$out/text" ] && wanted flow; then
  echo "recipes/nano.sh: the flow begins with the text encoder of recipes/nano-text; --text-minutes trains another" >&2
  carry text recipes/nano-text/text_encoder
elif [ -n "$text_minutes" ] && wanted text && [ -d "$out/text/weights" ] && [ ! -d "$out/text/checkpoints" ]; then
  fail "--text-minutes $text_minutes: $out/text/weights came from elsewhere; drop it, or remove $out/text to train one"
fi
text=$out/text/weights ae=$out/ae/weights
! wanted text || train text nano-text "${text_minutes:-120}" "$@"
! wanted ae || train ae nano-ae "$(share 0.27)" "$@"
! wanted flow ||
  train flow nano-flow "$(share 0.65)" --ae "$ae" --text "$text" ${init:+--init "$init/flow/weights"} \
    --set run.validate_every_steps=150 --set run.flat_over=10 "$@"
! wanted finish || train finish nano-finish "$(share 0.08)" --init "$ae" "$@"
if wanted model; then
  rm -rf "$out/model"
  "$python" -m recast train export --preset nano-flow --flow "$out/flow" --text "$out/flow/weights" \
    --ae "$out/finish/weights/ae.safetensors" --out "$out/model" --limit-mb 50
  pack model model
  [ -z "$pieces" ] || rm -f "$pieces"/text.tar.* "$pieces"/ae.tar.* "$pieces"/finish.tar.*  # the model holds them
fi
if [ "$stage" = score ]; then
  for suite in worldbench-1 photo-edits-1; do
    "$python" -m recast evaluate "$suite" --model "$out/model" --name "$(basename "$out")" --steps 28 \
      --out "$out/score/$suite"
    "$python" -m recast report "$out/score/$suite" --out "$out/score/$suite.html"
  done
fi
