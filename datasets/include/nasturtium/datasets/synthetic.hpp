// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Made-up data whose best possible result is known: for tests and for benchmarks without files.
#pragma once

#include <nasturtium/datasets/dataset.hpp>

#include <array>
#include <cstdint>
#include <string>

namespace nasturtium::datasets {

struct SyntheticOptions
{
  bool regression = false;   ///< task=classification | regression
  std::int64_t count = 1000; ///< training samples
  std::int64_t test = 200;   ///< test samples
  int height = 28, width = 28, channels = 1;
  int classes = 10;  ///< classification: at least 2
  double noise = 20; ///< standard deviation: of the pixels in [0, 64] (images), of the target (regression)
  double flip = 0;   ///< classification: chance in [0, 1) of a label that is another class, each equally likely
  std::uint64_t seed = 1;
};

/// Classification: every class has a pattern of 4 x 4 cells per channel at 128 +- 40; an image is its pattern plus
/// independent noise per pixel (a sum of eight uniform bytes, so integers alone decide it), rounded to bytes. Classes
/// take turns, then labels are flipped. Regression: values are independent in [-1, 1); the target is a fixed linear
/// function of them with standard deviation 1, plus noise. Samples of one seed do not depend on the counts.
Dataset make_synthetic(SyntheticOptions const& options);

/// Bounds of the error that the best classifier makes (before rounding and clipping to bytes, which matter little up to
/// a noise of 30), or of its mean squared error in regression, where both are noise^2. low: what flipping alone costs.
/// high: plus a union bound over pairs of patterns, exp(-d^2 / (8 noise^2)) each.
struct ErrorBounds
{
  double low = 0, high = 0;
};
ErrorBounds bayes_error(SyntheticOptions const& options);

/// "key=value[:key=value...]" with the names above (task, count, test, height, width, channels, classes, noise, flip,
/// seed).
SyntheticOptions parse_synthetic(std::string const& text);

/// Stand-ins with the shapes of two CANDLE benchmarks, where the files of those are not at hand. Tables made with them
/// say "synthetic".
struct SyntheticNt3Options
{
  std::int64_t count = 1120, test = 280; ///< samples, as in NT3
  int features = 2048;                   ///< NT3 has 60,483; at least 256
  double noise = 1;                      ///< deviation per feature, in [0, 1000]
  std::uint64_t seed = 1;
};

/// Profiles of 1 x features x 1 and two classes that take turns. A profile is a fixed random level in [-1, 1) per
/// feature, plus noise, plus at eight places, evenly spread and shifted by 0 to 7 features from sample to sample, one
/// of two motifs of eight features at +-1: four up and four down (class 0), or up and down in turns (class 1).
Dataset make_synthetic_nt3(SyntheticNt3Options const& options);

/// "key=value[:key=value...]" of count, test, features, noise, seed.
SyntheticNt3Options parse_synthetic_nt3(std::string const& text);

struct SyntheticUnoOptions
{
  std::int64_t count = 2000, test = 400; ///< samples
  double noise = 0.1;                    ///< deviation of the target, in [0, 1000]
  std::uint64_t seed = 1;
};

/// Features of Uno in the order of a sample: dose, gene expression, drug descriptors, drug fingerprints; 8,261 in all.
inline constexpr std::array<int, 4> uno_blocks{1, 942, 5270, 2048};

/// Regression of one value from 1 x 1 x 8261: one of 60 cell lines, which decides the expression, one of 100 drugs,
/// which decides descriptors (real) and fingerprints (0 or 1), each through four hidden properties u and v, and a dose
/// in [0, 1). The target is tanh(2 (dose - 1/2) + u1 + v1 + u2 v2 + u3 v3 + u4 v4), plus noise: the best mean squared
/// error is noise^2.
Dataset make_synthetic_uno(SyntheticUnoOptions const& options);

/// "key=value[:key=value...]" of count, test, noise, seed.
SyntheticUnoOptions parse_synthetic_uno(std::string const& text);

} // namespace nasturtium::datasets
