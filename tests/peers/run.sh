#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Tests of the PyTorch side of the comparisons, in the peers' environment; with the program also the weights and the ONNX
# model of a short training against PyTorch and ONNX Runtime, and the Optuna example. Called from the checkout's root, outside the environments.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

run=build/peers/test-run
rm -rf "$run"
mkdir -p build/peers
./nasturtium train --arch bench/peers/parity_net.json --dataset synthetic:count=256:test=64:height=28:width=28:channels=1:classes=10 \
  --epochs 2 --out "$run" >/dev/null
# The Optuna example with Optuna itself. The program stays in its own environment, so the two talk through named pipes.
requests=build/peers/requests replies=build/peers/replies
rm -f "$requests" "$replies"
mkfifo "$requests" "$replies"
./nasturtium predict --stream --e-pred 20 <"$requests" >"$replies" &
./nasturtium shell --peers python3 docs/examples/optuna_stream.py 40 sh -c "cat '$replies' & cat >'$requests'; wait" 2>build/peers/optuna.log ||
  { cat build/peers/optuna.log >&2 && exit 1; }
wait

NASTURTIUM_RUN=$run ./nasturtium shell --peers python3 tests/peers/torch_network_test.py "$@"
