// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/ensemble/front.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace nasturtium::ensemble {

std::vector<Choice> non_dominated(std::vector<Choice> choices)
{
  std::stable_sort(choices.begin(), choices.end(), [](Choice const& a, Choice const& b) {
    return std::tuple(a.cost, rounded(a.loss), a.picks()) < std::tuple(b.cost, rounded(b.loss), b.picks());
  });
  std::vector<Choice> front;
  for (Choice& choice : choices)
    if (front.empty() || rounded(choice.loss) < rounded(front.back().loss)) front.push_back(std::move(choice));
  return front;
}

double hypervolume(std::vector<CostLoss> points, CostLoss const& reference)
{
  std::sort(points.begin(), points.end(), [](auto const& a, auto const& b) { return a.cost < b.cost; });
  double area = 0, least = reference.loss;
  for (std::size_t i = 0; i < points.size(); ++i) {
    least = std::min(least, points[i].loss);
    double const next = i + 1 < points.size() ? std::min(points[i + 1].cost, reference.cost) : reference.cost;
    if (next > points[i].cost) area += (std::log(next) - std::log(points[i].cost)) * (reference.loss - least);
  }
  return area;
}

CostLoss hypervolume_reference(PredictionPool const& pool, Predictions const& split, SelectionOptions const& options)
{
  CostLoss reference{0, -std::numeric_limits<double>::infinity()};
  for (double const cost : costs_of(pool, options.cost_axis))
    reference.cost += cost;
  for (int model = 0; model < pool.size(); ++model) {
    Member const single[]{{model, 1}};
    reference.loss = std::max(reference.loss, loss_of(split, single, options.objective, options.pooling));
  }
  return reference;
}

std::vector<Choice> exhaustive_front(PredictionPool const& pool, SelectionOptions const& options, int most_members)
{
  check_pool(pool);
  require(pool.size() <= 20, "the exhaustive front is for pools of at most 20 models, got ", pool.size());
  require(most_members >= 1, "most_members must be at least 1, got ", most_members);
  auto const costs = costs_of(pool, options.cost_axis);
  std::vector<Choice> all;
  std::vector<Member> members;
  auto const extend = [&](auto const& self, int from, double cost) -> void {
    for (int model = from; model < pool.size(); ++model) {
      members.push_back({model, 1});
      double const total = cost + costs[static_cast<std::size_t>(model)];
      all.push_back({members, total, loss_of(pool.select, members, options.objective, options.pooling), "exhaustive"});
      if (static_cast<int>(members.size()) < most_members) self(self, model + 1, total);
      members.pop_back();
    }
  };
  extend(extend, 0, 0);
  return non_dominated(std::move(all));
}

std::optional<std::size_t> best_under_budget(std::span<CostLoss const> front, double budget)
{
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < front.size(); ++i)
    if (front[i].cost <= budget && (!best || front[i].loss < front[*best].loss)) best = i;
  return best;
}

std::optional<std::size_t> cheapest_above_accuracy(std::span<CostLoss const> front, std::span<double const> accuracies,
                                                   double accuracy)
{
  require(front.size() == accuracies.size(), "a front of ", front.size(), " points has ", accuracies.size(),
          " accuracies");
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < front.size(); ++i)
    if (accuracies[i] >= accuracy && (!best || front[i].cost < front[*best].cost)) best = i;
  return best;
}

std::optional<std::size_t> knee(std::span<CostLoss const> front)
{
  if (front.empty()) return std::nullopt;
  double const left = std::log(front.front().cost), width = std::log(front.back().cost) - left;
  double const top = front.front().loss, height = top - front.back().loss;
  std::size_t best = 0;
  double farthest = 0;
  for (std::size_t i = 1; i < front.size() && width > 0 && height > 0; ++i) {
    double const distance = (top - front[i].loss) / height - (std::log(front[i].cost) - left) / width;
    if (distance > farthest) {
      farthest = distance;
      best = i;
    }
  }
  return best;
}

} // namespace nasturtium::ensemble
