// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "synthetic_parts.hpp"

#include <nasturtium/core/sha256.hpp>
#include <nasturtium/datasets/synthetic.hpp>

#include <array>
#include <numeric>

namespace nasturtium::datasets {
namespace {

using impl::draw;
using impl::noise_of;
using impl::to_signed_unit;

// Streams of random numbers within Purpose::synthetic, apart from those of make_synthetic.
enum Stream : std::uint32_t {
  nt3_levels = 16,
  nt3_train,
  nt3_test,
  nt3_train_shifts,
  nt3_test_shifts,
  uno_loadings,
  uno_properties,
  uno_train,
  uno_test
};

constexpr int places = 8, motif_length = 8, shifts = 8;
constexpr int cell_lines = 60, drugs = 100, properties = 4;
constexpr int uno_features = uno_blocks[0] + uno_blocks[1] + uno_blocks[2] + uno_blocks[3];

void check_counts(char const* generator, std::int64_t count, std::int64_t test, double noise, int features)
{
  impl::check_within(generator, "count", count, std::int64_t{1}, std::int64_t{100000000});
  impl::check_within(generator, "test", test, std::int64_t{0}, std::int64_t{100000000});
  impl::check_within(generator, "noise", noise, 0.0, 1000.0);
  double const bytes = 4.0 * features * static_cast<double>(count + test);
  require(bytes <= 0x1p36, generator, ": ", human_bytes(bytes), " of samples are more than 64 GiB");
}

void check(SyntheticNt3Options const& options)
{
  impl::check_within("synthetic-nt3", "features", options.features, 256, 1 << 20);
  check_counts("synthetic-nt3", options.count, options.test, options.noise, options.features);
}

void check(SyntheticUnoOptions const& options)
{
  check_counts("synthetic-uno", options.count, options.test, options.noise, uno_features);
}

int motif(int label, int position)
{
  return (label == 0 ? position < motif_length / 2 : position % 2 == 0) ? 1 : -1;
}

void make_profiles(Samples& samples, std::int64_t count, SyntheticNt3Options const& options, Stream noise_stream,
                   Stream shift_stream)
{
  auto const features = static_cast<std::size_t>(options.features);
  std::vector<double> levels(features);
  for (std::size_t i = 0; i < features; ++i)
    levels[i] = to_signed_unit(draw(options.seed, nt3_levels, i).word[0]);
  std::uint64_t const blocks = (features + 1) / 2;
  samples.count = count;
  samples.values.reserve(static_cast<std::size_t>(count) * features);
  for (std::int64_t n = 0; n < count; ++n) {
    int const label = static_cast<int>(n % 2);
    auto profile = levels;
    for (int place = 0; place < places; ++place) {
      auto const index = static_cast<std::uint64_t>(n) * places + static_cast<std::uint64_t>(place);
      auto const shift = to_below(draw(options.seed, shift_stream, index).word[0], shifts);
      // The middle of the place's share of the profile.
      auto const first = features * static_cast<std::size_t>(2 * place + 1) / (2 * places) + shift;
      for (int i = 0; i < motif_length; ++i)
        profile[first + static_cast<std::size_t>(i)] += motif(label, i);
    }
    for (std::size_t i = 0; i < features; ++i) {
      auto const block = draw(options.seed, noise_stream, static_cast<std::uint64_t>(n) * blocks + i / 2);
      std::size_t const j = i % 2 * 2;
      samples.values.push_back(
          static_cast<float>(profile[i] + options.noise * noise_of(block.word[j], block.word[j + 1])));
    }
    samples.labels.push_back(label);
  }
}

/// Cell lines and drugs: their hidden properties, and the features that follow from them.
struct Screen
{
  using Properties = std::array<double, properties>;
  std::vector<Properties> lines, compounds;
  std::vector<std::vector<float>> expression, structure;

  explicit Screen(std::uint64_t seed)
  {
    for (std::uint64_t i = 0; i < cell_lines + drugs; ++i) {
      auto& all = i < cell_lines ? lines : compounds;
      auto const block = draw(seed, uno_properties, i);
      all.push_back({to_signed_unit(block.word[0]), to_signed_unit(block.word[1]), to_signed_unit(block.word[2]),
                     to_signed_unit(block.word[3])});
    }
    for (auto const& line : lines)
      expression.push_back(features_of(seed, line, 0, uno_blocks[1]));
    for (auto const& compound : compounds) {
      auto features = features_of(seed, compound, uno_blocks[1], uno_blocks[2]);
      for (float const value : features_of(seed, compound, uno_blocks[1] + uno_blocks[2], uno_blocks[3]))
        features.push_back(value > 0 ? 1.0f : 0.0f);
      structure.push_back(std::move(features));
    }
  }

