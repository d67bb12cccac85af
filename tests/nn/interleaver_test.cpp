// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who trains when on a shared device: made-up trainings on a made-up device with little memory.
#include "../../nn/src/interleaved.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <map>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nn;
using Space = Kokkos::DefaultHostExecutionSpace;

namespace {

/// What happens to the trainings, in order.
struct Device
{
  int places = 0; ///< trainings that its memory holds
  int alive = 0, most = 0;
  std::vector<int> steps; ///< the candidate of each step
};

/// A training of `steps` steps, looked at after each.
class FakeTraining final : public impl::Training
{
public:
  FakeTraining(Device& device, int index, std::int64_t steps) : m_device(device), m_index(index), m_steps(steps)
  {
    m_device.most = std::max(m_device.most, ++m_device.alive);
  }
  ~FakeTraining() override { --m_device.alive; }

  int parts(Kind) const override { return 1; }
  std::optional<impl::Outcome> prepare() override
  {
    if (m_done == m_steps) return impl::Outcome{Status::completed, {}};
    return std::nullopt;
  }
  std::pair<Kind, std::int64_t> ready() const override { return {full_step, 1}; }
  void launch(Kind, int) const override {}
  void advance(std::int64_t steps) override
  {
    m_done += steps;
    m_device.steps.push_back(m_index);
  }
  void replay() override { advance(1); }
  bool look_due() const override { return true; }
  std::optional<impl::Outcome> look() override { return std::nullopt; }
  bool report_due() const override { return false; }
  bool begin_validation() override { return false; }
  void read_validation() override {}
  std::optional<impl::Outcome> report() override { return std::nullopt; }
  void spend(double) override {}
  void spend_validating(double) override {}
  TrainResult result(impl::Outcome const& outcome) override
  {
    TrainResult result;
    result.status = outcome.first;
    return result;
  }

private:
  Device& m_device;
  int m_index;
  std::int64_t m_steps, m_done = 0;
};

/// A candidate's batch size stands for its steps; 1000 and more: it fits never, and has a limit of its own or not.
struct Make
{
  Device& device;
  void operator()(Space const&, impl::Started& it) const
  {
    int const steps = it.candidate->options.batch_size;
    bool const limit = steps == 1000;
    if (steps >= 1000 || device.alive == device.places) {
      it.failure.status = Status::out_of_memory;
      it.may_fit_later = !limit;
      return;
    }
    it.training = std::make_unique<FakeTraining>(device, it.index, steps);
  }
};

struct Run
{
  Device device;
  std::vector<int> ended;
  std::map<int, Status> status;

  Run(PopulationPolicy policy, int in_flight, int places, std::vector<int> const& steps)
  {
    device.places = places;
    impl::Interleaver<Space, Make> interleaver({.policy = policy, .in_flight = in_flight}, Make{device});
    for (std::size_t i = 0; i < steps.size(); ++i) {
      Candidate candidate;
      candidate.options.batch_size = steps[i];
      interleaver.add(static_cast<int>(i), std::move(candidate));
    }
    while (auto const result = interleaver.next()) {
      ended.push_back(result->first);
      status[result->first] = result->second.status;
    }
  }
};

} // namespace

TEST_CASE("interleaver: as many at once as are allowed, and the next as soon as one has ended")
{
  auto const policy = GENERATE(PopulationPolicy::interleaved, PopulationPolicy::fused);
  Run const run(policy, 2, 100, {3, 1, 2, 1});
  CHECK(run.device.most == 2);
  CHECK(run.device.alive == 0);
  CHECK(run.device.steps.size() == 7);
  CHECK(run.ended.front() == 1);
  CHECK(run.ended.size() == 4);
}

TEST_CASE("interleaver: who finds no memory waits for another's end and keeps its place; who never fits is a result")
{
  auto const policy = GENERATE(PopulationPolicy::interleaved, PopulationPolicy::fused);
  Run const run(policy, 4, 2, {2, 3, 1, 1, 2});
  CHECK(run.device.most == 2);
  CHECK(run.ended.size() == 5);
  for (auto const& [index, status] : run.status)
    CHECK(status == Status::completed);
  // In their order: nobody overtakes the one that waits.
  std::vector<int> begun;
  for (int const index : run.device.steps) {
    if (std::find(begun.begin(), begun.end(), index) == begun.end()) begun.push_back(index);
  }
  CHECK(begun == std::vector<int>{0, 1, 2, 3, 4});

  // Over its own limit: at once, while the others train. Without memory: when all others have ended.
  Run const limit(policy, 4, 4, {2, 1000, 2});
  CHECK(limit.ended == std::vector<int>{1, 0, 2});
  CHECK(limit.status.at(1) == Status::out_of_memory);
  Run const never(policy, 4, 4, {2, 1001, 2});
  CHECK(never.ended == std::vector<int>{0, 1, 2});
  CHECK(never.status.at(1) == Status::out_of_memory);
  CHECK(never.device.most == 1);
}
