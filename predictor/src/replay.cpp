// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/predictor/metrics.hpp>
#include <nasturtium/predictor/replay.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

namespace nasturtium::predictor {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double slack = 1 - 1e-9; // epochs are sums of steps

// Points of a curve that a training of e_pred epochs would have.
std::size_t points_until(RecordedCurve const& curve, double e_pred)
{
  return static_cast<std::size_t>(std::upper_bound(curve.epochs.begin(), curve.epochs.end(), e_pred / slack) -
                                  curve.epochs.begin());
}

bool reaches(RecordedCurve const& curve, double e_pred)
{
  std::size_t const points = points_until(curve, e_pred);
  // A point after e_pred shows that the training went on, so the last one before is the final value.
  return points > 0 && (curve.epochs[points - 1] >= e_pred * slack || points < curve.points());
}

class Player
{
public:
  Player(CurveSet const& set, Settings const& settings, ReplayOptions const& options)
      : m_settings(settings), m_options(options), m_method(make_method(settings))
  {
    m_replay.method = settings.name;
    m_replay.e_pred = settings.e_pred;
    for (auto const& curve : set.curves) {
      std::size_t const points = points_until(curve, settings.e_pred);
      if (points == 0) continue;
      m_tracks.push_back({&curve, points, 0, {}, false});
      auto& result = m_replay.curves.emplace_back();
      result.id = curve.id;
      result.final_value = predictor::final_value(curve, settings.e_pred);
      result.full_epoch = reaches(curve, settings.e_pred) || !curve.failed ? settings.e_pred : curve.epochs[points - 1];
    }
  }

  Replay play()
  {
    for (std::size_t i = 0; i < m_tracks.size(); ++i)
      run(i, false);
    release();
    resume();
    return std::move(m_replay);
  }

private:
  struct Track
  {
    RecordedCurve const* curve;
    std::size_t points; // until e_pred
    std::size_t next;
    Prediction last;
    bool waiting;
  };

  // Trains on until the method stops or pauses the curve, or it ends; `to_end`: whatever the method says.
  void run(std::size_t index, bool to_end)
  {
    auto& track = m_tracks[index];
    auto const& curve = *track.curve;
    track.waiting = false;
    while (track.next < track.points) {
      std::size_t const point = track.next++;
      Stopwatch watch;
      track.last = m_method->observe(curve.id, curve.epochs[point], curve.values[point], curve.covariates[point]);
      double const seconds = watch.seconds();
      m_replay.seconds += seconds;
      m_replay.most_seconds = std::max(m_replay.most_seconds, seconds);
      ++m_replay.observations;
      if (m_options.trace) m_options.trace(curve, point, track.last);
      if (to_end) continue;
      if (track.last.decision == Decision::pause && track.next < track.points) {
        track.waiting = true;
        return;
      }
      if (track.last.decision == Decision::stop) {
        close(index, true);
        return;
      }
    }
    close(index, false);
  }

  double incumbent() const { return std::isnan(m_settings.incumbent) ? m_best_final : m_settings.incumbent; }

