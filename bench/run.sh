#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The benchmarks; called as ./nasturtium bench WHAT.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

usage() {
  cat <<'EOT'
usage: ./nasturtium bench WHAT [OPTIONS]

Speed of our own kernels and steps (OPTIONS are Google Benchmark's, e.g. --benchmark_filter=c04):
  kernels        convolutions, dense layers, GEMM: GFLOP/s and percent of the peak measured in the same run
  memory         batch norm, pooling, activations, losses, optimisers, augmentation: GB/s
  steps          whole training steps of the six networks: images/s
  populations    steps of populations in common launches, and how many launches they are; results/speed/populations-own.csv
  results        the first three, whole; results/speed/{kernels,memory,steps}-own.csv take the tables (some minutes)

The papers' experiments, their metrics as counters (--scale=smoke|laptop|node|paper --out=DIR, and Google Benchmark's options):
  penguin        fitness prediction in three searches (docs/guide/reproduce.md)
  weight-transfer  candidates that start from earlier weights (docs/weight-transfer.md)
  time-estimator  how long a training step takes (docs/estimator.md)
  ensembles      from searches to ensembles that are served (docs/guide/ensemble.md)
  search-order   estimated training times in a search: how far off, and what beginning with the longest saves (docs/guide/search.md)  [SEARCH OPTIONS]
  predictor      microseconds per prediction of every method
  selection      a step of ensemble selection against reading its columns (docs/ensembles-selection.md)
  ensemble-planner  plans against known optima: fractions of them, milliseconds
  ensemble-runtime  serving an ensemble on host cores, planned against the baselines  [--rounds=N] [--samples=N] [NET...]

Side by side with others, interleaved in one run; results/ takes the tables (the first call sets PyTorch up, a minute):
  peers-steps    training steps against PyTorch                   [--rounds N] [--seconds X] [NET...]
  peers-kernels  convolutions against oneDNN                      [--rounds N] [--seconds X] [LAYER...]
  parity         fifty steps against PyTorch, loss by loss        [CASE...]
  accuracy       the same recipes in PyTorch, accuracy reached    [cnn2|resnet20...]

Measure on a quiet machine; OMP_NUM_THREADS and OMP_PROC_BIND are passed on.
EOT
}

declare -A programs=([kernels]=contraction_bench [memory]=memory_bench [steps]=step_bench [penguin]=penguin_bench [weight-transfer]=weight_transfer_bench [time-estimator]=time_estimator_bench [ensembles]=ensembles_bench [predictor]=predictor_bench [selection]=selection_bench [ensemble-planner]=ensemble_planner_bench
  [ensemble-runtime]=ensemble_runtime_bench)
# A core type that was set for the sake of some old OpenBLAS would slow the contender down: let it choose its own.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

# name_commit: NASTURTIUM_GIT for the provenance of what follows.
name_commit() {
  local git
  git=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
  [[ -z $(git status --porcelain --untracked-files=no -- ':!results' 2>/dev/null) ]] || git+=" (modified)"
  export NASTURTIUM_GIT=$git
}

# run_populations: the networks of the zoo alone and mixed, 8 and 32 at a time.
run_populations() {
  local json=build/populations.json
  name_commit
  ./nasturtium build openmp "${programs[steps]}"
  ./nasturtium shell "build/openmp/bench/${programs[steps]}" --fused --models=8,32 --batch=32 --benchmark_filter=fused --benchmark_min_time=0.2s \
    --benchmark_out="$json" mlp lenet cnn2 vgg32 resnet20 odd mlp+lenet+cnn2 vgg32+resnet20+odd
  ./nasturtium shell python3 bench/results.py "$json" results/speed/populations-own.csv "./nasturtium bench populations"
}

# run_search_order OPTIONS: an estimator and three searches on Fashion-MNIST (--data-dir DIR where it is not in ./data), to results/search-order/.
run_search_order() {
  local work=build/search-order
  name_commit
  NASTURTIUM_QUIET=1 ./nasturtium build openmp nasturtium
  rm -rf "$work"
  ./nasturtium shell python3 bench/search_order.py build/openmp/cli/nasturtium "$work" results/search-order "$@"
}

# run_all: every benchmark once, the tables to results/speed/.
run_all() {
  local kind json
  name_commit
  ./nasturtium build openmp "${programs[kernels]}" "${programs[memory]}" "${programs[steps]}"
  for kind in kernels memory steps; do
    json=build/$kind.json
    ./nasturtium shell "build/openmp/bench/${programs[$kind]}" --benchmark_min_time=0.05s --benchmark_out="$json" >"build/$kind.bench.log"
    ./nasturtium shell python3 bench/results.py "$json" "results/speed/$kind-own.csv" "./nasturtium bench results"
  done
}

what=${1:-}
shift || true
case $what in
  kernels | memory | steps | penguin | weight-transfer | time-estimator | ensembles | predictor | selection | ensemble-planner | ensemble-runtime)
    ./nasturtium build openmp "${programs[$what]}"
    exec ./nasturtium shell "build/openmp/bench/${programs[$what]}" "$@"
    ;;
  results) run_all ;;
  populations) run_populations ;;
  search-order) run_search_order "$@" ;;
  peers-steps) exec bench/peers/speed.sh "$@" ;;
  peers-kernels) exec bench/peers/kernels.sh "$@" ;;
  parity | accuracy) exec "bench/peers/$what.sh" "$@" ;;
  -h | --help | help) usage ;;
  '') usage >&2; exit 2 ;;
  *) echo "nasturtium bench: unknown benchmark '$what'" >&2; usage >&2; exit 2 ;;
esac
