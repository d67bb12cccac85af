// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What conv_server and dnnl_server are asked: "PASS BATCH G IC IH OC OH KH SH PH SECONDS", benchdnn's letters for a
// square convolution with bias (padding PH at the top and left; at the bottom and right as much as OH asks for).
#pragma once

#include <istream>
#include <stdexcept>
#include <string>

namespace nasturtium::bench {

struct Convolution
{
  std::string pass; ///< forward, backward_data, backward_weights
  int batch = 0, groups = 0, in_channels = 0, in_size = 0, out_channels = 0, out_size = 0, kernel = 0, stride = 0,
      padding = 0;
  double seconds = 0;

  /// Padding at the bottom and right; negative where the last pixels are not read.
  int end_padding() const { return (out_size - 1) * stride + kernel - in_size - padding; }
};

inline Convolution read_convolution(std::string const& pass, std::istream& words)
{
  Convolution it;
  it.pass = pass;
  words >> it.batch >> it.groups >> it.in_channels >> it.in_size >> it.out_channels >> it.out_size >> it.kernel >>
      it.stride >> it.padding >> it.seconds;
  if (!words) throw std::invalid_argument("request is not 'PASS BATCH G IC IH OC OH KH SH PH SECONDS'");
  if (pass != "forward" && pass != "backward_data" && pass != "backward_weights")
    throw std::invalid_argument("unknown pass " + pass);
  return it;
}

} // namespace nasturtium::bench
