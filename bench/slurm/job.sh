# shellcheck shell=bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# What the batch scripts share. Sourced from the root of the checkout, where sbatch was called.
#
#   NASTURTIUM_PROGRAM  the program (build/cuda/cli/nasturtium)
#   NASTURTIUM_BACKEND  openmp, serial or cuda (cuda)
#   NASTURTIUM_MODULES  modules to load first, by blanks (none)
#   DRY_RUN=1           prints the commands and runs none

die() {
  printf 'slurm: %s\n' "$*" >&2
  exit 2
}

# reproduce EXPERIMENT OPTIONS...: runs it. Slurm's warning before the time limit (--signal) becomes the Ctrl-C that the
# program stops at cleanly; the job is then queued again and goes on where it stopped.
reproduce() {
  local command=("${NASTURTIUM_PROGRAM:-build/cuda/cli/nasturtium}" reproduce "$@"
    --backend "${NASTURTIUM_BACKEND:-cuda}" --threads "${SLURM_CPUS_PER_TASK:-1}")
  if [[ -n ${DRY_RUN:-} ]]; then
    printf '%s\n' "${command[*]@Q}"
    return
  fi
  if [[ -n ${NASTURTIUM_MODULES:-} ]]; then
    # shellcheck disable=SC2086  # one word a module
    module load $NASTURTIUM_MODULES
  fi
  command -v "${command[0]}" >/dev/null || die "no program '${command[0]}' in $PWD (docs/gpu-cluster.md)"
  export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_PROC_BIND=${OMP_PROC_BIND:-close} OMP_PLACES=${OMP_PLACES:-cores}
  local warned='' cancelled='' status=0 child=''
  # Before the program starts: a signal that found the shell without them would end it and leave the program behind.
  trap 'warned=1; [[ -z $child ]] || kill -INT "$child" 2>/dev/null || true' USR1
  trap 'cancelled=1; [[ -z $child ]] || kill -INT "$child" 2>/dev/null || true' TERM INT # stopped as cleanly, not queued again
  # Started so that SIGINT reaches it: a shell without job control lets its children ignore it.
  set -m
  "${command[@]}" &
  child=$!
  set +m
  [[ -z $warned$cancelled ]] || kill -INT "$child" 2>/dev/null || true # that came while there was no child
  while true; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break # else the trap ended the wait, and the program is still at it
  done
  if [[ -n $warned && $status -eq 130 && -n ${SLURM_JOB_ID:-} ]]; then
    echo "slurm: stopped before the time limit; queued again" >&2
    local job=$SLURM_JOB_ID
    [[ -z ${SLURM_ARRAY_JOB_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    scontrol requeue "$job"
  fi
  return "$status"
}
