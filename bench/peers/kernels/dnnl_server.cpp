// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// oneDNN's convolutions on demand (see convolution.hpp): the answer is "NHWC_SECONDS BLOCKED_SECONDS IMPLEMENTATIONS"
// of one pass in float32. The weights are always in the layout that oneDNN likes best, reordered before the clock
// starts; the images are NHWC in the first time and in oneDNN's own layout in the second.
#include "../turns.hpp"
#include "convolution.hpp"

#include <oneapi/dnnl/dnnl.hpp>

#include <unordered_map>

namespace {

using namespace nasturtium;
using dnnl::memory;
using Tag = memory::format_tag;

struct Device
{
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

memory random_memory(Device const& device, memory::desc const& description)
{
  memory result(description, device.engine);
  auto* const values = static_cast<float*>(result.get_data_handle());
  unsigned state = 12345;
  for (std::size_t i = 0; i < description.get_size() / sizeof(float); ++i) {
    state = state * 1664525u + 1013904223u;
    values[i] = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
  }
  return result;
}

std::pair<double, std::string> measure(Device& device, bench::Convolution const& it, Tag images)
{
  auto const type = memory::data_type::f32;
  auto const algorithm = dnnl::algorithm::convolution_auto;
  auto const description = [&](memory::dims const& extents, Tag tag) { return memory::desc(extents, type, tag); };
  auto const src = description({it.batch, it.in_channels, it.in_size, it.in_size}, images);
  auto const dst = description({it.batch, it.out_channels, it.out_size, it.out_size}, images);
  auto const bias = description({it.out_channels}, Tag::x);
  memory::dims const plain{it.out_channels, it.in_channels, it.kernel, it.kernel};
  memory::dims const grouped{it.groups, it.out_channels / it.groups, it.in_channels / it.groups, it.kernel, it.kernel};
  auto const weights = description(it.groups > 1 ? grouped : plain, Tag::any);
  memory::dims const strides{it.stride, it.stride}, begin{it.padding, it.padding},
      end{it.end_padding(), it.end_padding()};
  dnnl::convolution_forward::primitive_desc const forward(device.engine, dnnl::prop_kind::forward_training, algorithm,
                                                          src, weights, bias, dst, strides, begin, end);
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
  std::string implementation;
  if (it.pass == "forward") {
    primitive = dnnl::convolution_forward(forward);
    implementation = forward.impl_info_str();
    arguments = {{DNNL_ARG_SRC, random_memory(device, forward.src_desc())},
                 {DNNL_ARG_WEIGHTS, random_memory(device, forward.weights_desc())},
                 {DNNL_ARG_BIAS, random_memory(device, forward.bias_desc())},
                 {DNNL_ARG_DST, random_memory(device, forward.dst_desc())}};
  } else if (it.pass == "backward_data") {
    dnnl::convolution_backward_data::primitive_desc const backward(device.engine, algorithm, src, weights, dst, strides,
                                                                   begin, end, forward);
    primitive = dnnl::convolution_backward_data(backward);
    implementation = backward.impl_info_str();
    arguments = {{DNNL_ARG_DIFF_SRC, random_memory(device, backward.diff_src_desc())},
                 {DNNL_ARG_WEIGHTS, random_memory(device, backward.weights_desc())},
                 {DNNL_ARG_DIFF_DST, random_memory(device, backward.diff_dst_desc())}};
  } else {
    dnnl::convolution_backward_weights::primitive_desc const backward(device.engine, algorithm, src, weights, bias, dst,
                                                                      strides, begin, end, forward);
    primitive = dnnl::convolution_backward_weights(backward);
    implementation = backward.impl_info_str();
    arguments = {{DNNL_ARG_SRC, random_memory(device, backward.src_desc())},
                 {DNNL_ARG_DIFF_WEIGHTS, random_memory(device, backward.diff_weights_desc())},
                 {DNNL_ARG_DIFF_BIAS, random_memory(device, backward.diff_bias_desc())},
                 {DNNL_ARG_DIFF_DST, random_memory(device, backward.diff_dst_desc())}};
  }
  double const seconds = bench::seconds_per_call(
      [&](long calls) {
        for (long i = 0; i < calls; ++i)
          primitive.execute(device.stream, arguments);
        device.stream.wait();
      },
      it.seconds);
  return {seconds, implementation};
}

} // namespace

int main()
{
  Device device;
  bench::serve([&](std::istringstream& words) {
    std::string pass;
    words >> pass;
    if (pass == "describe") {
      auto const* const version = dnnl::version();
      return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
             std::to_string(version->patch) + ", CPU ISA " +
             std::to_string(static_cast<int>(dnnl::get_effective_cpu_isa()));
    }
    auto const it = bench::read_convolution(pass, words);
    auto const nhwc = measure(device, it, Tag::nhwc);
    auto const blocked = measure(device, it, Tag::any);
    return bench::to_text(nhwc.first) + " " + bench::to_text(blocked.first) + " " + nhwc.second + "," + blocked.second;
  });
}
