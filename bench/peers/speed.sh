#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Training steps of the six networks in nasturtium and PyTorch: two processes that take turns.
#   bench/peers/speed.sh [--rounds N] [--seconds X] [--batches A,B] [--compiled] [NETWORK...]
# Writes results/speed/steps.{csv,md}. Two threads unless OMP_NUM_THREADS says otherwise. With NETWORKs or options the
# tables go to build/peers/speed/ instead.
# shellcheck source=bench/peers/setup.sh
source "$(dirname "$(readlink -f "$0")")/setup.sh"

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
results=results/speed
[[ $# -eq 0 ]] || results=$work/speed
./nasturtium build openmp step_server
serve "$work/step_server" ./nasturtium shell build/openmp/bench/step_server
python speed.py "$work/step_server" "$results" "$@"
