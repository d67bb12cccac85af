// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a network should answer: every op as plain loops in double, in inference mode. Slow on purpose.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/nn/weights.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::test {

namespace spec = nn::spec;

/// Uniform in [low, high), a function of (seed, index).
inline double uniform(std::uint64_t seed, std::uint64_t index, double low = 0, double high = 1)
{
  return low + (high - low) * to_unit_float(random_block(seed, Purpose::synthetic, 0, index).word[0]);
}

/// `count` values in [low, high), each exact in float32.
inline std::vector<double> random_values(std::uint64_t seed, std::int64_t count, double low = -1, double high = 1)
{
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(uniform(seed, i, low, high));
  return values;
}

/// A value for every parameter of the architecture, exact in float32. Kernels have a variance of about 2 / fan_in, so
/// that activations keep their size; variances and gammas lie in [0.5, 1.5), the rest in [-0.5, 0.5).
inline nn::Weights random_weights(spec::Architecture const& architecture, std::uint64_t seed)
{
  nn::Weights weights;
  for (spec::NodeInfo const& info : spec::infer(architecture).nodes) {
    for (spec::ParameterInfo const& parameter : info.parameters) {
      std::int64_t count = 1;
      for (std::int64_t const extent : parameter.extent)
        count *= extent;
      double low = -0.5, high = 0.5;
      if (parameter.name == "kernel") {
        high = std::sqrt(6.0 * static_cast<double>(parameter.extent.back()) / static_cast<double>(count));
        low = -high;
      } else if (parameter.name == "gamma" || parameter.name == "moving_variance") {
        low = 0.5;
        high = 1.5;
      }
      std::string const& id = architecture.nodes[static_cast<std::size_t>(info.node)].id;
      weights[{id, parameter.name}] = {parameter.extent, random_values(++seed * 7919, count, low, high)};
    }
  }
  return weights;
}

namespace impl {

using Values = std::vector<double>;

/// Computes one image through one node.
struct ReferenceOp
{
  spec::Architecture const& architecture;
  spec::NodeInfo const& info;
  nn::Weights const& weights;
  std::vector<Values const*> in;
  Values out;

  Values const* parameter(std::string const& name) const
  {
    auto const found = weights.find({architecture.nodes[static_cast<std::size_t>(info.node)].id, name});
    return found == weights.end() ? nullptr : &found->second.values;
  }

  static std::size_t at(spec::Shape const& shape, int y, int x, int c)
  {
    return (static_cast<std::size_t>(y) * static_cast<std::size_t>(shape.width) + static_cast<std::size_t>(x)) *
               static_cast<std::size_t>(shape.channels) +
           static_cast<std::size_t>(c);
  }

  /// Calls f(y, x, c) for every value of the output.
  template <class Function>
  void each(Function const& f) const
  {
    for (int y = 0; y < info.out.height; ++y)
      for (int x = 0; x < info.out.width; ++x)
        for (int c = 0; c < info.out.channels; ++c)
          f(y, x, c);
  }

