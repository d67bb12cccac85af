#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The CUDA compile gate: every source with kernels goes through nvcc for sm_90, with Kokkos' CUDA and OpenMP back ends
# on, against the headers of a Kokkos that was built for the host. No GPU and no CUDA-enabled Kokkos is needed; nothing
# is linked or run. What it writes and how it caches: cuda_gate.py.
#   tests/gate/cuda_gate.sh BUILD_DIR [--jobs N] [--tests] [--no-cache] [--self-test] [SOURCE...]
# Exit status: 0 all compile (or nvcc is absent: one line says so), 1 something does not, 2 wrong use.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -lt 1 || $1 == -* ]]; then
  echo "usage: tests/gate/cuda_gate.sh BUILD_DIR [--jobs N] [--tests] [--no-cache] [--self-test] [SOURCE...]" >&2
  exit 2
fi
nvcc=${NVCC:-$(command -v nvcc || true)}
for candidate in "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" /usr/local/cuda/bin/nvcc; do
  [[ -n $nvcc || ! -x $candidate ]] || nvcc=$candidate
done
if [[ -z $nvcc ]]; then
  echo "cuda gate: SKIPPED, no nvcc here (looked at NVCC, PATH, CUDA_HOME and /usr/local/cuda)"
  exit 0
fi
if ! command -v python3 >/dev/null; then
  echo "cuda gate: SKIPPED, it needs python3"
  exit 0
fi
exec python3 "$here/cuda_gate.py" --nvcc "$nvcc" "$@"
