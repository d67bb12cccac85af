// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small perceptron on the host. The project's trainer knows squared error and cross-entropy alone; the pinball loss
// of several heads and a loss over the sum of many rows need their own gradients, and these networks are too small for
// a device. Also how a network of the trainer predicts: without a device, in microseconds.
#pragma once

#include <nasturtium/core/json.hpp>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// Dense layers with relu between them; float32.
class Mlp
{
public:
  struct Layer
  {
    int in = 0, out = 0;
    std::vector<float> kernel; ///< in x out
    std::vector<float> bias;   ///< out
  };

  Mlp() = default;
  /// Extents from the input to the output; weights of variance 2 / in, biases 0.
  Mlp(std::vector<int> const& widths, std::uint64_t seed);
  /// Layers of equal extents from one to the next.
  explicit Mlp(std::vector<Layer> layers);

  int inputs() const { return m_layers.front().in; }
  int outputs() const { return m_layers.back().out; }
  bool empty() const { return m_layers.empty(); }
  std::vector<Layer> const& layers() const { return m_layers; }
  std::vector<Layer>& layers() { return m_layers; }

  std::vector<float> operator()(std::span<float const> input) const;

  json::Array save() const;
  /// Throws Error that starts with `what`, also unless the ends have the given extents.
  static Mlp load(json::Value const& value, int inputs, int outputs, std::string const& what);

private:
  std::vector<Layer> m_layers;
};

/// Adam's, with the reference's defaults.
struct MlpOptions
{
  int epochs = 300, batch = 32, patience = 20;
  double rate = 1e-3, validation = 0.1, dropout = 0; ///< dropout: of the last hidden layer
};

/// The loss of one item with its rows of outputs, one after another; sets its gradients, as many as outputs.
using MlpLoss = std::function<double(std::size_t item, std::span<float const> outputs, std::span<float> gradients)>;

/// Trains on items of one or more rows: item i has the rows first_row[i] .. first_row[i + 1] - 1 of `rows`
/// (mlp.inputs() values each). A share of the lineages is held out and the weights with the least loss there are kept;
/// training ends when `patience` epochs have not lowered it. Deterministic in the seed.
void train(Mlp& mlp, std::span<float const> rows, std::span<std::size_t const> first_row,
           std::span<std::int64_t const> lineage, MlpLoss const& loss, MlpOptions const& options, std::uint64_t seed);

/// Whether a lineage is held out: a share of them, by a random number of its own.
bool held_out(std::int64_t lineage, double share, std::uint64_t seed);

} // namespace nasturtium::estimator