  void close(std::size_t index, bool stopped)
  {
    auto& track = m_tracks[index];
    auto const& curve = *track.curve;
    auto& result = m_replay.curves[index];
    std::size_t const last = track.next - 1;
    result.points = track.next;
    result.stop_epoch = curve.epochs[last];
    result.last_value = curve.values[last];
    result.best_value =
        *std::max_element(curve.values.begin(), curve.values.begin() + static_cast<std::ptrdiff_t>(last) + 1);
    result.reason = track.last.reason;
    if (!curve.seconds.empty()) {
      result.seconds = curve.seconds[last];
      result.full_seconds = curve.seconds[track.points - 1];
    }
    result.interval_50 = track.last.interval_50;
    result.interval_80 = track.last.interval_80;
    result.interval_90 = track.last.interval_90;
    result.p_beat = track.last.p_beat;
    result.incumbent = incumbent();
    bool const ended = track.next == track.points;
    result.failed = ended && curve.failed && track.points == curve.points();
    // A stop at the last point saves nothing, but the engine's word counts (the published rule).
    result.converged = stopped && std::isfinite(track.last.value);
    result.complete = ended && !result.failed && reaches(curve, m_settings.e_pred) && !result.converged;
    result.prediction = result.converged                                      ? track.last.value
                        : result.complete || !std::isfinite(track.last.value) ? result.last_value
                                                                              : track.last.value;
    Stopwatch watch;
    if (ended && !result.failed && reaches(curve, m_settings.e_pred)) {
      m_method->finish(curve.id);
      m_best_final = std::isnan(m_best_final) ? result.last_value : std::max(m_best_final, result.last_value);
    } else {
      m_method->abandon(curve.id);
    }
    m_replay.seconds += watch.seconds();
  }

  // The method's own verdicts on curves that wait, as long as they change.
  void release()
  {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < m_tracks.size(); ++i) {
        if (!m_tracks[i].waiting) continue;
        m_tracks[i].last = m_method->review(m_tracks[i].curve->id);
        if (m_tracks[i].last.decision == Decision::pause) continue;
        changed = true;
        if (m_tracks[i].last.decision == Decision::stop) {
          m_tracks[i].waiting = false;
          close(i, true);
        } else {
          run(i, false);
        }
      }
    }
  }

  void resume()
  {
    std::vector<std::size_t> waiting;
    for (std::size_t i = 0; i < m_tracks.size(); ++i)
      if (m_tracks[i].waiting) waiting.push_back(i);
    std::stable_sort(waiting.begin(), waiting.end(),
                     [&](std::size_t l, std::size_t r) { return m_tracks[l].last.value > m_tracks[r].last.value; });
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      auto& track = m_tracks[waiting[i]];
      if (static_cast<int>(i) < m_options.resume) {
        run(waiting[i], true);
        least = std::min(least, m_replay.curves[waiting[i]].last_value);
      } else {
        // What was judged less than the resumed ones is not reported above them.
        if (least < std::numeric_limits<double>::infinity())
          track.last.value =
              std::min(track.last.value, std::nextafter(least, -std::numeric_limits<double>::infinity()));
        close(waiting[i], true);
      }
      track.waiting = false;
    }
  }

  Settings m_settings;
  ReplayOptions const& m_options;
  std::unique_ptr<Method> m_method;
  std::vector<Track> m_tracks;
  Replay m_replay;
  double m_best_final = nan;
};

// Ranks and sets, which all methods have.
void rank_figures(Summary& summary, std::vector<double> const& truth, std::vector<double> const& reported)
{
  summary.networks = truth.size();
  summary.spearman = spearman(truth, reported);
  summary.kendall = kendall(truth, reported);
  static constexpr std::array shares{0.01, 0.05, 0.10};
  for (std::size_t i = 0; i < shares.size(); ++i) {
    auto const k =
        std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(shares[i] * static_cast<double>(truth.size()))));
    summary.k[i] = k;
    summary.recall[i] = static_cast<double>(top_hits(truth, reported, k)) / static_cast<double>(k);
    summary.epsilon_recall[i] = static_cast<double>(epsilon_hits(truth, reported, k)) / static_cast<double>(k);
  }
  summary.top_difference = mean_top_difference(truth, reported, summary.k[2]);
  summary.regret = regret(truth, reported);
}

} // namespace

double final_value(RecordedCurve const& curve, double e_pred)
{
  return reaches(curve, e_pred) ? curve.values[points_until(curve, e_pred) - 1] : nan;
}

