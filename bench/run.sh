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

Side by side with others, interleaved in one run; results/ takes the tables (the first call sets PyTorch up, a minute):
  peers-steps    training steps against PyTorch                   [--rounds N] [--seconds X] [NET...]
  peers-kernels  convolutions against oneDNN                      [--rounds N] [--seconds X] [LAYER...]
  parity         fifty steps against PyTorch, loss by loss        [CASE...]
  accuracy       the same recipes in PyTorch, accuracy reached    [cnn2|resnet20...]

Measure on a quiet machine; OMP_NUM_THREADS and OMP_PROC_BIND are passed on.
EOT
}

what=${1:-}
shift || true
case $what in
  kernels) program=contraction_bench ;;
  memory) program=memory_bench ;;
  steps) program=step_bench ;;
  peers-steps) exec bench/peers/speed.sh "$@" ;;
  peers-kernels) exec bench/peers/kernels.sh "$@" ;;
  parity | accuracy) exec "bench/peers/$what.sh" "$@" ;;
  -h | --help | help) usage; exit 0 ;;
  '') usage >&2; exit 2 ;;
  *) echo "nasturtium bench: unknown benchmark '$what'" >&2; usage >&2; exit 2 ;;
esac
./nasturtium build openmp "$program"
# A core type that was set for the sake of some old OpenBLAS would slow the contender down: let it choose its own.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
exec ./nasturtium shell "build/openmp/bench/$program" "$@"
