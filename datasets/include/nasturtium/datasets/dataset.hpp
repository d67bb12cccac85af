// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A data set in host memory: what every reader makes and the trainer takes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::datasets {

/// Samples of one split, NHWC, in one of two storages: bytes (images of 8 bits) or values (everything else).
struct Samples
{
  std::int64_t count = 0;
  std::vector<std::uint8_t> bytes;  ///< count * height * width * channels, or empty
  std::vector<float> values;        ///< the same, or empty
  std::vector<std::int32_t> labels; ///< count class numbers in [0, classes), or empty
  std::vector<float> targets;       ///< count * target_width regression targets, or empty
};

/// A data set with its splits. A split may be empty.
struct Dataset
{
  std::string name;
  int height = 1, width = 1, channels = 1;
  int classes = 0;      ///< 0: regression
  int target_width = 0; ///< 0: classification
  Samples train, validation, test;
  std::vector<float> mean, deviation; ///< per channel, of the training split as stored; what normalisation uses
  std::string
      checksum; ///< SHA-256 over the files' content (decompressed) in the order read, or the generator's options
  std::vector<std::string> class_names; ///< empty or one per class

  std::int64_t sample_size() const { return std::int64_t{height} * width * channels; }
};

/// Sets mean and deviation from the training split (a deviation of 0 becomes 1).
void measure_normalisation(Dataset& dataset);

/// Mean squared deviation of regression targets from the mean of their column: what a constant leaves of the squared
/// error. NaN without targets.
double target_variance(Samples const& samples, int target_width);

/// Moves a stratified fraction of the training split to validation: per class, the samples whose seeded random number
/// is smallest; order within both splits is kept. Regression data are not stratified. Requires 0 < fraction < 1 and an
/// empty validation split; throws Error, also where a split would be empty. Normalisation is measured again on what
/// stays.
void split_validation(Dataset& dataset, double fraction, std::uint64_t seed);

/// Keeps a stratified subset of the training (and test) split, chosen as in split_validation, in its order. 0 keeps
/// all; more than there are is an Error. Normalisation is measured again.
void take_subset(Dataset& dataset, std::int64_t train_count, std::int64_t test_count, std::uint64_t seed);

} // namespace nasturtium::datasets
