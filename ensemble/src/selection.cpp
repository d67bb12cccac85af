// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "scorer.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/front.hpp>
#include <nasturtium/ensemble/score.hpp>
#include <nasturtium/nas/random.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <tuple>

namespace nasturtium::ensemble {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int budget_steps = 20, scalarization_steps = 20;
constexpr int most_prefix_runs = 64, all_prefixes_below = 256;
constexpr int most_rejections = 10, most_acceptances = 50;
constexpr int bags = 10;
constexpr std::int64_t bagging_below = 2000;
constexpr int long_run = 100; // of hapens
constexpr int nes_members = 30, expansions = 50;
constexpr double cost_slack = 1 + 1e-12; // sums of the same costs in another order are no other sum

class Selector
{
public:
  Selector(PredictionPool const& pool, SelectionOptions const& options)
      : m_pool(pool), m_options(options), m_models(static_cast<std::size_t>(pool.size()))
  {
    check_pool(pool);
    require(options.picks >= 1, "selection: picks must be at least 1, got ", options.picks);
    require(options.prefilter >= 0, "selection: prefilter must be at least 0, got ", options.prefilter);
    require(options.prefilter == 0 || (options.objective == Objective::nll && options.pooling == Pooling::mean),
            "selection: prefilter needs objective nll and pooling mean");
    m_costs = costs_of(pool, options.cost_axis);
    m_total_cost = std::accumulate(m_costs.begin(), m_costs.end(), 0.0);
    m_scorer = impl::make_scorer(pool.select, options);
    m_all.resize(m_models);
    std::iota(m_all.begin(), m_all.end(), 0);
    m_losses.resize(m_models);
    m_scorer->losses(m_all, m_losses);
    m_single = m_losses;
    m_by_cost = m_all;
    std::sort(m_by_cost.begin(), m_by_cost.end(), [&](std::int32_t a, std::int32_t b) {
      return std::tuple(cost(a), rounded(single(a)), a) < std::tuple(cost(b), rounded(single(b)), b);
    });
    m_by_loss = m_all;
    std::sort(m_by_loss.begin(), m_by_loss.end(), [&](std::int32_t a, std::int32_t b) {
      return std::tuple(rounded(single(a)), cost(a), a) < std::tuple(rounded(single(b)), cost(b), b);
    });
  }

  std::vector<Choice> greedy(std::span<std::int32_t const> candidates, double budget, std::string const& origin)
  {
    begin();
    std::vector<Choice> prefixes;
    std::size_t best = 0;
    for (int step = 0; step < m_options.picks; ++step) {
      std::vector<std::int32_t> affordable;
      for (std::int32_t const model : candidates)
        if (count(model) > 0 || m_cost + cost(model) <= budget * cost_slack) affordable.push_back(model);
      if (affordable.empty()) break;
      keep_promising(affordable);
      m_scorer->losses(affordable, m_losses);
      pick(affordable, [&](std::int32_t model, double loss) {
        return std::tuple(rounded(loss), count(model) > 0 ? 0 : 1, cost(model), model);
      });
      prefixes.push_back(choice(origin));
      if (rounded(m_loss) < rounded(prefixes[best].loss)) best = prefixes.size() - 1;
    }
    if (!prefixes.empty()) prefixes.resize(best + 1);
    return prefixes;
  }

  void prefix_archive()
  {
    std::set<std::size_t> lengths;
    if (m_models <= all_prefixes_below)
      for (std::size_t p = 1; p <= m_models; ++p)
        lengths.insert(p);
    else
      for (int q = 0; q < most_prefix_runs; ++q)
        lengths.insert(static_cast<std::size_t>(
            std::lround(std::pow(static_cast<double>(m_models), q / (most_prefix_runs - 1.0)))));
    for (std::size_t const p : lengths)
      archive_run(std::span(m_by_cost).first(p), concat("prefix ", p));
  }