  /// Each feature is a random linear function of the properties; `first` numbers the functions.
  static std::vector<float> features_of(std::uint64_t seed, Properties const& of, int first, int count)
  {
    std::vector<float> features;
    for (int i = 0; i < count; ++i) {
      auto const block = draw(seed, uno_loadings, static_cast<std::uint64_t>(first) + static_cast<std::uint64_t>(i));
      double sum = 0;
      for (std::size_t p = 0; p < of.size(); ++p)
        sum += to_signed_unit(block.word[p]) * of[p];
      features.push_back(static_cast<float>(sum));
    }
    return features;
  }
};

void make_responses(Samples& samples, std::int64_t count, SyntheticUnoOptions const& options, Screen const& screen,
                    Stream stream)
{
  samples.count = count;
  samples.values.reserve(static_cast<std::size_t>(count) * uno_features);
  for (std::int64_t n = 0; n < count; ++n) {
    auto const block = draw(options.seed, stream, 2 * static_cast<std::uint64_t>(n));
    auto const noise = draw(options.seed, stream, 2 * static_cast<std::uint64_t>(n) + 1);
    auto const line = to_below(block.word[0], cell_lines), drug = to_below(block.word[1], drugs);
    float const dose = to_unit_float(block.word[2]);
    samples.values.push_back(dose);
    for (auto const* const features : {&screen.expression[line], &screen.structure[drug]})
      samples.values.insert(samples.values.end(), features->begin(), features->end());
    // The first property counts by itself, the others where line and drug meet. Four parts of equal deviation.
    auto const &cell = screen.lines[line], &compound = screen.compounds[drug];
    double const affinity =
        cell[0] + compound[0] + std::inner_product(cell.begin() + 1, cell.end(), compound.begin() + 1, 0.0);
    double const response = std::tanh(2 * (static_cast<double>(dose) - 0.5) + affinity);
    samples.targets.push_back(static_cast<float>(response + options.noise * noise_of(noise.word[0], noise.word[1])));
  }
}

} // namespace

Dataset make_synthetic_nt3(SyntheticNt3Options const& options)
{
  check(options);
  Dataset dataset;
  dataset.name = "synthetic-nt3";
  dataset.width = options.features;
  dataset.classes = 2;
  make_profiles(dataset.train, options.count, options, nt3_train, nt3_train_shifts);
  make_profiles(dataset.test, options.test, options, nt3_test, nt3_test_shifts);
  dataset.checksum =
      sha256(concat("synthetic-nt3:count=", options.count, ":test=", options.test, ":features=", options.features,
                    ":noise=", shortest(options.noise), ":seed=", options.seed));
  measure_normalisation(dataset);
  return dataset;
}

SyntheticNt3Options parse_synthetic_nt3(std::string const& text)
{
  impl::OptionText const given("synthetic-nt3", text, {"count", "test", "features", "noise", "seed"});
  SyntheticNt3Options options;
  given.read("count", options.count);
  given.read("test", options.test);
  given.read("features", options.features);
  given.read("noise", options.noise);
  given.read("seed", options.seed);
  check(options);
  return options;
}

Dataset make_synthetic_uno(SyntheticUnoOptions const& options)
{
  check(options);
  Dataset dataset;
  dataset.name = "synthetic-uno";
  dataset.channels = uno_features;
  dataset.target_width = 1;
  Screen const screen(options.seed);
  make_responses(dataset.train, options.count, options, screen, uno_train);
  make_responses(dataset.test, options.test, options, screen, uno_test);
  dataset.checksum = sha256(concat("synthetic-uno:count=", options.count, ":test=", options.test,
                                   ":noise=", shortest(options.noise), ":seed=", options.seed));
  measure_normalisation(dataset);
  return dataset;
}

SyntheticUnoOptions parse_synthetic_uno(std::string const& text)
{
  impl::OptionText const given("synthetic-uno", text, {"count", "test", "noise", "seed"});
  SyntheticUnoOptions options;
  given.read("count", options.count);
  given.read("test", options.test);
  given.read("noise", options.noise);
  given.read("seed", options.seed);
  check(options);
  return options;
}

} // namespace nasturtium::datasets
