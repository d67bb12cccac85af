// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A network on a device: its weights, gradients, optimiser state and activations, and the passes over them.
#pragma once

#include "network_plan.hpp"

#include <nasturtium/kernels/conv2d.hpp>
#include <nasturtium/kernels/dense.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/implementation.hpp>
#include <nasturtium/kernels/loss.hpp>
#include <nasturtium/kernels/optimiser.hpp>
#include <nasturtium/kernels/pooling.hpp>
#include <nasturtium/kernels/types.hpp>
#include <nasturtium/nn/options.hpp>
#include <nasturtium/nn/weights.hpp>

#include <span>
#include <stdexcept>
#include <string>

namespace nasturtium::nn::impl {

/// A network did not fit: its own limit or the device's memory.
class OutOfMemory : public std::runtime_error
{
public:
  OutOfMemory(std::string const& what, bool over_limit) : std::runtime_error(what), m_over_limit(over_limit) {}

  /// Its own limit: it will not fit later either.
  bool over_limit() const { return m_over_limit; }

private:
  bool m_over_limit;
};

/// Everything is allocated by the constructor; the passes only enqueue kernels on the instance. Nothing is fenced
/// except where a member says so.
template <class ExecSpace, class Real>
class Network
{
public:
  using RealBuffer = kernels::Buffer<ExecSpace, Real>;
  using ConstBuffer = kernels::Buffer<ExecSpace, Real const>;
  using Labels = kernels::Buffer<ExecSpace, std::int32_t const>;
  using Metrics = kernels::Buffer<ExecSpace, double>;

  /// For batches of exactly the given sizes. `training` adds gradients and `slots` optimiser values per weight; without
  /// it only inference is possible. The weights of the `frozen` nodes stay as they are loaded. Throws Error for an
  /// invalid architecture or list of frozen nodes (make_plan) and OutOfMemory where the network needs more than
  /// `memory_limit` bytes (0: no limit) or than the device has.
  Network(ExecSpace const& exec, spec::Architecture const& architecture, std::span<int const> batches, bool training,
          int slots, std::int64_t memory_limit, std::vector<std::string> const& frozen = {});

  /// What the constructor would allocate, by use; allocates nothing. Throws Error as the constructor does.
  static spec::MemoryEstimate memory(ExecSpace const& exec, spec::Architecture const& architecture,
                                     std::span<int const> batches, bool training, int slots);

  /// Biases and means 0, scales and variances 1, kernels by the named initialiser. Complete at return.
  void initialise(std::string const& initialiser, std::uint64_t seed);

  /// Copies the given parameters to the device; those that are missing stay as they are. The extents must fit
  /// (check_weights). Complete at return.
  void load(Weights const& weights);
  void load_slot(int slot, Weights const& values);

  /// All parameters, trained or not, and all values of an optimiser slot. Complete at return.
  Weights weights() const;
  Weights slot(int slot) const;

  /// Where the batch of images goes (batch * height * width * channels values), and where the logits are.
  RealBuffer images(int batch, bool training) const;
  ConstBuffer logits(int batch, bool training) const;

  /// Training: batch statistics (a frozen batch norm keeps to its running ones), dropout by `draws` (the node is each
  /// op's own); else inference.
  void forward(int batch, bool training, kernels::DropoutKey const& draws = {}) const;

  /// Loss of the last forward pass against labels (or targets); adds to `metrics`. Writes the gradient where training.
  void loss(int batch, bool training, Labels labels, ConstBuffer targets, double smoothing, int top_k,
            Metrics metrics) const;

  /// Gradients of all trained weights, after forward and loss with training. `draws` as in forward.
  void backward(int batch, kernels::DropoutKey const& draws) const;

  /// One update of all trained weights; `step` counts from 1. Where `current` is given (device memory, made by rates),
  /// it stands for both.
  void update(OptimiserOptions const& options, double learning_rate, std::int64_t step,
              kernels::StepRates const* current = nullptr) const;
  kernels::StepRates rates(OptimiserOptions const& options, double learning_rate, std::int64_t step) const;

