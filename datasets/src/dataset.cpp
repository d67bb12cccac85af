// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/datasets/dataset.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace nasturtium::datasets {
namespace {

// What the seeded order is for; a part of the random numbers' key.
enum class Choice : std::uint32_t { validation = 0, train_subset = 1, test_subset = 2 };

// `count` sample numbers in ascending order: of every class its share (largest remainders decide the last ones), those
// with the smallest seeded numbers.
std::vector<std::int64_t> choose(Samples const& samples, int classes, std::int64_t count, std::uint64_t seed,
                                 Choice choice)
{
  bool const stratified = !samples.labels.empty();
  std::size_t const groups = stratified ? static_cast<std::size_t>(classes) : 1;
  std::vector<std::vector<std::pair<std::uint64_t, std::int64_t>>> members(groups);
  for (std::int64_t i = 0; i < samples.count; ++i) {
    auto const block =
        random_block(seed, Purpose::split, static_cast<std::uint32_t>(choice), static_cast<std::uint64_t>(i));
    auto const group = stratified ? static_cast<std::size_t>(samples.labels[static_cast<std::size_t>(i)]) : 0;
    members[group].emplace_back(std::uint64_t{block.word[0]} << 32 | block.word[1], i);
  }
  std::vector<std::int64_t> share(groups);
  std::vector<std::pair<std::int64_t, std::size_t>> remainders;
  std::int64_t left = count;
  for (std::size_t g = 0; g < groups; ++g) {
    std::int64_t const scaled = static_cast<std::int64_t>(members[g].size()) * count;
    share[g] = scaled / samples.count;
    left -= share[g];
    remainders.emplace_back(-(scaled % samples.count), g);
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; left > 0; ++i, --left)
    ++share[remainders[i].second];
  std::vector<std::int64_t> chosen;
  for (std::size_t g = 0; g < groups; ++g) {
    std::sort(members[g].begin(), members[g].end());
    for (std::int64_t i = 0; i < share[g]; ++i)
      chosen.push_back(members[g][static_cast<std::size_t>(i)].second);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

template <class T>
void append_rows(std::vector<T>& to, std::vector<T> const& from, std::int64_t row, std::int64_t width)
{
  if (from.empty()) return;
  auto const begin = from.begin() + row * width;
  to.insert(to.end(), begin, begin + width);
}

Samples take(Samples const& samples, std::vector<std::int64_t> const& rows, std::int64_t sample_size, int target_width)
{
  Samples result;
  result.count = static_cast<std::int64_t>(rows.size());
  auto const size = rows.size() * static_cast<std::size_t>(sample_size);
  if (!samples.bytes.empty()) result.bytes.reserve(size);
  if (!samples.values.empty()) result.values.reserve(size);
  for (auto const row : rows) {
    append_rows(result.bytes, samples.bytes, row, sample_size);
    append_rows(result.values, samples.values, row, sample_size);
    append_rows(result.labels, samples.labels, row, 1);
    append_rows(result.targets, samples.targets, row, target_width);
  }
  return result;
}

} // namespace

void measure_normalisation(Dataset& dataset)
{
  auto const channels = static_cast<std::size_t>(dataset.channels);
  dataset.mean.assign(channels, 0.0f);
  dataset.deviation.assign(channels, 1.0f);
  Samples const& train = dataset.train;
  if (train.count == 0 || dataset.sample_size() == 0) return;
  auto const per_channel = static_cast<double>(train.count) * dataset.height * dataset.width;
  auto const set = [&](std::size_t c, double mean, double variance) {
    dataset.mean[c] = static_cast<float>(mean);
    auto const deviation = static_cast<float>(std::sqrt(std::max(0.0, variance)));
    dataset.deviation[c] = deviation > 0 ? deviation : 1.0f;
  };
  if (!train.bytes.empty()) {
    // Exact in integers, so that the order of summation means nothing.
    std::vector<std::array<std::uint64_t, 256>> histogram(channels);
    for (std::size_t i = 0; i < train.bytes.size(); i += channels)
      for (std::size_t c = 0; c < channels; ++c)
        ++histogram[c][train.bytes[i + c]];
    for (std::size_t c = 0; c < channels; ++c) {
      std::uint64_t sum = 0;
      for (std::uint64_t v = 0; v < 256; ++v)
        sum += histogram[c][v] * v;
      double const mean = static_cast<double>(sum) / per_channel;
      double squares = 0;
      for (int v = 0; v < 256; ++v)
        squares += static_cast<double>(histogram[c][static_cast<std::size_t>(v)]) * (v - mean) * (v - mean);
      set(c, mean, squares / per_channel);
    }
    return;
  }
  std::vector<double> mean(channels), squares(channels);
  for (std::size_t i = 0; i < train.values.size(); i += channels)
    for (std::size_t c = 0; c < channels; ++c)
      mean[c] += train.values[i + c];
  for (auto& m : mean)
    m /= per_channel;
  for (std::size_t i = 0; i < train.values.size(); i += channels)
    for (std::size_t c = 0; c < channels; ++c) {
      double const difference = train.values[i + c] - mean[c];
      squares[c] += difference * difference;
    }
  for (std::size_t c = 0; c < channels; ++c)
    set(c, mean[c], squares[c] / per_channel);
}

void split_validation(Dataset& dataset, double fraction, std::uint64_t seed)
{
  require(fraction > 0 && fraction < 1, "validation fraction must be in (0, 1), got ", fraction);
  require(dataset.validation.count == 0, dataset.name, ": has a validation split of ", dataset.validation.count,
          " samples already");
  std::int64_t const all = dataset.train.count;
  auto const count = static_cast<std::int64_t>(std::llround(fraction * static_cast<double>(all)));
  require(count > 0 && count < all, dataset.name, ": a validation fraction of ", fraction, " leaves a split of ", all,
          " samples empty");
  auto const chosen = choose(dataset.train, dataset.classes, count, seed, Choice::validation);
  std::vector<std::int64_t> rest;
  for (std::int64_t i = 0, next = 0; i < all; ++i) {
    if (next < count && chosen[static_cast<std::size_t>(next)] == i)
      ++next;
    else
      rest.push_back(i);
  }
  dataset.validation = take(dataset.train, chosen, dataset.sample_size(), dataset.target_width);
  dataset.train = take(dataset.train, rest, dataset.sample_size(), dataset.target_width);
  measure_normalisation(dataset);
}

double target_variance(Samples const& samples, int target_width)
{
  if (samples.targets.empty()) return std::numeric_limits<double>::quiet_NaN();
  auto const width = static_cast<std::size_t>(target_width);
  auto const rows = static_cast<double>(samples.targets.size()) / static_cast<double>(width);
  std::vector<double> mean(width); // divided at the end: exact where all targets are equal
  for (std::size_t i = 0; i < samples.targets.size(); ++i)
    mean[i % width] += static_cast<double>(samples.targets[i]);
  for (double& sum : mean)
    sum /= rows;
  double squares = 0;
  for (std::size_t i = 0; i < samples.targets.size(); ++i)
    squares += std::pow(static_cast<double>(samples.targets[i]) - mean[i % width], 2);
  return squares / static_cast<double>(samples.targets.size());
}

void take_subset(Dataset& dataset, std::int64_t train_count, std::int64_t test_count, std::uint64_t seed)
{
  auto const keep = [&](Samples& samples, std::int64_t count, Choice choice, char const* split) {
    if (count == 0) return;
    require(count > 0 && count <= samples.count, dataset.name, ": a subset of ", count, " ", split,
            " samples, but there are ", samples.count);
    if (count == samples.count) return;
    samples = take(samples, choose(samples, dataset.classes, count, seed, choice), dataset.sample_size(),
                   dataset.target_width);
  };
  keep(dataset.train, train_count, Choice::train_subset, "training");
  keep(dataset.test, test_count, Choice::test_subset, "test");
  measure_normalisation(dataset);
}

} // namespace nasturtium::datasets
