// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// No policy, no neighbour and no thread count changes a bit of a result, and a step allocates, fences and copies
// nothing.
#include "support/random_architecture.hpp"
#include "support/small_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <Kokkos_Core.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nn;
using namespace nasturtium::test;

namespace {

Candidate candidate(spec::Architecture const& architecture, std::uint64_t seed)
{
  Candidate it;
  it.architecture = architecture;
  it.options.epochs = 1;
  it.options.batch_size = 12;
  it.options.optimiser.learning_rate = 0.01;
  it.options.seed = seed;
  return it;
}

/// Counts what the Kokkos Tools interface tells.
namespace counts {
std::atomic<int> kernels, allocations, deallocations, copies, fences, foreign_labels;
std::mutex mutex;
std::vector<std::string> labels;
std::set<std::string> fence_labels;

void check_label(char const* label)
{
  // The copies of set-up and reports are Kokkos' own kernels.
  if (std::string(label).find("nasturtium::") == 0 || std::string(label).find("Kokkos::Impl::host_space_deepcopy") == 0)
    return;
  ++foreign_labels;
  std::lock_guard const lock(mutex);
  labels.push_back(label);
}
void kernel(char const* label, std::uint32_t, std::uint64_t*)
{
  ++kernels;
  check_label(label);
}
void allocation(Kokkos_Profiling_SpaceHandle, char const* label, void const*, std::uint64_t)
{
  ++allocations;
  check_label(label);
}
void deallocation(Kokkos_Profiling_SpaceHandle, char const*, void const*, std::uint64_t)
{
  ++deallocations;
}
void copy(Kokkos_Profiling_SpaceHandle, char const*, void const*, Kokkos_Profiling_SpaceHandle, char const*,
          void const*, std::uint64_t)
{
  ++copies;
}
void fence(char const* label, std::uint32_t, std::uint64_t*)
{
  // With callbacks set, Kokkos fences around every kernel for their sake.
  if (std::string(label).find("Profile Tool Fence") != std::string::npos) return;
  ++fences;
  std::lock_guard const lock(mutex);
  fence_labels.insert(label);
}

struct Snapshot
{
  int kernels, allocations, deallocations, copies, fences;
};

/// Counts while it lives.
class Scope
{
public:
  Scope()
  {
    kernels = allocations = deallocations = copies = fences = foreign_labels = 0;
    labels.clear();
    fence_labels.clear();
    namespace Tools = Kokkos::Tools::Experimental;
    Tools::set_begin_parallel_for_callback(kernel);
    Tools::set_begin_parallel_reduce_callback(kernel);
    Tools::set_begin_parallel_scan_callback(kernel);
    Tools::set_allocate_data_callback(allocation);
    Tools::set_deallocate_data_callback(deallocation);
    Tools::set_begin_deep_copy_callback(copy);
    Tools::set_begin_fence_callback(fence);
  }
  ~Scope()
  {
    namespace Tools = Kokkos::Tools::Experimental;
    Tools::set_begin_parallel_for_callback(nullptr);
    Tools::set_begin_parallel_reduce_callback(nullptr);
    Tools::set_begin_parallel_scan_callback(nullptr);
    Tools::set_allocate_data_callback(nullptr);
    Tools::set_deallocate_data_callback(nullptr);
    Tools::set_begin_deep_copy_callback(nullptr);
    Tools::set_begin_fence_callback(nullptr);
  }
  static Snapshot now() { return {kernels, allocations, deallocations, copies, fences}; }
};
} // namespace counts

} // namespace

TEST_CASE("population: policies, neighbours and thread counts do not change a bit, for every network of the zoo")
{
  int const threads = Kokkos::DefaultHostExecutionSpace().concurrency();
  for (auto const& name : spec::zoo_names()) {
    auto const architecture = spec::load_architecture(name);
    auto dataset = patch_dataset(architecture.input, std::max(2, architecture.classes), 30, 12);
    if (architecture.regression > 0) {
      dataset.classes = 0;
      dataset.target_width = architecture.regression;
      for (auto* const samples : {&dataset.train, &dataset.validation}) {
        for (auto const label : samples->labels) {
          for (int i = 0; i < architecture.regression; ++i)
            samples->targets.push_back(static_cast<float>(label + i));
        }
        samples->labels.clear();
      }
    }
    std::vector<Candidate> const population{candidate(architecture, 1), candidate(small_network(), 2),
                                            candidate(architecture, 3)};
    auto const together = train({}, population, dataset);
    auto const apart = train({.policy = PopulationPolicy::one_per_core}, population, dataset);
    auto const interleaved = train({.policy = PopulationPolicy::interleaved}, population, dataset);
    auto const fused = train({.policy = PopulationPolicy::fused}, population, dataset);
    auto const alone = train({.threads = 1}, std::span(population).subspan(2), dataset);
    INFO(name << ", " << threads << " threads");
    CHECK(together[1].status == Status::invalid); // another input: its neighbours do not mind
    CHECK(apart[1].status == Status::invalid);
    REQUIRE(together[0].status == Status::completed);
    CHECK(same_bits(together[0], apart[0]));
    CHECK(same_bits(together[2], apart[2]));
    CHECK(interleaved[1].status == Status::invalid);
    CHECK(same_bits(together[0], interleaved[0]));
    CHECK(same_bits(together[2], interleaved[2]));
    CHECK(fused[1].status == Status::invalid);
    CHECK(same_bits(together[0], fused[0]));
    CHECK(same_bits(together[2], fused[2]));
    CHECK(same_bits(together[2], alone[0]));
    CHECK_FALSE(same_bits(*together[0].weights, *together[2].weights));
  }
}

