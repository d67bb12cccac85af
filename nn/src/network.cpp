// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "network.hpp"

#include "network_backends.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/batch_norm.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/initialise.hpp>
#include <nasturtium/kernels/optimiser.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace nasturtium::nn::impl {

namespace {

kernels::Activation to_kernel(spec::ActivationKind kind)
{
  switch (kind) {
  case spec::ActivationKind::relu:
    return kernels::Activation::relu;
  case spec::ActivationKind::leaky_relu:
    return kernels::Activation::leaky_relu;
  case spec::ActivationKind::elu:
    return kernels::Activation::elu;
  case spec::ActivationKind::gelu:
    return kernels::Activation::gelu;
  case spec::ActivationKind::silu:
    return kernels::Activation::silu;
  case spec::ActivationKind::tanh:
    return kernels::Activation::tanh;
  case spec::ActivationKind::sigmoid:
    return kernels::Activation::sigmoid;
  }
  return kernels::Activation::identity;
}

kernels::Initialiser parse_initialiser(std::string const& name)
{
  static constexpr std::pair<char const*, kernels::Initialiser> table[] = {
      {"he_normal", kernels::Initialiser::he_normal},         {"he_uniform", kernels::Initialiser::he_uniform},
      {"glorot_normal", kernels::Initialiser::glorot_normal}, {"glorot_uniform", kernels::Initialiser::glorot_uniform},
      {"lecun_normal", kernels::Initialiser::lecun_normal},   {"lecun_uniform", kernels::Initialiser::lecun_uniform},
      {"orthogonal", kernels::Initialiser::orthogonal}};
  for (auto const& [known, initialiser] : table) {
    if (name == known) return initialiser;
  }
  fail("initialiser '", name, "' is unknown");
}

kernels::Activation relu_if(bool relu)
{
  return relu ? kernels::Activation::relu : kernels::Activation::identity;
}

} // namespace

template <class ExecSpace, class Real>
Network<ExecSpace, Real>::Network(ExecSpace const& exec, spec::Architecture const& architecture,
                                  std::span<int const> batches, bool training, int slots, std::int64_t memory_limit,
                                  std::vector<std::string> const& frozen)
    : Network(exec,
              make_plan(architecture, *std::max_element(batches.begin(), batches.end()), sizeof(Real),
                        kernels::moment_chunk_rows, frozen),
              batches, training, slots)
{
  allocate(memory_limit);
}

template <class ExecSpace, class Real>
Network<ExecSpace, Real>::Network(ExecSpace const& exec, Plan plan, std::span<int const> batches, bool training,
                                  int slots)
    : m_exec(exec), m_training(training), m_slot_count(slots), m_plan(std::move(plan))
{
  auto const values = [](std::int64_t count) { return static_cast<std::int64_t>(sizeof(Real)) * count; };
  m_memory.weights = values(m_plan.weight_count) + values(m_plan.fixed_count);
  m_memory.gradients = m_training ? values(m_plan.weight_count) : 0;
  m_memory.optimiser = m_memory.gradients * m_slot_count;
  m_memory.activations = std::max(m_training ? m_plan.training.bytes : 0, m_plan.inference.bytes);
  m_memory.workspace = workspace_bytes(batches) + scalar_bytes();
}

