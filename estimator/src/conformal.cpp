// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/conformal.hpp>

#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nasturtium::estimator {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t least_rows = 100;

double low(Prediction const& prediction)
{
  return std::isnan(prediction.q10) ? prediction.seconds : prediction.q10;
}
double high(Prediction const& prediction)
{
  return std::isnan(prediction.q90) ? prediction.seconds : prediction.q90;
}

/// The score that covers 1 - alpha; infinity where there are too few.
double score(std::vector<double> const& ascending, double alpha)
{
  auto const rank = conformal_rank(static_cast<std::int64_t>(ascending.size()), alpha);
  return rank ? ascending[static_cast<std::size_t>(*rank - 1)] : infinity;
}

/// The number that a standard normal variable stays below with probability p; by bisection, exact to the last bits.
double normal_quantile(double p)
{
  double below = -40, above = 40;
  for (int i = 0; i < 200; ++i) {
    double const middle = 0.5 * (below + above);
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? below : above) = middle;
  }
  return 0.5 * (below + above);
}

} // namespace

std::optional<std::int64_t> conformal_rank(std::int64_t n, double alpha)
{
  require(alpha > 0 && alpha < 1, "the risk of an interval must be in (0, 1), got ", shortest(alpha));
  require(n >= 0, "a number of calibration rows must be >= 0, got ", n);
  // 20 * 0.9 and 100 * 0.99 are integers that floating point may miss by a hair.
  double const exact = static_cast<double>(n + 1) * (1 - alpha), nearest = std::round(exact);
  double const rank = std::abs(exact - nearest) < 1e-9 * (1 + exact) ? nearest : std::ceil(exact);
  if (rank > static_cast<double>(n)) return {};
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(rank));
}

Conformal::Conformal(std::span<Prediction const> predictions, std::span<double const> seconds)
{
  std::size_t const n = seconds.size();
  require(n > 0, "intervals need calibration rows, got none");
  require(predictions.size() == n, predictions.size(), " estimates for ", n, " calibration rows");
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return predictions[a].seconds < predictions[b].seconds; });
  SizeClass current;
  for (std::size_t k = 0; k < n; ++k) {
    auto const& prediction = predictions[order[k]];
    for (double const time : {seconds[order[k]], prediction.seconds, low(prediction), high(prediction)})
      require(std::isfinite(time) && time > 0, "calibration row ", order[k],
              ": a time must be positive and finite, got ", shortest(time));
    double const y = std::log(seconds[order[k]]);
    current.two_sided.push_back(std::max(std::log(low(prediction)) - y, y - std::log(high(prediction))));
    current.one_sided.push_back(y - std::log(prediction.seconds));
    // A class ends at a tercile, unless it or what is left is too small.
    bool const tercile = (k + 1) * 3 / n > k * 3 / n;
    bool const tied = k + 1 < n && predictions[order[k + 1]].seconds == prediction.seconds;
    if (k + 1 == n || (tercile && !tied && current.one_sided.size() >= least_rows && n - k - 1 >= least_rows)) {
      current.largest = k + 1 == n ? infinity : prediction.seconds;
      std::sort(current.two_sided.begin(), current.two_sided.end());
      std::sort(current.one_sided.begin(), current.one_sided.end());
      m_classes.push_back(std::move(current));
      current = {};
    }
  }
}

Conformal::SizeClass const& Conformal::of(Prediction const& prediction) const
{
  for (auto const& size_class : m_classes)
    if (prediction.seconds <= size_class.largest) return size_class;
  return m_classes.back();
}

std::int64_t Conformal::rows(Prediction const& prediction) const
{
  return static_cast<std::int64_t>(of(prediction).one_sided.size());
}

std::pair<double, double> Conformal::interval(Prediction const& prediction, double alpha) const
{
  double const widening = score(of(prediction).two_sided, alpha);
  double const lower = low(prediction) * std::exp(-widening), upper = high(prediction) * std::exp(widening);
  // A negative widening may make the ends meet and pass; the interval is then the point between them.
  if (lower > upper) return {std::sqrt(lower * upper), std::sqrt(lower * upper)};
  return {lower, upper};
}