  void budget_grid()
  {
    double const least = *std::min_element(m_costs.begin(), m_costs.end());
    double const most = m_models <= 64 ? m_total_cost : 2 * *std::max_element(m_costs.begin(), m_costs.end());
    for (int q = 0; q < budget_steps; ++q) {
      double const budget = least * std::pow(most / least, q / (budget_steps - 1.0));
      archive(greedy(m_all, budget, concat("budget ", q)));
    }
  }

  /// Every point of the front by itself: exchanges and additions within its own cost, confirmed on `check`.
  void swaps()
  {
    for (Choice const& point : non_dominated(m_archive))
      swap(point);
  }

  void plain_run() { archive_run(m_all, "caruana"); }

  /// All steps, random ties, whatever the loss does; the last ensemble alone.
  void untruncated_run(int steps)
  {
    nas::Random random(m_options.seed, 0);
    begin();
    for (int step = 0; step < steps; ++step) {
      m_scorer->losses(m_all, m_losses);
      double const least = *std::min_element(m_losses.begin(), m_losses.end());
      std::vector<std::int32_t> best;
      for (std::int32_t const model : m_all)
        if (m_losses[index(model)] == least) best.push_back(model);
      take(best[static_cast<std::size_t>(random.below(static_cast<int>(best.size())))], least);
    }
    m_archive.push_back(choice(concat("caruana ", steps)));
  }

  /// (1 - l) loss + l cost, both scaled to [0, 1] over the candidates of a step. As HAPEns does it, a copy of a member
  /// is charged like a new one, though it costs nothing.
  void scalarized_runs(int steps)
  {
    auto const [least_cost, most_cost] = std::minmax_element(m_costs.begin(), m_costs.end()); // those before cancel
    for (int q = 0; q < scalarization_steps; ++q) {
      double const weight = q / (scalarization_steps - 1.0);
      begin();
      for (int step = 0; step < steps; ++step) {
        m_scorer->losses(m_all, m_losses);
        auto const [least_loss, most_loss] = std::minmax_element(m_losses.begin(), m_losses.end());
        auto const scaled = [](double value, double low, double high) {
          return high > low ? (value - low) / (high - low) : 0;
        };
        double const low = *least_loss, high = *most_loss;
        auto const score = [&](std::int32_t model, double loss) {
          return (1 - weight) * scaled(loss, low, high) + weight * scaled(cost(model), *least_cost, *most_cost);
        };
        pick(m_all,
             [&](std::int32_t model, double loss) { return std::tuple(score(model, loss), cost(model), model); });
        m_archive.push_back(choice(concat("scalarization ", q)));
      }
    }
  }

  /// Forward selection without replacement; every size.
  void without_replacement()
  {
    begin();
    std::vector<std::int32_t> left = m_all;
    for (int step = 0; step < nes_members && !left.empty(); ++step) {
      m_scorer->losses(left, m_losses);
      std::int32_t const chosen =
          pick(left, [&](std::int32_t model, double loss) { return std::tuple(rounded(loss), cost(model), model); });
      std::erase(left, chosen);
      m_archive.push_back(choice("nes"));
    }
  }

  /// Adds the member with the most negative entry of the Brier score's gradient; stops where that makes it worse.
  void by_gradient()
  {
    impl::GramTerms terms(m_pool.select);
    std::vector<double> h(m_models, 0.0);
    begin();
    double before = infinity;
    for (int step = 0; step < long_run; ++step) {
      std::int32_t best = 0;
      auto const slope = [&](std::int32_t model) { return h[index(model)] / std::max(m_picks, 1) - terms.sum(model); };
      for (std::int32_t const model : m_all)
        if (slope(model) < slope(best)) best = model;
      auto with = m_counts;
      ++with[index(best)];
      double const brier = loss_of(m_pool.select, members_of(with), Objective::brier, Pooling::mean);
      if (!(brier < before)) break;
      before = brier;
      std::int32_t const only[]{best};
      m_scorer->losses(only, m_losses);
      take(best, m_losses[0]);
      auto const& column = terms.column(best);
      for (std::size_t a = 0; a < m_models; ++a)
        h[a] += column[a];
      m_archive.push_back(choice("gradient"));
    }
  }

