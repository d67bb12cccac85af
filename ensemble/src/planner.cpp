// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The search for an allocation: `exact` by trying every matrix, `local` by ascent.
#include <nasturtium/ensemble/planner.hpp>

#include "plan_scorer.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nasturtium::ensemble {

using impl::Levels;
using impl::Scorer;

namespace {

/// Better by more than rounding: an order of additions is no merit.
bool better(double score, double than)
{
  return score > than + 1e-12 * std::abs(than);
}

/// The best matrices met so far, best first; the earlier one first among equals.
class Best
{
public:
  explicit Best(int keep) : m_keep(std::max(1, keep)) {}

  void offer(Levels const& levels, double score)
  {
    if (!(score > 0)) {
      m_broken = m_broken || score != impl::unusable;
      return;
    }
    if (m_found.size() == m_keep && !better(score, m_found.back().score)) return;
    for (auto const& found : m_found)
      if (found.levels == levels) return;
    auto const place =
        std::find_if(m_found.begin(), m_found.end(), [&](Found const& found) { return better(score, found.score); });
    m_found.insert(place, {levels, score});
    if (m_found.size() > m_keep) m_found.pop_back();
  }

  struct Found
  {
    Levels levels;
    double score;
  };
  std::vector<Found> const& found() const { return m_found; }
  /// A matrix that fits into memory, but breaks the latency bound, was met.
  bool bound_was_broken() const { return m_broken; }

private:
  std::size_t m_keep;
  std::vector<Found> m_found;
  bool m_broken = false;
};

/// (levels + 1)^(devices * models), or infinity.
double matrix_count(PlanningProblem const& problem)
{
  return std::pow(static_cast<double>(problem.batches.size() + 1),
                  static_cast<double>(problem.devices.size() * problem.models.size()));
}

/// Every matrix, cell (0, 0) counting fastest.
void search_exactly(Scorer& scorer, Best& best)
{
  Levels levels(std::size_t(scorer.devices()) * scorer.models(), 0);
  for (;;) {
    best.offer(levels, scorer.score(levels));
    std::size_t cell = 0;
    while (cell < levels.size() && levels[cell] == scorer.levels())
      levels[cell++] = 0;
    if (cell == levels.size()) return;
    ++levels[cell];
  }
}

class LocalSearch
{
public:
  LocalSearch(Scorer& scorer, Best& best, PlanningOptions const& options)
      : m_scorer(scorer), m_best(best), m_options(options)
  {
  }

  void run()
  {
    Levels top;
    double top_score = impl::unusable;
    auto const ascend_from = [&](Levels levels, double score) {
      score = ascend(levels, score);
      if (top_score == impl::unusable || better(score, top_score)) {
        top_score = score;
        top = std::move(levels);
      }
    };
    for (auto const& start :
         {impl::worst_fit(m_scorer, 0), impl::longest_first(m_scorer), impl::round_robin(m_scorer)}) {
      if (double const score = evaluate(start); score != impl::unusable) ascend_from(start, score);
    }
    if (top_score == impl::unusable) {
      auto const start = random_start();
      if (double const score = evaluate(start); score != impl::unusable) ascend_from(start, score);
    }
    if (top_score == impl::unusable) return;
    int const cells = static_cast<int>(top.size());
    for (int restart = 0; restart < m_options.restarts && !late(); ++restart) {
      constexpr int tries = 200;
      for (int i = 0; i < tries; ++i) {
        Levels levels = top;
        int const most = std::max(2, cells / 2);
        change_cells(levels, std::min(cells, 2 + below(most - 1)), true);
        double const score = evaluate(levels);
        if (score == impl::unusable) continue;
        ascend_from(std::move(levels), score);
        break;
      }
    }
  }

private:
  static constexpr int neighbours = 2000; ///< that are tried of a large neighbourhood

  Scorer& m_scorer;
  Best& m_best;
  PlanningOptions const& m_options;
  Stopwatch m_clock;
  std::uint64_t m_draws = 0;
  std::vector<int> m_cells;

