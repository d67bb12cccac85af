// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the verb compare times: whole networks, and single kinds of layers as small networks, with their FLOPs and
// bytes.
#pragma once

#include "comparison.hpp"

#include <nasturtium/nn/spec/architecture.hpp>

#include <string>
#include <vector>

namespace nasturtium::cli {

/// One call of a network at a batch.
struct Workload
{
  nn::spec::Architecture architecture; ///< with a name
  CallKind kind = CallKind::step;
  bool layer = false;
  int batch = 1;

  std::string label() const; ///< as ComparedTiming
  /// The spec's: forward_flops or training_flops times the batch. Convolutions and dense layers alone count.
  double flops() const;
  /// Least traffic of float32 tensors: every layer reads its inputs and weights and writes its output once in each of
  /// the passes that the FLOPs count (forward; gradient of the weights; gradient of the inputs), activations and others
  /// that work in place ride along; an update of momentum reads three and writes two values per weight; a byte is read
  /// and a float written per value of the image.
  double bytes() const;
};

/// Layers alone: 3x3 and 1x1 convolutions, depthwise ones, dense layers, batch normalisation, pooling. Each stands
/// twice in its network, so that the second passes a gradient on (pooling: once, and for inference alone, since it has
/// nothing to train).
std::vector<nn::spec::Architecture> layer_networks();

/// Training steps and inference of `networks` (files or names of the zoo), and of the layers where asked for, at every
/// batch. Throws Error for what is no network, for batches < 1 and for a network or batch that stands twice.
std::vector<Workload> make_workloads(std::vector<std::string> const& networks, std::vector<int> const& batches,
                                     bool layers);

} // namespace nasturtium::cli
