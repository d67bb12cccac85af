#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Submits an experiment, with the wall time (and on a CPU the memory) that nasturtium estimate advises.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

usage() {
  cat <<'EOT'
usage: bench/slurm/submit.sh [OPTIONS] EXPERIMENT [OPTIONS OF nasturtium reproduce EXPERIMENT]

  --array N          N parts (bench/slurm/array.sbatch), then a job that makes the tables
  --network NET      asks nasturtium estimate about this network, the largest to be expected: a name of the zoo or a JSON file
  --epochs N         with it: epochs of all trainings of a part together
  --samples N        with it: training samples of an epoch
  --batch N          with it: batch size [32]
  --optimiser NAME   with it: the rule of the updates [sgd]
  --model FILE       with it: what nasturtium estimate fit wrote on such a node [runs/estimator.json]
  --host-memory M    with it: MiB of the program and its data beside the training step [8192]
  --sbatch OPTION    for sbatch, e.g. --sbatch --partition=gpu; may be given again
  --dry-run          prints the calls of sbatch and makes none; DRY_RUN=1 does the same

The memory that estimate tells is the step's. On a GPU it is the GPU's and only shown; --mem of the batch script holds there.
Without --network the limits of the batch scripts hold.
EOT
}

die() {
  printf 'submit: %s\n' "$*" >&2
  exit 2
}

array='' network='' epochs='' samples='' batch=32 optimiser=sgd model=runs/estimator.json host_memory=8192 dry=${DRY_RUN:-} more=()
while [[ $# -gt 0 && $1 == -* ]]; do
  case $1 in
    --array | --network | --epochs | --samples | --batch | --optimiser | --model)
      [[ $# -gt 1 ]] || die "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --host-memory)
      [[ ${2:-} =~ ^[0-9]+$ ]] || die "$1 takes a number of MiB"
      host_memory=$2
      shift
      ;;
    --sbatch)
      [[ $# -gt 1 ]] || die "$1 needs a value"
      more+=("$2")
      shift
      ;;
    --dry-run) dry=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) die "unknown option '$1' (--help tells)" ;;
  esac
  shift
done
[[ $# -gt 0 ]] || {
  usage >&2
  exit 2
}
[[ -z $array || $array =~ ^[1-9][0-9]*$ ]] || die "--array takes a number of parts, got '$array'"

limits=()
if [[ -n $network ]]; then
  [[ -n $epochs && -n $samples ]] || die "--network needs --epochs and --samples"
  program=${NASTURTIUM_PROGRAM:-build/cuda/cli/nasturtium}
  advice=$("$program" estimate "$network" --batch "$batch" --optimiser "$optimiser" --epochs "$epochs" --samples "$samples" \
    --model "$model" --slurm) || die "no advice for '$network'"
  time=$(sed -n 's/^#SBATCH --time=\([0-9:-]*\)$/\1/p' <<<"$advice")
  memory=$(sed -n 's/^#SBATCH --mem=\([0-9]*\)M$/\1/p' <<<"$advice")
  [[ -n $time && -n $memory ]] || die "nasturtium estimate --slurm gave no time and memory: $advice"
  limits=(--time="$time")
  if [[ ${NASTURTIUM_BACKEND:-cuda} == cuda ]]; then
    printf 'submit: a step takes %s MiB of the GPU\n' "$memory" >&2
  else
    limits+=(--mem="$((memory + host_memory))M")
  fi
fi

# submit OPTIONS...: calls sbatch and prints the number of the job.
submit() {
  if [[ -n $dry ]]; then
    printf '%s\n' "sbatch ${*@Q}" >&2
    echo JOB
  else
    sbatch --parsable "$@" | cut -d ';' -f 1
  fi
}

# What the job that makes the tables is told of the parts.
whole=()
case $1 in
  weight-transfer) whole=(--seeds "$array") ;;
  penguin | ensembles)
    [[ -z ${SEARCHES:-} ]] || whole+=(--searches "${SEARCHES// /,}")
    [[ -z ${DATASETS:-} ]] || whole+=(--datasets "${DATASETS// /,}")
    ;;
esac

if [[ -n $array ]]; then
  parts=$(submit --array="1-$array" "${limits[@]}" "${more[@]}" bench/slurm/array.sbatch "$@")
  last=$(submit --dependency="afterok:$parts" "${more[@]}" bench/slurm/reproduce.sbatch "$@" "${whole[@]}")
  printf 'submit: %s parts are job %s, the tables are job %s\n' "$array" "$parts" "$last"
else
  printf 'submit: job %s\n' "$(submit "${limits[@]}" "${more[@]}" bench/slurm/reproduce.sbatch "$@")"
fi
