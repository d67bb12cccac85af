#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Fifty training steps in nasturtium and in PyTorch from the same weights on the same images, compared step by step.
#   bench/peers/parity.sh [CASE...]     e.g. resnet20-float64, or resnet20 for both precisions; none: all
# Prints a table, writes results/parity/; exit status 1 where a deviation is beyond its bar.
# shellcheck source=bench/peers/setup.sh
source "$(dirname "$(readlink -f "$0")")/setup.sh"

folder=$work/parity
rm -rf "$folder"
fashion_mnist
python parity.py prepare "$folder" "$@"
./nasturtium info --json >"$folder/nasturtium.json"
while read -r line; do
  read -ra command <<<"$line"
  ./nasturtium "${command[@]}" >"$folder/log" 2>&1 </dev/null || {
    tail -n 5 "$folder/log" >&2
    echo "parity: failed: nasturtium $line" >&2
    exit 2
  }
done <"$folder/commands"
results=results/parity
[[ $# -eq 0 ]] || results=$folder/results # a part of the cases does not replace the whole
python parity.py compare "$folder" "$results"
