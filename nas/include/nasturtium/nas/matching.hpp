// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which layers of a trained network (the donor) a new one (the child) can start from: the sequences of layers that own
// weights are aligned, and the tensors of the layers that match are copied. After Liu et al., "Accelerating DNN
// Architecture Search at Scale Using Selective Weight Transfer" (IEEE CLUSTER 2021), and for exact_prefix the storage
// of EvoStore (HPDC 2024). What they leave open is decided in docs/weight-transfer.md.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/nn/spec/architecture.hpp>
#include <nasturtium/nn/weights.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::nas {

enum class Matcher {
  lp,           ///< longest common prefix of the two sequences
  lcs,          ///< longest common subsequence: layers may be left out on both sides
  exact_prefix, ///< layers that compute the same function of the image, weights aside (EvoStore's)
  lcs_bytes     ///< the common subsequence with the most bytes
};
/// When two layers are equal.
enum class ElementRule {
  tuple, ///< the same op, and the same shapes of all tensors
  kernel ///< the same shape of the kernel (gamma of a batch norm); tensors that only one of them has stay behind
};
/// What a batch norm is in the sequence.
enum class BatchNormRule {
  element, ///< a layer like others
  fused,   ///< part of the convolution or dense layer whose only reader it is; a layer like others elsewhere
  ignore   ///< nothing; it keeps its own initial values
};

/// "lp", "lcs", "exact-prefix", "lcs-bytes"; "tuple", "kernel"; "element", "fused", "ignore".
std::string name(Matcher matcher);
std::string name(ElementRule rule);
std::string name(BatchNormRule rule);
/// The other way round; throws Error naming the field and the value for other texts.
Matcher parse_matcher(std::string const& text);
ElementRule parse_element_rule(std::string const& text);
BatchNormRule parse_batch_norm_rule(std::string const& text);

struct MatchPolicy
{
  Matcher matcher = Matcher::lcs;
  ElementRule element = ElementRule::tuple;
  BatchNormRule batch_norm = BatchNormRule::element;
};

/// One tensor of a layer.
struct LayerTensor
{
  std::string node; ///< id
  std::string name; ///< as nn::spec::ParameterInfo's
  std::vector<std::int64_t> extent;

  std::int64_t values() const;
  bool trainable() const; ///< false for running statistics
  friend bool operator==(LayerTensor const&, LayerTensor const&) = default;
};

/// One element of the sequence that networks are compared by.
struct WeightedLayer
{
  std::string id;             ///< of the node; of the first one of a fused pair
  std::string key;            ///< layers match where their keys are equal: "conv2d kernel 3x3x1x8 bias 8"
  std::uint64_t upstream = 0; ///< equal where all from the image to here is equal, for exact_prefix
  std::vector<LayerTensor> tensors;

  std::int64_t bytes() const;      ///< of all tensors, as float32
  std::int64_t parameters() const; ///< trainable values
  friend bool operator==(WeightedLayer const&, WeightedLayer const&) = default;
};

/// The layers that own weights, from the image on, in an order that does not depend on the order of the nodes in the
/// file (docs/weight-transfer.md). Of the policy, `element` and `batch_norm` count. Throws Error as nn::spec::infer
/// does. O(edges * log(edges)), less for chains.
std::vector<WeightedLayer> weighted_layers(nn::spec::Architecture const& architecture, MatchPolicy const& policy);

/// A sequence as JSON and back (docs/formats.md): all that any matcher needs to know of a model. Reading throws Error
/// naming source, layer and field.
json::Value to_json(std::vector<WeightedLayer> const& layers);
std::vector<WeightedLayer> read_weighted_layers(json::Value const& value, std::string const& source);

/// What matchers compare, and nothing else: small, so that a query can go through many models fast.
struct LayerCodes
{
  std::vector<std::uint64_t> keys, upstream; ///< by layer; upstream holds key and identity in one
  std::vector<std::int64_t> bytes;
};
LayerCodes layer_codes(std::vector<WeightedLayer> const& layers);

/// Pairs of positions (donor, child) that match, rising in the child; unless the matcher is exact_prefix also in the
/// donor. Of several best alignments the one that fills the layers nearest the image: child layer by child layer, each
/// takes the first donor layer behind the last one taken that a best alignment allows, and stays empty where there is
/// none. O(donor + child) for lp, otherwise O(donor * child).
std::vector<std::pair<int, int>> align(LayerCodes const& donor, LayerCodes const& child, Matcher matcher);

/// What align() would find, in layers, for lcs_bytes in bytes: what the longest match is chosen by.
std::int64_t match_score(LayerCodes const& donor, LayerCodes const& child, Matcher matcher);

struct Match
{
  struct Tensor
  {
    std::string donor, child; ///< node ids
    std::string name;
    std::vector<std::int64_t> extent;
  };
  std::vector<std::pair<int, int>> layers;                ///< positions in the two sequences, as align() gives them
  std::vector<std::pair<std::string, std::string>> pairs; ///< node ids (donor, child); both nodes of a fused pair
  std::vector<Tensor> tensors;                            ///< to be copied
  int matched = 0;                                        ///< layers of the child that are filled ...
  int weighted_layers = 0;                                ///< ... of so many
  std::int64_t bytes = 0, bytes_of_child = 0;             ///< as float32, running statistics included
  std::int64_t parameters = 0, parameters_of_child = 0;   ///< trainable values

  /// Filled layers, of all; 0 for a child without any.
  double coverage() const { return weighted_layers == 0 ? 0 : static_cast<double>(matched) / weighted_layers; }
};

/// Of two sequences made by the same rules.
Match match(std::vector<WeightedLayer> const& donor, std::vector<WeightedLayer> const& child, Matcher matcher);
/// Throws Error as nn::spec::infer does.
Match match(nn::spec::Architecture const& donor, nn::spec::Architecture const& child, MatchPolicy const& policy);

/// Copies of the donor's tensors under the child's node ids; layers without a match are not there. Throws Error where
/// the donor lacks a tensor or has it in another shape.
nn::Weights transferred(Match const& match, nn::Weights const& donor);

} // namespace nasturtium::nas