  void best_singles(std::size_t most)
  {
    begin();
    for (std::size_t k = 0; k < std::min(most, m_models); ++k) {
      std::int32_t const only[]{m_by_loss[k]};
      m_scorer->losses(only, m_losses);
      take(only[0], m_losses[0]);
      m_archive.push_back(choice(concat("top ", k + 1)));
    }
  }

  /// Best-first over sets of models: the set of the least loss is opened next, and every model is added to it.
  void best_first()
  {
    OpenSets open;
    std::set<std::vector<std::int32_t>> seen;
    for (std::int32_t const model : m_all)
      add_set(open, seen, {model}, single(model), cost(model));
    for (int step = 0; step < expansions && !open.empty(); ++step) {
      auto const [loss, before, set] = *open.begin();
      open.erase(open.begin());
      begin();
      for (std::int32_t const model : set)
        take(model, loss);
      std::vector<std::int32_t> others;
      std::set_difference(m_all.begin(), m_all.end(), set.begin(), set.end(), std::back_inserter(others));
      m_scorer->losses(others, m_losses);
      for (std::size_t i = 0; i < others.size(); ++i) {
        auto larger = set;
        larger.insert(std::lower_bound(larger.begin(), larger.end(), others[i]), others[i]);
        add_set(open, seen, std::move(larger), m_losses[i], before + cost(others[i]));
      }
    }
  }

  std::vector<Choice> front() { return non_dominated(std::move(m_archive)); }

private:
  using OpenSets = std::set<std::tuple<double, double, std::vector<std::int32_t>>>;

  PredictionPool const& m_pool;
  SelectionOptions m_options;
  std::size_t m_models;
  std::vector<double> m_costs, m_single;
  double m_total_cost = 0;
  std::vector<std::int32_t> m_all, m_by_cost, m_by_loss;
  std::unique_ptr<impl::Scorer> m_scorer;
  std::vector<Choice> m_archive;
  std::uint32_t m_runs = 0;

  // The ensemble at hand, as the scorer holds it.
  std::vector<int> m_counts;
  int m_picks = 0;
  double m_cost = 0, m_loss = 0;
  std::vector<double> m_losses; ///< of the candidates at hand

  static std::size_t index(std::int32_t model) { return static_cast<std::size_t>(model); }
  double cost(std::int32_t model) const { return m_costs[index(model)]; }
  double single(std::int32_t model) const { return m_single[index(model)]; }
  int count(std::int32_t model) const { return m_counts[index(model)]; }

  void begin()
  {
    m_scorer->clear();
    m_counts.assign(m_models, 0);
    m_picks = 0;
    m_cost = m_loss = 0;
  }

  void take(std::int32_t model, double loss)
  {
    m_scorer->add(model, 1);
    if (m_counts[index(model)]++ == 0) m_cost += cost(model);
    ++m_picks;
    m_loss = loss;
  }

  /// Takes the candidate of the least key(model, loss).
  template <class Key>
  std::int32_t pick(std::span<std::int32_t const> candidates, Key const& key)
  {
    std::size_t best = 0;
    for (std::size_t i = 1; i < candidates.size(); ++i)
      if (key(candidates[i], m_losses[i]) < key(candidates[best], m_losses[best])) best = i;
    take(candidates[best], m_losses[best]);
    return candidates[best];
  }

  static std::vector<Member> members_of(std::vector<int> const& counts)
  {
    std::vector<Member> members;
    for (std::size_t i = 0; i < counts.size(); ++i)
      if (counts[i] > 0) members.push_back({static_cast<int>(i), counts[i]});
    return members;
  }

  Choice choice(std::string origin) const { return make_choice(members_of(m_counts), m_loss, std::move(origin)); }

  Choice make_choice(std::vector<Member> members, double loss, std::string origin) const
  {
    double sum = 0; // by number, whatever the order of the picks
    for (Member const& member : members)
      sum += m_costs[static_cast<std::size_t>(member.model)];
    return {std::move(members), sum, loss, std::move(origin)};
  }

