// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random search: the baseline of every other one. Networks that were asked before are not asked again.
#include "algorithms/algorithm.hpp"

namespace nasturtium::nas::impl {

namespace {

class RandomSearch : public Algorithm
{
public:
  using Algorithm::Algorithm;

  bool asks_ahead() const override { return true; }

protected:
  std::optional<Trial> propose(Random& random) override
  {
    return without_repeats(random, [this](Random& numbers) { return fresh(numbers); });
  }
  void answered(Individual const&) override {}
};

} // namespace

std::unique_ptr<SearchAlgorithm> make_random(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<RandomSearch>(settings, space);
}

} // namespace nasturtium::nas::impl