Replay replay(CurveSet const& set, Settings const& settings, ReplayOptions const& options)
{
  check(settings);
  Settings actual = settings;
  if (actual.kind == Kind::halving && actual.cohort == 0)
    actual.cohort = static_cast<int>(std::count_if(set.curves.begin(), set.curves.end(), [&](auto const& curve) {
      return points_until(curve, settings.e_pred) > 0;
    }));
  return Player(set, actual, options).play();
}

Summary summarise(Replay const& replay, Reported reported)
{
  Summary summary;
  summary.method = reported == Reported::prediction   ? replay.method
                   : reported == Reported::last_value ? "last value, same stops"
                                                      : "best so far, same stops";
  double used = 0, full = 0;
  double seconds = replay.seconds, full_seconds = 0;
  std::vector<double> stops, truth, value, stopped_truth, stopped_value, widths, scores, squares, densities;
  std::size_t converged = 0, with_interval = 0;
  std::array<std::size_t, 3> inside{};
  for (auto const& curve : replay.curves) {
    used += curve.stop_epoch;
    full += std::max(curve.full_epoch, curve.stop_epoch);
    seconds += curve.seconds;
    full_seconds += curve.full_seconds;
    if (curve.converged) {
      ++converged;
      stops.push_back(curve.stop_epoch);
    }
    if (std::isnan(curve.final_value)) continue;
    double const said = reported == Reported::prediction   ? curve.prediction
                        : reported == Reported::last_value ? curve.last_value
                                                           : curve.best_value;
    truth.push_back(curve.final_value);
    value.push_back(said);
    if (!curve.converged) continue;
    stopped_truth.push_back(curve.final_value);
    stopped_value.push_back(said);
    if (reported != Reported::prediction) continue;
    std::array const intervals{curve.interval_50, curve.interval_80, curve.interval_90};
    if (!std::isnan(curve.interval_90.lower)) {
      ++with_interval;
      for (std::size_t i = 0; i < intervals.size(); ++i)
        if (intervals[i].lower <= curve.final_value && curve.final_value <= intervals[i].upper) ++inside[i];
      widths.push_back(curve.interval_90.upper - curve.interval_90.lower);
      static constexpr std::array levels{0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95};
      std::array const quantiles{curve.interval_90.lower, curve.interval_80.lower, curve.interval_50.lower, said,
                                 curve.interval_50.upper, curve.interval_80.upper, curve.interval_90.upper};
      scores.push_back(quantile_crps(curve.final_value, levels, quantiles));
      densities.push_back(quantile_log_density(curve.final_value, levels, quantiles));
    }
    if (!std::isnan(curve.p_beat) && !std::isnan(curve.incumbent)) {
      double const outcome = curve.final_value > curve.incumbent ? 1 : 0;
      squares.push_back((curve.p_beat - outcome) * (curve.p_beat - outcome));
    }
  }
  auto const n = static_cast<double>(replay.curves.size());
  summary.saved = full > 0 ? 1 - used / full : 0;
  summary.throughput = used > 0 ? full / used : 1;
  summary.wall_factor = full_seconds / seconds;
  summary.converged = n > 0 ? static_cast<double>(converged) / n : 0;
  summary.mean_stop = mean(stops);
  summary.mae = errors(truth, value).mean_absolute;
  auto const stopped = errors(stopped_truth, stopped_value);
  summary.mae_stopped = stopped.mean_absolute;
  summary.bias = stopped.bias;
  summary.worst = stopped.maximum;
  rank_figures(summary, truth, value);
  auto const share = [&](std::size_t count) {
    return with_interval > 0 ? static_cast<double>(count) / static_cast<double>(with_interval) : nan;
  };
  summary.coverage_50 = share(inside[0]);
  summary.coverage_80 = share(inside[1]);
  summary.coverage_90 = share(inside[2]);
  summary.width_90 = mean(widths);
  summary.crps = mean(scores);
  summary.brier = mean(squares);
  summary.log_likelihood = mean(densities);
  summary.microseconds = reported == Reported::prediction && replay.observations > 0
                             ? 1e6 * replay.seconds / static_cast<double>(replay.observations)
                             : nan;
  return summary;
}

