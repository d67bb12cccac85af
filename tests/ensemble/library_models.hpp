// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Models of a few hundred bytes for tests of the model library.
#pragma once

#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/ensemble/model_library.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::test {

inline ensemble::LibrarySplits small_splits()
{
  return {3, {0, 1, 2, 1, 2, 0, 0, 1}, {2, 1, 0}, {1, 1}};
}

/// Logits that are a function of the seed alone; the larger `skill`, the better.
inline std::vector<float> small_logits(std::vector<std::int32_t> const& labels, std::uint64_t seed, double skill)
{
  Random random(seed);
  std::vector<float> logits;
  for (std::int32_t const label : labels)
    for (std::int32_t c = 0; c < 3; ++c)
      logits.push_back(static_cast<float>(random.below(1000)) / 500.0f + static_cast<float>(c == label ? skill : 0));
  return logits;
}

/// Named "m<number>"; its files are functions of the number alone. `weights` is where its weights can be copied from.
inline ensemble::Publication small_publication(std::uint64_t number, std::string const& weights, double skill = 1)
{
  auto const splits = small_splits();
  ensemble::Publication made;
  made.model.id = concat("m", number);
  made.model.seed = number;
  made.model.epochs = 3;
  made.model.rung = 1;
  made.model.parameters = 100 + static_cast<std::int64_t>(number);
  made.model.flops = 1000 + 2.5 * static_cast<double>(number);
  made.model.weight_bytes = 400;
  made.model.activation_bytes = 80;
  made.model.device_costs = {{"openmp", 8, 0.25, 1000}};
  made.config = R"({"learning_rate": 0.1})";
  made.weights_path = weights;
  made.select = small_logits(splits.select, number, skill);
  made.check = small_logits(splits.check, number + 1, skill);
  made.test = small_logits(splits.test, number + 2, skill);
  return made;
}

} // namespace nasturtium::test