TEST_CASE("population: all backends of the build train")
{
  auto const dataset = patch_dataset({8, 8, 1}, 4, 60, 20);
  std::vector<Candidate> const population{candidate(small_network(), 1), candidate(small_network(), 2)};
  for (auto const backend : available_backends()) {
    auto const a = train({.backend = backend}, population, dataset);
    auto const b = train({.backend = backend, .policy = PopulationPolicy::one_per_core}, population, dataset);
    CHECK(a[0].status == Status::completed);
    CHECK(same_bits(a[0], b[0]));
    CHECK(same_bits(a[1], b[1]));
  }
}

TEST_CASE("population: more candidates than cores, an empty one")
{
  auto const dataset = patch_dataset({8, 8, 1}, 4, 30, 10);
  std::vector<Candidate> population;
  for (int i = 0; i < 7; ++i)
    population.push_back(candidate(small_network(), i % 3));
  auto const results = train({.policy = PopulationPolicy::one_per_core}, population, dataset);
  REQUIRE(results.size() == 7);
  for (int i = 0; i < 7; ++i) {
    CHECK(same_bits(results[i], results[i % 3]));
    CHECK(results[i].reports.at(0).candidate == i);
  }
  CHECK(train({}, {}, dataset).empty());
}

TEST_CASE("interleaved and fused: candidates of any length come and go, with the same bits")
{
  auto const policy = GENERATE(PopulationPolicy::interleaved, PopulationPolicy::fused);
  auto const dataset = patch_dataset({8, 8, 1}, 4, 300, 10); // 25 steps an epoch
  std::vector<Candidate> population;
  for (int i = 0; i < 9; ++i) {
    auto it = candidate(small_network(), static_cast<std::uint64_t>(i));
    it.options.epochs = 1 + i % 3;
    it.options.validations_per_epoch = 1 + i % 2;
    if (i % 4 == 3) it.options.batch_size = 1; // 300 steps an epoch: more than the queue of steps holds
    population.push_back(it);
  }
  auto const expected = train({}, population, dataset);
  for (int const in_flight : {1, 2, 4, 0}) {
    INFO(in_flight << " in flight, fused " << (policy == PopulationPolicy::fused));
    InterleavedTrainer trainer({.policy = policy, .in_flight = in_flight}, dataset);
    CHECK_FALSE(trainer.next());
    for (int i = 0; i < 5; ++i)
      trainer.add(i, population[static_cast<std::size_t>(i)]);
    std::set<int> seen;
    while (auto const ended = trainer.next()) {
      REQUIRE(seen.insert(ended->first).second);
      CHECK(same_bits(ended->second, expected[static_cast<std::size_t>(ended->first)]));
      for (auto const& report : ended->second.reports)
        CHECK(report.candidate == ended->first);
      int const more = 4 + static_cast<int>(seen.size());
      if (more < 9) trainer.add(more, population[static_cast<std::size_t>(more)]);
    }
    CHECK(seen.size() == 9);
  }
  CHECK_THROWS_AS(InterleavedTrainer({.policy = policy, .in_flight = -1}, dataset), Error);
}

