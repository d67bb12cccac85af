// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the resident data set to a batch: gather, crop, flip, cutout and normalise in one kernel.
#pragma once

#include <nasturtium/kernels/step_state.hpp>
#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

struct AugmentShape
{
  int height = 1, width = 1, channels = 1;
  int crop_padding = 0; ///< zero padding (after normalisation) on each side before the random crop; 0: no crop
  bool flip = false;    ///< mirror left to right with probability 1/2
  int cutout = 0;       ///< side of the square that is set to zero after normalisation; 0: none
  std::uint64_t seed = 0;
  std::uint32_t epoch = 0;
  StepState const* current = nullptr; ///< in device memory; where it is given, its epoch and first sample are taken
};

/// dst[i] = augmented, normalised sample indices[first + i] for i < batch. `images` is uint8 NHWC; a value v of channel
/// c becomes v * scale[c] + shift[c]. The random numbers of a sample depend on (seed, epoch, its index in the data
/// set).
template <class ExecSpace, class Real>
void gather_images(ExecSpace const& exec, AugmentShape const& shape, Buffer<ExecSpace, std::uint8_t const> images,
                   Buffer<ExecSpace, std::int32_t const> indices, Index first, int batch,
                   Buffer<ExecSpace, Real const> scale, Buffer<ExecSpace, Real const> shift,
                   Buffer<ExecSpace, Real> dst);

/// The same for samples stored as float32 (tables, HDF5).
template <class ExecSpace, class Real>
void gather_values(ExecSpace const& exec, AugmentShape const& shape, Buffer<ExecSpace, float const> images,
                   Buffer<ExecSpace, std::int32_t const> indices, Index first, int batch,
                   Buffer<ExecSpace, Real const> scale, Buffer<ExecSpace, Real const> shift,
                   Buffer<ExecSpace, Real> dst);

/// dst[i] = labels[indices[first + i]]; `current` as in AugmentShape.
template <class ExecSpace>
void gather_labels(ExecSpace const& exec, Buffer<ExecSpace, std::int32_t const> labels,
                   Buffer<ExecSpace, std::int32_t const> indices, Index first, int batch,
                   Buffer<ExecSpace, std::int32_t> dst, StepState const* current = nullptr);

} // namespace nasturtium::kernels
