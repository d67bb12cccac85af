// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The weight store: putting and loading a model of so many kilobytes, the hash alone, and a look at so many models. The
// store lies in $TMPDIR.
#include <nasturtium/nas/weight_store.hpp>

#include <benchmark/benchmark.h>

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace {

using namespace nasturtium;

class Folder
{
public:
  Folder()
  {
    std::string pattern = (std::filesystem::temp_directory_path() / "nasturtium-bench-XXXXXX").string();
    m_path = ::mkdtemp(pattern.data()) != nullptr ? pattern : "";
  }
  ~Folder()
  {
    std::error_code ignored;
    if (!m_path.empty()) std::filesystem::remove_all(m_path, ignored);
  }
  Folder(Folder const&) = delete;
  Folder& operator=(Folder const&) = delete;
  std::string store() const { return m_path + "/store"; }

private:
  std::string m_path;
};

constexpr int layers = 6;
constexpr std::int64_t width = 100;

std::string architecture()
{
  nn::spec::Architecture made;
  made.input = {1, 1, static_cast<int>(width)};
  std::string input = "input";
  for (int i = 0; i < layers; ++i) {
    std::string id = "dense" + std::to_string(i);
    made.nodes.push_back({id, nn::spec::Dense{.units = static_cast<int>(width)}, {input}});
    input = std::move(id);
  }
  made.regression = static_cast<int>(width);
  return nn::spec::to_json(made);
}

/// One of the layers has most of the values, as in real networks.
nn::Weights weights(std::int64_t kilobytes, std::uint64_t seed)
{
  nn::Weights made;
  for (int i = 0; i < layers; ++i) {
    std::int64_t const rows = i == layers / 2 ? kilobytes * 1000 / 4 / width : 5;
    nn::Tensor tensor{{rows, width}, std::vector<double>(static_cast<std::size_t>(rows * width))};
    auto state = static_cast<std::uint32_t>(seed * layers + static_cast<std::uint64_t>(i) + 1);
    for (double& value : tensor.values) {
      state = state * 1664525 + 1013904223;
      value = static_cast<float>(state >> 8);
    }
    made[{"dense" + std::to_string(i), "kernel"}] = std::move(tensor);
  }
  return made;
}

nas::StoredModel model(std::string id)
{
  nas::StoredModel made;
  static std::string const text = architecture();
  made.architecture = text;
  made.id = std::move(id);
  made.score = 0.5;
  return made;
}

void count_bytes(benchmark::State& state)
{
  state.SetBytesProcessed(state.iterations() * state.range(0) * 1000);
}

/// What is put is new every time; it is removed outside the measured time.
void put(benchmark::State& state, nas::Durability durability)
{
  Folder const folder;
  auto store = nas::WeightStore::open(folder.store(), {.durability = durability});
  auto made = weights(state.range(0), 1);
  for (auto _ : state) {
    state.PauseTiming();
    store.remove("m");
    for (auto& [key, tensor] : made)
      tensor.values[0] += 1;
    state.ResumeTiming();
    benchmark::DoNotOptimize(store.put(model("m"), made));
  }
  count_bytes(state);
}

/// All layers are there already: a hash, and links.
void put_shared(benchmark::State& state)
{
  Folder const folder;
  auto store = nas::WeightStore::open(folder.store());
  auto const made = weights(state.range(0), 1);
  store.put(model("m"), made);
  for (auto _ : state) {
    benchmark::DoNotOptimize(store.put(model("n"), made));
    state.PauseTiming();
    store.remove("n");
    state.ResumeTiming();
  }
  count_bytes(state);
}

void load(benchmark::State& state)
{
  Folder const folder;
  auto store = nas::WeightStore::open(folder.store());
  store.put(model("m"), weights(state.range(0), 1));
  for (auto _ : state)
    benchmark::DoNotOptimize(store.load("m"));
  count_bytes(state);
}

/// `fresh`: by a process that has not read a record yet.
void list(benchmark::State& state, bool fresh)
{
  Folder const folder;
  auto store = nas::WeightStore::open(folder.store());
  for (std::int64_t i = 0; i < state.range(0); ++i)
    store.put(model("m" + std::to_string(i)), weights(0, static_cast<std::uint64_t>(i % 10)));
  benchmark::DoNotOptimize(store.list());
  for (auto _ : state) {
    if (fresh) {
      state.PauseTiming();
      store = nas::WeightStore::open(folder.store());
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(store.list());
  }
}

BENCHMARK_CAPTURE(put, process, nas::Durability::process)->Arg(800)->Arg(30000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(put, node, nas::Durability::node)->Arg(800)->Arg(30000)->Unit(benchmark::kMillisecond);
BENCHMARK(put_shared)->Arg(800)->Arg(30000)->Unit(benchmark::kMillisecond);
BENCHMARK(load)->Arg(800)->Arg(30000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(list, fresh, true)->Arg(10000)->Iterations(5)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(list, again, false)->Arg(10000)->Iterations(5)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