  /// Calls f(pass, shape) for every contraction of a training step whose tiles can be chosen (kernels/tile_choice.hpp);
  /// dense layers as convolutions of 1 x 1 images.
  template <class F>
  void for_each_contraction(int batch, F const& f) const
  {
    for (auto const& step : m_plan.steps) {
      if (step.kind != StepKind::conv2d && step.kind != StepKind::dense) continue;
      auto const shape =
          step.kind == StepKind::conv2d ? conv2d_shape(step, batch) : kernels::as_convolution(dense_shape(step, batch));
      if (step.statistics_for < 0) f(kernels::Pass::forward, shape);
      if (!step.backward) continue;
      if (step.gradients[0] != GradientMode::none) f(kernels::Pass::backward_data, shape);
      if (step.trained) f(kernels::Pass::backward_weights, shape);
    }
  }

  Plan const& plan() const { return m_plan; }
  std::int64_t bytes() const { return m_memory.total(); }
  ExecSpace const& exec() const { return m_exec; }

  /// Flat buffers, for tests.
  RealBuffer flat_weights() const;
  RealBuffer flat_gradients() const;

private:
  using Memory = Kokkos::View<std::byte*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;

  ExecSpace m_exec;
  bool m_training;
  int m_slot_count;
  Plan m_plan;
  spec::MemoryEstimate m_memory; ///< the workspace with the scalars
  Memory m_weights, m_fixed, m_gradients, m_slots, m_arena, m_workspace, m_scalars;

  /// A plan and what it will take, without any memory yet.
  Network(ExecSpace const& exec, Plan plan, std::span<int const> batches, bool training, int slots);

  Layout const& layout(bool training) const { return training ? m_plan.training : m_plan.inference; }
  spec::Op const& op(Step const& step) const;
  spec::NodeInfo const& info(Step const& step) const { return m_plan.inferred.nodes[step.info]; }

  RealBuffer piece(Memory const& memory, std::int64_t first, std::int64_t count) const;
  RealBuffer block(Layout const& layout, int block, std::int64_t count) const;
  RealBuffer value(Layout const& layout, int value, int batch) const;
  RealBuffer gradient(int value, int batch) const;
  RealBuffer parameter(int index) const;
  RealBuffer parameter_gradient(int index) const;
  kernels::Workspace<ExecSpace> workspace() const;
  kernels::OptimiserStep<Real> optimiser_step(OptimiserOptions const& options, double learning_rate,
                                              std::int64_t step) const;

  kernels::Conv2dShape conv2d_shape(Step const& step, int batch) const;
  kernels::DenseShape dense_shape(Step const& step, int batch) const;
  kernels::Pool2dShape pool_shape(Step const& step, int batch) const;

  /// Where step `by` puts the statistics of the batch_norm of step `index`.
  kernels::BatchStatistics<ExecSpace, Real> statistics(int index, int by, int batch) const;
  /// What lies in m_scalars: the gradient's norm, then the counters that kernels with statistics share.
  std::int64_t scalar_bytes() const;
  kernels::Buffer<ExecSpace, int> arrivals() const;

  std::size_t step_workspace(Step const& step, int batch) const;
  std::int64_t workspace_bytes(std::span<int const> batches) const;
  void allocate(std::int64_t memory_limit);

  void forward_step(int index, int batch, bool training, kernels::DropoutKey const& draws) const;
  void forward_batch_norm(int index, int batch, bool training) const;
  void backward_step(int index, int batch, kernels::DropoutKey const& draws) const;
  void backward_batch_norm(int index, int batch) const;
  void backward_frozen_batch_norm(int index, int batch) const;

  void copy_in(Memory const& memory, bool trained, Weights const& weights) const;
  void copy_out(Memory const& memory, bool trained, Weights& weights) const;
};

} // namespace nasturtium::nn::impl