TEST_CASE("fused: networks, optimisers, precisions and batches of every kind in one row, with the same bits")
{
  std::vector<spec::Architecture> networks; // of the zoo, for the same images
  for (auto const& name : spec::zoo_names()) {
    auto const network = spec::load_architecture(name);
    if (network.input == spec::Shape{32, 32, 3} && network.classes == 10) networks.push_back(network);
  }
  REQUIRE(networks.size() >= 3);
  auto const dataset = patch_dataset({32, 32, 3}, 10, 50, 21);
  std::vector<Candidate> population;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    auto it = candidate(networks[seed % networks.size()], seed);
    it.options.epochs = 2;
    it.options.batch_size = 8 + static_cast<int>(seed % 3);
    it.options.optimiser.kind = static_cast<OptimiserKind>(seed % 4);
    it.options.optimiser.clip_norm = seed % 2 == 0 ? 1 : 0;
    it.options.augment = {static_cast<int>(seed % 2), true, 0};
    if (seed % 5 == 4) it.options.precision = Precision::float64;
    if (seed == 3) it.options.optimiser.learning_rate = 1e30; // diverges
    if (seed == 7) it.options.max_steps = 5;
    population.push_back(it);
  }
  auto const expected = train({}, population, dataset);
  auto const fused = train({.policy = PopulationPolicy::fused, .in_flight = 7}, population, dataset);
  for (std::size_t i = 0; i < population.size(); ++i) {
    INFO("candidate " << i << ": " << name(expected[i].status) << " " << expected[i].reason);
    CHECK(same_bits(expected[i], fused[i]));
  }
  CHECK(expected[3].status == Status::diverged);
  CHECK(expected[7].status == Status::completed);
  CHECK(expected[11].status == Status::completed);
}

TEST_CASE("fused: who is stopped or paused leaves the others as they are, and goes on in other company")
{
  auto const dataset = patch_dataset({8, 8, 1}, 4, 40, 12);
  struct Stop : Listener
  {
    Decision decision;
    double epoch;
    Stop(Decision its, double at) : decision(its), epoch(at) {}
    Decision on_report(EpochReport const& report) override
    {
      return report.epoch >= epoch ? decision : Decision::proceed;
    }
  } stop(Decision::stop, 1), pause(Decision::pause, 2);
  std::vector<Candidate> population;
  for (int i = 0; i < 5; ++i) {
    population.push_back(candidate(small_network(), static_cast<std::uint64_t>(i)));
    population.back().options.epochs = 4;
  }
  auto const expected = train({}, population, dataset);
  population[1].listeners = {&stop};
  population[2].listeners = {&pause};
  auto results = train({.policy = PopulationPolicy::fused}, population, dataset);
  for (auto const i : {0, 3, 4})
    CHECK(same_bits(results[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)]));
  CHECK(results[1].status == Status::stopped);
  CHECK(results[1].reports.size() == 1);
  REQUIRE(results[2].status == Status::paused);
  for (auto const& result : results)
    CHECK(result.seconds > 0);
  population[2].listeners.clear();
  population[2].resume_from = results[2].state;
  std::vector<Candidate> const others{population[2], population[4]};
  auto const resumed = train({.policy = PopulationPolicy::fused}, others, dataset);
  CHECK(same_bits(*resumed[0].weights, *expected[2].weights));
  CHECK(same_bits(resumed[1], expected[4]));
}

TEST_CASE("fused: random networks step together with the bits of their own steps")
{
  for (std::uint64_t first = 0; first < 48; first += 8) {
    std::vector<spec::Architecture> networks;
    for (auto seed = first; seed < first + 8; ++seed)
      networks.push_back(random_architecture(seed, 9));
    TrainOptions options;
    options.batch_size = 5;
    options.precision = first % 16 == 0 ? Precision::float32 : Precision::float64;
    FusedStepper fused({}, networks, options);
    fused.run(3);
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < networks.size(); ++i) {
      Stepper alone({}, networks[i], options);
      alone.run(3);
      INFO(networks[i].name);
      CHECK(same_bits(alone.loss(), fused.loss(static_cast<int>(i))));
      sum += fused.launches_apart()[i];
    }
    CHECK(fused.launches() < sum);
  }
}

TEST_CASE("fused: a step of many networks is few launches, each with the bits of its own steps")
{
  std::vector<spec::Architecture> networks;
  for (auto const* const name : {"mlp", "lenet", "cnn2", "lenet", "mlp"})
    networks.push_back(spec::load_architecture(name));
  TrainOptions options;
  options.batch_size = 6;
  counts::Scope const scope;
  FusedStepper fused({}, networks, options);
  auto const apart = fused.launches_apart();
  REQUIRE(apart.size() == networks.size());
  CHECK(apart[1] == apart[3]);
  CHECK(fused.launches() >= *std::max_element(apart.begin(), apart.end()));
  CHECK(fused.launches() < apart[0] + apart[1] + apart[2]);
  fused.run(1);
  auto const a = scope.now();
  fused.run(5);
  auto const b = scope.now();
  CHECK(b.kernels > a.kernels);
  CHECK(b.allocations == a.allocations);
  CHECK(b.copies == a.copies);
  CHECK(b.fences - a.fences == static_cast<int>(networks.size())); // each reads its losses once
  for (std::size_t i = 0; i < networks.size(); ++i) {
    Stepper alone({}, networks[i], options);
    alone.run(6);
    CHECK(alone.loss() == fused.loss(static_cast<int>(i)));
  }
  CHECK_THROWS_AS(fused.loss(5), Error);
  CHECK_THROWS_AS(FusedStepper({}, {}, options), Error);
  FusedStepper const same({}, std::vector(4, networks[2]), options);
  CHECK(same.launches() == apart[2]);
  options.memory_limit_bytes = 1000;
  CHECK_THROWS_AS(FusedStepper({}, networks, options), Error);
}

