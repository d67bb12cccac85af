// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "trees.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#ifdef NASTURTIUM_HAS_XGBOOST
#include <xgboost/c_api.h>
#endif

#include <cmath>
#include <memory>
#include <utility>

namespace nasturtium::estimator {

#ifdef NASTURTIUM_HAS_XGBOOST
namespace {

void check(int status)
{
  require(status == 0, "XGBoost: ", XGBGetLastError());
}

template <int (*free)(void*)>
struct Free
{
  void operator()(void* handle) const { free(handle); }
};
using Matrix = std::unique_ptr<void, Free<XGDMatrixFree>>;
using Booster = std::unique_ptr<void, Free<XGBoosterFree>>;

} // namespace

bool can_fit_trees()
{
  return true;
}

void Forest::fit(std::span<double const> rows, std::size_t columns, std::span<double const> targets,
                 TreeOptions const& options, std::uint64_t seed)
{
  std::vector<float> const values(rows.begin(), rows.end()), labels(targets.begin(), targets.end());
  void* handle = nullptr;
  check(XGDMatrixCreateFromMat(values.data(), labels.size(), columns, std::nanf(""), &handle));
  Matrix const matrix(handle);
  check(XGDMatrixSetFloatInfo(handle, "label", labels.data(), labels.size()));
  void* made = nullptr;
  check(XGBoosterCreate(&handle, 1, &made));
  Booster const booster(made);
  std::pair<char const*, std::string> const parameters[]{{"objective", "reg:squarederror"},
                                                         {"tree_method", "hist"},
                                                         {"nthread", "1"},
                                                         {"verbosity", "0"},
                                                         {"seed", std::to_string(seed & 0x7fffffff)},
                                                         {"max_depth", std::to_string(options.depth)},
                                                         {"max_bin", std::to_string(options.bins)},
                                                         {"eta", shortest(options.rate)},
                                                         {"min_child_weight", shortest(options.min_leaf)},
                                                         {"lambda", shortest(options.l2)},
                                                         {"subsample", shortest(options.row_share)},
                                                         {"colsample_bytree", shortest(options.column_share)}};
  for (auto const& [name, value] : parameters)
    check(XGBoosterSetParam(made, name, value.c_str()));
  for (int i = 0; i < options.trees; ++i)
    check(XGBoosterUpdateOneIter(made, i, handle));
  bst_ulong size = 0;
  char const* text = nullptr;
  check(XGBoosterSaveModelToBuffer(made, R"({"format": "json"})", &size, &text));
  set_model(json::parse({text, static_cast<std::size_t>(size)}, "XGBoost's model"), "XGBoost's model");
}
#else
bool can_fit_trees()
{
  return false;
}

void Forest::fit(std::span<double const>, std::size_t, std::span<double const>, TreeOptions const&, std::uint64_t)
{
  fail("boosted trees need XGBoost, which this build has not found");
}
#endif

double Forest::predict(std::span<double const> row) const
{
  require(row.size() == m_columns, "the trees know ", m_columns, " features, got ", row.size());
  float sum = m_base;
  for (std::int32_t const root : m_roots) {
    Node const* node = &m_nodes[static_cast<std::size_t>(root)];
    while (node->feature >= 0) {
      bool const left = static_cast<float>(row[static_cast<std::size_t>(node->feature)]) < node->value;
      node = &m_nodes[static_cast<std::size_t>(left ? node->left : node->right)];
    }
    sum += node->value;
  }
  return sum;
}

void Forest::set_model(json::Value model, std::string const& what)
{
  // XGBoost's format has many fields that a prediction does not need: only those that it does are looked at.
  auto const field = [](json::Value const& value, char const* name, std::string const& where) -> json::Value const& {
    auto const& object = json::to_object(value, where);
    auto const* const found = object.if_contains(name);
    require(found != nullptr, where, ": field '", name, "' is missing");
    return *found;
  };
  auto const number = [](json::Value const& value, std::string const& where) {
    std::string text = json::to_string(value, where);
    if (text.starts_with('[')) text = text.substr(1, text.size() - 2); // one value a target, in later versions
    auto const parsed = parse_double(text);
    require(parsed.has_value() && std::isfinite(*parsed), where, " must be a number, got ", quoted(text));
    return *parsed;
  };
  auto const& learner = field(model, "learner", what);
  auto const& parameters = field(learner, "learner_model_param", what);
  auto const& booster = field(learner, "gradient_booster", what);
  auto const& trees = json::to_array(field(field(booster, "model", what), "trees", what), what);
  auto const base = static_cast<float>(number(field(parameters, "base_score", what), what + ": base_score"));
  double const columns = number(field(parameters, "num_feature", what), what + ": num_feature");
  require(columns >= 1 && columns <= 1 << 20, what, ": num_feature must be in [1, 2^20], got ", shortest(columns));
  std::vector<Node> nodes;
  std::vector<std::int32_t> roots;
  for (std::size_t t = 0; t < trees.size(); ++t) {
    std::string const where = concat(what, ": tree ", t);
    auto const& left = json::to_array(field(trees[t], "left_children", where), where);
    auto const& right = json::to_array(field(trees[t], "right_children", where), where);
    auto const& feature = json::to_array(field(trees[t], "split_indices", where), where);
    auto const& bound = json::to_array(field(trees[t], "split_conditions", where), where);
    auto const count = static_cast<std::int64_t>(left.size());
    require(count >= 1 && count < 1 << 24 && right.size() == left.size() && feature.size() == left.size() &&
                bound.size() == left.size(),
            where, ": its lists of nodes must be equally long, and not empty");
    auto const root = static_cast<std::int32_t>(nodes.size());
    roots.push_back(root);
    for (std::int64_t i = 0; i < count; ++i) {
      auto const k = static_cast<std::size_t>(i);
      Node node;
      node.value = static_cast<float>(json::to_number(bound[k], where));
      if (json::to_integer(left[k], where, -1, count - 1) >= 0) {
        // Children stand behind their parent, so that every path ends.
        node.left = root + static_cast<std::int32_t>(json::to_integer(left[k], where, i + 1, count - 1));
        node.right = root + static_cast<std::int32_t>(json::to_integer(right[k], where, i + 1, count - 1));
        node.feature =
            static_cast<std::int32_t>(json::to_integer(feature[k], where, 0, static_cast<std::int64_t>(columns) - 1));
      }
      nodes.push_back(node);
    }
  }
  m_model = std::move(model);
  m_nodes = std::move(nodes);
  m_roots = std::move(roots);
  m_columns = static_cast<std::size_t>(columns);
  m_base = base;
}

} // namespace nasturtium::estimator