  void archive(std::vector<Choice> choices)
  {
    std::move(choices.begin(), choices.end(), std::back_inserter(m_archive));
  }

  void archive_run(std::span<std::int32_t const> candidates, std::string const& origin)
  {
    archive(greedy(candidates, infinity, origin));
    if (!m_options.bagging || m_pool.select.samples() >= bagging_below || candidates.size() < 4) return;
    std::vector<int> sum(m_models, 0);
    nas::Random random(m_options.seed, ++m_runs);
    for (int bag = 0; bag < bags; ++bag) {
      std::vector<std::int32_t> part(candidates.begin(), candidates.end());
      std::size_t const half = (part.size() + 1) / 2;
      for (std::size_t i = 0; i < half; ++i) // a random half in front
        std::swap(part[i], part[i + static_cast<std::size_t>(random.below(static_cast<int>(part.size() - i)))]);
      part.resize(half);
      std::sort(part.begin(), part.end());
      auto const run = greedy(part, infinity, origin);
      for (Member const& member : run.back().members)
        sum[static_cast<std::size_t>(member.model)] += member.count;
    }
    auto members = members_of(sum);
    double const loss = loss_of(m_pool.select, members, m_options.objective, m_options.pooling);
    m_archive.push_back(make_choice(std::move(members), loss, "bagged " + origin));
  }

  /// Leaves the options.prefilter candidates of the steepest descent, in their order; the derivative of the loss with
  /// respect to a copy of model j is 1 / k - (1/N) sum of q_ji / S_i.
  void keep_promising(std::vector<std::int32_t>& candidates) const
  {
    auto const most = static_cast<std::size_t>(m_options.prefilter);
    if (most == 0 || candidates.size() <= most || m_picks == 0) return;
    std::vector<double> weights(static_cast<std::size_t>(m_pool.select.samples()), 0.0);
    for (Member const& member : members_of(m_counts)) {
      auto const q = m_pool.select.column(member.model);
      for (std::size_t i = 0; i < weights.size(); ++i)
        weights[i] += member.count * static_cast<double>(q[i]);
    }
    for (double& weight : weights)
      weight = 1 / std::max(weight, least_probability * m_picks);
    std::vector<std::pair<double, std::int32_t>> ranked;
    for (std::int32_t const model : candidates) {
      auto const q = m_pool.select.column(model);
      double sum = 0;
      for (std::size_t i = 0; i < weights.size(); ++i)
        sum += static_cast<double>(q[i]) * weights[i];
      ranked.emplace_back(-sum, model);
    }
    std::nth_element(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(most), ranked.end());
    candidates.clear();
    for (std::size_t i = 0; i < most; ++i)
      candidates.push_back(ranked[i].second);
    std::sort(candidates.begin(), candidates.end());
  }

  void swap(Choice const& point)
  {
    struct Move
    {
      double loss;
      std::vector<Member> members;
    };
    auto const check_loss = [&](std::vector<Member> const& members) {
      return rounded(loss_of(m_pool.check, members, m_options.objective, m_options.pooling));
    };
    std::vector<Member> at = point.members;
    double loss = point.loss, checked = check_loss(at);
    int rejections = 0, acceptances = 0;
    for (bool improved = true; improved && rejections < most_rejections && acceptances < most_acceptances;) {
      improved = false;
      std::vector<Move> moves;
      // No removal, then the removal of one copy of each member; whatever is added stays within the point's cost.
      for (std::size_t out = 0; out <= at.size(); ++out) {
        std::vector<int> counts(m_models, 0);
        for (Member const& member : at)
          counts[static_cast<std::size_t>(member.model)] = member.count;
        if (out > 0) --counts[static_cast<std::size_t>(at[out - 1].model)];
        auto const base = members_of(counts);
        double base_cost = 0;
        for (Member const& member : base)
          base_cost += m_costs[static_cast<std::size_t>(member.model)];
        std::vector<std::int32_t> affordable;
        for (std::int32_t const model : m_all)
          if ((out == 0 || model != at[out - 1].model) &&
              (counts[index(model)] > 0 || base_cost + cost(model) <= point.cost * cost_slack))
            affordable.push_back(model);
        m_scorer->set(base);
        m_scorer->losses(affordable, m_losses);
        for (std::size_t i = 0; i < affordable.size(); ++i) {
          if (!(rounded(m_losses[i]) < rounded(loss))) continue;
          ++counts[index(affordable[i])];
          moves.push_back({m_losses[i], members_of(counts)});
          --counts[index(affordable[i])];
        }
      }
      std::stable_sort(moves.begin(), moves.end(),
                       [](Move const& a, Move const& b) { return rounded(a.loss) < rounded(b.loss); });
      for (Move& move : moves) {
        if (rejections == most_rejections) break;
        double const with = check_loss(move.members);
        if (with > checked) {
          ++rejections;
          continue;
        }
        at = std::move(move.members);
        loss = move.loss;
        checked = with;
        ++acceptances;
        improved = true;
        break;
      }
    }
    if (acceptances > 0) m_archive.push_back(make_choice(std::move(at), loss, "swap"));
  }

