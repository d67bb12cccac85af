// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/augment.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

#include <nasturtium/core/philox.hpp>

namespace nasturtium::kernels {
namespace impl {

/// What chance decides for one sample: the output pixel (y, x) shows the input pixel (y + shift_y, x' + shift_x), where
/// x' is x or its mirror image, unless it lies in the square that is cut out.
struct Draw
{
  int shift_y = 0, shift_x = 0;
  bool flip = false;
  int cut_top = 0, cut_bottom = 0, cut_left = 0, cut_right = 0; // empty where top == bottom
  KOKKOS_FUNCTION Draw(AugmentShape const& shape, std::uint32_t epoch, std::uint64_t sample)
  {
    if (shape.crop_padding > 0) {
      PhiloxBlock const block = random_block(shape.seed, Purpose::crop, epoch, sample);
      auto const places = static_cast<std::uint32_t>(2 * shape.crop_padding + 1);
      shift_y = static_cast<int>(to_below(block.word[0], places)) - shape.crop_padding;
      shift_x = static_cast<int>(to_below(block.word[1], places)) - shape.crop_padding;
    }
    if (shape.flip) flip = random_block(shape.seed, Purpose::flip, epoch, sample).word[0] >> 31 != 0;
    if (shape.cutout > 0) {
      PhiloxBlock const block = random_block(shape.seed, Purpose::cutout, epoch, sample);
      int const y = static_cast<int>(to_below(block.word[0], static_cast<std::uint32_t>(shape.height)));
      int const x = static_cast<int>(to_below(block.word[1], static_cast<std::uint32_t>(shape.width)));
      cut_top = clamp(y - shape.cutout / 2, shape.height);
      cut_bottom = clamp(y - shape.cutout / 2 + shape.cutout, shape.height);
      cut_left = clamp(x - shape.cutout / 2, shape.width);
      cut_right = clamp(x - shape.cutout / 2 + shape.cutout, shape.width);
    }
  }
  KOKKOS_FUNCTION static int clamp(int value, int high) { return value < 0 ? 0 : (value > high ? high : value); }
};

/// Values that scale and shift are repeated to, so that images of few channels are converted in long loops.
inline constexpr int channel_pattern = 96;

/// Items are samples on hosts and output values on devices.
template <class Real, class Source, bool by_sample>
struct Gather
{
  AugmentShape shape;
  Source const* images;
  std::int32_t const* indices;
  Index first; // place of the batch's first sample among them
  Real const* scale;
  Real const* shift;
  Real* dst;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    std::int32_t const* const batch = indices + (shape.current ? shape.current->first : first);
    auto const epoch = shape.current ? static_cast<std::uint32_t>(shape.current->epoch) : shape.epoch;
    if constexpr (by_sample)
      samples(batch, epoch, begin, end);
    else
      for (Index item = begin; item < end; ++item)
        element(batch, epoch, item);
  }

  KOKKOS_FUNCTION void element(std::int32_t const* batch, std::uint32_t epoch, Index item) const
  {
    int c, x, y;
    Index const i = divide(divide(divide(item, shape.channels, c), shape.width, x), shape.height, y);
    Index const sample = batch[i];
    Draw const draw(shape, epoch, static_cast<std::uint64_t>(sample));
    int const from_y = y + draw.shift_y;
    int const from_x = (draw.flip ? shape.width - 1 - x : x) + draw.shift_x;
    bool const inside = from_y >= 0 && from_y < shape.height && from_x >= 0 && from_x < shape.width;
    bool const cut = y >= draw.cut_top && y < draw.cut_bottom && x >= draw.cut_left && x < draw.cut_right;
    Real value = 0;
    if (inside && !cut)
      value =
          static_cast<Real>(images[((sample * shape.height + from_y) * shape.width + from_x) * shape.channels + c]) *
              scale[c] +
          shift[c];
    dst[item] = value;
  }