  bool late() const { return m_clock.seconds() > m_options.time_limit_seconds; }

  int below(int bound)
  {
    auto const word = random_block(m_options.seed, Purpose::search, 0, m_draws++).word[0];
    return static_cast<int>(to_below(word, static_cast<std::uint32_t>(bound)));
  }

  double evaluate(Levels const& levels)
  {
    double const score = m_scorer.score(levels);
    m_best.offer(levels, score);
    return score;
  }

  /// Sets `count` different cells at random: to any level, or to another one.
  void change_cells(Levels& levels, int count, bool any)
  {
    int const cells = static_cast<int>(levels.size());
    m_cells.resize(levels.size());
    std::iota(m_cells.begin(), m_cells.end(), 0);
    for (int i = 0; i < count; ++i) {
      std::swap(m_cells[i], m_cells[i + below(cells - i)]);
      int& level = levels[m_cells[i]];
      level = any ? below(m_scorer.levels() + 1) : (level + 1 + below(m_scorer.levels())) % (m_scorer.levels() + 1);
    }
  }

  /// Models in random order, each to a random device with room at the smallest batch. All 0 where none was found.
  Levels random_start()
  {
    Levels levels(std::size_t(m_scorer.devices()) * m_scorer.models());
    for (int i = 0; i < neighbours && !late(); ++i) {
      std::fill(levels.begin(), levels.end(), 0);
      std::vector<int> order(m_scorer.models());
      std::iota(order.begin(), order.end(), 0);
      bool placed = true;
      for (int m = 0; m < m_scorer.models() && placed; ++m) {
        std::swap(order[m], order[m + below(m_scorer.models() - m)]);
        int const first = below(m_scorer.devices());
        placed = false;
        for (int k = 0; k < m_scorer.devices() && !placed; ++k) {
          int const d = (first + k) % m_scorer.devices();
          if (m_scorer.rate(d, order[m], 1) <= 0) continue;
          int& cell = levels[std::size_t(d) * m_scorer.models() + order[m]];
          cell = 1;
          placed = m_scorer.fits(levels);
          if (!placed) cell = 0;
        }
      }
      if (placed) return levels;
    }
    std::fill(levels.begin(), levels.end(), 0);
    return levels;
  }

  /// Climbs until no neighbour is better; returns the score reached.
  double ascend(Levels& levels, double score)
  {
    while (!late()) {
      if (!improve_by_cell(levels, score) && !improve_by_pair(levels, score) && !improve_by_draw(levels, score)) break;
    }
    return score;
  }

  /// The best change of one cell.
  bool improve_by_cell(Levels& levels, double& score)
  {
    std::size_t best_cell = 0;
    int best_level = -1;
    double best = score;
    for (std::size_t cell = 0; cell < levels.size(); ++cell) {
      int const kept = levels[cell];
      for (int level = 0; level <= m_scorer.levels(); ++level) {
        if (level == kept) continue;
        levels[cell] = level;
        if (double const value = evaluate(levels); better(value, best)) {
          best = value;
          best_cell = cell;
          best_level = level;
        }
      }
      levels[cell] = kept;
    }
    if (best_level < 0) return false;
    levels[best_cell] = best_level;
    score = best;
    return true;
  }

