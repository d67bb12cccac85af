// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Our convolutions on demand (see convolution.hpp): the answer is the seconds of one pass in float32, NHWC, packing of
// the weights included.
#include "../turns.hpp"
#include "convolution.hpp"

#include <nasturtium/kernels/conv2d.hpp>

namespace {

using namespace nasturtium;
using Exec = Kokkos::DefaultHostExecutionSpace;
using Values = Kokkos::View<float*, Kokkos::LayoutRight, Exec::memory_space>;

Values random_values(kernels::Index count)
{
  Values values("nasturtium::bench::values", count);
  unsigned state = 12345;
  for (kernels::Index i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    values(i) = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
  }
  return values;
}

double measure(Exec const& exec, bench::Convolution const& it)
{
  kernels::Conv2dShape shape;
  shape.batch = it.batch;
  shape.in_height = shape.in_width = it.in_size;
  shape.in_channels = it.in_channels;
  shape.out_channels = it.out_channels;
  shape.kernel_height = shape.kernel_width = it.kernel;
  shape.stride_height = shape.stride_width = it.stride;
  shape.pad_top = shape.pad_left = it.padding;
  shape.pad_bottom = shape.pad_right = std::max(it.end_padding(), 0);
  shape.groups = it.groups;
  Values const src = random_values(shape.in_size()), weights = random_values(shape.weights_size());
  Values const dst = random_values(shape.out_size()), bias = random_values(shape.out_channels);
  std::size_t bytes = kernels::conv2d_forward_workspace<Exec, float>(shape);
  bytes = std::max(bytes, kernels::conv2d_backward_data_workspace<Exec, float>(shape));
  bytes = std::max(bytes, kernels::conv2d_backward_weights_workspace<Exec, float>(shape));
  Kokkos::View<std::byte*, Exec::memory_space> const workspace("nasturtium::bench::workspace", bytes);
  return bench::seconds_per_call(
      [&](long calls) {
        for (long i = 0; i < calls; ++i)
          if (it.pass == "forward")
            kernels::conv2d_forward<Exec, float>(exec, shape, src, weights, bias, kernels::Activation::identity, dst,
                                                 {}, workspace);
          else if (it.pass == "backward_data")
            kernels::conv2d_backward_data<Exec, float>(exec, shape, dst, weights, src, false, workspace);
          else
            kernels::conv2d_backward_weights<Exec, float>(exec, shape, src, dst, weights, bias, workspace);
        exec.fence("nasturtium::bench::wait");
      },
      it.seconds);
}

} // namespace

int main(int argc, char** argv)
{
  Kokkos::ScopeGuard const guard(argc, argv);
  Exec const exec;
  bench::serve([&](std::istringstream& words) {
    std::string pass;
    words >> pass;
    if (pass == "describe")
      return "Kokkos " + std::string(exec.name()) + ", " + std::to_string(exec.concurrency()) + " threads";
    return bench::to_text(measure(exec, bench::read_convolution(pass, words)));
  });
}
