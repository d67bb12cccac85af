// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The memory-bound kernels over the shapes of a typical search: batch norm, pooling, losses, optimisers, augmentation,
// activations, in float32. GB/s counts every tensor once for each pass in which the kernel has to read or write it;
// "of_stream" is its share of what a plain scaled copy reaches in the same run on as many bytes.
#include "calls.hpp"

#include <nasturtium/kernels/augment.hpp>
#include <nasturtium/kernels/batch_norm.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/loss.hpp>
#include <nasturtium/kernels/optimiser.hpp>
#include <nasturtium/kernels/pooling.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Timer.hpp>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace nasturtium;
using namespace nasturtium::kernels;
using Space = Kokkos::DefaultExecutionSpace;
template <class T>
using View = Kokkos::View<T*, Kokkos::LayoutRight, Space::memory_space>;

struct ScaledCopy
{
  float const* src;
  float* dst;
  KOKKOS_FUNCTION void operator()(Index i) const { dst[i] = src[i] * 0.5f; }
};

/// Bytes per second of a scaled copy whose two buffers have `bytes` bytes together (rounded to a power of two).
double stream_rate(double bytes)
{
  static std::map<Index, double> rates;
  Index count = 4096;
  while (static_cast<double>(count) * 2 * sizeof(float) < bytes * 0.75)
    count *= 2;
  double& rate = rates[count];
  if (rate > 0) return rate;
  View<float> const src("bench::src", static_cast<std::size_t>(count)),
      dst("bench::dst", static_cast<std::size_t>(count));
  int const calls = static_cast<int>(std::max<Index>(3, 4000000 / count));
  for (int round = 0; round < 7; ++round) {
    Kokkos::fence();
    Kokkos::Timer const timer;
    for (int i = 0; i < calls; ++i)
      Kokkos::parallel_for("nasturtium::bench::stream", Kokkos::RangePolicy<Space, Kokkos::IndexType<Index>>(0, count),
                           ScaledCopy{src.data(), dst.data()});
    Kokkos::fence();
    rate =
        std::max(rate, static_cast<double>(calls) * static_cast<double>(count) * 2 * sizeof(float) / timer.seconds());
  }
  return rate;
}

/// Times `call`, which moves `bytes` bytes over a working set of `resident` bytes.
template <class Call>
void measure(benchmark::State& state, double bytes, double resident, Call const& call)
{
  double const stream = stream_rate(resident);
  double const rate = bytes / bench::seconds_per_call<Space>(state, call);
  state.counters["GB/s"] = rate / 1e9;
  state.counters["of_stream"] = rate / stream;
}

