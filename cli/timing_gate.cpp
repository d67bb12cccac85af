// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "timing_gate.hpp"

#include "comparison.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace nasturtium::cli {

namespace {

/// The ratio of the medians of resamples of two samples, as a distribution: all pairs of medians that they can have.
class RatioDistribution
{
public:
  RatioDistribution(std::vector<double> const& base, std::vector<double> const& now)
      : m_base(bootstrap_medians(base)), m_now(bootstrap_medians(now))
  {
  }

  /// Probability of a ratio of at most `bound`. O(sum of both numbers of medians).
  double at_most(double bound) const
  {
    return sum([&](double now, double base) { return now <= bound * base; });
  }
  /// Of at least `bound`.
  double at_least(double bound) const
  {
    return 1 - sum([&](double now, double base) { return now < bound * base; });
  }

  /// The least ratio with a probability of at least `level` at or below it, to nine digits.
  double quantile(double level) const
  {
    double low = m_now.front().first / m_base.back().first, high = m_now.back().first / m_base.front().first;
    if (at_most(low) >= level) return low;
    while (high > low * (1 + 1e-9)) {
      double const middle = std::sqrt(low * high);
      (at_most(middle) >= level ? high : low) = middle;
    }
    return high;
  }

private:
  /// Probability of all pairs that are `within`; if one is, so are those with less in the new and more in the base.
  template <class Within>
  double sum(Within const& within) const
  {
    double sum = 0, below = 0;
    std::size_t next = 0;
    for (auto const& [median, probability] : m_base) {
      for (; next < m_now.size() && within(m_now[next].first, median); ++next)
        below += m_now[next].second;
      sum += probability * below;
    }
    return sum;
  }

  std::vector<std::pair<double, double>> m_base, m_now;
};

/// Mann and Whitney's probability of `slow`, once it is scaled by 1 / factor, being as far above `fast`.
double rank_probability(std::vector<double> const& slow, std::vector<double> fast, double factor)
{
  for (auto& value : fast)
    value *= factor;
  return rank_sum_greater(slow, fast);
}

GateRow compare(Timing const& base, Timing const& now, GateOptions const& options)
{
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  GateRow row;
  row.name = base.name;
  row.base_count = static_cast<std::int64_t>(base.seconds.size());
  row.new_count = static_cast<std::int64_t>(now.seconds.size());
  row.base_median = median(base.seconds);
  row.new_median = median(now.seconds);
  row.ratio = row.new_median / row.base_median;
  row.low = row.high = nan;
  if (base.seconds.empty()) {
    row.note = concat("failed in the base: ", base.failure);
  } else if (now.seconds.empty()) {
    row.verdict = Verdict::failed;
    row.note = now.failure;
  } else if (base.seconds.size() == 1 || now.seconds.size() == 1) {
    row.note = concat("one repetition in ",
                      base.seconds.size() > 1  ? "the new file"
                      : now.seconds.size() > 1 ? "the base"
                                               : "both files",
                      ": no interval can be made");
  } else {
    RatioDistribution const ratio(base.seconds, now.seconds);
    row.low = ratio.quantile(0.5 * (1 - options.confidence));
    row.high = ratio.quantile(0.5 * (1 + options.confidence));
    double const most = 1 + options.threshold;
    row.p_slower = std::max(ratio.at_most(most), rank_probability(now.seconds, base.seconds, most));
    row.p_faster = std::max(ratio.at_least(1 / most), rank_probability(base.seconds, now.seconds, most));
  }
  return row;
}

/// Replaces the p values by adjusted ones; benchmarks without an interval make no test and cost the others nothing.
void adjust(std::vector<GateRow>& rows, double GateRow::* p_value)
{
  std::vector<double> values;
  for (auto const& row : rows)
    if (std::isfinite(row.low)) values.push_back(row.*p_value);
  auto const adjusted = holm(values);
  auto next = adjusted.begin();
  for (auto& row : rows)
    if (std::isfinite(row.low)) row.*p_value = *next++;
}

std::vector<Timing> comparison_timings(json::Value const& document, std::string const& source,
                                       std::string const& device)
{
  std::vector<Timing> timings;
  auto comparison = parse_comparison(document, source);
  require(device.empty() || comparison.find_device(device) != nullptr, source, ": has no device ", quoted(device));
  for (auto& timing : comparison.timings) {
    if (!device.empty() && timing.device != device) continue;
    std::string name = device.empty() ? concat(timing.device, " ", timing.label()) : timing.label();
    timings.push_back({std::move(name), std::move(timing.seconds), std::move(timing.failure)});
  }
  return timings;
}

double unit_seconds(std::string const& unit, std::string const& what)
{
  for (auto const& [name, seconds] : {std::pair{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1.0}})
    if (unit == name) return seconds;
  fail(what, ": must be ns, us, ms or s, got ", quoted(unit));
}

/// Google Benchmark writes many fields that mean nothing here; those that do are strict.
std::vector<Timing> google_timings(json::Value const& document, std::string const& source)
{
  std::vector<Timing> timings;
  std::map<std::string, std::size_t> places;
  json::Reader reader(document, source);
  std::size_t number = 0;
  bool aggregates = false;
  for (auto const& item : reader.array("benchmarks")) {
    json::Reader run(item, concat(source, ": benchmarks[", number++, "]"));
    if (run.choice("run_type", {"iteration", "aggregate"}, 0) == 1) {
      aggregates = true;
      continue;
    }
    std::string const name = run.has("run_name") ? run.string("run_name") : run.string("name");
    auto const [place, added] = places.emplace(name, timings.size());
    if (added) timings.push_back({name, {}, {}});
    auto& timing = timings[place->second];
    if (run.boolean("error_occurred", false)) {
      timing.failure = run.string("error_message", "an error without a message");
      require(!timing.failure.empty(), run.what("error_message"), ": must not be empty");
      continue;
    }
    double const unit = unit_seconds(run.string("time_unit", "ns"), run.what("time_unit"));
    double const seconds = unit * run.number("real_time", json::above(0));
    require(seconds > 0, run.what("real_time"), ": ", quoted(shortest(seconds)), " s is no time");
    require(timing.seconds.size() < max_repetitions, run.where(), ": ", quoted(name), " has more than ",
            max_repetitions, " repetitions");
    timing.seconds.push_back(seconds);
  }
  require(!timings.empty(), source, ": field 'benchmarks' holds no ",
          aggregates ? "repetitions, only aggregates (leave --benchmark_report_aggregates_only out)" : "benchmark");
  for (auto& timing : timings)
    if (!timing.failure.empty()) timing.seconds.clear(); // where one repetition failed the others mean nothing
  return timings;
}

} // namespace