template <class ExecSpace, class Real>
spec::MemoryEstimate Network<ExecSpace, Real>::memory(ExecSpace const& exec, spec::Architecture const& architecture,
                                                      std::span<int const> batches, bool training, int slots)
{
  auto plan = make_plan(architecture, *std::max_element(batches.begin(), batches.end()), sizeof(Real),
                        kernels::moment_chunk_rows);
  return Network(exec, std::move(plan), batches, training, slots).m_memory;
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::allocate(std::int64_t memory_limit)
{
  struct Piece
  {
    Memory& memory;
    char const* label;
    std::int64_t bytes;
    bool zero;
  };
  std::int64_t const fixed = static_cast<std::int64_t>(sizeof(Real)) * m_plan.fixed_count;
  std::array<Piece, 7> const pieces{{
      {m_weights, "nasturtium::network::weights", m_memory.weights - fixed, true},
      {m_fixed, "nasturtium::network::fixed", fixed, true},
      {m_gradients, "nasturtium::network::gradients", m_memory.gradients, true},
      {m_slots, "nasturtium::network::slots", m_memory.optimiser, true},
      {m_arena, "nasturtium::network::arena", m_memory.activations, false},
      {m_workspace, "nasturtium::network::workspace", m_memory.workspace - scalar_bytes(), false},
      {m_scalars, "nasturtium::network::scalars", scalar_bytes(), true},
  }};
  if (memory_limit > 0 && bytes() > memory_limit) {
    throw OutOfMemory(concat("the network needs ", bytes(), " bytes, the limit is ", memory_limit), true);
  }
  for (auto const& part : pieces) {
    if (part.bytes == 0) continue;
    try {
      part.memory =
          Memory(Kokkos::view_alloc(m_exec, Kokkos::WithoutInitializing, std::string(part.label)), part.bytes);
    } catch (std::exception const&) { // Kokkos throws a type of its own that depends on its version
      throw OutOfMemory(concat("the network needs ", bytes(), " bytes, and the device does not have them"), false);
    }
    // The gaps that alignment leaves between parameters stay zero for good.
    if (part.zero) {
      kernels::fill<ExecSpace, Real>(m_exec, Real(0), this->piece(part.memory, 0, part.bytes / sizeof(Real)));
    }
  }
}

template <class ExecSpace, class Real>
spec::Op const& Network<ExecSpace, Real>::op(Step const& step) const
{
  return m_plan.architecture.nodes[info(step).node].op;
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::piece(Memory const& memory, std::int64_t first, std::int64_t count) const -> RealBuffer
{
  return RealBuffer(reinterpret_cast<Real*>(memory.data()) + first, count);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::block(Layout const& layout, int block, std::int64_t count) const -> RealBuffer
{
  if (block < 0) return RealBuffer();
  return RealBuffer(reinterpret_cast<Real*>(m_arena.data() + layout.blocks[block].offset), count);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::value(Layout const& layout, int value, int batch) const -> RealBuffer
{
  return block(layout, layout.value[value], batch * m_plan.values[value].size());
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::gradient(int value, int batch) const -> RealBuffer
{
  return block(m_plan.training, m_plan.training.gradient[value], batch * m_plan.values[value].size());
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::parameter(int index) const -> RealBuffer
{
  if (index < 0) return RealBuffer();
  auto const& it = m_plan.parameters[index];
  return piece(it.trained ? m_weights : m_fixed, it.offset, it.count);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::parameter_gradient(int index) const -> RealBuffer
{
  if (index < 0) return RealBuffer();
  auto const& it = m_plan.parameters[index];
  return piece(m_gradients, it.offset, it.count);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::workspace() const -> kernels::Workspace<ExecSpace>
{
  return kernels::Workspace<ExecSpace>(m_workspace.data(), m_workspace.size());
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::images(int batch, bool training) const -> RealBuffer
{
  return value(layout(training), 0, batch);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::logits(int batch, bool training) const -> ConstBuffer
{
  return value(layout(training), m_plan.output, batch);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::flat_weights() const -> RealBuffer
{
  return piece(m_weights, 0, m_plan.weight_count);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::flat_gradients() const -> RealBuffer
{
  return piece(m_gradients, 0, m_plan.weight_count);
}

template <class ExecSpace, class Real>
kernels::Conv2dShape Network<ExecSpace, Real>::conv2d_shape(Step const& step, int batch) const
{
  auto const& conv = std::get<spec::Conv2d>(op(step));
  auto const& in = info(step).in[0];
  auto const& padding = info(step).padding;
  kernels::Conv2dShape shape;
  shape.batch = batch;
  shape.in_height = in.height;
  shape.in_width = in.width;
  shape.in_channels = in.channels;
  shape.out_channels = conv.filters;
  shape.kernel_height = conv.kernel[0];
  shape.kernel_width = conv.kernel[1];
  shape.stride_height = conv.stride[0];
  shape.stride_width = conv.stride[1];
  shape.pad_top = padding[0];
  shape.pad_bottom = padding[1];
  shape.pad_left = padding[2];
  shape.pad_right = padding[3];
  shape.dilation_height = conv.dilation[0];
  shape.dilation_width = conv.dilation[1];
  shape.groups = conv.groups;
  return shape;
}

template <class ExecSpace, class Real>
kernels::DenseShape Network<ExecSpace, Real>::dense_shape(Step const& step, int batch) const
{
  return {batch, static_cast<int>(m_plan.values[step.src[0]].size()), std::get<spec::Dense>(op(step)).units};
}

template <class ExecSpace, class Real>
kernels::Pool2dShape Network<ExecSpace, Real>::pool_shape(Step const& step, int batch) const
{
  auto const& pool = std::get<spec::Pool2d>(op(step));
  auto const& in = info(step).in[0];
  auto const& padding = info(step).padding;
  return {batch,          in.height,      in.width,   in.channels, pool.kernel[0], pool.kernel[1],
          pool.stride[0], pool.stride[1], padding[0], padding[1],  padding[2],     padding[3]};
}

template <class ExecSpace, class Real>
std::size_t Network<ExecSpace, Real>::step_workspace(Step const& step, int batch) const
{
  std::size_t bytes = 0;
  if (step.kind == StepKind::conv2d) {
    auto const shape = conv2d_shape(step, batch);
    bytes = kernels::conv2d_forward_workspace<ExecSpace, Real>(shape);
    if (m_training) {
      bytes = std::max({bytes, kernels::conv2d_backward_data_workspace<ExecSpace, Real>(shape),
                        kernels::conv2d_backward_weights_workspace<ExecSpace, Real>(shape)});
    }
  } else if (step.kind == StepKind::dense) {
    bytes = kernels::dense_workspace<ExecSpace, Real>(dense_shape(step, batch));
  } else if (step.kind == StepKind::batch_norm && m_training) {
    auto const& shape = info(step).out;
    bytes = kernels::batch_norm_workspace<ExecSpace, Real>(
        {std::int64_t{batch} * shape.height * shape.width, shape.channels});
  }
  return bytes;
}

template <class ExecSpace, class Real>
std::int64_t Network<ExecSpace, Real>::workspace_bytes(std::span<int const> batches) const
{
  std::size_t bytes = kernels::squared_norm_workspace<ExecSpace, Real>(m_plan.weight_count);
  for (int const batch : batches) {
    bytes = std::max(bytes, kernels::loss_workspace<ExecSpace, Real>(batch));
    for (auto const& step : m_plan.steps)
      bytes = std::max(bytes, step_workspace(step, batch));
  }
  return static_cast<std::int64_t>((bytes + alignment - 1) / alignment * alignment);
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::initialise(std::string const& initialiser, std::uint64_t seed)
{
  auto const kind = parse_initialiser(initialiser);
  for (int i = 0; i < static_cast<int>(m_plan.parameters.size()); ++i) {
    auto const& it = m_plan.parameters[i];
    if (it.name == "kernel") {
      // HWIO or (in, out): everything but the last extent feeds an output; an input channel reaches every output
      // channel through the extents before its own (as PyTorch counts it).
      auto const columns = it.extent.back();
      auto const fan_in = it.count / columns;
      auto const taps = fan_in / it.extent[it.extent.size() - 2];
      kernels::initialise<ExecSpace, Real>(m_exec, kind, seed,
                                           static_cast<std::uint32_t>(m_plan.inferred.nodes[it.info].node), fan_in,
                                           taps * columns, columns, parameter(i));
    } else {
      Real const fill = it.name == "gamma" || it.name == "moving_variance" ? Real(1) : Real(0);
      kernels::fill<ExecSpace, Real>(m_exec, fill, parameter(i));
    }
  }
  m_exec.fence("nasturtium::network: initialised");
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::forward(int batch, bool training, kernels::DropoutKey const& draws) const
{
  for (int i = 0; i < static_cast<int>(m_plan.steps.size()); ++i)
    forward_step(i, batch, training, draws);
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::backward(int batch, kernels::DropoutKey const& draws) const
{
  for (int i = static_cast<int>(m_plan.steps.size()) - 1; i >= 0; --i) {
    if (m_plan.steps[i].backward) backward_step(i, batch, draws);
  }
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::forward_step(int index, int batch, bool training, kernels::DropoutKey const& draws) const
{
  auto const& step = m_plan.steps[index];
  auto const& where = layout(training);
  ConstBuffer const src = value(where, step.src[0], batch);
  RealBuffer const dst = value(where, step.dst, batch);
  auto const& shape = info(step).out; // a flatten behind a fused op changes the value's shape, not the op's
  switch (step.kind) {
  case StepKind::conv2d:
  case StepKind::dense: {
    auto const by_product = training && step.statistics_for >= 0 ? statistics(step.statistics_for, index, batch)
                                                                 : kernels::BatchStatistics<ExecSpace, Real>();
    if (step.kind == StepKind::conv2d) {
      kernels::conv2d_forward<ExecSpace, Real>(m_exec, conv2d_shape(step, batch), src, parameter(step.kernel),
                                               parameter(step.bias), relu_if(step.relu), dst, by_product, workspace());
    } else {
      kernels::dense_forward<ExecSpace, Real>(m_exec, dense_shape(step, batch), src, parameter(step.kernel),
                                              parameter(step.bias), relu_if(step.relu), dst, by_product, workspace());
    }
    break;
  }
  case StepKind::batch_norm:
    forward_batch_norm(index, batch, training);
    break;
  case StepKind::activation: {
    auto const& activation = std::get<spec::Activation>(op(step));
    kernels::activation_forward<ExecSpace, Real>(m_exec, to_kernel(activation.kind),
                                                 static_cast<Real>(activation.slope), src, dst);
    break;
  }
  case StepKind::pool:
    if (std::get<spec::Pool2d>(op(step)).kind == spec::PoolKind::max) {
      kernels::Buffer<ExecSpace, std::uint8_t> argmax;
      if (training && where.argmax[index] >= 0) {
        argmax = kernels::Buffer<ExecSpace, std::uint8_t>(
            reinterpret_cast<std::uint8_t*>(m_arena.data() + where.blocks[where.argmax[index]].offset), dst.size());
      }
      kernels::max_pool2d_forward<ExecSpace, Real>(m_exec, pool_shape(step, batch), src, dst, argmax);
    } else {
      kernels::avg_pool2d_forward<ExecSpace, Real>(m_exec, pool_shape(step, batch), src, dst);
    }
    break;
  case StepKind::global_avg_pool: {
    auto const& in = info(step).in[0];
    kernels::global_avg_pool_forward<ExecSpace, Real>(m_exec, batch, in.height * in.width, in.channels, src, dst);
    break;
  }
  case StepKind::dropout:
    if (training) {
      auto key = draws;
      key.node = static_cast<std::uint32_t>(info(step).node);
      kernels::dropout<ExecSpace, Real>(m_exec, key, static_cast<Real>(std::get<spec::Dropout>(op(step)).rate), src,
                                        dst, false);
    } else if (src.data() != dst.data()) {
      kernels::copy<ExecSpace, Real>(m_exec, src, dst, false);
    }
    break;
  case StepKind::add: {
    // In place the sum starts with the summand that is overwritten, which is one of the first two.
    kernels::add<ExecSpace, Real>(m_exec, src, value(where, step.src[1], batch), dst);
    for (std::size_t k = 2; k < step.src.size(); ++k) {
      kernels::add<ExecSpace, Real>(m_exec, dst, value(where, step.src[k], batch), dst);
    }
    break;
  }
  case StepKind::concat: {
    int offset = 0;
    for (std::size_t k = 0; k < step.src.size(); ++k) {
      int const channels = info(step).in[k].channels;
      kernels::copy_channels<ExecSpace, Real>(m_exec, std::int64_t{batch} * shape.height * shape.width, channels,
                                              value(where, step.src[k], batch), channels, 0, dst, shape.channels,
                                              offset, false);
      offset += channels;
    }
    break;
  }
  case StepKind::slice:
    kernels::copy_channels<ExecSpace, Real>(m_exec, std::int64_t{batch} * shape.height * shape.width, shape.channels,
                                            src, info(step).in[0].channels, std::get<spec::Slice>(op(step)).begin, dst,
                                            shape.channels, 0, false);
    break;
  case StepKind::pad_channels:
    kernels::pad_channels<ExecSpace, Real>(m_exec, std::int64_t{batch} * shape.height * shape.width,
                                           info(step).in[0].channels, src, dst, shape.channels, 0);
    break;
  }
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::forward_batch_norm(int index, int batch, bool training) const
{
  auto const& step = m_plan.steps[index];
  auto const& where = layout(training);
  auto const& norm = std::get<spec::BatchNorm>(op(step));
  auto const& out = info(step).out;
  kernels::BatchNormShape const shape{std::int64_t{batch} * out.height * out.width, out.channels};
  ConstBuffer const src = value(where, step.src[0], batch);
  RealBuffer const dst = value(where, step.dst, batch);
  ConstBuffer const residual = step.residual >= 0 ? value(where, step.residual, batch) : RealBuffer();
  if (!training || !step.trained) {
    kernels::batch_norm_forward_inference<ExecSpace, Real>(
        m_exec, shape, src, parameter(step.gamma), parameter(step.beta), static_cast<Real>(norm.epsilon),
        parameter(step.moving_mean), parameter(step.moving_variance), residual, relu_if(step.relu), dst);
    return;
  }
  auto const its = statistics(index, index, batch);
  if (step.statistics_of < 0) kernels::batch_norm_statistics<ExecSpace, Real>(m_exec, shape, src, its);
  kernels::batch_norm_forward_train<ExecSpace, Real>(m_exec, shape, src, parameter(step.gamma), parameter(step.beta),
                                                     its.mean, its.inverse_deviation, residual, relu_if(step.relu),
                                                     dst);
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::statistics(int index, int by, int batch) const
    -> kernels::BatchStatistics<ExecSpace, Real>
{
  auto const& step = m_plan.steps[index];
  auto const& where = m_plan.training;
  auto const& norm = std::get<spec::BatchNorm>(op(step));
  auto const& shape = info(step).out;
  std::int64_t const rows = std::int64_t{batch} * shape.height * shape.width;
  kernels::BatchStatistics<ExecSpace, Real> its;
  its.moments = block(where, where.moments[by], kernels::moment_chunks(rows) * 2 * shape.channels);
  its.mean = block(where, where.saved[index], shape.channels);
  std::int64_t const half = where.blocks[where.saved[index]].bytes / 2 / static_cast<std::int64_t>(sizeof(Real));
  its.inverse_deviation = RealBuffer(its.mean.data() + half, shape.channels);
  its.running_mean = parameter(step.moving_mean);
  its.running_variance = parameter(step.moving_variance);
  its.epsilon = static_cast<Real>(norm.epsilon);
  its.momentum = static_cast<Real>(norm.momentum);
  its.arrivals = arrivals();
  return its;
}

template <class ExecSpace, class Real>
std::int64_t Network<ExecSpace, Real>::scalar_bytes() const
{
  auto const counters = m_training ? static_cast<std::int64_t>(sizeof(int)) * m_plan.norm_channels : 0;
  return alignment + (counters + alignment - 1) / alignment * alignment;
}

template <class ExecSpace, class Real>
auto Network<ExecSpace, Real>::arrivals() const -> kernels::Buffer<ExecSpace, int>
{
  return kernels::Buffer<ExecSpace, int>(reinterpret_cast<int*>(m_scalars.data() + alignment), m_plan.norm_channels);
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::loss(int batch, bool training, Labels labels, ConstBuffer targets, double smoothing,
                                    int top_k, Metrics metrics) const
{
  auto const& where = layout(training);
  ConstBuffer const output = value(where, m_plan.output, batch);
  RealBuffer const output_gradient = training && m_plan.output_gradient ? gradient(m_plan.output, batch) : RealBuffer();
  int const width = static_cast<int>(m_plan.values[m_plan.output].size());
  if (m_plan.architecture.classes > 0) {
    kernels::softmax_cross_entropy<ExecSpace, Real>(m_exec, batch, width, output, labels, static_cast<Real>(smoothing),
                                                    top_k, output_gradient, metrics, workspace());
  } else {
    kernels::mean_squared_error<ExecSpace, Real>(m_exec, batch, width, output, targets, output_gradient, metrics,
                                                 workspace());
  }
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::backward_step(int index, int batch, kernels::DropoutKey const& draws) const
{
  auto const& step = m_plan.steps[index];
  auto const& where = m_plan.training;
  RealBuffer const dst_grad = gradient(step.dst, batch);
  bool const wanted = step.gradients[0] != GradientMode::none;
  bool const accumulate = step.gradients[0] == GradientMode::accumulate;
  RealBuffer const src_grad = wanted ? gradient(step.src[0], batch) : RealBuffer();
  auto const& shape = info(step).out;
  switch (step.kind) {
  case StepKind::conv2d:
  case StepKind::dense: {
    if (step.relu && !step.mask_in_pool) {
      kernels::activation_backward<ExecSpace, Real>(m_exec, kernels::Activation::relu, Real(0),
                                                    value(where, step.dst, batch), dst_grad, dst_grad, false);
    }
    ConstBuffer const src = value(where, step.src[0], batch);
    if (step.kind == StepKind::conv2d) {
      auto const conv = conv2d_shape(step, batch);
      if (step.trained) {
        kernels::conv2d_backward_weights<ExecSpace, Real>(m_exec, conv, src, dst_grad, parameter_gradient(step.kernel),
                                                          parameter_gradient(step.bias), workspace());
      }
      if (wanted) {
        kernels::conv2d_backward_data<ExecSpace, Real>(m_exec, conv, dst_grad, parameter(step.kernel), src_grad,
                                                       accumulate, workspace());
      }
    } else {
      auto const dense = dense_shape(step, batch);
      if (step.trained) {
        kernels::dense_backward_weights<ExecSpace, Real>(m_exec, dense, src, dst_grad, parameter_gradient(step.kernel),
                                                         parameter_gradient(step.bias), workspace());
      }
      if (wanted) {
        kernels::dense_backward_data<ExecSpace, Real>(m_exec, dense, dst_grad, parameter(step.kernel), src_grad,
                                                      accumulate, workspace());
      }
    }
    break;
  }
  case StepKind::batch_norm:
    if (step.trained) {
      backward_batch_norm(index, batch);
    } else {
      backward_frozen_batch_norm(index, batch);
    }
    break;
  case StepKind::activation: {
    auto const& activation = std::get<spec::Activation>(op(step));
    auto const kind = to_kernel(activation.kind);
    int const saved = kernels::activation_backward_needs_src(kind) ? step.src[0] : step.dst;
    kernels::activation_backward<ExecSpace, Real>(m_exec, kind, static_cast<Real>(activation.slope),
                                                  value(where, saved, batch), dst_grad, src_grad, accumulate);
    break;
  }
  case StepKind::pool:
    if (step.masks) {
      kernels::activation_backward<ExecSpace, Real>(m_exec, kernels::Activation::relu, Real(0),
                                                    value(where, step.dst, batch), dst_grad, dst_grad, false);
    }
    if (std::get<spec::Pool2d>(op(step)).kind == spec::PoolKind::max) {
      kernels::Buffer<ExecSpace, std::uint8_t const> const argmax(
          reinterpret_cast<std::uint8_t const*>(m_arena.data() + where.blocks[where.argmax[index]].offset),
          dst_grad.size());
      kernels::max_pool2d_backward<ExecSpace, Real>(m_exec, pool_shape(step, batch), dst_grad, argmax, src_grad,
                                                    accumulate);
    } else {
      kernels::avg_pool2d_backward<ExecSpace, Real>(m_exec, pool_shape(step, batch), dst_grad, src_grad, accumulate);
    }
    break;
  case StepKind::global_avg_pool: {
    auto const& in = info(step).in[0];
    kernels::global_avg_pool_backward<ExecSpace, Real>(m_exec, batch, in.height * in.width, in.channels, dst_grad,
                                                       src_grad, accumulate);
    break;
  }
  case StepKind::dropout: {
    auto key = draws;
    key.node = static_cast<std::uint32_t>(info(step).node);
    kernels::dropout<ExecSpace, Real>(m_exec, key, static_cast<Real>(std::get<spec::Dropout>(op(step)).rate), dst_grad,
                                      src_grad, accumulate);
    break;
  }
  case StepKind::add:
    for (std::size_t k = 0; k < step.src.size(); ++k) {
      auto const mode = step.gradients[k];
      if (mode != GradientMode::overwrite && mode != GradientMode::accumulate) continue;
      kernels::copy<ExecSpace, Real>(m_exec, dst_grad, gradient(step.src[k], batch), mode == GradientMode::accumulate);
    }
    break;
  case StepKind::concat: {
    int offset = 0;
    for (std::size_t k = 0; k < step.src.size(); ++k) {
      int const channels = info(step).in[k].channels;
      if (step.gradients[k] != GradientMode::none) {
        kernels::copy_channels<ExecSpace, Real>(m_exec, std::int64_t{batch} * shape.height * shape.width, channels,
                                                dst_grad, shape.channels, offset, gradient(step.src[k], batch),
                                                channels, 0, step.gradients[k] == GradientMode::accumulate);
      }
      offset += channels;
    }
    break;
  }
  case StepKind::slice: {
    std::int64_t const rows = std::int64_t{batch} * shape.height * shape.width;
    int const begin = std::get<spec::Slice>(op(step)).begin, channels = info(step).in[0].channels;
    if (accumulate) {
      kernels::copy_channels<ExecSpace, Real>(m_exec, rows, shape.channels, dst_grad, shape.channels, 0, src_grad,
                                              channels, begin, true);
    } else {
      kernels::pad_channels<ExecSpace, Real>(m_exec, rows, shape.channels, dst_grad, src_grad, channels, begin);
    }
    break;
  }
  case StepKind::pad_channels: {
    int const channels = info(step).in[0].channels;
    kernels::copy_channels<ExecSpace, Real>(m_exec, std::int64_t{batch} * shape.height * shape.width, channels,
                                            dst_grad, shape.channels, 0, src_grad, channels, 0, accumulate);
    break;
  }
  }
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::backward_batch_norm(int index, int batch) const
{
  auto const& step = m_plan.steps[index];
  auto const& where = m_plan.training;
  auto const& out = info(step).out;
  kernels::BatchNormShape const shape{std::int64_t{batch} * out.height * out.width, out.channels};
  RealBuffer const dst_grad = gradient(step.dst, batch);
  auto const its = statistics(index, index, batch);
  bool const masks = step.relu && !step.mask_in_pool;
  ConstBuffer const dst = masks ? value(where, step.dst, batch) : RealBuffer();
  RealBuffer const src_grad = step.gradients[0] == GradientMode::none
                                  ? block(where, where.spare[index], dst_grad.size())
                                  : gradient(step.src[0], batch);
  RealBuffer const residual_grad =
      step.residual_gradient == GradientMode::none ? RealBuffer() : gradient(step.residual, batch);
  kernels::batch_norm_backward<ExecSpace, Real>(
      m_exec, shape, value(where, step.src[0], batch), dst, dst_grad, parameter(step.gamma), its.mean,
      its.inverse_deviation, relu_if(masks), src_grad, step.gradients[0] == GradientMode::accumulate, residual_grad,
      step.residual_gradient == GradientMode::accumulate, parameter_gradient(step.gamma), parameter_gradient(step.beta),
      workspace(), its.arrivals);
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::backward_frozen_batch_norm(int index, int batch) const
{
  auto const& step = m_plan.steps[index];
  auto const& out = info(step).out;
  RealBuffer const dst_grad = gradient(step.dst, batch);
  bool const masks = step.relu && !step.mask_in_pool;
  ConstBuffer const dst = masks ? value(m_plan.training, step.dst, batch) : RealBuffer();
  // First, for the input's gradient may take the place of the output's.
  if (step.residual_gradient != GradientMode::none) {
    RealBuffer const residual_grad = gradient(step.residual, batch);
    bool const accumulate = step.residual_gradient == GradientMode::accumulate;
    if (masks) {
      kernels::activation_backward<ExecSpace, Real>(m_exec, kernels::Activation::relu, Real(0), dst, dst_grad,
                                                    residual_grad, accumulate);
    } else {
      kernels::copy<ExecSpace, Real>(m_exec, dst_grad, residual_grad, accumulate);
    }
  }
  if (step.gradients[0] == GradientMode::none) return;
  kernels::batch_norm_backward_inference<ExecSpace, Real>(
      m_exec, {std::int64_t{batch} * out.height * out.width, out.channels}, dst, dst_grad, parameter(step.gamma),
      static_cast<Real>(std::get<spec::BatchNorm>(op(step)).epsilon), parameter(step.moving_variance), relu_if(masks),
      gradient(step.src[0], batch), step.gradients[0] == GradientMode::accumulate);
}

template <class ExecSpace, class Real>
kernels::OptimiserStep<Real> Network<ExecSpace, Real>::optimiser_step(OptimiserOptions const& options,
                                                                      double learning_rate, std::int64_t step) const
{
  kernels::OptimiserStep<Real> it;
  it.learning_rate = static_cast<Real>(learning_rate);
  it.weight_decay = static_cast<Real>(options.weight_decay);
  it.decoupled = options.decoupled || options.kind == OptimiserKind::adamw;
  it.decay_count = m_plan.decay_count;
  it.momentum = static_cast<Real>(options.momentum);
  it.nesterov = options.nesterov;
  it.beta1 = static_cast<Real>(options.beta1);
  it.beta2 = static_cast<Real>(options.beta2);
  it.rho = static_cast<Real>(options.rho);
  it.epsilon = static_cast<Real>(options.epsilon);
  it.step = step;
  it.clip_norm = static_cast<Real>(options.clip_norm);
  return it;
}

template <class ExecSpace, class Real>
kernels::StepRates Network<ExecSpace, Real>::rates(OptimiserOptions const& options, double learning_rate,
                                                   std::int64_t step) const
{
  return kernels::step_rates(optimiser_step(options, learning_rate, step));
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::update(OptimiserOptions const& options, double learning_rate, std::int64_t step,
                                      kernels::StepRates const* current) const
{
  std::int64_t const count = m_plan.weight_count;
  if (count == 0) return;
  auto it = optimiser_step(options, learning_rate, step);
  it.current = current;
  Metrics norm;
  if (options.clip_norm > 0) {
    norm = Metrics(reinterpret_cast<double*>(m_scalars.data()), 1);
    kernels::squared_norm<ExecSpace, Real>(m_exec, flat_gradients(), norm, workspace());
  }
  RealBuffer const weights = flat_weights();
  RealBuffer const gradients = flat_gradients();
  RealBuffer const first = piece(m_slots, 0, count);
  RealBuffer const second = m_slot_count > 1 ? piece(m_slots, count, count) : RealBuffer();
  switch (options.kind) {
  case OptimiserKind::sgd:
    kernels::sgd<ExecSpace, Real>(m_exec, it, weights, gradients, first, norm);
    break;
  case OptimiserKind::adam:
  case OptimiserKind::adamw:
    kernels::adam<ExecSpace, Real>(m_exec, it, weights, gradients, first, second, norm);
    break;
  case OptimiserKind::rmsprop:
    kernels::rmsprop<ExecSpace, Real>(m_exec, it, weights, gradients, first, second, norm);
    break;
  }
}

/// The memory itself where the host reaches it, else a complete copy. (An execution space of the device cannot be given
/// to an allocation on the host, so that the copy is made in two steps.)
template <class ExecSpace, class Memory>
auto host_copy(ExecSpace const& exec, Memory const& memory)
{
  auto host = Kokkos::create_mirror_view(Kokkos::view_alloc(Kokkos::WithoutInitializing), memory);
  if (host.data() != memory.data()) Kokkos::deep_copy(exec, host, memory);
  exec.fence("nasturtium::network: copied to the host");
  return host;
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::copy_in(Memory const& memory, bool trained, Weights const& weights) const
{
  auto const host = host_copy(m_exec, memory);
  for (auto const& parameter : m_plan.parameters) {
    if (parameter.trained != trained) continue;
    auto const found = weights.find({parameter.node, parameter.name});
    if (found == weights.end()) continue;
    auto* const values = reinterpret_cast<Real*>(host.data()) + parameter.offset;
    std::transform(found->second.values.begin(), found->second.values.end(), values,
                   [](double value) { return static_cast<Real>(value); });
  }
  if (host.data() != memory.data()) Kokkos::deep_copy(m_exec, memory, host);
  m_exec.fence("nasturtium::network: copied to the device");
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::copy_out(Memory const& memory, bool trained, Weights& weights) const
{
  auto const host = host_copy(m_exec, memory);
  for (auto const& parameter : m_plan.parameters) {
    if (parameter.trained != trained) continue;
    auto const* const values = reinterpret_cast<Real const*>(host.data()) + parameter.offset;
    weights[{parameter.node, parameter.name}] = {parameter.extent, {values, values + parameter.count}};
  }
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::load(Weights const& weights)
{
  copy_in(m_weights, true, weights);
  copy_in(m_fixed, false, weights);
}

template <class ExecSpace, class Real>
void Network<ExecSpace, Real>::load_slot(int slot, Weights const& values)
{
  std::int64_t const bytes = m_plan.weight_count * static_cast<std::int64_t>(sizeof(Real));
  copy_in(Kokkos::subview(m_slots, std::make_pair(slot * bytes, (slot + 1) * bytes)), true, values);
}

template <class ExecSpace, class Real>
Weights Network<ExecSpace, Real>::weights() const
{
  Weights result;
  copy_out(m_weights, true, result);
  copy_out(m_fixed, false, result);
  return result;
}

template <class ExecSpace, class Real>
Weights Network<ExecSpace, Real>::slot(int slot) const
{
  Weights result;
  std::int64_t const bytes = m_plan.weight_count * static_cast<std::int64_t>(sizeof(Real));
  copy_out(Kokkos::subview(m_slots, std::make_pair(slot * bytes, (slot + 1) * bytes)), true, result);
  return result;
}

#define NASTURTIUM_INSTANTIATE(ExecSpace)                                                                              \
  template class Network<ExecSpace, float>;                                                                            \
  template class Network<ExecSpace, double>;
NASTURTIUM_FOR_EACH_BACKEND(NASTURTIUM_INSTANTIATE)
#undef NASTURTIUM_INSTANTIATE

} // namespace nasturtium::nn::impl
