# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# shellcheck shell=bash
#
# What every comparison begins with; sourced. Changes to the checkout's root, so that all paths are short and without spaces.
set -euo pipefail
NASTURTIUM_COMMAND="bench/peers/$(basename "$0") $*"
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
NASTURTIUM_GIT=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
[[ -z $(git status --porcelain --untracked-files=no -- ":!results" 2>/dev/null) ]] || NASTURTIUM_GIT+=" (modified)"
export NASTURTIUM_GIT NASTURTIUM_COMMAND
# A core type that was set for the sake of some old OpenBLAS would slow the peer down: let it choose its own.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
work=build/peers
mkdir -p "$work"

# python SCRIPT ARGS...: in the peers' environment.
python() {
  ./nasturtium shell --peers python3 "bench/peers/$1" "${@:2}"
}

# fashion_mnist: the four IDX files of Debian's package, where both environments see them: $work/fashion-mnist.
fashion_mnist() {
  # shellcheck disable=SC2016 # expanded inside the environment
  ./nasturtium shell sh -c 'mkdir -p "$1" && cp -u /usr/share/datasets/fashion-mnist/*.gz "$1"' sh "$work/fashion-mnist" || {
    echo "bench: Fashion-MNIST is missing: install the package dataset-fashion-mnist" >&2
    exit 2
  }
}

# serve FOLDER COMMAND...: starts a measuring process that reads FOLDER/requests and writes FOLDER/answers (FIFOs). It ends
# when whoever asks has closed its end, or with the script.
serve() {
  local folder=$1
  shift
  rm -rf "$folder"
  mkdir -p "$folder"
  mkfifo "$folder/requests" "$folder/answers"
  "$@" <"$folder/requests" >"$folder/answers" 2>"$folder/log" &
  server=$!
  trap 'kill "$server" 2>/dev/null || true' EXIT
}