HalvingResult successive_halving(std::vector<RecordedCurve const*> const& curves, std::vector<double> const& rungs,
                                 double eta, double e_pred)
{
  HalvingResult result;
  std::vector<std::size_t> alive(curves.size());
  std::iota(alive.begin(), alive.end(), std::size_t{0});
  result.reported.assign(curves.size(), nan);
  result.stop_epochs.assign(curves.size(), 0);
  auto const best_until = [&](std::size_t index, double epoch) {
    auto const points = static_cast<std::ptrdiff_t>(points_until(*curves[index], epoch));
    auto const& values = curves[index]->values;
    return points > 0 ? *std::max_element(values.begin(), values.begin() + points)
                      : -std::numeric_limits<double>::infinity();
  };
  for (double const rung : rungs) {
    if (rung >= e_pred * slack) break;
    for (std::size_t const index : alive) {
      result.reported[index] = best_until(index, rung);
      result.stop_epochs[index] = rung;
    }
    std::stable_sort(alive.begin(), alive.end(),
                     [&](std::size_t l, std::size_t r) { return result.reported[l] > result.reported[r]; });
    alive.resize(std::max<std::size_t>(alive.empty() ? 0 : 1,
                                       static_cast<std::size_t>(std::floor(static_cast<double>(alive.size()) / eta))));
    std::sort(alive.begin(), alive.end());
  }
  double best_all = -std::numeric_limits<double>::infinity(), best_left = best_all, used = 0;
  for (std::size_t const index : alive) {
    result.reported[index] = final_value(*curves[index], e_pred);
    result.stop_epochs[index] = e_pred;
    best_left = std::max(best_left, result.reported[index]);
  }
  for (std::size_t i = 0; i < curves.size(); ++i) {
    best_all = std::max(best_all, final_value(*curves[i], e_pred));
    used += result.stop_epochs[i];
  }
  result.finalists = alive;
  result.regret = best_all - best_left;
  result.saved = curves.empty() ? 0 : 1 - used / (e_pred * static_cast<double>(curves.size()));
  return result;
}

namespace {

/// A row that says nothing yet.
Summary blank(std::string name, std::size_t networks)
{
  Summary row;
  row.method = std::move(name);
  row.networks = networks;
  row.converged = row.mean_stop = row.mae = row.mae_stopped = row.bias = row.worst = row.spearman = row.kendall = nan;
  row.top_difference = row.regret = row.coverage_50 = row.coverage_80 = row.coverage_90 = row.width_90 = nan;
  row.crps = row.brier = row.log_likelihood = row.microseconds = nan;
  for (std::size_t i = 0; i < 3; ++i)
    row.recall[i] = row.epsilon_recall[i] = nan;
  return row;
}

/// Those whose final value is known, and that value.
std::pair<std::vector<RecordedCurve const*>, std::vector<double>> completed(CurveSet const& set, double e_pred)
{
  std::vector<RecordedCurve const*> curves;
  std::vector<double> truth;
  for (auto const& curve : set.curves)
    if (double const value = final_value(curve, e_pred); !std::isnan(value)) {
      curves.push_back(&curve);
      truth.push_back(value);
    }
  return {std::move(curves), std::move(truth)};
}

} // namespace

