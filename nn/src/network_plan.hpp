// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a network is executed: which kernels run in which order, what they fuse, and where every value lies. Pure host
// data, made once per network; network.cpp turns each step into kernel calls.
#pragma once

#include <nasturtium/nn/options.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::nn::impl {

/// Names of the values that an optimiser keeps per weight, in the order of its kernel's arguments.
std::vector<std::string> slot_names(OptimiserKind kind);

/// Every tensor starts at a multiple of this many bytes.
inline constexpr std::int64_t alignment = 64;

/// A trained parameter in the flat buffer of weights, or one that the optimiser must not reach (a running statistic, a
/// weight of a frozen layer) in a flat buffer apart.
struct Parameter
{
  int info = 0; ///< position in Inferred::nodes
  std::string node, name;
  std::vector<std::int64_t> extent;
  std::int64_t count = 0;
  std::int64_t offset = 0; ///< in values
  bool trained = true;
};

enum class StepKind {
  conv2d,
  dense,
  batch_norm,
  activation,
  pool,
  global_avg_pool,
  dropout,
  add,
  concat,
  slice,
  pad_channels
};

/// What the backward pass of a step does with the gradient of one of its inputs.
enum class GradientMode {
  none,       ///< nothing upstream is trainable
  overwrite,  ///< first writer
  accumulate, ///< later writers
  alias,      ///< shares the memory of the output's gradient: a pass in place, or nothing to do
};

struct Step
{
  StepKind kind = StepKind::conv2d;
  int info = 0;              ///< position in Inferred::nodes of the op that names the step
  std::vector<int> src;      ///< values; 0 is the batch of images
  int residual = -1;         ///< batch_norm: value that is added before the relu, or -1
  int dst = 0;               ///< value
  bool relu = false;         ///< conv2d, dense, batch_norm: followed by a fused relu
  bool mask_in_pool = false; ///< the pool behind applies the relu's mask to its (smaller) gradient
  bool masks = false;        ///< max pool: does so
  int statistics_for = -1;   ///< conv2d, dense: batch_norm step whose statistics are a by-product, or -1
  int statistics_of = -1;    ///< batch_norm: step that gives its statistics, or -1 (own kernel)
  // Positions in Plan::parameters, or -1.
  int kernel = -1, bias = -1, gamma = -1, beta = -1, moving_mean = -1, moving_variance = -1;
  bool trained = false; ///< some of these are; a batch_norm that is not runs on its running statistics
  // Backward.
  bool backward = false;               ///< something here or upstream is trainable
  std::vector<GradientMode> gradients; ///< per src
  GradientMode residual_gradient = GradientMode::none;
};

/// A piece of the arena and the time that it is alive.
struct Block
{
  std::int64_t bytes = 0;
  int first = 0, last = 0; ///< inclusive; forward step i is time i, the loss n, backward of step i is 2n - i
  std::int64_t offset = 0; ///< in bytes
};

/// Where everything lies that a pass needs. Positions in `blocks`, or -1.
struct Layout
{
  std::vector<Block> blocks;
  std::vector<int> value, gradient;               ///< per value
  std::vector<int> moments, saved, argmax, spare; ///< per step; spare: a gradient that nobody wants
  std::int64_t bytes = 0;
};

struct Plan
{
  spec::Architecture architecture;
  spec::Inferred inferred;
  std::vector<Step> steps;
  std::vector<spec::Shape> values; ///< per value, of one image
  int output = 0;                  ///< value of the logits
  bool output_gradient = false;    ///< the loss writes a gradient
  std::vector<Parameter> parameters;
  std::int64_t weight_count = 0; ///< values of the flat buffer, padding included
  std::int64_t decay_count = 0;  ///< values before the biases
  std::int64_t fixed_count = 0;  ///< values of the buffer of what is not trained
  int norm_channels = 0;         ///< most channels of a batch_norm that is trained
  Layout training, inference;
};

/// Plans a network for batches of at most `batch` images of `value_bytes` per value. `rows_per_chunk` is
/// kernels::moment_chunk_rows. The weights of the `frozen` nodes are not trained, which ends the backward pass where
/// nothing upstream is. Throws Error for an invalid architecture, for a frozen node that is unknown or owns no weights,
/// and where all weights are frozen.
Plan make_plan(spec::Architecture const& architecture, int batch, int value_bytes, std::int64_t rows_per_chunk,
               std::vector<std::string> const& frozen = {});

/// Gives every block an offset such that no two that are alive at once overlap; returns the bytes in all.
std::int64_t place(std::vector<Block>& blocks);

/// One line per step, for people.
std::vector<std::string> describe(Plan const& plan);

} // namespace nasturtium::nn::impl
