#!/bin/sh
# From many evaluations to four: walks of `nano`, a student of four steps, its model; beside them `nano-dev`.
#
#   recipes/nano-turbo.sh --minutes 30 [--out runs/turbo] [--stage STAGE] [--model nano] [--preset nano]
#                         [--rank 64] [--pieces FOLDER] [-- options of `recast distill`]
#
# Stages run one after another; a stage that is over is not run again, and one that was stopped goes on where it was,
# today or on another day:
#   pairs     the teacher's pictures, with their noise; of nano, with states on the way    30 % of --minutes
#   guidance  nano-dev: one evaluation a step; OUT/nano-dev.safetensors, over the teacher  15 %
#             a product of its own: no later stage reads it
#   direct    four steps, by regression on the pairs; of nano, from state to state         25 %
#   ladd      four steps, judged by a discriminator, from direct and the pairs             30 %
#   model     OUT/model: nano-turbo, a folder that `recast --model` takes; and OUT/turbo.safetensors, the same as one
#             file over the teacher, where pairs of --rank hold its change (the export says what they leave of it)
# The teacher is one that is guided by two passes. Before the first stage every one is planned (`--dry-run`), so that
# settings that cannot work are refused at once. Where the discriminator stays blind, ladd leaves the student as direct has made it, says so, and the recipe goes on.
# --pieces FOLDER: after each stage what came of it, packed and cut into files of at most 16 MiB (`cat model.tar.* |
# tar x`); at the end there are eight at most, of dev, model and turbo. Anything after -- is handed to every run: -- --set
# data.workers=4. To see every stage work on a CPU, at 64 x 64: --minutes 1 --preset tiny
set -eu
cd "$(dirname "$0")/.."
out=runs/turbo minutes= stage=all model=nano preset=nano rank=64 pieces=
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --stage) stage=$2; shift 2 ;;
    --model) model=$2; shift 2 ;;
    --preset) preset=$2; shift 2 ;;
    --rank) rank=$2; shift 2 ;;
    --pieces) pieces=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "recipes/nano-turbo.sh: $1: not an option; see the head of the file" >&2; exit 2 ;;
  esac
done
[ -n "$minutes" ] || {
  echo "recipes/nano-turbo.sh: --minutes: missing; a number of minutes accepted, 30 is usual" >&2; exit 2; }
case $stage in all|pairs|guidance|direct|ladd|model) ;; *)
  echo "recipes/nano-turbo.sh: --stage $stage: all, pairs, guidance, direct, ladd or model accepted" >&2; exit 2 ;;
esac
python=${PYTHON:-.venv/bin/python}
workers=0
[ "$preset" = tiny ] || workers=$(($(nproc) > 2 ? $(nproc) - 2 : 0))
share() { awk "BEGIN { print $minutes * $1 }"; }
wanted() { [ "$stage" = all ] || [ "$stage" = "$1" ]; }
. recipes/pack.sh
distill() { # distill STAGE MINUTES [options]: goes on with it
  what=$1 length=$2
  shift 2
  "$python" -m recast distill "$what" --preset "$preset" --model "$model" --minutes "$length" --out "$out/$what" \
    --workers "$workers" "$@"
}
train() { # train STAGE ...: unless it is over
  [ -d "$out/$1/weights" ] || distill "$@"
}

for each in pairs guidance direct ladd; do
  ! wanted "$each" ||
    "$python" -m recast distill "$each" --preset "$preset" --model "$model" --dry-run "$@" > /dev/null
done
! wanted pairs || distill pairs "$(share 0.3)" "$@"
if wanted guidance; then
  train guidance "$(share 0.15)" "$@"
  if [ ! -f "$out/nano-dev.safetensors" ]; then
    "$python" -m recast distill export --delta --run "$out/guidance" --base "$model" --out "$out/nano-dev.safetensors"
  fi
  pack dev nano-dev.safetensors
fi
if wanted direct; then
  train direct "$(share 0.25)" --pairs "$out/pairs" "$@"
  pack direct direct/weights
fi
if wanted ladd; then
  train ladd "$(share 0.3)" --pairs "$out/pairs" --init "$out/direct" --set settings.blind=skip "$@"
  pack ladd ladd/weights
  [ -z "$pieces" ] || rm -f "$pieces"/direct.tar.*  # ladd goes on from it
fi
if wanted model; then
  rm -rf "$out/model"
  "$python" -m recast distill export --run "$out/ladd" --base "$model" --out "$out/model"
  pack model model
  rm -f "$out/turbo.safetensors" "$out/turbo.md"
  if "$python" -m recast distill export --delta --rank "$rank" --run "$out/ladd" --base "$model" \
    --out "$out/turbo.safetensors"; then
    pack turbo turbo.safetensors
  else
    echo "recipes/nano-turbo.sh: no $out/turbo.safetensors, for the reason above; $out/model is whole" >&2
  fi
  [ -z "$pieces" ] || rm -f "$pieces"/ladd.tar.*  # the model holds it
fi
