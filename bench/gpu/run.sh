#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Everything that is to be done on a node with a GPU, in one call: build, tests, sanitizer, benchmarks, peers.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)

usage() {
  cat <<'EOT'
usage: bench/gpu/run.sh OUT_DIR [OPTIONS]

  --parts LIST     of context,build,tests,determinism,sanitizer,kernels,memory,steps,peers,summary (default: all), by commas
  --force          repeats parts that are done; without it a second call goes on where the first one stopped
  --sources DIR    folders kokkos, catch2, benchmark, cli11 in DIR are taken instead of downloads, as far as they are there
  --prefix LIST    where CMake finds installed packages (CMAKE_PREFIX_PATH), by semicolons
  --arch NAME      Kokkos' name of the GPU architecture (HOPPER90 for H100 and H200; default: asked from the GPU)
  --program        builds datasets, networks and the program too (needs Boost.JSON, HDF5, zlib); else kernels alone
  --jobs N         parallel compilations (default: the number of processors)
  --math LIST      of float32,tf32,bf16: arithmetic of the benchmarks (default: all)
  --dry-run        prints every command and runs none

Needs on the node: nvcc, CMake >= 3.25.2, ninja, a C++20 compiler; PyTorch with CUDA for the peers (left out otherwise). Each
part writes OUT_DIR/PART.log and, when it succeeded, OUT_DIR/PART.done with its seconds. Exit status 1 if a part failed.
EOT
}

say() { printf 'gpu: %s\n' "$*"; }
die() {
  printf 'gpu: %s\n' "$*" >&2
  exit 2
}

all=context,build,tests,determinism,sanitizer,kernels,memory,steps,peers,summary
out='' parts=$all force='' sources='' prefix='' arch='' program=OFF jobs=$(nproc) math=float32,tf32,bf16 dry=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --parts | --sources | --prefix | --arch | --jobs | --math)
      [[ $# -gt 1 ]] || die "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --force) force=1 ;;
    --program) program=ON ;;
    --dry-run) dry=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) die "unknown option '$1' (--help tells)" ;;
    *)
      [[ -z $out ]] || die "one output folder, got '$out' and '$1'"
      out=$1
      ;;
  esac
  shift
done
[[ -n $out ]] || {
  usage >&2
  exit 2
}
IFS=, read -ra chosen <<<"$parts"
IFS=, read -ra modes <<<"$math"
for part in "${chosen[@]}"; do [[ ,$all, == *,$part,* ]] || die "no part is called '$part' ($all)"; done
for mode in "${modes[@]}"; do [[ ,float32,tf32,bf16, == *,$mode,* ]] || die "no arithmetic is called '$mode' (float32,tf32,bf16)"; done
[[ -z $sources || -d $sources ]] || die "no folder '$sources'"
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=$out/build

# run COMMAND...: runs it, or prints it in a dry run.
run() {
  if [[ -n $dry ]]; then
    printf '    %s\n' "${*@Q}"
  else
    "$@"
  fi
}

# have PROGRAM: whether a part can use it. A dry run takes it for granted.
have() { [[ -n $dry || -x $1 ]]; }

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} OMP_PROC_BIND=${OMP_PROC_BIND:-false}

part_context() {
  local git
  git=$(git -C "$root" describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)
  if [[ -n $dry ]]; then
    run nvidia-smi --query-gpu=name,uuid,driver_version,memory.total,clocks.max.sm,power.limit,compute_cap --format=csv
    run nvcc --version
    run cmake --version
    return
  fi
  {
    printf 'git,"%s"\ntime,"%s"\nhost cpu,"%s"\nprocessors,%s\n' "$git" "$(date -u +%FT%TZ)" \
      "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
    printf 'nvcc,"%s"\ncmake,"%s"\ncompiler,"%s"\n' "$(nvcc --version | tail -n 1)" "$(cmake --version | head -n 1)" \
      "$("${CXX:-c++}" --version | head -n 1)"
    nvidia-smi --query-gpu=name,uuid,driver_version,memory.total,clocks.max.sm,power.limit,compute_cap --format=csv,noheader |
      sed 's/^/gpu,"/; s/$/"/'
  } >"$out/context.csv"
  cat "$out/context.csv"
}

