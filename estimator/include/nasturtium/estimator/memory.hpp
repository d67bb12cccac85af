// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Peak device memory of a training step (reference section 2.8): the exact plan of this project's stack where its
// backend is up, and a portable model of what is alive when, with fitted factors and a margin, where it is not.
#pragma once

#include <nasturtium/estimator/workload.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// Bytes of a step by use. Real numbers, since a fitted model scales them.
struct MemoryBreakdown
{
  double weights = 0, gradients = 0, state = 0, activations = 0, workspace = 0, overhead = 0;
  double total() const { return weights + gradients + state + activations + workspace + overhead; }
};

/// What the libraries that train do differently. All rules: a tensor lives from its producer to its last reader; the
/// backward pass of a contraction reads its input, of an activation its output (gelu, silu: its input), of a batch norm
/// its input and statistics, of a max pool an index map; activations whose input nobody else reads work in place, both
/// ways, and so do sums; nodes that only rename values cost nothing; what nothing trainable stands behind gets no
/// gradient; the input batch counts.
struct MemoryRules
{
  bool loss_in_place = true; ///< the gradient of the loss overwrites the logits
  int mask_bytes = 1;        ///< of dropout, per value; 0: drawn again in the backward pass
  int index_bytes = 1;       ///< of max pooling, per value of its output
  bool fused_relu = false;   ///< a relu right behind a weighted layer is part of it: its output is read until that
                             ///< layer's backward pass, or not at all where a max pool follows and masks for it
  int sgd_words = 0;         ///< state of plain sgd per weight
  bool partial_sums = false; ///< workspace for packed weights and for sums over slices of the batch
  // Workspace of all threads together: of a dense layer, and of a convolution beside its weights and sums.
  double dense_scratch = 0, conv_scratch = 0;
  bool fused_update = false; ///< each gradient is used and freed at once, and not all live until the update
};
/// "reference": the section's own, as the defaults above; "stack": as this project's stack works.
MemoryRules memory_rules(std::string const& name);
/// "stack" with the scratch of this backend, which must be up.
MemoryRules stack_memory_rules(nn::BackendKind backend);

/// The largest sum of what is alive, float32. A pure function: no device, no backend. overhead is 0. With
/// Optimiser::none a forward pass alone. Throws Error for an architecture that does not infer and a batch < 1.
/// O(nodes + edges).
MemoryBreakdown liveness_memory(Workload const& workload, MemoryRules const& rules = {});

/// What this stack allocates for a step, exactly (nn::plan_memory; overhead is the batch's labels and metrics).
/// Allocates nothing, but the backends must be up. Throws Error for an optimiser that does not train here.
MemoryBreakdown planned_memory(Workload const& workload, nn::BackendKind backend);

/// A workload's terms and the bytes that the allocator's high-water mark showed.
struct MemoryExample
{
  MemoryBreakdown terms;
  double bytes = 0; ///< > 0
};

/// Estimated bytes: the terms scaled, with the constant in `overhead`, and a one-sided limit.
struct MemoryPrediction
{
  MemoryBreakdown terms;
  double bytes = 0;                                       ///< the point
  double upper = std::numeric_limits<double>::infinity(); ///< at the margin's level
};

/// bytes = constant + one factor per term, all >= 0 (weights, gradients, state, activations, workspace; the overhead
/// term is the constant's), fitted on squared relative errors.
class MemoryModel
{
public:
  static constexpr std::size_t terms = 5;

  /// Factors of 1 and no constant: the liveness model as it is.
  MemoryModel() = default;
  /// Fits factors and constant; forgets the margin. Throws Error for no examples and for bytes that are not positive
  /// and finite.
  void fit(std::span<MemoryExample const> examples);
  /// The margin from examples that fit() did not see: their log(true / predicted) of rank ceil((n + 1) level) in
  /// ascending order, infinite where there are too few (99 % needs 99).
  void calibrate(std::span<MemoryExample const> examples, double level = 0.99);

  MemoryPrediction predict(MemoryBreakdown const& terms) const;
  double constant() const { return m_constant; }
  std::array<double, terms> const& factors() const { return m_factors; }
  double log_margin() const { return m_log_margin; }

  /// JSON text, and back to the same predictions. Throws Error naming `source`, field and value.
  std::string save() const;
  static MemoryModel load(std::string const& json, std::string const& source);

private:
  double m_constant = 0;
  std::array<double, terms> m_factors{1, 1, 1, 1, 1};
  double m_log_margin = std::numeric_limits<double>::infinity();
};

/// How an estimate stands to the free memory of a device.
enum class MemoryVerdict {
  fits,        ///< upper <= free
  too_close,   ///< point <= free < upper
  does_not_fit ///< free < point
};
std::string name(MemoryVerdict verdict); ///< "fits", "too close", "does not fit"
MemoryVerdict memory_verdict(double bytes, double upper, double free_bytes);

} // namespace nasturtium::estimator