  /// The best change of two cells, of all or of as many draws as there may be.
  bool improve_by_pair(Levels& levels, double& score)
  {
    auto const cells = static_cast<std::int64_t>(levels.size());
    std::int64_t const pairs = cells * (cells - 1) / 2 * m_scorer.levels() * m_scorer.levels();
    Levels best_levels;
    double best = score;
    auto const consider = [&] {
      if (double const value = evaluate(levels); better(value, best)) {
        best = value;
        best_levels = levels;
      }
    };
    if (pairs > neighbours) {
      Levels const kept = levels;
      for (int i = 0; i < neighbours && !late(); ++i) {
        levels = kept;
        change_cells(levels, 2, false);
        consider();
      }
      levels = kept;
    } else {
      for (std::size_t a = 0; a < levels.size(); ++a) {
        int const kept_a = levels[a];
        for (std::size_t b = a + 1; b < levels.size(); ++b) {
          int const kept_b = levels[b];
          for (int i = 1; i <= m_scorer.levels(); ++i) {
            for (int j = 1; j <= m_scorer.levels(); ++j) {
              levels[a] = (kept_a + i) % (m_scorer.levels() + 1);
              levels[b] = (kept_b + j) % (m_scorer.levels() + 1);
              consider();
            }
          }
          levels[b] = kept_b;
        }
        levels[a] = kept_a;
      }
    }
    if (best_levels.empty()) return false;
    levels = best_levels;
    score = best;
    return true;
  }

