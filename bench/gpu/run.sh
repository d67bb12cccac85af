#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Everything that is to be done on a node with a GPU, in one call: build, tests, benchmarks, peers, a search, a summary.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
all=context,build,tests,determinism,policies,memory-limit,parity,steps,tuned,peer-steps,kernels,peers,memory,tiles,populations,sanitizer,search,summary

usage() {
  cat <<EOT
usage: bench/gpu/run.sh OUT_DIR [OPTIONS]

  --parts LIST     by commas (default: all, in this order):
                   $all
  --force          repeats parts that are done; without it a second call goes on where the first one stopped
  --sources DIR    folders kokkos, catch2, benchmark, cli11, xxhash in DIR are taken instead of downloads, as far as they are there
  --prefix LIST    where CMake finds installed packages (CMAKE_PREFIX_PATH), by semicolons
  --arch NAME      Kokkos' name of the GPU architecture (HOPPER90 for H100 and H200; default: asked from the GPU)
  --program        the build fails without what data sets, networks and the program need (Boost.JSON, HDF5, zlib)
  --kernels-only   builds kernels alone; without either option the program is built where it can be
  --jobs N         parallel compilations (default: the number of processors)
  --math LIST      of float32,tf32,bf16: arithmetic of the benchmarks (default: all)
  --batches LIST   of training steps (default: 64,128,512)
  --kernel-batches LIST   of kernels (default: 32,64,128,512)
  --models LIST    sizes of populations (default: 1,8,32)
  --quick          batch 128 alone and populations of 8: the same parts in a fraction of the time
  --max-autotune   torch.compile's longest search too (minutes a network)
  --min-time S     seconds of one repetition of a benchmark (default: 0.02)
  --data DIR       folder with data sets: the search trains on Fashion-MNIST in it (left out otherwise)
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

out='' parts=$all force='' sources='' prefix='' arch='' program=AUTO jobs=$(nproc) math=float32,tf32,bf16 dry=''
batches=64,128,512 kernel_batches=32,64,128,512 models=1,8,32 max_autotune='' min_time=0.02 data=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --parts | --sources | --prefix | --arch | --jobs | --math | --batches | --kernel-batches | --models | --min-time | --data)
      [[ $# -gt 1 ]] || die "$1 needs a value"
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift
      ;;
    --force) force=1 ;;
    --program) program=ON ;;
    --kernels-only) program=OFF ;;
    --quick) batches=128 kernel_batches=128 models=1,8 ;;
    --max-autotune) max_autotune=1 ;;
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
for list in "--batches $batches" "--kernel-batches $kernel_batches" "--models $models" "--jobs $jobs"; do
  [[ ${list#* } =~ ^[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || die "${list%% *} wants numbers by commas, got '${list#* }'"
done
[[ $jobs != *,* ]] || die "--jobs wants one number, got '$jobs'"
[[ $min_time =~ ^[0-9]*\.?[0-9]+$ ]] || die "--min-time wants seconds, got '$min_time'"
[[ -z $sources || -d $sources ]] || die "no folder '$sources'"
[[ -z $data || -d $data ]] || die "no folder '$data'"
mkdir -p "$out"
out=$(cd "$out" && pwd)
[[ -z $data ]] || data=$(cd "$data" && pwd)
build=$out/build
nasturtium=$build/cli/nasturtium
# Images of the size of CIFAR-10's, made up, for parts where their meaning does not matter.
synthetic=synthetic:count=2048:test=256:height=32:width=32:channels=3:classes=10

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

# needs_program: tells why the part is skipped, where there is no program.
needs_program() {
  have "$nasturtium" && return
  echo "skipped: the program was not built (part build; Boost.JSON, HDF5, zlib)"
  return 1
}

needs_torch() {
  [[ -n $dry ]] && return
  python3 -c 'import numpy, torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null && return
  echo "skipped: no PyTorch (with NumPy) that sees a GPU"
  return 1
}

count() { awk -F, '{print NF}' <<<"$1"; }

# expected PART: what is known of its time, empty if nothing.
expected() {
  if [[ -s $out/$1.done ]]; then
    echo "took $(<"$out/$1.done") s before"
    return
  fi
  # Shapes of the list: 73 passes of convolutions, 27 of dense layers per batch, 21 products; 5 repetitions.
  case $1 in
    kernels) awk "BEGIN {printf \"repetitions alone at least %.0f s\n\", (100 * $(count "$kernel_batches") + 21) * 5 * $min_time * $(count "$math")}" ;;
    populations) awk "BEGIN {printf \"repetitions alone at least %.0f s\n\", $(count "$models") * (100 * $(count "$kernel_batches") + 21) * 5 * $min_time * $(count "$math")}" ;;
    tiles) awk "BEGIN {printf \"repetitions alone at most %.0f s\n\", 3 * (100 * $(count "$kernel_batches") + 21) * 5 * $min_time * $(count "$math")}" ;;
    peers) awk "BEGIN {printf \"repetitions alone at least %.0f s\n\", (100 * $(count "$kernel_batches") + 22) * 5 * 0.04 * $(count "$math")}" ;;
    steps) awk "BEGIN {printf \"repetitions alone at least %.0f s\n\", 6 * $(count "$batches") * (2 * $(count "$models") - 1) * 5 * $min_time * $(count "$math")}" ;;
    tuned) awk "BEGIN {printf \"repetitions alone at least %.0f s\n\", 6 * $(count "$batches") * 5 * $min_time * $(count "$math")}" ;;
    peer-steps) echo "tells by itself, in its log" ;;
  esac
}

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
  local options=(-DNASTURTIUM_FETCH_CUDA=ON -DNASTURTIUM_INSTALL=OFF) wanted=$program
  local pair
  # CMake's name and the folder of each source that may lie ready.
  for pair in KOKKOS:kokkos CATCH2:catch2 BENCHMARK:benchmark CLI11:cli11 XXHASH:xxhash; do
    if [[ -n $sources && -d $sources/${pair#*:} ]]; then
      options+=("-DFETCHCONTENT_SOURCE_DIR_${pair%:*}=$(cd "$sources/${pair#*:}" && pwd)")
      # A local copy is meant to be used even where a package is installed (one without CUDA, for Kokkos).
      [[ $pair != KOKKOS:* ]] || options+=(-DCMAKE_DISABLE_FIND_PACKAGE_Kokkos=ON)
    fi
  done
  [[ -z $prefix ]] || options+=("-DCMAKE_PREFIX_PATH=$prefix")
  [[ -z $arch ]] || options+=("-DKokkos_ARCH_$arch=ON")
  [[ $wanted != AUTO ]] || wanted=ON
  if ! run cmake --preset cuda -S "$root" -B "$build" -DNASTURTIUM_PROGRAM="$wanted" "${options[@]}"; then
    [[ $program == AUTO ]] || return 1
    echo "build: the program cannot be configured here, so kernels alone"
    run cmake --preset cuda -S "$root" -B "$build" -DNASTURTIUM_PROGRAM=OFF "${options[@]}"
  fi
  run cmake --build "$build" -j "$jobs"
}

part_tests() { run ctest --test-dir "$build" --output-on-failure --timeout 1200 --output-junit "$out/tests.xml" -LE slow; }

# Two trainings with one seed on the GPU: their weights must not differ in a bit.
part_determinism() {
  needs_program || return 0
  local turn
  for turn in 1 2; do
    run "$nasturtium" train --backend cuda --seed 1 --arch resnet20 --dataset "$synthetic" --steps 200 \
      --export-weights "$out/determinism-$turn.h5" --log-steps "$out/determinism-$turn.csv"
  done
  run cmp "$out/determinism-1.csv" "$out/determinism-2.csv"
  run cmp "$out/determinism-1.h5" "$out/determinism-2.h5"
}

# Two candidates under every policy that `train` knows, and each of them alone: the same weights, bit for bit.
part_policies() {
  needs_program || return 0
  local folder=$out/policies seed policy policies common=(train --backend cuda --arch resnet20 --dataset "$synthetic" --epochs 2)
  IFS='|' read -ra policies < <(sed -n '/^## nasturtium train/,/^## nasturtium evaluate/s/^  --policy \([a-z_|-]*\).*/\1/p' "$root/docs/reference.md")
  [[ ${#policies[@]} -gt 1 ]] || die "docs/reference.md: no policies of train are found"
  run rm -rf "$folder"
  for seed in 1 2; do
    run "$nasturtium" "${common[@]}" --seeds "$seed" --out "$folder/alone-$seed"
  done
  for policy in "${policies[@]}"; do
    run "$nasturtium" "${common[@]}" --seeds 1,2 --policy "$policy" --out "$folder/$policy"
    for seed in 1 2; do
      run cmp "$folder/alone-$seed/weights.h5" "$folder/$policy/resnet20-s$seed/weights.h5"
    done
  done
  # An optimiser and a clipped, decayed gradient that a compiler could round otherwise in a fused kernel.
  local adam=(--optimiser adam --learning-rate 0.002 --weight-decay 0.01 --clip-norm 1)
  run "$nasturtium" "${common[@]}" "${adam[@]}" --seeds 1 --out "$folder/adam-1"
  run "$nasturtium" "${common[@]}" "${adam[@]}" --seeds 1,2 --policy fused --out "$folder/adam-fused"
  run cmp "$folder/adam-1/weights.h5" "$folder/adam-fused/resnet20-s1/weights.h5"
  run env NASTURTIUM_GRAPHS=0 "$nasturtium" "${common[@]}" --seeds 1 --out "$folder/no-graphs"
  run cmp "$folder/alone-1/weights.h5" "$folder/no-graphs/weights.h5"
  run env NASTURTIUM_TILES="$folder/tiles.json" "$nasturtium" "${common[@]}" --seeds 1 --out "$folder/measured-tiles"
  run cmp "$folder/alone-1/weights.h5" "$folder/measured-tiles/weights.h5"
  # Networks of different shapes in common launches.
  run "$nasturtium" "${common[@]}" --arch vgg32 --seeds 1 --policy fused --out "$folder/mixed"
  run cmp "$folder/alone-1/weights.h5" "$folder/mixed/resnet20-s1/weights.h5"
  [[ -n $dry ]] || echo "policies: ${policies[*]}, without graphs, with measured tiles, fused with another network: the same weights as alone"
}

# fails_with STATUS TEXT COMMAND...: the command's status and a text that stderr must have.
fails_with() {
  local status=0 wanted=$1 text=$2
  shift 2
  if [[ -n $dry ]]; then
    run "$@"
    return
  fi
  "$@" >"$out/memory-limit.out" 2>"$out/memory-limit.err" || status=$?
  cat "$out/memory-limit.out" "$out/memory-limit.err"
  if [[ $status -ne $wanted ]] || ! grep -qF -- "$text" "$out/memory-limit.err"; then
    echo "memory-limit: status $status, not $wanted with '$text' on stderr"
    return 1
  fi
}

# A candidate that cannot fit has a status; it ends neither the program nor its neighbour.
part_memory-limit() {
  needs_program || return 0
  local huge=$out/huge.json common=(train --backend cuda --dataset "$synthetic" --steps 2)
  # At batch 128 a layer of 32 x 32 x 1,000,000 floats: half a terabyte.
  [[ -n $dry ]] || cat >"$huge" <<'EOT'
{
  "format": "nasturtium-architecture", "version": 1, "name": "huge",
  "input": {"height": 32, "width": 32, "channels": 3},
  "nodes": [
    {"id": "wide", "op": "conv2d", "inputs": ["input"], "filters": 1000000, "kernel": 1},
    {"id": "relu", "op": "relu", "inputs": ["wide"]},
    {"id": "pool", "op": "global_avg_pool", "inputs": ["relu"]},
    {"id": "logits", "op": "dense", "inputs": ["pool"], "units": 10}
  ],
  "output": {"classes": 10}
}
EOT
  fails_with 1 "out_of_memory" "$nasturtium" "${common[@]}" --arch "$huge"
  fails_with 1 "the limit is" "$nasturtium" "${common[@]}" --arch resnet20 --memory-limit 1mb
  fails_with 0 "out_of_memory" "$nasturtium" "${common[@]}" --arch "$huge" --arch resnet20
  [[ -n $dry ]] || grep -q 'resnet20.*completed' "$out/memory-limit.out"
}

# The same weights, images and order in nasturtium and PyTorch, both on the GPU: losses step by step, float32 and float64.
part_parity() {
  needs_program || return 0
  needs_torch || return 0
  local folder=$out/parity line words
  if [[ -z $dry ]] && ! python3 -c 'import h5py' 2>/dev/null; then
    export PYTHONPATH=$root/bench/gpu/fallback
    NASTURTIUM_HDF5_LIBRARY=$(ldd "$nasturtium" | awk '/libhdf5/ {print $3; exit}')
    export NASTURTIUM_HDF5_LIBRARY
  fi
  cd "$root"
  run rm -rf "$folder"
  run python3 bench/peers/parity.py prepare "$folder" --made-up-images
  if [[ -z $dry ]]; then
    "$nasturtium" info --json >"$folder/nasturtium.json"
    while read -r line; do
      eval "words=($line)" # quoted for a shell by the program that wrote them
      "$nasturtium" "${words[@]}" --backend cuda >"$folder/log" 2>&1 </dev/null || {
        cat "$folder/log"
        return 1
      }
    done <"$folder/commands"
  fi
  run python3 bench/peers/parity.py compare "$folder" "$out/parity-results" --device cuda
}

part_sanitizer() {
  local tool
  for tool in memcheck racecheck synccheck; do
    run compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$out/sanitizer-$tool.log" \
      "$build/tests/test_kernels" '~[slow]' --abort
  done
}

# benchmark PROGRAM NAME OPTIONS...: every arithmetic in a run of its own, repetitions interleaved at random.
benchmark() {
  local mode bench=$build/bench/$1 name=$2
  shift 2
  if ! have "$bench"; then
    echo "skipped: ${bench##*/} was not built"
    return
  fi
  for mode in "${modes[@]}"; do
    if [[ -z $force && -z $dry && -s $out/$name-$mode.json ]]; then
      echo "$mode: done before"
      continue
    fi
    run env NASTURTIUM_MATH="$mode" "$bench" "$@" --benchmark_min_time="${min_time}s" --benchmark_repetitions=5 \
      --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true \
      --benchmark_out="$out/$name-$mode.json.part" --benchmark_out_format=json
    run mv "$out/$name-$mode.json.part" "$out/$name-$mode.json"
  done
}
shapes="^(matmul/.+|[a-z]+/[^/]+/[a-z_]+/mb(${kernel_batches//,/|}))"
part_kernels() { benchmark contraction_bench kernels --benchmark_filter="$shapes/[a-z_]+/real_time\$"; }
# The plan's tiles beside every other shape of them.
part_tiles() { benchmark contraction_bench tiles --benchmark_filter="$shapes/tiles(-[a-z]+)?/real_time\$"; }
# A call at a time beside as many calls of independent models in common launches.
part_populations() {
  local sizes=${models#1,}
  if [[ $sizes == 1 ]]; then
    echo "skipped: --models has no population"
    return
  fi
  benchmark contraction_bench populations --models="$sizes" --benchmark_filter="$shapes/([a-z_]+|fused/P[0-9]+)/real_time\$"
}
part_memory() {
  local modes=(float32) # nothing there depends on the arithmetic
  benchmark memory_bench memory
}
# The steps of single networks with measured tiles; --force measures them anew.
part_tuned() {
  [[ -z $force ]] || run rm -f "$out/tile-choices.json"
  export NASTURTIUM_TILES=$out/tile-choices.json
  benchmark step_bench tuned --batch="$batches" --models=1
}
# Populations on a stream a model, and in common launches.
part_steps() { benchmark step_bench steps --batch="$batches" --models="$models" --fused; }

part_peers() {
  needs_torch || return 0
  [[ -z $force ]] || run rm -f "$out/peers.csv"
  run python3 "$root/bench/gpu/torch_peers.py" --out "$out/peers.csv" --math "$math" --batches "$kernel_batches"
}

part_peer-steps() {
  needs_torch || return 0
  [[ -z $force ]] || run rm -f "$out/peer-steps.csv"
  run python3 "$root/bench/gpu/torch_steps.py" --out "$out/peer-steps.csv" --math "$math" --batches "$batches" --models "$models" \
    ${max_autotune:+--max-autotune}
}

# A search at the size of a node: 100 networks, at most 25 epochs, all of Fashion-MNIST; an interrupted one goes on.
part_search() {
  needs_program || return 0
  if [[ -z $data ]]; then
    echo "skipped: no data sets (--data DIR)"
    return
  fi
  local folder=$out/search begun=$SECONDS status=0 command=(search)
  [[ -z $force ]] || run rm -rf "$folder"
  if [[ -e $folder/config.json ]]; then
    command+=(--resume "$folder" --data-dir "$data")
  else
    command+=(--space nsga-net --algorithm nsga-net --dataset fashion-mnist --data-dir "$data" --validation 0.1 --predictor nasturtium
      --epochs 25 --evaluations 100 --workers 16 --optimiser adam --learning-rate 0.002 --backend cuda --out "$folder")
  fi
  if [[ -n $dry ]]; then
    run "$nasturtium" "${command[@]}"
    return
  fi
  "$nasturtium" "${command[@]}" >"$out/search-report.txt" || status=$?
  echo "wall time of this call: $((SECONDS - begun)) s$([[ ${command[1]} != --resume ]] || echo ', of a search that was gone on with')" >>"$out/search-report.txt"
  cat "$out/search-report.txt"
  [[ $status -eq 0 ]] || return "$status"
  cp "$folder/trials.csv" "$out/search-trials.csv"
  cp "$folder/curves.csv" "$out/search-curves.csv"
  cp "$folder/provenance.json" "$out/search-provenance.json"
}

part_summary() { run python3 "$root/bench/gpu/summary.py" "$out"; }

started=$SECONDS
failed=()
for part in "${chosen[@]}"; do
  if [[ -z $force && -z $dry && $part != summary && -e $out/$part.done ]]; then
    say "$part: done before in $(<"$out/$part.done") s (--force repeats it)"
    continue
  fi
  begun=$SECONDS
  time=$(expected "$part")
  if [[ -n $dry ]]; then
    say "$part:${time:+ ($time)}"
    "part_$part"
    continue
  fi
  rm -f "$out/$part.done"
  say "$part: running (${time:+$time; }log: $out/$part.log)"
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
