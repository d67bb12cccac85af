// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A training step does not touch the heap; not under the sanitizers (support/allocation_count.hpp).
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include "support/allocation_count.hpp"

#include <nasturtium/nn/stepper.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using nasturtium::test::allocations;

TEST_CASE("step: the heap is left alone, whatever the network")
{
  for (auto const& network : nn::spec::zoo_names()) {
    nn::TrainOptions options;
    options.batch_size = 4;
    nn::Stepper stepper({}, nn::spec::load_architecture(network), options);
    stepper.run(2); // labels and the like are made once
    long const before = allocations;
    stepper.run(1);
    long const one = allocations - before;
    stepper.run(6);
    long const six = allocations - before - one;
    INFO(network << ": a run of one step allocates " << one << " times, a run of six " << six << " times");
    // What is left belongs to waiting at the end of a run, not to a step.
    CHECK(six == one);
    CHECK(one <= 4);
  }
}

TEST_CASE("step: the heap is left alone by fused networks as well")
{
  std::vector<nn::spec::Architecture> networks;
  for (auto const& network : nn::spec::zoo_names()) {
    networks.push_back(nn::spec::load_architecture(network));
  }
  nn::TrainOptions options;
  options.batch_size = 2;
  nn::FusedStepper stepper({}, networks, options);
  stepper.run(2);
  long const before = allocations;
  stepper.run(1);
  long const one = allocations - before;
  stepper.run(6);
  CHECK(allocations - before - one == one);
}
#endif