  /// The first better one among random changes of three or four cells, which hold moves and swaps.
  bool improve_by_draw(Levels& levels, double& score)
  {
    int const cells = static_cast<int>(levels.size());
    if (cells < 3) return false;
    Levels const kept = levels;
    for (int i = 0; i < neighbours && !late(); ++i) {
      levels = kept;
      change_cells(levels, std::min(cells, 3 + below(2)), false);
      if (double const value = evaluate(levels); better(value, score)) {
        score = value;
        return true;
      }
    }
    levels = kept;
    return false;
  }
};

/// Fills in the answer where memory alone says that there is no plan; a proof, whatever the search.
void explain_memory(PlanningProblem const& problem, Scorer const& scorer, PlanningAnswer& answer)
{
  double total_need = 0;
  for (int m = 0; m < scorer.models(); ++m) {
    double least_short = std::numeric_limits<double>::infinity(), least_need = least_short;
    int device = -1;
    for (int d = 0; d < scorer.devices(); ++d) {
      for (int level = 1; level <= scorer.levels(); ++level) {
        if (scorer.rate(d, m, level) <= 0) continue;
        double const need = scorer.bytes(d, m, level);
        double const missing = need - problem.memories[problem.devices[d].memory].limit_bytes;
        least_need = std::min(least_need, need);
        if (missing >= least_short) continue;
        least_short = missing;
        device = d;
      }
    }
    total_need += least_need;
    if (least_short <= 0) continue;
    answer.reason = Infeasible::model_too_large;
    answer.model = m;
    answer.device = device;
    answer.bytes_short = least_short;
    answer.explanation = device < 0
                             ? concat("model-too-large: '", problem.models[m], "' runs on no device at any batch size")
                             : concat("model-too-large: '", problem.models[m], "' lacks ", human_bytes(least_short),
                                      " on '", problem.devices[device].name, "', the device that comes closest");
    return;
  }
  double total = 0;
  std::vector<bool> counted(problem.memories.size(), false);
  for (auto const& device : problem.devices) {
    if (!counted[device.memory]) total += problem.memories[device.memory].limit_bytes;
    counted[device.memory] = true;
  }
  if (total_need <= total) return;
  answer.reason = Infeasible::total_short;
  answer.bytes_short = total_need - total;
  answer.explanation =
      concat("total-short: all models together lack ", human_bytes(answer.bytes_short), " on all devices together");
}

/// The search on all devices of a problem.
PlanningAnswer search(PlanningProblem const& problem, PlanningOptions const& options)
{
  PlanningAnswer answer;
  bool const bounded = options.objective == PlanningObjective::throughput_within_latency;
  Scorer scorer(problem, bounded ? options.latency_bound : 0);
  explain_memory(problem, scorer, answer);
  if (answer.reason != Infeasible::none) return answer;
  bool const fits = matrix_count(problem) <= static_cast<double>(options.exact_limit);
  answer.exact = options.method == PlanningMethod::exact || (options.method == PlanningMethod::automatic && fits);
  require(!answer.exact || fits, "planning: exact: ", matrix_count(problem), " matrices are more than the limit of ",
          options.exact_limit);
  Best best(options.keep);
  if (answer.exact) {
    search_exactly(scorer, best);
  } else {
    LocalSearch(scorer, best, options).run();
  }
  answer.scored = scorer.scored();
  for (auto const& found : best.found())
    answer.plans.push_back(make_plan(problem, impl::to_allocation(problem, found.levels), options.segment_size));
  std::stable_sort(answer.plans.begin(), answer.plans.end(),
                   [](Plan const& a, Plan const& b) { return a.segment_throughput > b.segment_throughput; });
  if (!answer.plans.empty()) return answer;
  if (best.bound_was_broken()) {
    answer.reason = Infeasible::bound;
    answer.explanation = concat("bound: no plan", answer.exact ? "" : " was found that", " keeps the latency of ",
                                shortest(options.latency_bound), " s");
  } else if (answer.exact) {
    answer.reason = Infeasible::packing;
    answer.explanation = "packing: the models fit one by one and in total, but no matrix fits them to the devices";
  } else {
    answer.reason = Infeasible::not_found;
    answer.explanation = "not-found: no matrix that fits was found; there may be one";
  }
  return answer;
}

/// The problem on some of its devices.
PlanningProblem restricted(PlanningProblem const& problem, std::vector<int> const& devices)
{
  PlanningProblem part = problem;
  part.devices.clear();
  for (int const d : devices)
    part.devices.push_back(problem.devices[d]);
  return part;
}

/// Sets of `size` devices, one of those that differ only in names. A device's memory tells it from others unless it is
/// its own: pools that only one device draws on are the same if their limits are.
std::vector<std::vector<int>> device_sets(PlanningProblem const& problem, int size)
{
  int const count = static_cast<int>(problem.devices.size());
  std::vector<int> drawing(problem.memories.size(), 0);
  for (auto const& device : problem.devices)
    ++drawing[device.memory];
  auto const same = [&](int a, int b) {
    auto const &x = problem.devices[a], &y = problem.devices[b];
    if (x.device_class != y.device_class) return false;
    bool const own = drawing[x.memory] == 1 && drawing[y.memory] == 1;
    return x.memory == y.memory ||
           (own && problem.memories[x.memory].limit_bytes == problem.memories[y.memory].limit_bytes);
  };
  std::vector<std::vector<int>> sets;
  std::vector<int> set;
  // Among equal devices only the first ones are taken: a device may be left out only if its later equals are, too.
  auto const extend = [&](auto const& self, int next) -> void {
    if (static_cast<int>(set.size()) == size) {
      sets.push_back(set);
      return;
    }
    for (int d = next; d < count; ++d) {
      bool skipped_equal = false;
      for (int e = 0; e < d && !skipped_equal; ++e)
        skipped_equal = same(e, d) && std::find(set.begin(), set.end(), e) == set.end();
      if (skipped_equal) continue;
      set.push_back(d);
      self(self, d + 1);
      set.pop_back();
    }
  };
  extend(extend, 0);
  return sets;
}

/// A plan on some devices as one on all of them.
Plan widened(PlanningProblem const& problem, std::vector<int> const& devices, Plan plan)
{
  Allocation allocation(static_cast<int>(problem.devices.size()), static_cast<int>(problem.models.size()));
  for (std::size_t i = 0; i < devices.size(); ++i)
    for (int m = 0; m < allocation.models; ++m)
      allocation.at(devices[i], m) = plan.allocation.at(static_cast<int>(i), m);
  plan.allocation = std::move(allocation);
  plan.devices.clear();
  for (auto const& device : problem.devices)
    plan.devices.push_back(device.name);
  return plan;
}

PlanningAnswer search_fewest(PlanningProblem const& problem, PlanningOptions const& options)
{
  PlanningAnswer answer;
  double best_rate = 0;
  std::int64_t scored = 0;
  bool exact = true;
  for (int size = 1; size <= static_cast<int>(problem.devices.size()); ++size) {
    std::vector<Plan> reached;
    for (auto const& devices : device_sets(problem, size)) {
      answer = search(restricted(problem, devices), options);
      scored += answer.scored;
      exact = exact && (answer.exact || answer.plans.empty());
      for (auto const& plan : answer.plans) {
        best_rate = std::max(best_rate, plan.throughput);
        if (plan.throughput >= options.rate) reached.push_back(widened(problem, devices, plan));
      }
    }
    if (reached.empty()) continue;
    std::stable_sort(reached.begin(), reached.end(),
                     [](Plan const& a, Plan const& b) { return a.segment_throughput > b.segment_throughput; });
    reached.resize(std::min<std::size_t>(reached.size(), std::max(1, options.keep)));
    answer = {};
    answer.plans = std::move(reached);
    answer.scored = scored;
    answer.exact = exact;
    return answer;
  }
  // The last search had all devices: what kept memory short there keeps it short for good.
  answer.scored = scored;
  if (answer.reason != Infeasible::none) return answer;
  answer.plans.clear();
  answer.reason = Infeasible::bound;
  answer.explanation = concat("bound: the best plan", exact ? "" : " that was found", " serves ", shortest(best_rate),
                              " samples/s, ", shortest(options.rate), " are asked for");
  return answer;
}

void check(PlanningOptions const& options)
{
  require(options.objective != PlanningObjective::throughput_within_latency ||
              (options.latency_bound > 0 && std::isfinite(options.latency_bound)),
          "planning: latency_bound must be positive, got ", options.latency_bound);
  require(options.objective != PlanningObjective::fewest_devices || (options.rate > 0 && std::isfinite(options.rate)),
          "planning: rate must be positive, got ", options.rate);
  require(options.keep > 0, "planning: keep must be positive, got ", options.keep);
  require(options.restarts >= 0, "planning: restarts must not be negative, got ", options.restarts);
  require(options.segment_size > 0, "planning: segment_size must be positive, got ", options.segment_size);
  require(options.time_limit_seconds > 0, "planning: time_limit_seconds must be positive, got ",
          options.time_limit_seconds);
}

} // namespace

