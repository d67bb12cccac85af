// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/options.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium::nn;
using Catch::Approx;

TEST_CASE("constant rate with a warm-up")
{
  ScheduleOptions schedule;
  CHECK(learning_rate_at(schedule, 0.3, 0, 10, 100) == 0.3);
  CHECK(learning_rate_at(schedule, 0.3, 99, 10, 100) == 0.3);
  schedule.warmup_epochs = 2;
  CHECK(learning_rate_at(schedule, 0.4, 0, 10, 100) == Approx(0.02));
  CHECK(learning_rate_at(schedule, 0.4, 9, 10, 100) == Approx(0.2));
  CHECK(learning_rate_at(schedule, 0.4, 19, 10, 100) == 0.4);
  CHECK(learning_rate_at(schedule, 0.4, 20, 10, 100) == 0.4);
  schedule.warmup_epochs = 0.01; // less than a step
  CHECK(learning_rate_at(schedule, 0.4, 0, 10, 100) == 0.4);
}

TEST_CASE("steps fall by gamma at their epochs")
{
  ScheduleOptions schedule{ScheduleKind::step};
  schedule.step_epochs = 3;
  schedule.gamma = 0.5;
  CHECK(learning_rate_at(schedule, 1, 0, 7, 70) == 1);
  CHECK(learning_rate_at(schedule, 1, 20, 7, 70) == 1);
  CHECK(learning_rate_at(schedule, 1, 21, 7, 70) == 0.5);
  CHECK(learning_rate_at(schedule, 1, 42, 7, 70) == 0.25);
  CHECK(learning_rate_at(schedule, 1, 69, 7, 70) == 0.125);
}

TEST_CASE("cosine goes from the peak to the last fraction")
{
  ScheduleOptions schedule{ScheduleKind::cosine};
  schedule.final_fraction = 0.1;
  CHECK(learning_rate_at(schedule, 2, 0, 10, 100) == Approx(2));
  CHECK(learning_rate_at(schedule, 2, 50, 10, 100) == Approx(2 * 0.55));
  CHECK(learning_rate_at(schedule, 2, 25, 10, 100) == Approx(2 * (0.1 + 0.45 * (1 + std::sqrt(0.5)))));
  CHECK(learning_rate_at(schedule, 2, 100, 10, 100) == Approx(0.2));
  CHECK(learning_rate_at(schedule, 2, 1000, 10, 100) == Approx(0.2)); // beyond the end: stays
  schedule.warmup_epochs = 2;
  CHECK(learning_rate_at(schedule, 2, 9, 10, 100) == Approx(1));
  CHECK(learning_rate_at(schedule, 2, 20, 10, 100) == Approx(2));
  CHECK(learning_rate_at(schedule, 2, 60, 10, 100) == Approx(2 * 0.55));
  schedule.warmup_epochs = 20; // longer than the training
  CHECK(learning_rate_at(schedule, 2, 99, 10, 100) == Approx(1));
}

TEST_CASE("one cycle rises to the peak and falls, as PyTorch's OneCycleLR")
{
  ScheduleOptions schedule{ScheduleKind::one_cycle};
  schedule.final_fraction = 0.04 / 1e4;
  // torch.optim.lr_scheduler.OneCycleLR(sgd, max_lr=1.0, total_steps=20), PyTorch 2.6, rates at steps 0, 1, 2, ...
  std::vector<double> const expected{0.040000000000000036,
                                     0.1316718427000253,
                                     0.3716718427000253,
                                     0.6683281572999747,
                                     0.9083281572999747,
                                     1.0,
                                     0.9874640062350873,
                                     0.9504846320134737,
                                     0.89091617757105,
                                     0.8117456539497631,
                                     0.7169430017913008,
                                     0.6112620219362893,
                                     0.500002,
                                     0.38874197806371075,
                                     0.28306099820869923,
                                     0.18825834605023697,
                                     0.10908782242895004,
                                     0.049519367986526286,
                                     0.012539993764912554,
                                     4e-06};
  for (std::size_t step = 0; step < expected.size(); ++step) {
    INFO(step);
    CHECK(learning_rate_at(schedule, 1, static_cast<std::int64_t>(step), 10, 20) ==
          Approx(expected[step]).epsilon(1e-9));
  }
  // Trainings too short to rise.
  for (std::int64_t const total : {1, 2, 3})
    for (std::int64_t step = 0; step < total; ++step)
      CHECK(std::isfinite(learning_rate_at(schedule, 1, step, 1, total)));
}
