#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Convolutions of nasturtium and oneDNN, forward and both backward passes: two processes that take turns.
#   bench/peers/kernels.sh [--rounds N] [--seconds X] [--batches A,B] [LAYER...]      e.g. c04 c12d
# Writes results/speed/kernels.csv. Two threads unless OMP_NUM_THREADS says otherwise. With LAYERs or options the table
# goes to build/peers/speed/ instead.
# shellcheck source=bench/peers/setup.sh
source "$(dirname "$(readlink -f "$0")")/setup.sh"

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
results=results/speed
[[ $# -eq 0 ]] || results=$work/speed
# shellcheck disable=SC2016 # expanded inside the environment
./nasturtium shell --peers sh -c 'cmake -G Ninja -S bench/peers/kernels -B "$1" && ninja -C "$1"' sh "$work/dnnl" >"$work/dnnl.log" 2>&1 || {
  tail -n 20 "$work/dnnl.log" >&2
  exit 2
}
./nasturtium build openmp conv_server
serve "$work/conv_server" ./nasturtium shell build/openmp/bench/conv_server
python kernels.py "$work/conv_server" "$work/dnnl/dnnl_server" "$results" "$@"
