// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Made-up data whose best possible result is known: for tests and for benchmarks without files.
#pragma once

#include <nasturtium/datasets/dataset.hpp>

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

} // namespace nasturtium::datasets