  void operator()(spec::Conv2d const& conv)
  {
    spec::Shape const& src = info.in[0];
    Values const& kernel = *parameter("kernel");
    Values const* const bias = conv.bias ? parameter("bias") : nullptr;
    int const group_in = src.channels / conv.groups, group_out = conv.filters / conv.groups;
    each([&](int y, int x, int f) {
      double sum = bias ? (*bias)[static_cast<std::size_t>(f)] : 0;
      for (int i = 0; i < conv.kernel[0]; ++i) {
        for (int j = 0; j < conv.kernel[1]; ++j) {
          int const sy = y * conv.stride[0] + i * conv.dilation[0] - info.padding[0];
          int const sx = x * conv.stride[1] + j * conv.dilation[1] - info.padding[2];
          if (sy < 0 || sy >= src.height || sx < 0 || sx >= src.width) continue;
          for (int c = 0; c < group_in; ++c) {
            std::size_t const tap = ((static_cast<std::size_t>(i) * static_cast<std::size_t>(conv.kernel[1]) +
                                      static_cast<std::size_t>(j)) *
                                         static_cast<std::size_t>(group_in) +
                                     static_cast<std::size_t>(c)) *
                                        static_cast<std::size_t>(conv.filters) +
                                    static_cast<std::size_t>(f);
            sum += (*in[0])[at(src, sy, sx, f / group_out * group_in + c)] * kernel[tap];
          }
        }
      }
      out[at(info.out, y, x, f)] = sum;
    });
  }
  void operator()(spec::Dense const& dense)
  {
    Values const& kernel = *parameter("kernel");
    Values const* const bias = dense.bias ? parameter("bias") : nullptr;
    std::size_t const units = static_cast<std::size_t>(dense.units);
    for (std::size_t u = 0; u < units; ++u) {
      out[u] = bias ? (*bias)[u] : 0;
      for (std::size_t i = 0; i < in[0]->size(); ++i)
        out[u] += (*in[0])[i] * kernel[i * units + u];
    }
  }
  void operator()(spec::BatchNorm const& norm)
  {
    each([&](int y, int x, int c) {
      std::size_t const k = static_cast<std::size_t>(c), i = at(info.out, y, x, c);
      out[i] = (*parameter("gamma"))[k] * ((*in[0])[i] - (*parameter("moving_mean"))[k]) /
                   std::sqrt((*parameter("moving_variance"))[k] + norm.epsilon) +
               (*parameter("beta"))[k];
    });
  }
  void operator()(spec::Activation const& activation)
  {
    for (std::size_t i = 0; i < out.size(); ++i) {
      double const v = (*in[0])[i];
      switch (activation.kind) {
      case spec::ActivationKind::relu:
        out[i] = std::max(v, 0.0);
        break;
      case spec::ActivationKind::leaky_relu:
        out[i] = v > 0 ? v : activation.slope * v;
        break;
      case spec::ActivationKind::elu:
        out[i] = v > 0 ? v : std::expm1(v);
        break;
      case spec::ActivationKind::gelu:
        out[i] = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
        break;
      case spec::ActivationKind::silu:
        out[i] = v / (1 + std::exp(-v));
        break;
      case spec::ActivationKind::tanh:
        out[i] = std::tanh(v);
        break;
      case spec::ActivationKind::sigmoid:
        out[i] = 1 / (1 + std::exp(-v));
        break;
      }
    }
  }
  void operator()(spec::Pool2d const& pool)
  {
    spec::Shape const& src = info.in[0];
    each([&](int y, int x, int c) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      int count = 0;
      for (int i = 0; i < pool.kernel[0]; ++i) {
        for (int j = 0; j < pool.kernel[1]; ++j) {
          int const sy = y * pool.stride[0] + i - info.padding[0], sx = x * pool.stride[1] + j - info.padding[2];
          if (sy < 0 || sy >= src.height || sx < 0 || sx >= src.width) continue;
          double const v = (*in[0])[at(src, sy, sx, c)];
          largest = std::max(largest, v);
          sum += v;
          ++count;
        }
      }
      out[at(info.out, y, x, c)] = pool.kind == spec::PoolKind::max ? largest : sum / count;
    });
  }
  void operator()(spec::GlobalAvgPool const&)
  {
    spec::Shape const& src = info.in[0];
    for (int y = 0; y < src.height; ++y)
      for (int x = 0; x < src.width; ++x)
        for (int c = 0; c < src.channels; ++c)
          out[static_cast<std::size_t>(c)] += (*in[0])[at(src, y, x, c)] / (double(src.height) * src.width);
  }
  void operator()(spec::Add const&)
  {
    for (Values const* values : in)
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] += (*values)[i];
  }
  void operator()(spec::Concat const&)
  {
    int offset = 0;
    for (std::size_t k = 0; k < in.size(); ++k) {
      for (int y = 0; y < info.out.height; ++y)
        for (int x = 0; x < info.out.width; ++x)
          for (int c = 0; c < info.in[k].channels; ++c)
            out[at(info.out, y, x, offset + c)] = (*in[k])[at(info.in[k], y, x, c)];
      offset += info.in[k].channels;
    }
  }
  void operator()(spec::Slice const& slice)
  {
    each([&](int y, int x, int c) { out[at(info.out, y, x, c)] = (*in[0])[at(info.in[0], y, x, slice.begin + c)]; });
  }
  void operator()(spec::PadChannels const&)
  {
    each([&](int y, int x, int c) {
      out[at(info.out, y, x, c)] = c < info.in[0].channels ? (*in[0])[at(info.in[0], y, x, c)] : 0;
    });
  }
  template <class Copy> // flatten, dropout, identity
  void operator()(Copy const&)
  {
    out = *in[0];
  }
};

} // namespace impl

/// Outputs of the network in inference mode for `batch` images (NHWC): (batch, classes or regression values).
inline std::vector<double> reference_inference(spec::Architecture const& architecture, nn::Weights const& weights,
                                               int batch, std::span<double const> images)
{
  spec::Inferred const inferred = spec::infer(architecture);
  std::size_t const image_size = static_cast<std::size_t>(architecture.input.size());
  require(images.size() == image_size * static_cast<std::size_t>(batch), "reference_inference: wrong number of values");
  std::vector<double> logits;
  for (std::size_t image = 0; image < static_cast<std::size_t>(batch); ++image) {
    impl::Values const input(images.begin() + static_cast<std::ptrdiff_t>(image * image_size),
                             images.begin() + static_cast<std::ptrdiff_t>((image + 1) * image_size));
    std::vector<impl::Values> outputs;
    for (spec::NodeInfo const& info : inferred.nodes) {
      impl::ReferenceOp op{architecture, info, weights, {}, impl::Values(static_cast<std::size_t>(info.out.size()))};
      for (int const from : info.inputs)
        op.in.push_back(from < 0 ? &input : &outputs[static_cast<std::size_t>(from)]);
      std::visit(op, architecture.nodes[static_cast<std::size_t>(info.node)].op);
      outputs.push_back(std::move(op.out));
    }
    logits.insert(logits.end(), outputs.back().begin(), outputs.back().end());
  }
  return logits;
}

} // namespace nasturtium::test