part_build() {
  local options=(-DNASTURTIUM_PROGRAM="$program" -DNASTURTIUM_FETCH_CUDA=ON -DNASTURTIUM_INSTALL=OFF)
  local pair
  # CMake's name and the folder of each source that may lie ready.
  for pair in KOKKOS:kokkos CATCH2:catch2 BENCHMARK:benchmark CLI11:cli11; do
    if [[ -n $sources && -d $sources/${pair#*:} ]]; then
      options+=("-DFETCHCONTENT_SOURCE_DIR_${pair%:*}=$(cd "$sources/${pair#*:}" && pwd)")
      # A local copy is meant to be used even where a package is installed (one without CUDA, for Kokkos).
      [[ $pair != KOKKOS:* ]] || options+=(-DCMAKE_DISABLE_FIND_PACKAGE_Kokkos=ON)
    fi
  done
  [[ -z $prefix ]] || options+=("-DCMAKE_PREFIX_PATH=$prefix")
  [[ -z $arch ]] || options+=("-DKokkos_ARCH_$arch=ON")
  run cmake --preset cuda -S "$root" -B "$build" "${options[@]}"
  run cmake --build "$build" -j "$jobs"
}

part_tests() { run ctest --test-dir "$build" --output-on-failure --timeout 1200 --output-junit "$out/tests.xml" -LE slow; }

# Two trainings with one seed on the GPU: their weights must not differ in a bit.
part_determinism() {
  if ! have "$build/cli/nasturtium"; then
    echo "skipped: the program was not built (--program)"
    return
  fi
  local turn
  for turn in 1 2; do
    run "$build/cli/nasturtium" train --backend cuda --seed 1 --arch resnet20 --dataset synthetic --steps 200 \
      --export-weights "$out/determinism-$turn.h5" --log-steps "$out/determinism-$turn.csv"
  done
  run cmp "$out/determinism-1.csv" "$out/determinism-2.csv"
  run cmp "$out/determinism-1.h5" "$out/determinism-2.h5"
}

part_sanitizer() {
  local tool
  for tool in memcheck racecheck synccheck; do
    run compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$out/sanitizer-$tool.log" \
      "$build/tests/test_kernels" '~[slow]' --abort
  done
}

# benchmark PROGRAM NAME: every arithmetic in a run of its own, repetitions interleaved at random.
benchmark() {
  local mode
  if ! have "$build/bench/$1"; then
    echo "skipped: $1 was not built"
    return
  fi
  for mode in "${modes[@]}"; do
    run env NASTURTIUM_MATH="$mode" "$build/bench/$1" --benchmark_repetitions=5 \
      --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true \
      --benchmark_out="$out/$2-$mode.json" --benchmark_out_format=json
  done
}
part_kernels() { benchmark contraction_bench kernels; }
part_memory() {
  local modes=(float32) # nothing there depends on the arithmetic
  benchmark memory_bench memory
}
part_steps() { benchmark step_bench steps; }

part_peers() {
  if [[ -z $dry ]] && ! python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "skipped: no PyTorch that sees a GPU"
    return
  fi
  run python3 "$root/bench/gpu/torch_peers.py" --out "$out/peers.csv" --math "$math"
}

part_summary() {
  run python3 "$root/bench/gpu/summary.py" "$out"
}

started=$SECONDS
failed=()
for part in "${chosen[@]}"; do
  if [[ -z $force && -z $dry && $part != summary && -e $out/$part.done ]]; then
    say "$part: done before (--force repeats it)"
    continue
  fi
  begun=$SECONDS
  if [[ -n $dry ]]; then
    say "$part:"
    "part_$part"
    continue
  fi
  rm -f "$out/$part.done"
  say "$part: running (log: $out/$part.log)"
  # In a process of its own, so that the first failing command ends the part alone.
  status=0
  (set -e; "part_$part") >"$out/$part.log" 2>&1 &
  wait $! || status=$?
  if [[ $status -eq 0 ]] && grep -q '^skipped: ' "$out/$part.log"; then
    say "$part: $(grep -m 1 '^skipped: ' "$out/$part.log")"
  elif [[ $status -eq 0 ]]; then
    echo $((SECONDS - begun)) >"$out/$part.done"
    say "$part: done in $((SECONDS - begun)) s"
  else
    failed+=("$part")
    tail -n 15 "$out/$part.log" | sed 's/^/    /'
    say "$part: FAILED (status $status)"
  fi
done
[[ -n $dry || ! -s $out/summary.log ]] || cat "$out/summary.log"
say "all parts took $((SECONDS - started)) s${failed[*]:+; failed: ${failed[*]}}"
[[ ${#failed[@]} -eq 0 ]]