Summary i_epoch(CurveSet const& set, double epochs, double e_pred)
{
  auto const [complete, truth] = completed(set, e_pred);
  Summary row = blank(concat("i-epoch, i = ", shortest(epochs)), truth.size());
  std::vector<double> reported;
  double seconds = 0, full_seconds = 0;
  for (auto const* const curve : complete) {
    auto const points = static_cast<std::ptrdiff_t>(std::max<std::size_t>(1, points_until(*curve, epochs)));
    reported.push_back(*std::max_element(curve->values.begin(), curve->values.begin() + points));
    seconds += curve->seconds.empty() ? nan : curve->seconds[static_cast<std::size_t>(points) - 1];
    full_seconds += curve->seconds.empty() ? nan : curve->seconds[points_until(*curve, e_pred) - 1];
  }
  row.saved = 1 - epochs / e_pred;
  row.throughput = e_pred / epochs;
  row.wall_factor = full_seconds / seconds;
  row.converged = 1;
  row.mean_stop = epochs;
  auto const error = errors(truth, reported);
  row.mae = row.mae_stopped = error.mean_absolute;
  row.bias = error.bias;
  row.worst = error.maximum;
  rank_figures(row, truth, reported);
  return row;
}

std::vector<Summary> baselines(CurveSet const& set, Replay const& replayed)
{
  std::vector<Summary> rows{summarise(replayed, Reported::last_value), summarise(replayed, Reported::best_so_far)};
  auto const [complete, truth] = completed(set, replayed.e_pred);
  if (complete.empty()) return rows;

  constexpr std::size_t first = 20;
  if (truth.size() > first) {
    auto row = blank("constant (median of the first 20)", truth.size());
    double const constant = median(std::vector<double>(truth.begin(), truth.begin() + first));
    std::vector<double> const others(truth.begin() + first, truth.end());
    auto const error = errors(others, std::vector<double>(others.size(), constant));
    row.mae_stopped = error.mean_absolute;
    row.bias = error.bias;
    row.worst = error.maximum;
    row.saved = nan;
    row.throughput = nan;
    rows.push_back(row);
  }

  double used = 0, full = 0;
  for (auto const& curve : replayed.curves) {
    used += curve.stop_epoch;
    full += std::max(curve.full_epoch, curve.stop_epoch);
  }
  double const spacing = set.spacing();
  double const like =
      std::clamp(std::round(replayed.e_pred * used / full / spacing) * spacing, spacing, replayed.e_pred);
  rows.push_back(i_epoch(set, like, replayed.e_pred));

  for (int const eta : {2, 3}) {
    // Rungs by powers of eta, the last one the whole training; the first one leaves something to halve.
    std::vector<double> rungs;
    for (double rung = eta == 2 ? 2 : 1; rung < replayed.e_pred * slack; rung *= eta)
      rungs.push_back(rung);
    auto const halving = successive_halving(complete, rungs, eta, replayed.e_pred);
    auto row = blank(concat("halving, eta ", eta), truth.size());
    row.saved = halving.saved;
    row.throughput = 1 / (1 - halving.saved);
    std::vector<double> stops, stopped_truth, stopped_value, finalist(complete.size(), -1);
    for (std::size_t const index : halving.finalists)
      finalist[index] = truth[index];
    for (std::size_t i = 0; i < complete.size(); ++i)
      if (halving.stop_epochs[i] < replayed.e_pred * slack) {
        stops.push_back(halving.stop_epochs[i]);
        stopped_truth.push_back(truth[i]);
        stopped_value.push_back(halving.reported[i]);
      }
    row.converged = static_cast<double>(stops.size()) / static_cast<double>(complete.size());
    row.mean_stop = mean(stops);
    row.mae = errors(truth, halving.reported).mean_absolute;
    auto const error = errors(stopped_truth, stopped_value);
    row.mae_stopped = error.mean_absolute;
    row.bias = error.bias;
    row.worst = error.maximum;
    // Halving promises finalists, not values: those come first, the others in the order of what they reached.
    std::vector<double> order(complete.size());
    for (std::size_t i = 0; i < order.size(); ++i)
      order[i] = finalist[i] >= 0 ? 1000 + finalist[i] : halving.stop_epochs[i] * 1e-6 + halving.reported[i];
    rank_figures(row, truth, order);
    row.regret = halving.regret;
    rows.push_back(row);
  }
  return rows;
}

} // namespace nasturtium::predictor
