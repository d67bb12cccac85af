// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Greedy selection of ensembles under several objectives: from one pool of models a front of ensembles that trade loss
// against cost ("A Deep Neural Networks ensemble workflow from hyperparameter search to inference leveraging GPU
// clusters", Pochelu et al., HPC Asia 2022; the method is ours). Picks use the split `select`, swaps are confirmed on
// `check`, `test` decides nothing. Everything is a function of pool and options: no backend and no thread count changes
// a pick.
#pragma once

#include <nasturtium/ensemble/prediction_pool.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

/// A model of the pool that an ensemble counts `count` times; its weight is count / sum of counts.
struct Member
{
  int model = 0, count = 1;
  friend bool operator==(Member const&, Member const&) = default;
};

/// An ensemble and where it stands.
struct Choice
{
  std::vector<Member> members; ///< by model
  double cost = 0;             ///< sum over distinct members, on the axis of the selection
  double loss = 0;             ///< on `select`
  std::string origin;          ///< the rule that found it: "prefix 7", "budget 3", "swap", ...

  int picks() const; ///< sum of counts
};

enum class Objective {
  nll,  ///< negative log-likelihood
  brier ///< Brier score
};

enum class Pooling {
  mean,     ///< of probabilities
  geometric ///< of probabilities, normalised again; O(classes) times the work
};

struct SelectionOptions
{
  std::string cost_axis = "parameters";
  Objective objective = Objective::nll;
  Pooling pooling = Pooling::mean;
  int picks = 25; ///< of a greedy run
  /// With fewer than 2,000 samples in `select`, greedy runs of the rules without a budget are made on ten random halves
  /// of their models as well, and the sum of the ten ensembles joins the archive.
  bool bagging = false;
  /// 0: evaluate every candidate; else only so many (32), the best by the gradient of the loss. For objective nll with
  /// pooling mean.
  int prefilter = 0;
  std::uint64_t seed = 1; ///< of random ties and of bags
  nn::TrainerOptions device{};
};

/// Loss rounded to 6 decimals, in millionths: what selection compares.
double rounded(double loss);

/// Names of the presets that `select` knows, the default first.
std::vector<std::string> preset_names();

/// The front of one preset: no ensemble costs as much as another of no more loss (losses rounded to 6 decimals), in
/// order of cost. Presets: "front" (default: prefix archive, budget grid, swaps), "prefix" and "budget" (those alone),
/// "caruana-25", "caruana-50-last", "hapens", "nes", "grad-informed", "scalarizations", "top-k", "dijkstra",
/// "best-single". Throws Error for an unknown preset, for a pool that check_pool refuses and for options out of range.
std::vector<Choice> select(PredictionPool const& pool, std::string const& preset, SelectionOptions const& options);

/// One greedy run ("Ensemble selection from libraries of models", Caruana et al., ICML 2004) over `candidates`:
/// exactly options.picks picks with replacement, even where the loss rises, cut off behind the first step of the least
/// rounded loss. Every prefix, in order. A pick minimises (rounded loss, 0 for a member and 1 otherwise, cost, number);
/// the distinct cost never exceeds `budget`. O(picks * candidates * samples).
std::vector<Choice> greedy_run(PredictionPool const& pool, SelectionOptions const& options,
                               std::span<std::int32_t const> candidates, double budget);

/// The loss of an ensemble on any split.
double loss_of(Predictions const& predictions, std::span<Member const> members, Objective objective, Pooling pooling);

/// The pooled probabilities: samples * classes values.
std::vector<double> pooled(Predictions const& predictions, std::span<Member const> members, Pooling pooling);

} // namespace nasturtium::ensemble
