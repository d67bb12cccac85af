// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An architecture as data: a directed acyclic graph of layers. Host-only; the language that the trainer, searches,
// estimator, ensembles and benchmarks share. Format: docs/formats.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace nasturtium::nn::spec {

/// Extent of one sample's tensor, NHWC without N; a vector is 1 x 1 x channels.
struct Shape
{
  int height = 1, width = 1, channels = 1;
  std::int64_t size() const { return std::int64_t{height} * width * channels; }
  friend bool operator==(Shape const&, Shape const&) = default;
};

enum class PaddingKind { same, valid, explicit_ };

/// Padding as written. "same" gives ceil(in / stride) outputs, the odd pixel at the bottom and right (as TensorFlow).
struct Padding
{
  PaddingKind kind = PaddingKind::same;
  std::array<int, 4> amounts{}; ///< top, bottom, left, right, for explicit_
  friend bool operator==(Padding const&, Padding const&) = default;
};

struct Conv2d
{
  int filters = 1;
  std::array<int, 2> kernel{1, 1}, stride{1, 1}, dilation{1, 1}; ///< height, width
  Padding padding{};
  int groups = 1;
  bool bias = true;
  friend bool operator==(Conv2d const&, Conv2d const&) = default;
};
struct Dense
{
  int units = 1;
  bool bias = true;
  friend bool operator==(Dense const&, Dense const&) = default;
};
struct BatchNorm
{
  double momentum = 0.9, epsilon = 1e-5;
  friend bool operator==(BatchNorm const&, BatchNorm const&) = default;
};
enum class ActivationKind { relu, leaky_relu, elu, gelu, silu, tanh, sigmoid };
struct Activation
{
  ActivationKind kind = ActivationKind::relu;
  double slope = 0.01; ///< leaky_relu
  friend bool operator==(Activation const&, Activation const&) = default;
};
enum class PoolKind { max, average };
struct Pool2d
{
  PoolKind kind = PoolKind::max;
  std::array<int, 2> kernel{2, 2}, stride{2, 2};
  Padding padding{PaddingKind::valid, {}};
  friend bool operator==(Pool2d const&, Pool2d const&) = default;
};
struct GlobalAvgPool
{
  friend bool operator==(GlobalAvgPool const&, GlobalAvgPool const&) = default;
};
struct Flatten
{
  friend bool operator==(Flatten const&, Flatten const&) = default;
};
struct Dropout
{
  double rate = 0.5;
  friend bool operator==(Dropout const&, Dropout const&) = default;
};
struct Add
{
  friend bool operator==(Add const&, Add const&) = default;
};
struct Concat
{
  friend bool operator==(Concat const&, Concat const&) = default;
};
/// The channels [begin, begin + size).
struct Slice
{
  int begin = 0, size = 1;
  friend bool operator==(Slice const&, Slice const&) = default;
};
/// Zero channels behind those of the input, up to `channels`.
struct PadChannels
{
  int channels = 1;
  friend bool operator==(PadChannels const&, PadChannels const&) = default;
};
struct Identity
{
  friend bool operator==(Identity const&, Identity const&) = default;
};

using Op = std::variant<Conv2d, Dense, BatchNorm, Activation, Pool2d, GlobalAvgPool, Flatten, Dropout, Add, Concat,
                        Slice, PadChannels, Identity>;

struct Node
{
  std::string id;
  Op op;
  std::vector<std::string> inputs; ///< ids of nodes, or "input" for the image
  friend bool operator==(Node const&, Node const&) = default;
};

struct Architecture
{
  std::string name; ///< optional
  Shape input;
  std::vector<Node> nodes; ///< in the order written; any order is valid, `infer` sorts
  int classes = 0;         ///< output: classification with so many classes ...
  int regression = 0;      ///< ... or regression of so many values
  friend bool operator==(Architecture const&, Architecture const&) = default;
};

/// Name of an op as the format writes it ("conv2d", "relu", ...).
std::string op_name(Op const& op);

/// Reads an architecture. `source` names the text in messages. Throws Error naming source, node, field and value.
Architecture parse_architecture(std::string const& json, std::string const& source);

/// A file, or the name of a network of the zoo ("lenet"). A name with '/' or ".json" is a file.
Architecture load_architecture(std::string const& path_or_name);

/// Canonical JSON text, defaults written out; parse_architecture gives back an equal value.
std::string to_json(Architecture const& architecture);

/// SHA-256 (hex) of the canonical JSON without the name.
std::string hash(Architecture const& architecture);

/// Names of the zoo.
std::vector<std::string> zoo_names();

/// A kernel, bias or batch-norm parameter of a node.
struct ParameterInfo
{
  std::string name;                 ///< kernel, bias, gamma, beta, moving_mean, moving_variance
  std::vector<std::int64_t> extent; ///< HWIO, (in, out), or (channels)
  bool trainable = true;
};

/// What shape inference finds out about one node.
struct NodeInfo
{
  int node = 0;            ///< index in Architecture::nodes
  std::vector<int> inputs; ///< positions in Inferred::nodes; -1 is the image
  std::vector<Shape> in;   ///< shapes of the inputs
  Shape out;
  std::array<int, 4> padding{}; ///< resolved: top, bottom, left, right (conv2d, pools)
  std::vector<ParameterInfo> parameters;
  double forward_flops = 0;         ///< per image, a multiply-add as two, padded taps counted
  std::int64_t parameter_count = 0; ///< trainable values
  /// Values of the output, per image, that training keeps for its backward pass: 0 where the one reader works in place
  /// (activations, additions behind a batch norm) or is another view of the same values (flatten, identity).
  std::int64_t kept_values = 0;
};

struct Inferred
{
  std::vector<NodeInfo> nodes; ///< in execution order (topological; ties by the order written); the last is the output
  double forward_flops = 0;    ///< per image
  double training_flops = 0;   ///< per image and step: 3 x forward less the first layers' backward-data
  std::int64_t parameter_count = 0;
  std::int64_t activation_values = 0; ///< per image: sum of all outputs
};

/// Shapes, paddings, costs. Throws Error naming the node for cycles, unknown inputs, mismatches, empty outputs, nodes
/// that nothing reads, an output that does not fit `classes` or `regression`. O(nodes + edges).
Inferred infer(Architecture const& architecture, std::string const& source = "architecture");

/// Bytes of device memory that training takes, by use.
struct MemoryEstimate
{
  std::int64_t weights = 0, gradients = 0, optimiser = 0, activations = 0, workspace = 0;
  std::int64_t total() const { return weights + gradients + optimiser + activations + workspace; }
};

/// Estimate for a batch; `optimiser_slots` is the number of values that the optimiser keeps per weight. Activations:
/// the largest sum over the backward pass of what is still kept and the gradients at work.
MemoryEstimate estimate_memory(Inferred const& inferred, int batch, int bytes_per_value, int optimiser_slots);

/// A table for people: node, op, output shape, parameters, MFLOP; totals below.
std::string summary(Architecture const& architecture);

} // namespace nasturtium::nn::spec
