// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Models of a few hundred bytes for tests of the weight store.
#pragma once

#include "support/temporary.hpp"

#include <nasturtium/nas/weight_store.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace nasturtium::test {

inline constexpr int small_layers = 4;

/// Three dense layers and a batch norm.
inline std::string const& small_architecture()
{
  static std::string const text = nn::spec::to_json(nn::spec::parse_architecture(
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 1, "width": 1, "channels": 3},
          "nodes": [{"id": "d0", "op": "dense", "units": 5, "inputs": ["input"]},
                    {"id": "b1", "op": "batch_norm", "inputs": ["d0"]},
                    {"id": "r1", "op": "relu", "inputs": ["b1"]},
                    {"id": "d2", "op": "dense", "units": 7, "inputs": ["r1"]},
                    {"id": "d3", "op": "dense", "units": 2, "inputs": ["d2"]}],
          "output": {"classes": 2}})",
      "test"));
  return text;
}

/// float32 values that are a function of the seed alone.
inline nn::Tensor small_tensor(std::vector<std::int64_t> extent, std::uint64_t seed)
{
  nn::Tensor tensor{std::move(extent), {}};
  std::int64_t count = 1;
  for (auto const e : tensor.extent)
    count *= e;
  Random random(seed);
  for (std::int64_t i = 0; i < count; ++i)
    tensor.values.push_back(static_cast<float>(random.below(1000000)) / 997.0f);
  return tensor;
}

/// Layer i of the small architecture has the values of seeds[i]: equal seeds, equal layers.
inline nn::Weights small_weights(std::array<std::uint64_t, small_layers> const& seeds)
{
  nn::Weights weights;
  auto const dense = [&](char const* node, std::int64_t in, std::int64_t out, std::uint64_t seed) {
    weights[{node, "kernel"}] = small_tensor({in, out}, 10 * seed);
    weights[{node, "bias"}] = small_tensor({out}, 10 * seed + 1);
  };
  dense("d0", 3, 5, seeds[0]);
  for (char const* const name : {"beta", "gamma", "moving_mean", "moving_variance"})
    weights[{"b1", name}] = small_tensor({5}, 10 * seeds[1] + static_cast<std::uint64_t>(name[0]));
  dense("d2", 5, 7, seeds[2]);
  dense("d3", 7, 2, seeds[3]);
  return weights;
}

inline nas::StoredModel small_model(std::string id, double score)
{
  nas::StoredModel model;
  model.id = std::move(id);
  model.architecture = small_architecture();
  model.score = score;
  return model;
}

/// Extents and bits.
inline bool same_weights(nn::Weights const& a, nn::Weights const& b)
{
  auto const bits = [](nn::Tensor const& tensor) {
    return std::string_view(reinterpret_cast<char const*>(tensor.values.data()), tensor.values.size() * sizeof(double));
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](auto const& x, auto const& y) {
    return x.first == y.first && x.second.extent == y.second.extent && bits(x.second) == bits(y.second);
  });
}

} // namespace nasturtium::test