std::vector<Timing> parse_timings(json::Value const& document, std::string const& source, std::string const& device)
{
  auto const& object = json::to_object(document, source);
  if (object.contains("format")) return comparison_timings(document, source, device);
  require(object.contains("benchmarks"), source,
          ": is neither a file of nasturtium compare run (field 'format') nor one of "
          "Google Benchmark (field 'benchmarks')");
  require(device.empty(), source, ": is of Google Benchmark and has no device ", quoted(device));
  return google_timings(document, source);
}

std::string name(Verdict verdict)
{
  switch (verdict) {
  case Verdict::slower:
    return "slower";
  case Verdict::faster:
    return "faster";
  case Verdict::same:
    return "same";
  case Verdict::unclear:
    return "unclear";
  case Verdict::failed:
    return "failed";
  }
  return {};
}

bool GateResult::regression() const
{
  return std::any_of(rows.begin(), rows.end(), [](GateRow const& row) {
    return row.verdict == Verdict::slower || row.verdict == Verdict::failed;
  });
}

GateResult compare_timings(std::span<Timing const> base, std::span<Timing const> now, GateOptions const& options)
{
  require(options.threshold >= 0 && options.threshold <= 100, "--threshold must be in [0, 100], got ",
          shortest(options.threshold));
  require(options.confidence > 0 && options.confidence < 1, "--confidence must be in (0, 1), got ",
          shortest(options.confidence));
  std::map<std::string, Timing const*> by_name;
  for (auto const& timing : now)
    by_name.emplace(timing.name, &timing);
  GateResult result;
  for (auto const& timing : base)
    if (auto const other = by_name.find(timing.name); other != by_name.end()) {
      result.rows.push_back(compare(timing, *other->second, options));
      by_name.erase(other);
    } else {
      result.only_in_base.push_back(timing.name);
    }
  for (auto const& timing : now)
    if (by_name.contains(timing.name)) result.only_in_new.push_back(timing.name);
  adjust(result.rows, &GateRow::p_slower);
  adjust(result.rows, &GateRow::p_faster);
  double const alpha = 1 - options.confidence, most = 1 + options.threshold;
  for (auto& row : result.rows) {
    if (!std::isfinite(row.low)) continue;
    if (row.p_slower <= alpha)
      row.verdict = Verdict::slower;
    else if (row.p_faster <= alpha)
      row.verdict = Verdict::faster;
    else if (row.low >= 1 / most && row.high <= most)
      row.verdict = Verdict::same;
  }
  return result;
}

Table to_table(GateResult const& result)
{
  Table table({{"benchmark"},
               {"n"},
               {"base, ms", 4},
               {"new, ms", 4},
               {"ratio", 3},
               {"from", 3},
               {"to", 3},
               {"p slower", 4},
               {"verdict"},
               {"note"}});
  auto const number = [](double value) { return std::isfinite(value) ? Cell(value) : Cell(); };
  for (auto const& row : result.rows)
    table.add_row({row.name, concat(row.base_count, "+", row.new_count), number(1e3 * row.base_median),
                   number(1e3 * row.new_median), number(row.ratio), number(row.low), number(row.high),
                   std::isfinite(row.low) ? Cell(row.p_slower) : Cell(), name(row.verdict), row.note});
  return table;
}

json::Value to_json(GateResult const& result)
{
  json::Array rows;
  auto const number = [](double value) { return std::isfinite(value) ? json::Value(value) : json::Value(nullptr); };
  for (auto const& row : result.rows)
    rows.emplace_back(json::Object{{"name", row.name},
                                   {"base_repetitions", row.base_count},
                                   {"new_repetitions", row.new_count},
                                   {"base_median_seconds", number(row.base_median)},
                                   {"new_median_seconds", number(row.new_median)},
                                   {"ratio", number(row.ratio)},
                                   {"interval", json::Array{number(row.low), number(row.high)}},
                                   {"p_slower", row.p_slower},
                                   {"p_faster", row.p_faster},
                                   {"verdict", name(row.verdict)},
                                   {"note", row.note}});
  return json::Object{{"regression", result.regression()},
                      {"benchmarks", std::move(rows)},
                      {"only_in_base", json::Array(result.only_in_base.begin(), result.only_in_base.end())},
                      {"only_in_new", json::Array(result.only_in_new.begin(), result.only_in_new.end())}};
}

} // namespace nasturtium::cli
