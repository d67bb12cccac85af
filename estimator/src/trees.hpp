// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Boosted regression trees: XGBoost grows them, the forest here reads XGBoost's own JSON and predicts without it.
#pragma once

#include <nasturtium/core/json.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// The reference's settings.
struct TreeOptions
{
  int trees = 300, depth = 8, bins = 64;
  double rate = 0.1, min_leaf = 20, l2 = 1;
  double row_share = 1, column_share = 1; ///< drawn for every tree
};

/// Squared error, histogram boosting, one thread: deterministic in the seed.
class Forest
{
public:
  /// `rows` is targets.size() rows of `columns` values each. Throws Error in a build without XGBoost.
  void fit(std::span<double const> rows, std::size_t columns, std::span<double const> targets,
           TreeOptions const& options, std::uint64_t seed);
  /// O(trees * depth), without XGBoost; float32 sums in the order of the trees.
  double predict(std::span<double const> row) const;
  std::size_t columns() const { return m_columns; }

  json::Value const& model() const { return m_model; } ///< XGBoost's own
  /// Throws Error that starts with `what` for a model that is not one of regression trees, or whose nodes do not fit.
  void set_model(json::Value model, std::string const& what);

private:
  struct Node
  {
    float value = 0;           ///< the split's bound, or the leaf's value
    std::int32_t feature = -1; ///< -1: a leaf
    std::int32_t left = 0, right = 0;
  };
  json::Value m_model;
  std::vector<Node> m_nodes;
  std::vector<std::int32_t> m_roots;
  std::size_t m_columns = 0;
  float m_base = 0;
};

/// Whether this build can fit trees.
bool can_fit_trees();

} // namespace nasturtium::estimator
