// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the fields of a genome may hold. With these no tensor of a decoded network has more than 2^28 values per sample
// and no convolution more than 2^28 weights, within the limits of an architecture.
#pragma once

namespace nasturtium::estimator::impl {

inline constexpr int max_log2_batch = 16;
inline constexpr int max_side = 512;
inline constexpr int max_channels = 1024; ///< of the image and of a convolution
inline constexpr int max_kernel = 15;     ///< of a convolution or pool
inline constexpr int max_stride = 8;
inline constexpr int max_units = 1 << 16;
inline constexpr int max_rate = 90;
inline constexpr int max_back = 8;
inline constexpr int max_genes = 256;

} // namespace nasturtium::estimator::impl
