// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "trainer_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>

#include <numeric>
#include <utility>

namespace nasturtium::nn::impl {

void check_fit(datasets::Dataset const& dataset, datasets::Samples const& samples, char const* split,
               spec::Architecture const& architecture)
{
  auto const source = concat("dataset '", dataset.name, "': ", split, ": ");
  spec::Shape const shape{dataset.height, dataset.width, dataset.channels};
  require(shape == architecture.input, source, "samples are ", shape.height, " x ", shape.width, " x ", shape.channels,
          ", but the architecture's input is ", architecture.input.height, " x ", architecture.input.width, " x ",
          architecture.input.channels);
  require(samples.count >= 0 && samples.count <= std::numeric_limits<std::int32_t>::max(), source, "count ",
          samples.count, " is out of range");
  auto const size = static_cast<std::size_t>(samples.count * dataset.sample_size());
  require(samples.bytes.size() == size || samples.values.size() == size, source, samples.count, " samples should be ",
          size, " values, but there are ", samples.bytes.size(), " bytes and ", samples.values.size(), " floats");
  require(dataset.mean.size() == dataset.deviation.size(), source, "means and deviations differ in number");
  if (architecture.classes > 0) {
    require(dataset.classes == architecture.classes, source, "the data set has ", dataset.classes,
            " classes, but the architecture ", architecture.classes);
    require(samples.labels.size() == static_cast<std::size_t>(samples.count), source, samples.count, " samples, but ",
            samples.labels.size(), " labels");
    for (auto const label : samples.labels) {
      require(label >= 0 && label < dataset.classes, source, "label ", label, " is not in [0, ", dataset.classes, ")");
    }
  } else {
    require(dataset.target_width == architecture.regression, source, "the data set has ", dataset.target_width,
            " targets per sample, but the architecture ", architecture.regression);
    require(samples.targets.size() == static_cast<std::size_t>(samples.count * dataset.target_width), source,
            samples.count, " samples, but ", samples.targets.size(), " target values");
  }
}

Metrics to_metrics(MetricSums const& sums, bool classification)
{
  Metrics metrics;
  if (!(sums[3] > 0)) return metrics;
  metrics.loss = sums[0] / sums[3];
  if (classification) {
    metrics.accuracy = sums[1] / sums[3];
    metrics.top_k = sums[2] / sums[3];
  }
  return metrics;
}

std::vector<std::int32_t> identity_order(std::int64_t count)
{
  std::vector<std::int32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<std::int32_t> shuffled_order(std::int64_t count, std::uint64_t seed, int epoch)
{
  auto order = identity_order(count);
  PhiloxBlock block{};
  for (std::int64_t i = count - 1; i > 0; --i) {
    if (i == count - 1 || i % 4 == 3) {
      block =
          random_block(seed, Purpose::shuffle, static_cast<std::uint32_t>(epoch), static_cast<std::uint64_t>(i / 4));
    }
    auto const other = to_below(block.word[i % 4], static_cast<std::uint32_t>(i + 1));
    std::swap(order[i], order[other]);
  }
  return order;
}

} // namespace nasturtium::nn::impl
