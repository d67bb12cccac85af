#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Everything that this machine can test, inside the environment: ./nasturtium test [SUITE...]
#   style    clang-format, direction of includes, SPDX lines, tables, links and commands of the documents, shellcheck
#   openmp   the whole build with warnings as errors, all tests
#   install  install and export, used by a project of its own: found as a package, and as a sub-folder
#   serial   Kokkos Serial with Kokkos Kernels: tests of kernels and nn
#   asan     address and undefined-behaviour sanitizers: tests of core, datasets, predictor and nn (which calls every kernel)
#   tsan     thread sanitizer over the host threads (on Kokkos Serial: OpenMP's own runtime is not instrumented)
#   cuda     compile gate: every kernel source by nvcc, where there is one
#   tidy     clang-tidy on the sources changed since $NASTURTIUM_BASE (HEAD~1), or on all with NASTURTIUM_BASE=all
# Without an argument all of them but tsan, in this order. A suite that fails does not stop the next; the exit status tells.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
# Tests share the cores: threads that spin while they wait would stretch each other.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
jobs=${NASTURTIUM_JOBS:-$(nproc)}
passed=0 failed=0 skipped=0
failures=()

say() { printf '\n== %s\n' "$*"; }

# verdict NAME STATUS: counts a check that is not a ctest run.
verdict() {
  if [[ $2 -eq 0 ]]; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    failures+=("$1")
  fi
}

