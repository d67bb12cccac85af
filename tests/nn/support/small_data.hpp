// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small data sets and networks for the tests of the trainer.
#pragma once

#include <nasturtium/core/philox.hpp>
#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <bit>
#include <string>

namespace nasturtium::test {

/// Noisy images whose class is the place of a bright patch.
inline datasets::Samples patches(nn::spec::Shape const& shape, int classes, std::int64_t count, std::uint32_t stream)
{
  datasets::Samples samples;
  samples.count = count;
  std::uint64_t index = 0;
  auto const word = [&] { return random_block(99, Purpose::synthetic, stream, index++).word[0]; };
  for (std::int64_t i = 0; i < count; ++i) {
    auto const label = static_cast<int>(to_below(word(), static_cast<std::uint32_t>(classes)));
    samples.labels.push_back(label);
    for (std::int64_t v = 0; v < shape.size(); ++v) {
      bool const bright = v * classes / shape.size() == label;
      samples.bytes.push_back(static_cast<std::uint8_t>((bright ? 70 : 0) + to_below(word(), 180)));
    }
  }
  return samples;
}

inline datasets::Dataset patch_dataset(nn::spec::Shape const& shape, int classes, std::int64_t train,
                                       std::int64_t validation)
{
  datasets::Dataset dataset;
  dataset.name = "patches";
  dataset.height = shape.height;
  dataset.width = shape.width;
  dataset.channels = shape.channels;
  dataset.classes = classes;
  dataset.train = patches(shape, classes, train, 1);
  dataset.validation = patches(shape, classes, validation, 2);
  dataset.mean.assign(shape.channels, 110.0f);
  dataset.deviation.assign(shape.channels, 60.0f);
  dataset.checksum = "patches";
  return dataset;
}

/// Convolution, batch norm, residual, pooling, dropout, dense: 8 x 8 x 1 images, 4 classes.
inline nn::spec::Architecture small_network()
{
  return nn::spec::parse_architecture(R"({"format": "nasturtium-architecture", "version": 1, "name": "small",
    "input": {"height": 8, "width": 8, "channels": 1}, "nodes": [
    {"id": "c1", "op": "conv2d", "filters": 8, "kernel": 3, "inputs": ["input"]},
    {"id": "b1", "op": "batch_norm", "inputs": ["c1"]}, {"id": "r1", "op": "relu", "inputs": ["b1"]},
    {"id": "c2", "op": "conv2d", "filters": 8, "kernel": 3, "inputs": ["r1"]},
    {"id": "b2", "op": "batch_norm", "inputs": ["c2"]}, {"id": "s2", "op": "add", "inputs": ["b2", "r1"]},
    {"id": "r2", "op": "relu", "inputs": ["s2"]}, {"id": "p2", "op": "max_pool2d", "kernel": 2, "inputs": ["r2"]},
    {"id": "d2", "op": "dropout", "rate": 0.1, "inputs": ["p2"]},
    {"id": "f1", "op": "dense", "units": 16, "inputs": ["d2"]}, {"id": "r3", "op": "relu", "inputs": ["f1"]},
    {"id": "f2", "op": "dense", "units": 4, "inputs": ["r3"]}], "output": {"classes": 4}})",
                                      "small");
}

/// Equal bit for bit, NaN included.
inline bool same_bits(double a, double b)
{
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

inline bool same_bits(nn::Weights const& a, nn::Weights const& b)
{
  if (a.size() != b.size()) return false;
  for (auto const& [key, tensor] : a) {
    auto const other = b.find(key);
    if (other == b.end() || other->second.extent != tensor.extent) return false;
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      if (!same_bits(tensor.values[i], other->second.values[i])) return false;
    }
  }
  return true;
}

/// Everything in two reports that does not depend on the clock.
inline bool same_bits(nn::EpochReport const& a, nn::EpochReport const& b)
{
  return a.epoch == b.epoch && a.step == b.step && same_bits(a.train_loss, b.train_loss) &&
         same_bits(a.train_accuracy, b.train_accuracy) && same_bits(a.train_top_k, b.train_top_k) &&
         same_bits(a.validation_loss, b.validation_loss) && same_bits(a.validation_accuracy, b.validation_accuracy) &&
         same_bits(a.validation_top_k, b.validation_top_k) && same_bits(a.learning_rate, b.learning_rate);
}

inline bool same_bits(nn::TrainResult const& a, nn::TrainResult const& b)
{
  if (a.status != b.status || a.reports.size() != b.reports.size() || !a.weights || !b.weights) return false;
  for (std::size_t i = 0; i < a.reports.size(); ++i) {
    if (!same_bits(a.reports[i], b.reports[i])) return false;
  }
  return same_bits(*a.weights, *b.weights);
}

inline nn::TrainResult train_one(nn::Candidate const& candidate, datasets::Dataset const& dataset,
                                 nn::TrainerOptions options = {}, std::function<bool()> const& interrupted = {})
{
  return nn::train(options, std::span(&candidate, 1), dataset, interrupted).at(0);
}

} // namespace nasturtium::test
