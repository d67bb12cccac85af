// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is to be timed, as data: a network, a batch and an optimiser; and what the estimators see of it, layer by layer.
// Host-only; knows no device and no measurement.
#pragma once

#include <nasturtium/nn/options.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// The optimiser of a step; `none` is a forward pass alone. Adagrad and Adadelta are known from the public tables; this
/// project's stack does not train with them.
enum class Optimiser { none, sgd, momentum, adagrad, rmsprop, adadelta, adam };
std::string name(Optimiser optimiser); ///< "none", "sgd", ...
/// Throws Error that names `source` for an unknown name.
Optimiser parse_optimiser(std::string const& text, std::string const& source);
/// Values that it keeps per weight: none, sgd 0; momentum, adagrad 1; rmsprop, adadelta, adam 2 (TensorFlow's slots).
int state_words(Optimiser optimiser);
/// As this project's trainer knows it (momentum is sgd with 0.9). Throws Error for none, adagrad and adadelta.
nn::OptimiserOptions to_options(Optimiser optimiser);
/// The nearest that the representations know of what the trainer trains with (adamw costs what adam does).
Optimiser to_optimiser(nn::OptimiserOptions const& options);

/// One training step to be timed.
struct Workload
{
  nn::spec::Architecture architecture;
  int batch = 1;
  Optimiser optimiser = Optimiser::sgd;
};

/// Kinds of layers that the representations count apart.
enum class LayerKind {
  conv,
  depthwise_conv, ///< and every other convolution with groups
  max_pool,
  average_pool,
  dense,
  batch_norm,
  dropout,
  activation,
  flatten, ///< and global pooling
  add,
  attention, ///< in no network of this project yet
  other      ///< concat, slice, pad_channels, identity
};
inline constexpr int layer_kinds = 12;

/// One layer with its extents and costs for the whole batch.
struct LayerCost
{
  LayerKind kind = LayerKind::other;
  nn::spec::Shape in, out;    ///< the first input's and the output's extents per sample
  int kernel = 1, stride = 1; ///< the larger of both directions
  int groups = 1;
  nn::spec::ActivationKind activation = nn::spec::ActivationKind::relu; ///< of an activation
  std::int64_t parameters = 0;                                          ///< trainable values
  double forward_flops = 0;                                             ///< a multiply-add as two; whole batch
  double forward_bytes = 0;                                             ///< 4 (in + weights + out) words; whole batch
};

/// A workload as the representations see it. A row of a public layer table is a description of one layer.
struct Description
{
  int batch = 1;
  nn::spec::Shape input;
  Optimiser optimiser = Optimiser::sgd;
  std::vector<LayerCost> layers; ///< in execution order; all nodes but the input
  int depth = 0;                 ///< layers on the longest path
  std::int64_t parameters = 0;   ///< trainable values
};

/// Throws Error for an architecture that does not infer or a batch < 1. O(nodes + edges).
Description describe(Workload const& workload);

// Costs of a step (reference section 2.5): three times the forward pass, plus 4 (1 + state words) bytes per weight;
// with Optimiser::none those of the forward pass alone.
double step_flops(Description const& description);
double step_bytes(Description const& description);

} // namespace nasturtium::estimator