  void add_set(OpenSets& open, std::set<std::vector<std::int32_t>>& seen, std::vector<std::int32_t> set, double loss,
               double cost)
  {
    if (!seen.insert(set).second) return;
    std::vector<Member> members;
    for (std::int32_t const model : set)
      members.push_back({model, 1});
    m_archive.push_back(make_choice(std::move(members), loss, "dijkstra"));
    open.emplace(rounded(loss), cost, std::move(set));
  }
};

struct Preset
{
  char const* name;
  void (*fill)(Selector&);
};

constexpr Preset presets[]{
    {"front",
     [](Selector& it) {
       it.prefix_archive();
       it.budget_grid();
       it.swaps();
     }},
    {"prefix", [](Selector& it) { it.prefix_archive(); }},
    {"budget", [](Selector& it) { it.budget_grid(); }},
    {"caruana-25", [](Selector& it) { it.plain_run(); }},
    {"caruana-50-last", [](Selector& it) { it.untruncated_run(50); }},
    {"hapens", [](Selector& it) { it.scalarized_runs(long_run); }},
    {"nes", [](Selector& it) { it.without_replacement(); }},
    {"grad-informed", [](Selector& it) { it.by_gradient(); }},
    {"scalarizations", [](Selector& it) { it.scalarized_runs(25); }},
    {"top-k", [](Selector& it) { it.best_singles(std::numeric_limits<std::size_t>::max()); }},
    {"dijkstra", [](Selector& it) { it.best_first(); }},
    {"best-single", [](Selector& it) { it.best_singles(1); }},
};

} // namespace

int Choice::picks() const
{
  int sum = 0;
  for (Member const& member : members)
    sum += member.count;
  return sum;
}

double rounded(double loss)
{
  return std::round(loss * 1e6);
}

std::vector<std::string> preset_names()
{
  std::vector<std::string> names;
  for (Preset const& preset : presets)
    names.emplace_back(preset.name);
  return names;
}

std::vector<Choice> select(PredictionPool const& pool, std::string const& preset, SelectionOptions const& options)
{
  std::string known;
  for (Preset const& it : presets) {
    if (it.name != preset) {
      known += (known.empty() ? "" : ", ") + std::string(it.name);
      continue;
    }
    Selector selector(pool, options);
    it.fill(selector);
    return selector.front();
  }
  fail("selection: preset ", quoted(preset), " is unknown (there are: ", known, ")");
}

std::vector<Choice> greedy_run(PredictionPool const& pool, SelectionOptions const& options,
                               std::span<std::int32_t const> candidates, double budget)
{
  for (std::int32_t const model : candidates)
    require(model >= 0 && model < pool.size(), "selection: candidate ", model, " of ", pool.size(), " models");
  return Selector(pool, options).greedy(candidates, budget, "greedy");
}

} // namespace nasturtium::ensemble