  KOKKOS_FUNCTION void samples(std::int32_t const* batch, std::uint32_t epoch, Index begin, Index end) const
  {
    Real scales[channel_pattern], shifts[channel_pattern];
    int const channels = shape.channels;
    // Whole pixels; none where a pixel is longer than the pattern.
    int const length = channel_pattern / channels * channels;
    for (int i = 0; i < length; ++i) {
      scales[i] = scale[i % channels];
      shifts[i] = shift[i % channels];
    }
    Index const size = Index{shape.height} * shape.width * channels;
    bool const plain = shape.crop_padding == 0 && !shape.flip && shape.cutout == 0;
    for (Index i = begin; i < end; ++i) {
      Index const sample = batch[i];
      Source const* const from = images + sample * size;
      Real* const to = dst + i * size;
      if (plain)
        convert(from, size, scales, shifts, length, to);
      else
        augmented(Draw(shape, epoch, static_cast<std::uint64_t>(sample)), from, scales, shifts, length, to);
    }
  }

  /// `count` values, whole pixels, in order.
  KOKKOS_FUNCTION void convert(Source const* from, Index count, Real const* scales, Real const* shifts, int length,
                               Real* to) const
  {
    if (length == 0) {
      for (Index pixel = 0; pixel < count; pixel += shape.channels)
        run(from + pixel, scale, shift, shape.channels, to + pixel);
      return;
    }
    Index i = 0;
    for (; i + channel_pattern <= count && length == channel_pattern; i += channel_pattern)
      run(from + i, scales, shifts, channel_pattern, to + i);
    for (; i < count; i += length)
      run(from + i, scales, shifts, static_cast<int>(count - i < length ? count - i : length), to + i);
  }

  KOKKOS_FUNCTION static void run(Source const* from, Real const* scales, Real const* shifts, int count, Real* to)
  {
    NASTURTIUM_INDEPENDENT
    for (int i = 0; i < count; ++i)
      to[i] = static_cast<Real>(from[i]) * scales[i] + shifts[i];
  }

  KOKKOS_FUNCTION void augmented(Draw const& draw, Source const* image, Real const* scales, Real const* shifts,
                                 int length, Real* to) const
  {
    int const channels = shape.channels;
    int const width = shape.width;
    // Columns [first, last) of the output row before mirroring that lie inside the image.
    int const first = Draw::clamp(-draw.shift_x, width);
    int const last = Draw::clamp(width - draw.shift_x, width);
    for (int y = 0; y < shape.height; ++y) {
      Real* const row = to + Index{y} * width * channels;
      int const from_y = y + draw.shift_y;
      if (from_y < 0 || from_y >= shape.height) {
        zero(row, 0, width);
        continue;
      }
      Source const* const from = image + (Index{from_y} * width + first + draw.shift_x) * channels;
      if (draw.flip) {
        zero(row, 0, width - last);
        zero(row, width - first, width);
        mirrored(from, last - first, row + Index{width - last} * channels);
      } else {
        zero(row, 0, first);
        zero(row, last, width);
        convert(from, Index{last - first} * channels, scales, shifts, length, row + Index{first} * channels);
      }
      if (y >= draw.cut_top && y < draw.cut_bottom) zero(row, draw.cut_left, draw.cut_right);
    }
  }

  /// `pixels` pixels in reverse order.
  KOKKOS_FUNCTION void mirrored(Source const* from, int pixels, Real* to) const
  {
    int const channels = shape.channels;
    for (int c = 0; c < channels; ++c) {
      Real const factor = scale[c], offset = shift[c];
      Source const* const back = from + Index{pixels - 1} * channels + c;
      Real* const out = to + c;
      NASTURTIUM_INDEPENDENT
      for (int x = 0; x < pixels; ++x)
        out[Index{x} * channels] = static_cast<Real>(back[-Index{x} * channels]) * factor + offset;
    }
  }

