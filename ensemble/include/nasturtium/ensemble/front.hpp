// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fronts of ensembles: what is not dominated, how much a front is worth, and what to take from it.
#pragma once

#include <nasturtium/ensemble/selection.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace nasturtium::ensemble {

/// Those that no other beats in cost and rounded loss, by cost; of equals the one with fewer picks, then the first.
/// O(n log n).
std::vector<Choice> non_dominated(std::vector<Choice> choices);

/// A place of a front.
struct CostLoss
{
  double cost = 0, loss = 0;
};

/// Area over (ln cost, loss) that the points dominate, up to the reference; points beyond it count as far as it.
double hypervolume(std::vector<CostLoss> points, CostLoss const& reference);
/// The reference of a pool: the cost of all models together, and the loss of the worst single one on this split.
CostLoss hypervolume_reference(PredictionPool const& pool, Predictions const& split, SelectionOptions const& options);

/// The front of all ensembles of at most `most_members` distinct models with equal weights, by trying them all. For
/// pools of at most 20 models; throws Error for larger ones.
std::vector<Choice> exhaustive_front(PredictionPool const& pool, SelectionOptions const& options, int most_members = 5);

// Queries; the answer is a position in the front, which is ordered by cost.

/// The least loss at a cost of at most `budget`; nothing where all cost more.
std::optional<std::size_t> best_under_budget(std::span<CostLoss const> front, double budget);
/// The cheapest whose accuracy is at least `accuracy`; `accuracies` has one value per point.
std::optional<std::size_t> cheapest_above_accuracy(std::span<CostLoss const> front, std::span<double const> accuracies,
                                                   double accuracy);
/// The point farthest below the line between the ends of the front, with ln cost and loss scaled to [0, 1]; of equals
/// the cheaper. Nothing for an empty front.
std::optional<std::size_t> knee(std::span<CostLoss const> front);

} // namespace nasturtium::ensemble
