// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/augment.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/loss.hpp>
#include <nasturtium/kernels/optimiser.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

StepState state_of(Index first, Index step, Index epoch, StepRates const& rates = {})
{
  return {first, step, epoch, rates};
}

template <class T>
T const* device_pointer(Values<T> const& values)
{
  return Buffer<Space, T const>(values).data();
}

} // namespace

TEST_CASE("steps: each row becomes the current one in turn, its metrics are logged, the sums start anew",
          "[step_state]")
{
  Space const exec;
  std::vector<StepState> const list{state_of(5, 40, 2), state_of(9, 41, 2), state_of(13, 42, 2)};
  Values<StepState> const rows(list), current(1);
  Values<double> const sums(std::vector<double>{-1, -1, -1, -1}), log(3 * metric_count);
  Values<Index> const cursor(std::vector<Index>{77});
  start_steps<Space>(exec, rows, current, sums, cursor);
  for (std::size_t turn = 0; turn < list.size(); ++turn) {
    INFO("step " << turn);
    CHECK(current.host()[0].first == list[turn].first);
    CHECK(current.host()[0].step == list[turn].step);
    CHECK(cursor.host()[0] == static_cast<Index>(turn));
    CHECK(sums.host() == std::vector<double>(metric_count, 0.0));
    auto const value = static_cast<double>(turn + 1);
    fill<Space, double>(exec, value, sums);
    finish_step<Space>(exec, rows, current, sums, log, cursor);
    CHECK(log.host()[turn * metric_count + 3] == value);
  }
  CHECK(cursor.host()[0] == 3);
  CHECK(current.host()[0].step == 42); // nothing follows the last row
  auto const before = log.host();
  finish_step<Space>(exec, rows, current, sums, log, cursor); // one step too many changes nothing
  CHECK(log.host() == before);
  CHECK(cursor.host()[0] == 3);
  Values<StepState> const none(0);
  CHECK_THROWS_AS(start_steps<Space>(exec, none, current, sums, cursor), Error);
  Values<double> const small(3);
  CHECK_THROWS_AS(finish_step<Space>(exec, rows, current, sums, small, cursor), Error);
}

TEMPLATE_TEST_CASE("steps: what a kernel reads from the device is bitwise what it is told", "[step_state]", float,
                   double)
{
  Space const exec;
  constexpr std::size_t size = 10007;
  Values<StepState> const current(std::vector<StepState>{state_of(11, 6, 3)});
  auto const* const device = device_pointer(current);

  SECTION("dropout")
  {
    Values<TestType> const src(random_values<TestType>(1, size)), told(size), read(size);
    dropout<Space, TestType>(exec, {5, 2, 6}, TestType(0.4), src, told, false);
    dropout<Space, TestType>(exec, {5, 2, 999, device}, TestType(0.4), src, read, false);
    CHECK(first_bit_difference("dropout", read.host(), told.host()) == "");
  }
  SECTION("gather")
  {
    AugmentShape shape{9, 7, 3, 2, true, 3, 8, 3};
    Values<std::uint8_t> const images(random_integers<std::uint8_t>(2, 60 * 189, 0, 255));
    Values<std::int32_t> const order(random_integers<std::int32_t>(3, 60, 0, 59));
    Values<std::int32_t> const labels(random_integers<std::int32_t>(4, 60, 0, 9));
    Values<TestType> const scale(std::vector<TestType>{1, 2, 3}), shift(std::vector<TestType>{4, 5, 6});
    Values<TestType> const told(40 * 189), read(40 * 189);
    Values<std::int32_t> const told_labels(40), read_labels(40);
    gather_images<Space, TestType>(exec, shape, images, order, 11, 40, scale, shift, told);
    gather_labels<Space>(exec, labels, order, 11, 40, told_labels);
    shape.epoch = 1;
    shape.current = device;
    gather_images<Space, TestType>(exec, shape, images, order, 0, 40, scale, shift, read);
    gather_labels<Space>(exec, labels, order, 0, 40, read_labels, device);
    CHECK(first_bit_difference("images", read.host(), told.host()) == "");
    CHECK(read_labels.host() == told_labels.host());
  }
  SECTION("optimisers")
  {
    auto const weights = random_values<TestType>(5, size), gradient = random_values<TestType>(6, size);
    auto const moment = random_values<TestType>(7, size, 0.1, 1.0);
    for (bool const decoupled : {false, true})
      for (TestType const momentum : {TestType(0), TestType(0.9)})
        for (int const kind : {0, 1, 2}) {
          INFO("kind " << kind << ", decoupled " << decoupled << ", momentum " << momentum);
          OptimiserStep<TestType> step;
          step.learning_rate = TestType(0.037);
          step.weight_decay = TestType(0.013);
          step.decoupled = decoupled;
          step.decay_count = 4001;
          step.momentum = momentum;
          step.step = 7;
          std::vector<TestType> results[2];
          for (int const from_device : {0, 1}) {
            auto it = step;
            Values<StepRates> const rates(std::vector<StepRates>{step_rates(step)});
            if (from_device) {
              it.learning_rate = TestType(99); // not read
              it.step = 1;
              it.current = device_pointer(rates);
            }
            Values<TestType> const w(weights), g(gradient), first(moment), second(moment);
            Values<double> const norm(0);
            if (kind == 0) sgd<Space, TestType>(exec, it, w, g, first, norm);
            if (kind == 1) adam<Space, TestType>(exec, it, w, g, first, second, norm);
            if (kind == 2) rmsprop<Space, TestType>(exec, it, w, g, first, second, norm);
            results[from_device] = w.host();
          }
          CHECK(first_bit_difference("weights", results[1], results[0]) == "");
          CHECK(first_bit_difference("weights", results[1], weights) != "");
        }
    OptimiserStep<TestType> before;
    before.step = 0;
    CHECK_THROWS_AS(step_rates(before), Error);
  }
}