# quietly NAME COMMAND...: runs a check, shows its output only when it fails.
quietly() {
  local name=$1 log started=$SECONDS
  shift
  mkdir -p build
  log=build/${name//[^a-z0-9]/-}.log
  if "$@" >"$log" 2>&1; then
    printf '   %s: passed (%d s)\n' "$name" $((SECONDS - started))
    verdict "$name" 0
  else
    tail -n 60 "$log"
    printf '   %s: FAILED (whole log: %s)\n' "$name" "$log"
    verdict "$name" 1
    return 1
  fi
}

# tests PRESET [ctest options...]: runs the tests of a built preset and adds up what ctest counted.
tests() {
  local preset=$1 log=build/$1.ctest.log
  shift
  (cd "build/$preset" && ctest --output-on-failure --progress -j "$jobs" --timeout 600 "$@") >"$log" 2>&1
  local status=$?
  grep -E 'tests passed|tests failed|\*\*\*(Failed|Skipped|Timeout|Exception)|Total Test time' "$log" | sed 's/^/   /'
  if [[ $status -ne 0 ]]; then
    tail -n 120 "$log"
    failures+=("$preset tests")
  fi
  local counts
  counts=$(sed -nE 's/^([0-9]+)% tests passed, ([0-9]+) tests? failed out of ([0-9]+).*/\2 \3/p' "$log")
  if [[ -z $counts ]]; then
    failed=$((failed + 1))
    return 1
  fi
  local bad=${counts% *} all=${counts#* } left
  left=$(grep -cE '\*\*\*Skipped' "$log")
  failed=$((failed + bad))
  skipped=$((skipped + left))
  passed=$((passed + all - bad - left))
  return $status
}

configure() {
  local preset=$1
  shift
  quietly "configure $preset" cmake --preset "$preset" -DNASTURTIUM_WARNINGS_AS_ERRORS=ON "$@"
}

build() {
  local preset=$1
  shift
  quietly "build $preset" cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}
}

suite_style() {
  local sources scripts
  mapfile -t sources < <(git ls-files '*.hpp' '*.cpp')
  mapfile -t scripts < <(git ls-files '*.sh' '*.sbatch' nasturtium .ci/run)
  quietly "clang-format" clang-format --dry-run -Werror "${sources[@]}"
  quietly "includes" python3 tests/checks/includes.py .
  quietly "tables of the documents" python3 bench/tables.py --check
  quietly "links and commands of the documents" python3 tests/checks/documents.py .
  mapfile -t pages < <(git ls-files 'results/*index.html')
  quietly "pages of the results" python3 tests/checks/pages.py "${pages[@]}"
  quietly "tests of the checks" python3 -m unittest discover -s tests/checks -p '*_test.py'
  quietly "shellcheck" shellcheck -x -e SC2016 "${scripts[@]}"
}

suite_openmp() { configure openmp && build openmp && tests openmp; }

suite_install() {
  local prefix=$PWD/build/installed
  rm -rf "$prefix" build/consumer-package build/consumer-folder
  quietly "install" cmake --install build/openmp --prefix "$prefix" &&
    quietly "consumer of the package" sh -ec "cmake -G Ninja -S tests/consumer -B build/consumer-package -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH='$prefix'
      cmake --build build/consumer-package && build/consumer-package/consumer"
  quietly "consumer of the sources" sh -ec "cmake -G Ninja -S tests/consumer -B build/consumer-folder -DCMAKE_BUILD_TYPE=Release -DNASTURTIUM_SOURCE='$PWD' -DNASTURTIUM_WARNINGS_AS_ERRORS=ON
      cmake --build build/consumer-folder -j '$jobs' --target consumer && build/consumer-folder/consumer"
}

suite_serial() {
  if [[ ! -d /opt/kokkos-serial ]]; then
    say "serial: skipped, no second Kokkos in /opt/kokkos-serial"
    skipped=$((skipped + 1))
    return
  fi
  configure serial-kernels -DNASTURTIUM_BENCHMARKS=OFF && build serial-kernels test_kernels test_nn && tests serial-kernels -L '^(kernels|nn)$'
}

suite_asan() {
  configure asan && build asan test_core test_datasets test_predictor test_nn &&
    ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
      tests asan -L '^(core|datasets|predictor|nn)$'
}

suite_tsan() {
  if [[ ! -d /opt/kokkos-serial ]]; then
    say "tsan: skipped, no second Kokkos in /opt/kokkos-serial"
    skipped=$((skipped + 1))
    return
  fi
  configure tsan && build tsan test_core test_nn test_ensemble &&
    TSAN_OPTIONS=suppressions=$PWD/tests/checks/tsan.supp tests tsan -R 'thread|population|polic|serve|fused'
}

suite_cuda() {
  if ! command -v nvcc >/dev/null; then
    say "cuda: skipped, no nvcc on this machine"
    skipped=$((skipped + 1))
    return
  fi
  quietly "cuda compile gate" tests/gate/cuda_gate.sh build/cuda-gate && tail -n 3 build/cuda-compile-gate.log
}

suite_tidy() {
  local base=${NASTURTIUM_BASE:-HEAD~1} files
  if [[ $base == all ]]; then
    mapfile -t files < <(git ls-files '*/src/*.cpp' 'cli/*.cpp')
  else
    mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- '*/src/*.cpp' 'cli/*.cpp' 2>/dev/null)
  fi
  if [[ ${#files[@]} -eq 0 ]]; then
    printf '   clang-tidy: no source changed since %s\n' "$base"
    return
  fi
  # Of the compiler's own headers clang lacks one: omp.h. It may look for it where all else has failed, and reads its
  # malloc attribute without GCC's argument.
  local omp
  omp=$(dirname "$(g++ -print-file-name=include/omp.h)")
  quietly "clang-tidy" sh -c 'omp=$1; shift
    printf "%s\n" "$@" | xargs -P "$0" -n 1 clang-tidy -p build/openmp --quiet --warnings-as-errors="*" --extra-arg="-idirafter$omp" \
    "--extra-arg=-D__malloc__(...)=__malloc__"' "$jobs" "$omp" "${files[@]}"
}

suites=("$@")
[[ ${#suites[@]} -gt 0 ]] || suites=(style openmp install serial asan cuda tidy)
for suite in "${suites[@]}"; do
  if ! declare -F "suite_$suite" >/dev/null; then
    echo "nasturtium: no test suite is called '$suite' (style, openmp, install, serial, asan, tsan, cuda, tidy)" >&2
    exit 2
  fi
done
for suite in "${suites[@]}"; do
  say "$suite"
  started=$SECONDS
  "suite_$suite"
  printf '   %s took %d s\n' "$suite" $((SECONDS - started))
done

say "all suites took $SECONDS s"
if [[ ${#failures[@]} -gt 0 ]]; then printf 'failed: %s\n' "${failures[@]}"; fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[[ $failed -eq 0 && $passed -gt 0 ]]
