// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A training step does not touch the heap: counted by replacing the allocation function of this program, so not under
// the sanitizers, which replace it themselves.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <nasturtium/nn/stepper.hpp>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> allocations{0};

} // namespace

void* operator new(std::size_t size)
{
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept
{
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept
{
  std::free(memory);
}

using namespace nasturtium;

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
#endif
