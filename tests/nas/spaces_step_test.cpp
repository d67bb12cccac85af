// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Decoded genomes train: one step each on a small batch.
#include "../support/space_tasks.hpp"

#include <nasturtium/nas/genome_text.hpp>
#include <nasturtium/nas/search_space.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nas;

TEST_CASE("spaces: networks train a step")
{
  nn::TrainOptions options;
  options.batch_size = 4;
  options.optimiser.kind = nn::OptimiserKind::adam;
  options.optimiser.learning_rate = 1e-3;
  std::vector<Task> const images{{{8, 8, 1}, 10}, {{12, 10, 3}, 100}, {{28, 28, 1}, 10}};
  for (std::string const& name : space_names()) {
    for (Task const& task : test::tasks_of(name, images)) {
      auto const space = make_space(name, task);
      // Those of Uno have millions of weights.
      for (std::uint32_t decision = 0; decision < (task.regression > 0 ? 4U : 24U); ++decision) {
        Random random(21, decision);
        Genome const genome = space->sample(random);
        INFO(architecture_name(name, genome));
        nn::Stepper stepper({.threads = 1}, space->decode(genome), options);
        stepper.run(1);
        REQUIRE(std::isfinite(stepper.loss()));
      }
    }
  }
}
