// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An observation does not touch the heap; not under the sanitizers (support/allocation_count.hpp).
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include "support/allocation_count.hpp"

#include <nasturtium/predictor/presets.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using nasturtium::test::allocations;

TEST_CASE("heap: an observation leaves it alone, but for the first of a curve")
{
  for (auto const* const name : {"penguin", "penguin-modular", "a4nn", "nasturtium", "constant", "last-value",
                                 "best-so-far", "i-epoch", "median", "ridge", "train-loss-sum", "none"}) {
    auto settings = predictor::preset(name);
    settings.e_pred = 20;
    settings.spacing = 0.5;
    auto const method = predictor::make_method(settings);
    auto const value = [](int curve, int point) { return 60.0 + curve % 7 - 40.0 / point; };
    auto const watch = [&](int curve, bool end) {
      std::string const id = "network " + std::to_string(curve);
      predictor::Covariates covariates;
      covariates.train_accuracy = 50 + curve % 5;
      covariates.train_loss = 1;
      method->observe(id, 0.5, value(curve, 1), covariates);
      method->observe(id, 1, value(curve, 2), covariates);
      long const before = allocations;
      for (int point = 3; point <= 40; ++point)
        method->observe(id, 0.5 * point, value(curve, point), covariates);
      long const taken = allocations - before;
      if (end) method->finish(id);
      return taken;
    };
    for (int curve = 0; curve < 30; ++curve)
      watch(curve, true);
    watch(30, false); // fits what is new
    INFO(name);
    CHECK(watch(31, false) == 0);
    watch(32, true); // a finished curve takes its own memory, the next observations none
    CHECK(watch(33, false) == 0);
  }
}
#endif
