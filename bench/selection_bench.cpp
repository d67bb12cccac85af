// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One step of greedy ensemble selection: the losses of all L candidates on N samples, against reading their columns
// (L * N float32) once with the same number of threads.
#include <nasturtium/core/philox.hpp>
#include <nasturtium/kernels/types.hpp>
#include <nasturtium/nn/candidate_scores.hpp>

#include <Kokkos_Core.hpp>
#include <benchmark/benchmark.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace {

using namespace nasturtium;
using Space = Kokkos::DefaultExecutionSpace;

std::vector<float> random_columns(benchmark::State const& state)
{
  std::vector<float> columns(static_cast<std::size_t>(state.range(0) * state.range(1)));
  for (std::size_t i = 0; i < columns.size(); i += 4) {
    auto const block = random_block(1, Purpose::synthetic, 0, i);
    for (std::size_t k = 0; k < 4 && i + k < columns.size(); ++k)
      columns[i + k] = to_unit_float(block.word[k]);
  }
  return columns;
}

void count_bytes(benchmark::State& state)
{
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1) * 4);
}

void step(benchmark::State& state)
{
  nn::CandidateScores scores({}, state.range(1), random_columns(state));
  std::vector<std::int32_t> candidates(static_cast<std::size_t>(state.range(0)));
  std::iota(candidates.begin(), candidates.end(), 0);
  std::vector<double> losses(candidates.size());
  scores.add(0);
  for (auto _ : state) {
    scores.losses(candidates, losses);
    benchmark::DoNotOptimize(losses.data());
  }
  count_bytes(state);
}

/// The bound: a sum of all values, as fast as they come from memory.
void read_columns(benchmark::State& state)
{
  auto const host = random_columns(state);
  Kokkos::View<float*, Space::memory_space> const columns("columns", host.size());
  Kokkos::deep_copy(columns, Kokkos::View<float const*, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>>(
                                 host.data(), host.size()));
  // 64 sums of a block side by side: vectors, and no chain of additions to wait for.
  constexpr std::int64_t block = 1 << 14, lanes = 64;
  auto const count = static_cast<std::int64_t>(host.size());
  for (auto _ : state) {
    float total = 0;
    Kokkos::parallel_reduce(
        "read", Kokkos::RangePolicy<Space>(0, (count + block - 1) / block),
        KOKKOS_LAMBDA(std::int64_t b, float& sum) {
          float own[lanes] = {};
          std::int64_t const end = b * block + block < count ? b * block + block : count;
          std::int64_t i = b * block;
          for (; i + lanes <= end; i += lanes)
            for (std::int64_t lane = 0; lane < lanes; ++lane)
              own[lane] += columns(i + lane);
          for (; i < end; ++i)
            own[0] += columns(i);
          for (float const value : own)
            sum += value;
        },
        total);
    benchmark::DoNotOptimize(total);
  }
  count_bytes(state);
}

void sizes(benchmark::internal::Benchmark* benchmark)
{
  benchmark->ArgNames({"models", "samples"})->Args({1000, 10000})->Args({100, 5000})->Args({14, 600});
  benchmark->Unit(benchmark::kMicrosecond)->UseRealTime();
}

BENCHMARK(step)->Apply(sizes);
BENCHMARK(read_columns)->Apply(sizes);

} // namespace

int main(int argc, char** argv)
{
  nn::Runtime const runtime(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
