// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What Kokkos' tools see of every memory-bound op: labelled kernels, no allocation, no fence.
#include <nasturtium/kernels/augment.hpp>
#include <nasturtium/kernels/batch_norm.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/loss.hpp>
#include <nasturtium/kernels/optimiser.hpp>
#include <nasturtium/kernels/pooling.hpp>

#include "support/device_values.hpp"
#include "support/kernel_log.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

struct Op
{
  std::string name; // its kernels are nasturtium::NAME and nasturtium::NAME_...
  std::function<void()> call;
};

/// Every op once, on buffers made beforehand, `scale` times as large as the smallest.
template <class Real>
std::vector<Op> ops(Space const& exec, int scale)
{
  int const batch = 4 * scale, channels = 3;
  std::size_t const pixels = 64;
  auto const in = static_cast<std::size_t>(batch) * pixels * channels;
  Values<Real> const a(random_values<Real>(1, in)), b(random_values<Real>(2, in)), c(in), d(in);
  Values<Real> const p(random_values<Real>(3, channels, 0.5, 1)), q(random_values<Real>(4, channels, 0.5, 1)),
      r(channels), s(channels), none;
  Values<double> const metrics(std::vector<double>(metric_count, 1.0));
  Values<std::int32_t> const labels(std::vector<std::int32_t>(static_cast<std::size_t>(batch), 1)), some(in);
  Values<std::uint8_t> const bytes(std::vector<std::uint8_t>(in, 1)), argmax(in);
  Values<float> const floats(std::vector<float>(in, 1.0f));
  BatchNormShape const norm{static_cast<Index>(batch) * 64, channels};
  Values<Real> const moments(static_cast<std::size_t>(moment_chunks(norm.rows) * 2 * channels));
  Values<int> const arrivals(std::vector<int>(channels, 0));
  BatchStatistics<Space, Real> const statistics{moments, p, q, r, s, Real(1e-5), Real(0.9), arrivals};
  Pool2dShape pool;
  pool.batch = batch;
  pool.in_height = pool.in_width = 8;
  pool.channels = channels;
  AugmentShape const augment{8, 8, channels, 2, true, 3, 1, 1};
  OptimiserStep<Real> step;
  step.learning_rate = step.momentum = Real(0.1);
  step.clip_norm = 1;
  Scratch const scratch(std::max({batch_norm_workspace<Space, Real>(norm), loss_workspace<Space, Real>(batch),
                                  squared_norm_workspace<Space, Real>(static_cast<Index>(in))}));
  int const rows = batch;
  return {
      {"activation_forward", [=] { activation_forward<Space, Real>(exec, Activation::gelu, Real(0), a, c); }},
      {"activation_backward",
       [=] { activation_backward<Space, Real>(exec, Activation::relu, Real(0), a, b, c, true); }},
      {"dropout", [=] { dropout<Space, Real>(exec, {1, 2, 3}, Real(0.5), a, c, false); }},
      {"add", [=] { add<Space, Real>(exec, a, b, c); }},
      {"copy", [=] { copy<Space, Real>(exec, a, c, false); }},
      {"fill", [=] { fill<Space, Real>(exec, Real(1), c); }},
      {"copy_channels", [=] { copy_channels<Space, Real>(exec, norm.rows, 2, a, 3, 1, c, 3, 0, false); }},
      {"pad_channels", [=] { pad_channels<Space, Real>(exec, norm.rows, 2, a, c, 3, 1); }},
      {"batch_norm", [=] { batch_norm_statistics<Space, Real>(exec, norm, a, statistics); }},
      {"batch_norm", [=] { batch_norm_forward_train<Space, Real>(exec, norm, a, p, q, p, q, b, Activation::relu, c); }},
      {"batch_norm",
       [=] {
         batch_norm_forward_inference<Space, Real>(exec, norm, a, p, q, Real(1e-5), p, q, none, Activation::relu, c);
       }},
      {"batch_norm",
       [=] {
         batch_norm_backward<Space, Real>(exec, norm, a, b, b, p, p, q, Activation::relu, c, false, d, true, r, s,
                                          scratch, arrivals);
       }},
      {"batch_norm",
       [=] {
         batch_norm_backward_inference<Space, Real>(exec, norm, a, b, p, Real(1e-5), q, Activation::relu, c, false);
       }},
      {"max_pool2d", [=] { max_pool2d_forward<Space, Real>(exec, pool, a, c, argmax); }},
      {"max_pool2d", [=] { max_pool2d_backward<Space, Real>(exec, pool, a, bytes, c, false); }},
      {"avg_pool2d", [=] { avg_pool2d_forward<Space, Real>(exec, pool, a, c); }},
      {"avg_pool2d", [=] { avg_pool2d_backward<Space, Real>(exec, pool, a, c, false); }},
      {"global_avg_pool", [=] { global_avg_pool_forward<Space, Real>(exec, batch, 64, channels, a, c); }},
      {"global_avg_pool", [=] { global_avg_pool_backward<Space, Real>(exec, batch, 64, channels, a, c, false); }},
      {"softmax", [=] { softmax<Space, Real>(exec, rows, 192, a, c); }},
      {"weighted_softmax", [=] { weighted_softmax<Space, Real>(exec, rows, 192, a, Real(0.3), true, c); }},
      {"softmax_cross_entropy",
       [=] { softmax_cross_entropy<Space, Real>(exec, rows, 192, a, labels, Real(0.1), 5, c, metrics, scratch); }},
      {"mean_squared_error", [=] { mean_squared_error<Space, Real>(exec, rows, 192, a, b, c, metrics, scratch); }},
      {"squared_norm", [=] { squared_norm<Space, Real>(exec, a, metrics, scratch); }},
      {"sgd", [=] { sgd<Space, Real>(exec, step, c, a, d, metrics); }},
      {"adam", [=] { adam<Space, Real>(exec, step, c, a, d, b, metrics); }},
      {"rmsprop", [=] { rmsprop<Space, Real>(exec, step, c, a, d, b, metrics); }},
      {"gather_images", [=] { gather_images<Space, Real>(exec, augment, bytes, labels, 0, batch, p, q, c); }},
      {"gather_values", [=] { gather_values<Space, Real>(exec, augment, floats, labels, 0, batch, p, q, c); }},
      {"gather_labels", [=] { gather_labels<Space>(exec, labels, labels, 0, batch, some); }},
  };
}

} // namespace

TEMPLATE_TEST_CASE("ops launch labelled kernels, and neither allocate nor fence", "[conventions]", float, double)
{
  Space const exec;
  // Small enough to run in the calling thread, and large enough not to.
  for (int const scale : {1, 300})
    for (Op const& op : ops<TestType>(exec, scale)) {
      INFO(op.name << ", scale " << scale);
      KernelLog const log;
      op.call();
      auto const events = log.events();
      CHECK(!events.empty());
      for (auto const& event : events) {
        INFO(event);
        CHECK(event.starts_with("kernel nasturtium::" + op.name));
      }
    }
}

TEST_CASE("the log sees what ops must not do", "[conventions]")
{
  KernelLog const log;
  Kokkos::View<int*> const view("a view", 3);
  Space().fence("a fence");
  Kokkos::parallel_for("a kernel", Kokkos::RangePolicy<Space>(0, 3), KOKKOS_LAMBDA(int i) { view(i) = i; });
  auto const events = log.events();
  for (char const* const expected : {"allocation a view", "fence a fence", "kernel a kernel"})
    CHECK(std::find(events.begin(), events.end(), expected) != events.end());
}