double Conformal::upper_limit(Prediction const& prediction, double alpha) const
{
  return prediction.seconds * std::exp(score(of(prediction).one_sided, alpha));
}

json::Object Conformal::save() const
{
  json::Array classes;
  for (auto const& size_class : m_classes) {
    json::Value largest = nullptr;
    if (std::isfinite(size_class.largest)) largest = size_class.largest;
    classes.push_back(json::Object{{"largest", largest},
                                   {"two_sided", to_array(size_class.two_sided)},
                                   {"one_sided", to_array(size_class.one_sided)}});
  }
  return {{"classes", std::move(classes)}};
}

Conformal Conformal::load(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  Conformal result;
  auto const& classes = reader.array("classes");
  for (std::size_t i = 0; i < classes.size(); ++i) {
    json::Reader item(classes[i], concat(reader.what("classes"), ": class ", i));
    SizeClass size_class;
    bool const last = i + 1 == classes.size();
    require(item.value("largest").is_null() == last, item.what("largest"), " must be null in the last class alone");
    size_class.largest = last ? infinity : item.number("largest", json::above(0));
    require(i == 0 || size_class.largest > result.m_classes.back().largest, item.what("largest"), " must ascend");
    size_class.one_sided = to_numbers(item.value("one_sided"), item.what("one_sided"));
    size_class.two_sided = to_numbers(item.value("two_sided"), item.what("two_sided"),
                                      static_cast<std::int64_t>(size_class.one_sided.size()));
    require(std::is_sorted(size_class.one_sided.begin(), size_class.one_sided.end()) &&
                std::is_sorted(size_class.two_sided.begin(), size_class.two_sided.end()),
            item.where(), ": scores must ascend");
    item.finish();
    result.m_classes.push_back(std::move(size_class));
  }
  require(!result.m_classes.empty(), reader.what("classes"), " is empty");
  reader.finish();
  return result;
}

double LogNormal::median() const
{
  return std::exp(mu);
}

std::pair<double, double> LogNormal::interval(double level) const
{
  require(level > 0 && level < 1, "the level of an interval must be in (0, 1), got ", shortest(level));
  double const z = normal_quantile(0.5 + level / 2);
  return {std::exp(mu - z * sigma), std::exp(mu + z * sigma)};
}

LogNormal refine(LogNormal const& prior, int blocks, double log_mean, double log_sd)
{
  require(blocks >= 0, "a number of blocks must be >= 0, got ", blocks);
  require(prior.sigma > 0, "the deviation of a prior must be > 0, got ", shortest(prior.sigma));
  require(log_sd >= 0, "the deviation of block times must be >= 0, got ", shortest(log_sd));
  if (blocks == 0) return prior;
  double const before = 1 / (prior.sigma * prior.sigma), observed = 1 / (log_sd * log_sd / blocks + 1e-4);
  return {(before * prior.mu + observed * log_mean) / (before + observed), 1 / std::sqrt(before + observed)};
}

LogNormal refine(LogNormal const& prior, std::span<double const> block_seconds)
{
  auto const n = static_cast<double>(block_seconds.size());
  double sum = 0, squares = 0;
  for (double const seconds : block_seconds) {
    require(std::isfinite(seconds) && seconds > 0, "a block's time must be positive and finite, got ",
            shortest(seconds));
    sum += std::log(seconds);
  }
  double const middle = n > 0 ? sum / n : 0;
  for (double const seconds : block_seconds)
    squares += (std::log(seconds) - middle) * (std::log(seconds) - middle);
  return refine(prior, static_cast<int>(block_seconds.size()), middle, n > 1 ? std::sqrt(squares / (n - 1)) : 0);
}

} // namespace nasturtium::estimator
