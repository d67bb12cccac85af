// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Networks for other programs: ONNX files (https://onnx.ai, operator set 20), for inference.
#pragma once

#include <nasturtium/nn/weights.hpp>

#include <string>

namespace nasturtium::nn {

/// Writes the network as an ONNX model in float32, atomically. Input "input" (batch, height, width, channels) as
/// everywhere in this project, output "output" (batch, classes or regression values): logits, no softmax. Inside,
/// images are NCHW, as ONNX has them; vectors keep the NHWC order of their values. Dropout is left out. The batch is
/// free with `batch_dynamic`, else 1. The architecture's JSON and hash are in the model's metadata. Throws Error where
/// weights are missing or do not fit, and for models beyond 2 GiB, which the format cannot hold.
void export_onnx(std::string const& path, spec::Architecture const& architecture, Weights const& weights,
                 bool batch_dynamic = true);

} // namespace nasturtium::nn