  KOKKOS_FUNCTION void zero(Real* row, int first, int last) const
  {
    for (Index i = Index{first} * shape.channels; i < Index{last} * shape.channels; ++i)
      row[i] = 0;
  }
};

template <class ExecSpace, class Real, class Source>
void gather(ExecSpace const& exec, std::string const& label, char const* op, AugmentShape const& shape,
            Buffer<ExecSpace, Source const> const& images, Buffer<ExecSpace, std::int32_t const> const& indices,
            Index first, int batch, Buffer<ExecSpace, Real const> const& scale,
            Buffer<ExecSpace, Real const> const& shift, Buffer<ExecSpace, Real> const& dst)
{
  if (shape.height < 1 || shape.width < 1 || shape.channels < 1 || shape.crop_padding < 0 || shape.cutout < 0)
    fail("kernels::", op, ": images of ", shape.height, " x ", shape.width, " x ", shape.channels, ", crop padding ",
         shape.crop_padding, ", cutout ", shape.cutout);
  if (first < 0 || batch < 0) fail("kernels::", op, ": batch of ", batch, " samples from ", first);
  Index const size = Index{shape.height} * shape.width * shape.channels;
  require_extent(op, "indices", indices, first + batch);
  require_extent(op, "scale", scale, shape.channels);
  require_extent(op, "shift", shift, shape.channels);
  require_extent(op, "dst", dst, batch * size);
  constexpr bool by_sample = is_host_space<ExecSpace>;
  for_items(exec, label, by_sample ? Index{batch} : batch * size, rows_per_block(size),
            Gather<Real, Source, by_sample>{shape, images.data(), indices.data(), first, scale.data(), shift.data(),
                                            dst.data()});
}

struct GatherLabels
{
  std::int32_t const* labels;
  std::int32_t const* indices;
  Index first;
  StepState const* current;
  std::int32_t* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    std::int32_t const* const batch = indices + (current ? current->first : first);
    for (Index i = begin; i < end; ++i)
      dst[i] = labels[batch[i]];
  }
};

} // namespace impl

template <class ExecSpace, class Real>
void gather_images(ExecSpace const& exec, AugmentShape const& shape, Buffer<ExecSpace, std::uint8_t const> images,
                   Buffer<ExecSpace, std::int32_t const> indices, Index first, int batch,
                   Buffer<ExecSpace, Real const> scale, Buffer<ExecSpace, Real const> shift,
                   Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::gather_images";
  impl::gather(exec, label, "gather_images", shape, images, indices, first, batch, scale, shift, dst);
}

template <class ExecSpace, class Real>
void gather_values(ExecSpace const& exec, AugmentShape const& shape, Buffer<ExecSpace, float const> images,
                   Buffer<ExecSpace, std::int32_t const> indices, Index first, int batch,
                   Buffer<ExecSpace, Real const> scale, Buffer<ExecSpace, Real const> shift,
                   Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::gather_values";
  impl::gather(exec, label, "gather_values", shape, images, indices, first, batch, scale, shift, dst);
}

template <class ExecSpace>
void gather_labels(ExecSpace const& exec, Buffer<ExecSpace, std::int32_t const> labels,
                   Buffer<ExecSpace, std::int32_t const> indices, Index first, int batch,
                   Buffer<ExecSpace, std::int32_t> dst, StepState const* current)
{
  static std::string const label = "nasturtium::gather_labels";
  if (first < 0 || batch < 0) fail("kernels::gather_labels: batch of ", batch, " samples from ", first);
  impl::require_extent("gather_labels", "indices", indices, first + batch);
  impl::require_extent("gather_labels", "dst", dst, batch);
  impl::for_elements(exec, label, batch, impl::GatherLabels{labels.data(), indices.data(), first, current, dst.data()});
}

#define NASTURTIUM_GATHER(ExecSpace, Real)                                                                             \
  template void gather_images<ExecSpace, Real>(                                                                        \
      ExecSpace const&, AugmentShape const&, Buffer<ExecSpace, std::uint8_t const>,                                    \
      Buffer<ExecSpace, std::int32_t const>, Index, int, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>, \
      Buffer<ExecSpace, Real>);                                                                                        \
  template void gather_values<ExecSpace, Real>(                                                                        \
      ExecSpace const&, AugmentShape const&, Buffer<ExecSpace, float const>, Buffer<ExecSpace, std::int32_t const>,    \
      Index, int, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_GATHER)

#define NASTURTIUM_GATHER_LABELS(ExecSpace, Unused)                                                                    \
  template void gather_labels<ExecSpace>(ExecSpace const&, Buffer<ExecSpace, std::int32_t const>,                      \
                                         Buffer<ExecSpace, std::int32_t const>, Index, int,                            \
                                         Buffer<ExecSpace, std::int32_t>, StepState const*);
NASTURTIUM_INSTANTIATE_SERIAL(NASTURTIUM_GATHER_LABELS, )
NASTURTIUM_INSTANTIATE_OPENMP(NASTURTIUM_GATHER_LABELS, )
NASTURTIUM_INSTANTIATE_CUDA(NASTURTIUM_GATHER_LABELS, )

} // namespace nasturtium::kernels