template <class Function>
void add_benchmark(std::string const& name, Function const& function)
{
  benchmark::RegisterBenchmark(name, function)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

constexpr int batches[] = {32, 64, 128, 512};

View<float> values(std::size_t count, float value = 1.0f)
{
  View<float> const view("bench::values", count);
  Kokkos::deep_copy(view, value);
  return view;
}

struct BatchNorm
{
  BatchNormShape shape;
  View<float> x, y, dy, dx, moments, channel[6];
  View<int> arrivals;
  View<std::byte> workspace;
  explicit BatchNorm(BatchNormShape const& s)
      : shape(s), workspace("bench::workspace", batch_norm_workspace<Space, float>(s))
  {
    auto const size = static_cast<std::size_t>(s.rows * s.channels);
    x = values(size);
    y = values(size);
    dy = values(size);
    dx = values(size);
    moments = values(static_cast<std::size_t>(moment_chunks(s.rows) * 2 * s.channels));
    for (auto& view : channel)
      view = values(static_cast<std::size_t>(s.channels));
    arrivals = View<int>("bench::arrivals", static_cast<std::size_t>(s.channels));
  }
  double bytes() const { return static_cast<double>(x.extent(0)) * sizeof(float); }
  void statistics()
  {
    batch_norm_statistics<Space, float>(
        Space(), shape, x, {moments, channel[4], channel[5], channel[2], channel[3], 1e-5f, 0.9f, arrivals});
  }
  void forward(Activation activation)
  {
    batch_norm_forward_train<Space, float>(Space(), shape, x, channel[0], channel[1], channel[4], channel[5], {},
                                           activation, y);
  }
  void backward(Activation activation)
  {
    batch_norm_backward<Space, float>(Space(), shape, x, y, dy, channel[0], channel[4], channel[5], activation, dx,
                                      false, {}, false, channel[1], channel[2], workspace, arrivals);
  }
};

void register_batch_norm()
{
  struct Layer
  {
    int channels, size;
  };
  for (auto const [channels, size] :
       {Layer{16, 32}, {24, 32}, {32, 32}, {40, 32}, {32, 28}, {64, 14}, {32, 16}, {64, 16}, {64, 8}, {128, 8}})
    for (int const batch : batches) {
      BatchNormShape const shape{Index{batch} * size * size, channels};
      std::string const name =
          "/ic" + std::to_string(channels) + "ih" + std::to_string(size) + "/mb" + std::to_string(batch);
      add_benchmark("bnorm_statistics" + name, [shape](benchmark::State& state) {
        BatchNorm op(shape);
        measure(state, op.bytes(), op.bytes(), [&] { op.statistics(); });
      });
      for (bool const relu : {false, true}) {
        Activation const activation = relu ? Activation::relu : Activation::identity;
        std::string const suffix = (relu ? "_relu" : "") + name;
        add_benchmark("bnorm_forward" + suffix, [shape, activation](benchmark::State& state) {
          BatchNorm op(shape);
          measure(state, 2 * op.bytes(), 2 * op.bytes(), [&] { op.forward(activation); });
        });
        add_benchmark("bnorm_backward" + suffix, [shape, activation, relu](benchmark::State& state) {
          BatchNorm op(shape);
          measure(state, (relu ? 7 : 5) * op.bytes(), (relu ? 4 : 3) * op.bytes(), [&] { op.backward(activation); });
        });
      }
    }
}

void register_pooling()
{
  struct Layer
  {
    int channels, size;
  };
  for (auto const [channels, size] :
       {Layer{20, 24}, {50, 8}, {32, 28}, {64, 14}, {32, 32}, {64, 16}, {128, 8}, {40, 32}})
    for (int const batch : batches) {
      Pool2dShape shape;
      shape.batch = batch;
      shape.in_height = shape.in_width = size;
      shape.channels = channels;
      std::string const name =
          "/ic" + std::to_string(channels) + "ih" + std::to_string(size) + "/mb" + std::to_string(batch);
      double const bytes = 4.0 * static_cast<double>(shape.in_size()) + 5.0 * static_cast<double>(shape.out_size());
      add_benchmark("max_pool_forward" + name, [shape, bytes](benchmark::State& state) {
        auto const x = values(static_cast<std::size_t>(shape.in_size())),
                   y = values(static_cast<std::size_t>(shape.out_size()));
        View<std::uint8_t> const argmax("bench::argmax", static_cast<std::size_t>(shape.out_size()));
        measure(state, bytes, bytes, [&] { max_pool2d_forward<Space, float>(Space(), shape, x, y, argmax); });
      });
      add_benchmark("max_pool_backward" + name, [shape, bytes](benchmark::State& state) {
        auto const dx = values(static_cast<std::size_t>(shape.in_size())),
                   dy = values(static_cast<std::size_t>(shape.out_size()));
        View<std::uint8_t> const argmax("bench::argmax", static_cast<std::size_t>(shape.out_size()));
        measure(state, bytes, bytes, [&] { max_pool2d_backward<Space, float>(Space(), shape, dy, argmax, dx, false); });
      });
    }
  for (auto const [channels, size] : {Layer{128, 4}, {64, 8}, {50, 16}})
    for (int const batch : batches) {
      int const pixels = size * size;
      std::string const name =
          "/ic" + std::to_string(channels) + "ih" + std::to_string(size) + "/mb" + std::to_string(batch);
      auto const in = static_cast<std::size_t>(batch * pixels * channels),
                 out = static_cast<std::size_t>(batch * channels);
      double const bytes = 4.0 * static_cast<double>(in + out);
      add_benchmark("global_avg_pool_forward" + name, [=, c = channels](benchmark::State& state) {
        auto const x = values(in), y = values(out);
        measure(state, bytes, bytes, [&] { global_avg_pool_forward<Space, float>(Space(), batch, pixels, c, x, y); });
      });
      add_benchmark("global_avg_pool_backward" + name, [=, c = channels](benchmark::State& state) {
        auto const dx = values(in), dy = values(out);
        measure(state, bytes, bytes,
                [&] { global_avg_pool_backward<Space, float>(Space(), batch, pixels, c, dy, dx, false); });
      });
    }
}

void register_loss()
{
  for (int const classes : {10, 100})
    for (int const batch : batches)
      add_benchmark("softmax_cross_entropy/ic" + std::to_string(classes) + "/mb" + std::to_string(batch),
                    [=](benchmark::State& state) {
                      auto const size = static_cast<std::size_t>(batch * classes);
                      auto const logits = values(size), gradient = values(size);
                      View<std::int32_t> const labels("bench::labels", static_cast<std::size_t>(batch));
                      View<double> const metrics("bench::metrics", metric_count);
                      View<std::byte> const workspace("bench::workspace", loss_workspace<Space, float>(batch));
                      double const bytes = 8.0 * static_cast<double>(size);
                      measure(state, bytes, bytes, [&] {
                        softmax_cross_entropy<Space, float>(Space(), batch, classes, logits, labels, 0.0f, 1, gradient,
                                                            metrics, workspace);
                      });
                    });
}

void register_optimisers()
{
  for (std::size_t const count :
       {std::size_t{60040}, std::size_t{235146}, std::size_t{272474}, std::size_t{288746}, std::size_t{421834},
        std::size_t{431080}, std::size_t{8 * 272474}, std::size_t{32 * 272474}}) {
    std::string const name = "/" + std::to_string(count);
    double const buffer = 4.0 * static_cast<double>(count);
    OptimiserStep<float> step;
    step.learning_rate = 1e-3f;
    step.momentum = 0.9f;
    step.weight_decay = 1e-4f;
    step.decay_count = static_cast<Index>(count);
    add_benchmark("sgd_momentum" + name, [=](benchmark::State& state) {
      auto const w = values(count), g = values(count), v = values(count);
      measure(state, 5 * buffer, 3 * buffer, [&] { sgd<Space, float>(Space(), step, w, g, v, {}); });
    });
    add_benchmark("adam" + name, [=](benchmark::State& state) {
      auto const w = values(count), g = values(count), m = values(count), v = values(count);
      measure(state, 7 * buffer, 4 * buffer, [&] { adam<Space, float>(Space(), step, w, g, m, v, {}); });
    });
    add_benchmark("squared_norm" + name, [=](benchmark::State& state) {
      auto const g = values(count);
      View<double> const result("bench::result", 1);
      View<std::byte> const workspace("bench::workspace",
                                      squared_norm_workspace<Space, float>(static_cast<Index>(count)));
      measure(state, buffer, buffer, [&] { squared_norm<Space, float>(Space(), g, result, workspace); });
    });
  }
}

void register_augment()
{
  for (AugmentShape shape : {AugmentShape{32, 32, 3}, AugmentShape{28, 28, 1}})
    for (bool const augmented : {false, true})
      for (int const batch : batches) {
        shape.crop_padding = augmented ? 4 : 0;
        shape.flip = augmented;
        add_benchmark(std::string("gather") + (augmented ? "_crop_flip" : "") + "/ic" + std::to_string(shape.channels) +
                          "ih" + std::to_string(shape.height) + "/mb" + std::to_string(batch),
                      [=](benchmark::State& state) {
                        auto const size = static_cast<std::size_t>(shape.height * shape.width * shape.channels);
                        View<std::uint8_t> const images("bench::images", size * static_cast<std::size_t>(batch));
                        std::vector<std::int32_t> order(static_cast<std::size_t>(batch));
                        for (std::size_t i = 0; i < order.size(); ++i)
                          order[i] = static_cast<std::int32_t>((i * 7) % order.size());
                        View<std::int32_t> const indices("bench::indices", order.size());
                        Kokkos::deep_copy(
                            indices, Kokkos::View<std::int32_t const*, Kokkos::HostSpace>(order.data(), order.size()));
                        auto const scale = values(3), shift = values(3), dst = values(size * order.size());
                        double const bytes = 5.0 * static_cast<double>(dst.extent(0));
                        measure(state, bytes, bytes, [&] {
                          gather_images<Space, float>(Space(), shape, images, indices, 0, batch, scale, shift, dst);
                        });
                      });
      }
}

void register_elementwise()
{
  struct Named
  {
    char const* name;
    Activation activation;
  };
  for (std::size_t const count : {std::size_t{8192}, std::size_t{262144}, std::size_t{4194304}}) {
    std::string const name = "/" + std::to_string(count);
    double const buffer = 4.0 * static_cast<double>(count);
    for (auto const [label, activation] : {Named{"relu", Activation::relu},
                                           {"leaky_relu", Activation::leaky_relu},
                                           {"elu", Activation::elu},
                                           {"gelu", Activation::gelu},
                                           {"silu", Activation::silu},
                                           {"tanh", Activation::tanh},
                                           {"sigmoid", Activation::sigmoid}}) {
      Activation const kind = activation;
      add_benchmark(std::string(label) + "_forward" + name, [=](benchmark::State& state) {
        auto const x = values(count), y = values(count);
        measure(state, 2 * buffer, 2 * buffer, [&] { activation_forward<Space, float>(Space(), kind, 0.1f, x, y); });
      });
      add_benchmark(std::string(label) + "_backward" + name, [=](benchmark::State& state) {
        auto const x = values(count), dy = values(count), dx = values(count);
        measure(state, 3 * buffer, 3 * buffer,
                [&] { activation_backward<Space, float>(Space(), kind, 0.1f, x, dy, dx, false); });
      });
    }
    add_benchmark("add" + name, [=](benchmark::State& state) {
      auto const a = values(count), b = values(count), c = values(count);
      measure(state, 3 * buffer, 3 * buffer, [&] { add<Space, float>(Space(), a, b, c); });
    });
    add_benchmark("dropout" + name, [=](benchmark::State& state) {
      auto const x = values(count), y = values(count);
      measure(state, 2 * buffer, 2 * buffer, [&] { dropout<Space, float>(Space(), {1, 2, 3}, 0.5f, x, y, false); });
    });
  }
}

} // namespace

namespace {

int run(int argc, char* argv[])
{
  Kokkos::ScopeGuard const guard(Kokkos::InitializationSettings().set_disable_warnings(true));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("execution_space", Space::name());
  benchmark::AddCustomContext("threads", std::to_string(Space().concurrency()));
  register_batch_norm();
  register_pooling();
  register_loss();
  register_optimisers();
  register_augment();
  register_elementwise();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

} // namespace

int main(int argc, char* argv[])
{
  return nasturtium::bench::run_or_tell("memory_bench", run, argc, argv);
}