std::string name(Infeasible reason)
{
  switch (reason) {
  case Infeasible::none:
    return "none";
  case Infeasible::model_too_large:
    return "model-too-large";
  case Infeasible::total_short:
    return "total-short";
  case Infeasible::packing:
    return "packing";
  case Infeasible::not_found:
    return "not-found";
  case Infeasible::bound:
    return "bound";
  }
  return "unknown";
}

PlanningAnswer plan_allocation(PlanningProblem const& problem, PlanningOptions const& options)
{
  check(problem);
  check(options);
  auto answer = options.objective == PlanningObjective::fewest_devices ? search_fewest(problem, options)
                                                                       : search(problem, options);
  for (auto const& device : problem.devices) {
    auto const& gain = problem.classes[device.device_class].gain;
    answer.co_location_helps = answer.co_location_helps || *std::max_element(gain.begin(), gain.end()) > 1;
  }
  return answer;
}

Allocation worst_fit(PlanningProblem const& problem, int fixed_batch)
{
  check(problem);
  auto const found = std::find(problem.batches.begin(), problem.batches.end(), fixed_batch);
  require(fixed_batch == 0 || found != problem.batches.end(), "planning: batch ", fixed_batch, " was not measured");
  int const level = fixed_batch == 0 ? 0 : 1 + static_cast<int>(found - problem.batches.begin());
  return impl::to_allocation(problem, impl::worst_fit(Scorer(problem), level));
}

Allocation round_robin(PlanningProblem const& problem)
{
  check(problem);
  return impl::to_allocation(problem, impl::round_robin(Scorer(problem)));
}

Allocation longest_first(PlanningProblem const& problem)
{
  check(problem);
  return impl::to_allocation(problem, impl::longest_first(Scorer(problem)));
}

} // namespace nasturtium::ensemble