TEST_CASE("interleaved and fused: one over its limit is a result at once; an interrupt ends all")
{
  auto const policy = GENERATE(PopulationPolicy::interleaved, PopulationPolicy::fused);
  auto const dataset = patch_dataset({8, 8, 1}, 4, 60, 20);
  std::vector<Candidate> population;
  for (int i = 0; i < 4; ++i)
    population.push_back(candidate(small_network(), 1));
  population[1].options.memory_limit_bytes = 1000;
  InterleavedTrainer trainer({.policy = policy, .in_flight = 3}, dataset);
  for (int i = 0; i < 4; ++i)
    trainer.add(i, population[static_cast<std::size_t>(i)]);
  std::vector<int> order;
  while (auto const ended = trainer.next()) {
    order.push_back(ended->first);
    CHECK(ended->second.status == (ended->first == 1 ? Status::out_of_memory : Status::completed));
  }
  CHECK(order == std::vector<int>{1, 0, 2, 3});

  for (auto& it : population) {
    it.options.memory_limit_bytes = 0;
    it.options.epochs = 1000;
  }
  int polls = 0;
  auto const results = train({.policy = policy, .in_flight = 2}, population, dataset, [&] { return ++polls > 40; });
  for (auto const& result : results)
    CHECK(result.status == Status::interrupted);
  CHECK(results[0].state);
}

TEST_CASE("step: nothing is allocated, fenced or copied, and every label has the prefix")
{
  for (auto const& name : spec::zoo_names()) {
    TrainOptions options;
    options.batch_size = 4;
    options.optimiser.clip_norm = 1;
    options.augment = {2, true, 2};
    counts::Scope const scope; // set-up included: its labels are checked as well
    Stepper stepper({}, spec::load_architecture(name), options);
    stepper.run(1); // the fence at its end is the only one
    auto const a = scope.now();
    stepper.run(1);
    auto const b = scope.now();
    stepper.run(3);
    auto const c = scope.now();
    INFO(name);
    for (auto const& label : counts::fence_labels)
      UNSCOPED_INFO(label);
    CHECK(b.kernels > a.kernels);
    CHECK(c.kernels - b.kernels - 1 == 3 * (b.kernels - a.kernels - 1)); // one fill per run
    CHECK(c.allocations == a.allocations);
    CHECK(c.deallocations == a.deallocations);
    CHECK(c.copies == a.copies);
    CHECK(c.fences - b.fences == b.fences - a.fences); // three steps fence as often as one
    CHECK(b.fences - a.fences == 1);
    for (auto const& label : counts::labels)
      UNSCOPED_INFO(label);
    CHECK(counts::foreign_labels == 0);
  }
}

TEST_CASE("step: a training of twice as many steps allocates, copies and fences no more")
{
  auto const architecture = small_network();
  auto const measure = [&](std::int64_t samples) {
    auto const dataset = patch_dataset({8, 8, 1}, 4, samples, 0);
    auto it = candidate(architecture, 1);
    counts::Scope const scope;
    auto const before = scope.now();
    auto const result = train_one(it, dataset);
    auto const after = scope.now();
    REQUIRE(result.reports.at(0).step == samples / 12);
    for (auto const& label : counts::labels)
      UNSCOPED_INFO(label);
    CHECK(counts::foreign_labels == 0);
    return counts::Snapshot{after.kernels - before.kernels, after.allocations - before.allocations,
                            after.deallocations - before.deallocations, after.copies - before.copies,
                            after.fences - before.fences};
  };
  auto const few = measure(120), many = measure(240);
  CHECK(many.kernels > few.kernels);
  CHECK(many.allocations == few.allocations);
  CHECK(many.deallocations == few.deallocations);
  CHECK(many.copies == few.copies);
  CHECK(many.fences == few.fences);
}

TEST_CASE("stepper: the loss of the same batch falls")
{
  TrainOptions options;
  options.batch_size = 16;
  options.optimiser.learning_rate = 0.01;
  Stepper stepper({}, spec::load_architecture("lenet"), options);
  stepper.run(1);
  double const first = stepper.loss();
  stepper.run(20);
  CHECK(stepper.loss() < first);
  CHECK(stepper.bytes() > 0);
  CHECK_FALSE(stepper.plan().empty());
}
