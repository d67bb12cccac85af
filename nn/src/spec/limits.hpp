// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the fields of an architecture may hold. The limits keep every extent, window and offset inside `int`, and every
// tensor inside 2^30 values, so that neither shape inference nor a kernel can overflow.
#pragma once

#include <nasturtium/nn/spec/architecture.hpp>

#include <cstdint>
#include <string>

namespace nasturtium::nn::spec::impl {

inline constexpr int max_nodes = 1 << 16;
inline constexpr int max_extent = 1 << 20;  ///< height, width, channels, filters, units, classes
inline constexpr int max_window = 1 << 12;  ///< kernel, stride and dilation, in one direction
inline constexpr int max_padding = 1 << 12; ///< in one direction, as written
inline constexpr int max_pool_window = 256; ///< pixels: the argmax of a window is stored in a byte
inline constexpr std::int64_t max_values = std::int64_t{1} << 30; ///< of one parameter, or of one sample's tensor
inline constexpr std::size_t max_id_length = 128;
inline constexpr std::size_t max_name_length = 256;

/// Throws Error unless name, input, output, ids and the fields of every node are within their ranges. Knows nothing of
/// the graph: that is for `infer`.
void check_fields(Architecture const& architecture, std::string const& source);

} // namespace nasturtium::nn::spec::impl
