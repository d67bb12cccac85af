// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "synthetic_parts.hpp"

#include <nasturtium/core/sha256.hpp>
#include <nasturtium/datasets/synthetic.hpp>

namespace nasturtium::datasets {
namespace {

using impl::draw;
using impl::noise_of;
using impl::to_signed_unit;

constexpr int base = 128, amplitude = 40, grid = 4;

// Streams of random numbers within Purpose::synthetic.
enum Stream : std::uint32_t {
  patterns = 0,
  train_noise = 1,
  test_noise = 2,
  train_labels = 3,
  test_labels = 4,
  weights = 5
};

void check(SyntheticOptions const& options)
{
  auto const within = [](char const* name, auto value, auto low, auto high) {
    impl::check_within("synthetic", name, value, low, high);
  };
  within("count", options.count, std::int64_t{1}, std::int64_t{100000000});
  within("test", options.test, std::int64_t{0}, std::int64_t{100000000});
  within("height", options.height, 1, 4096);
  within("width", options.width, 1, 4096);
  within("channels", options.channels, 1, 4096);
  double const size = static_cast<double>(options.height) * options.width * options.channels;
  within("height * width * channels", size, 1.0, 16777216.0);
  double const bytes = size * static_cast<double>(options.count + options.test) * (options.regression ? 4 : 1);
  require(bytes <= 0x1p36, "synthetic: ", human_bytes(bytes), " of samples are more than 64 GiB");
  if (options.regression) {
    within("noise", options.noise, 0.0, 1e6);
  } else {
    within("classes", options.classes, 2, 1000);
    within("noise", options.noise, 0.0, 64.0);
    require(options.flip >= 0 && options.flip < 1, "synthetic: flip must be in [0, 1), got ", options.flip);
  }
}

// One sign per class and cell. Each class takes the candidate of 64 that is farthest from the classes before it.
std::vector<std::vector<int>> class_patterns(SyntheticOptions const& options)
{
  int const rows = std::min(grid, options.height), columns = std::min(grid, options.width);
  auto const cells =
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * static_cast<std::size_t>(options.channels);
  std::vector<std::vector<int>> result;
  std::uint64_t const blocks = (cells + 127) / 128;
  for (int k = 0; k < options.classes; ++k) {
    std::vector<int> best;
    std::size_t best_distance = 0;
    for (std::uint64_t candidate = 0; candidate < 64; ++candidate) {
      std::vector<int> signs(cells);
      for (std::size_t i = 0; i < cells; ++i) {
        auto const block =
            draw(options.seed, patterns, (static_cast<std::uint64_t>(k) * 64 + candidate) * blocks + i / 128);
        signs[i] = block.word[i / 32 % 4] >> (i % 32) & 1 ? 1 : -1;
      }
      std::size_t nearest = cells + 1;
      for (auto const& other : result) {
        std::size_t distance = 0;
        for (std::size_t i = 0; i < cells; ++i)
          distance += signs[i] != other[i];
        nearest = std::min(nearest, distance);
      }
      if (nearest > best_distance) {
        best_distance = nearest;
        best = std::move(signs);
      }
    }
    require(best_distance > 0, "synthetic: classes ", options.classes, " are too many for images of ", options.height,
            " x ", options.width, " x ", options.channels);
    result.push_back(std::move(best));
  }
  return result;
}

std::size_t cell_of(SyntheticOptions const& options, int h, int w, int c)
{
  int const rows = std::min(grid, options.height), columns = std::min(grid, options.width);
  int const row = h * rows / options.height, column = w * columns / options.width;
  return static_cast<std::size_t>(row * columns + column) * static_cast<std::size_t>(options.channels) +
         static_cast<std::size_t>(c);
}

std::vector<std::vector<int>> class_images(SyntheticOptions const& options)
{
  std::vector<std::vector<int>> images;
  for (auto const& signs : class_patterns(options)) {
    auto& image = images.emplace_back();
    for (int h = 0; h < options.height; ++h)
      for (int w = 0; w < options.width; ++w)
        for (int c = 0; c < options.channels; ++c)
          image.push_back(base + amplitude * signs[cell_of(options, h, w, c)]);
  }
  return images;
}

void make_images(Samples& samples, std::int64_t count, SyntheticOptions const& options,
                 std::vector<std::vector<int>> const& images, Stream noise_stream, Stream label_stream)
{
  samples.count = count;
  std::size_t const size = images.front().size();
  std::uint64_t const blocks = (size + 1) / 2;
  samples.bytes.resize(static_cast<std::size_t>(count) * size);
  samples.labels.resize(static_cast<std::size_t>(count));
  for (std::int64_t n = 0; n < count; ++n) {
    auto const sample = static_cast<std::size_t>(n);
    auto const true_class = static_cast<std::uint32_t>(n % options.classes);
    auto const& image = images[true_class];
    std::uint8_t* const pixels = samples.bytes.data() + sample * size;
    for (std::size_t i = 0; i < size; i += 2) {
      auto const block = draw(options.seed, noise_stream, static_cast<std::uint64_t>(n) * blocks + i / 2);
      for (std::size_t j = 0; j < 2 && i + j < size; ++j) {
        double const value = image[i + j] + options.noise * noise_of(block.word[2 * j], block.word[2 * j + 1]);
        pixels[i + j] = static_cast<std::uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
      }
    }
    auto const block = draw(options.seed, label_stream, static_cast<std::uint64_t>(n));
    auto const classes = static_cast<std::uint32_t>(options.classes);
    bool const flipped = block.word[0] * 0x1p-32 < options.flip;
    samples.labels[sample] = static_cast<std::int32_t>(
        flipped ? (true_class + 1 + to_below(block.word[1], classes - 1)) % classes : true_class);
  }
}

void make_values(Samples& samples, std::int64_t count, SyntheticOptions const& options,
                 std::vector<double> const& coefficients, Stream value_stream, Stream target_stream)
{
  samples.count = count;
  std::size_t const size = coefficients.size();
  std::uint64_t const blocks = (size + 3) / 4;
  samples.values.reserve(static_cast<std::size_t>(count) * size);
  for (std::int64_t n = 0; n < count; ++n) {
    double target = 0;
    for (std::size_t i = 0; i < size; ++i) {
      double const value =
          to_signed_unit(draw(options.seed, value_stream, static_cast<std::uint64_t>(n) * blocks + i / 4).word[i % 4]);
      samples.values.push_back(static_cast<float>(value));
      target += coefficients[i] * value;
    }
    auto const block = draw(options.seed, target_stream, static_cast<std::uint64_t>(n));
    samples.targets.push_back(static_cast<float>(target + options.noise * noise_of(block.word[0], block.word[1])));
  }
}

std::string canonical(SyntheticOptions const& options)
{
  std::string text = concat("synthetic:task=", options.regression ? "regression" : "classification",
                            ":count=", options.count, ":test=", options.test, ":height=", options.height,
                            ":width=", options.width, ":channels=", options.channels);
  if (!options.regression) text += concat(":classes=", options.classes, ":flip=", shortest(options.flip));
  return text + concat(":noise=", shortest(options.noise), ":seed=", options.seed);
}

} // namespace

Dataset make_synthetic(SyntheticOptions const& options)
{
  check(options);
  Dataset dataset;
  dataset.name = "synthetic";
  dataset.height = options.height;
  dataset.width = options.width;
  dataset.channels = options.channels;
  if (options.regression) {
    dataset.target_width = 1;
    std::vector<double> coefficients(static_cast<std::size_t>(dataset.sample_size()));
    double squares = 0;
    for (std::size_t i = 0; i < coefficients.size(); ++i) {
      coefficients[i] = to_signed_unit(draw(options.seed, weights, i).word[0]);
      squares += coefficients[i] * coefficients[i];
    }
    // A uniform value in [-1, 1) has variance 1 / 3.
    for (auto& coefficient : coefficients)
      coefficient /= std::sqrt(squares / 3);
    make_values(dataset.train, options.count, options, coefficients, train_noise, train_labels);
    make_values(dataset.test, options.test, options, coefficients, test_noise, test_labels);
  } else {
    dataset.classes = options.classes;
    auto const images = class_images(options);
    make_images(dataset.train, options.count, options, images, train_noise, train_labels);
    make_images(dataset.test, options.test, options, images, test_noise, test_labels);
  }
  dataset.checksum = sha256(canonical(options));
  measure_normalisation(dataset);
  return dataset;
}

ErrorBounds bayes_error(SyntheticOptions const& options)
{
  check(options);
  if (options.regression) return {options.noise * options.noise, options.noise * options.noise};
  // The best guess is the pattern's class while a flip to one certain other class is less likely than no flip.
  double const low = std::min(options.flip, 1 - options.flip / (options.classes - 1));
  if (options.noise == 0) return {low, low};
  auto const images = class_images(options);
  double overlap = 0;
  for (auto const& image : images) {
    double sum = 0;
    for (auto const& other : images) {
      if (&other == &image) continue;
      double squares = 0;
      for (std::size_t i = 0; i < image.size(); ++i)
        squares += (image[i] - other[i]) * (image[i] - other[i]);
      sum += std::exp(-squares / (8 * options.noise * options.noise));
    }
    overlap += std::min(1.0, sum) / options.classes;
  }
  return {low, std::min(1.0, low + overlap)};
}

SyntheticOptions parse_synthetic(std::string const& text)
{
  impl::OptionText const given(
      "synthetic", text, {"task", "count", "test", "height", "width", "channels", "classes", "noise", "flip", "seed"});
  SyntheticOptions options;
  if (auto const* const task = given.find("task")) {
    require(*task == "classification" || *task == "regression",
            "synthetic: task must be classification or regression, got ", quoted(*task));
    options.regression = *task == "regression";
  }
  if (options.regression) options.noise = 0.1;
  given.read("count", options.count);
  given.read("test", options.test);
  given.read("height", options.height);
  given.read("width", options.width);
  given.read("channels", options.channels);
  given.read("classes", options.classes);
  given.read("noise", options.noise);
  given.read("flip", options.flip);
  given.read("seed", options.seed);
  check(options);
  return options;
}

} // namespace nasturtium::datasets
