#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The same recipe in nasturtium and in PyTorch, three seeds each, from training images to test accuracy.
#   bench/peers/accuracy.sh [cnn2|resnet20] [--epochs N] [--train N] [--seeds A,B] [--peer-seeds A]
# cnn2 on 60,000 Fashion-MNIST images (10 epochs), resnet20 on 10,000 CIFAR-10 images (20 epochs); without a name both.
# Prints a table, writes results/accuracy/; exit status 1 where a bar is missed. With options, for trials, the table goes
# to build/peers/accuracy/ instead.
# shellcheck source=bench/peers/setup.sh
source "$(dirname "$(readlink -f "$0")")/setup.sh"

networks=(cnn2 resnet20)
case ${1:-} in
  '' | --*) ;;
  *) networks=("$1"); shift ;;
esac
results=results/accuracy
[[ $# -eq 0 ]] || results=$work/accuracy
mkdir -p "$work/accuracy"
status=0
for network in "${networks[@]}"; do
  [[ $network != cnn2 ]] || fashion_mnist
  read -ra options <<<"$(python accuracy.py command "$network" "$@")"
  ./nasturtium train "${options[@]}" --json >"$work/accuracy/$network.json"
  python accuracy.py compare "$network" "$work/accuracy/$network.json" "$results" "$@" || status=$?
done
exit "$status"
