// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pooling. On hosts an item is a row of pixels (of the output forward, of the input backward) and the inner loops run
// over channels; on devices every value is a thread of its own. All backward passes gather.
#include <nasturtium/kernels/pooling.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

namespace nasturtium::kernels {
namespace impl {

/// The taps [first, last) of a window that starts at `start` and lie inside [0, extent).
struct Taps
{
  int first, last;
  KOKKOS_FUNCTION Taps(int start, int kernel, int extent)
      : first(start < 0 ? -start : 0), last(start + kernel > extent ? extent - start : kernel)
  {
  }
  KOKKOS_FUNCTION int count() const { return last - first; }
};

/// The outputs [first, last) whose windows cover the (padded) position `at`.
struct Covering
{
  int first, last;
  KOKKOS_FUNCTION Covering(int at, int kernel, int stride, int outputs)
      : first(at < kernel ? 0 : (at - kernel) / stride + 1), last(at / stride + 1 < outputs ? at / stride + 1 : outputs)
  {
  }
};

/// Places in a window, held as integers as wide as Real so that they are selected by the same vector masks; they become
/// bytes in a second loop.
template <class Real>
using Place = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
inline constexpr int place_capacity = 512;

template <class Real>
KOKKOS_FUNCTION void take_larger(Real value, int tap, Real& best, Place<Real>& place)
{
  bool const larger = value > best || value != value; // NaN is passed on
  best = larger ? value : best;
  place = larger ? tap : place;
}

template <class Real, bool by_row>
struct MaxPoolForward
{
  Pool2dShape shape;
  Real const* src;
  Real* dst;
  std::uint8_t* argmax; // may be null

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item)
      if constexpr (by_row)
        row(item);
      else
        element(item);
  }

  KOKKOS_FUNCTION void row(Index item) const
  {
    int const channels = shape.channels;
    int const out_width = shape.out_width();
    int oh;
    Index const image = divide(item, shape.out_height(), oh);
    Real const* const in = src + image * shape.in_height * shape.in_width * channels;
    int const step = channels < place_capacity ? place_capacity / channels : 1;
    for (int first = 0; first < channels; first += place_capacity) {
      int const width = channels - first < place_capacity ? channels - first : place_capacity;
      for (int ow = 0; ow < out_width; ow += step) {
        int const pixels = out_width - ow < step ? out_width - ow : step;
        Place<Real> places[place_capacity];
        Index const base = (item * out_width + ow) * channels + first;
        for (int pixel = 0; pixel < pixels; ++pixel)
          window(in + first, oh, ow + pixel, width, dst + base + Index{pixel} * channels, places + pixel * width);
        if (argmax != nullptr) {
          // Either whole rows of channels or one pixel: contiguous both ways.
          std::uint8_t* const to = argmax + base;
          for (int i = 0; i < pixels * width; ++i)
            to[i] = static_cast<std::uint8_t>(places[i]);
        }
      }
    }
  }

  KOKKOS_FUNCTION void window(Real const* in, int oh, int ow, int width, Real* out, Place<Real>* place) const
  {
    int const top = oh * shape.stride_height - shape.pad_top;
    int const left = ow * shape.stride_width - shape.pad_left;
    Taps const rows(top, shape.kernel_height, shape.in_height);
    Taps const columns(left, shape.kernel_width, shape.in_width);
    Index const pitch = Index{shape.in_width} * shape.channels;
    if (rows.count() == 2 && columns.count() == 2 && shape.kernel_height == 2 && shape.kernel_width == 2) {
      Real const* const a = in + top * pitch + Index{left} * shape.channels;
      Real const* const b = a + shape.channels;
      Real const* const c = a + pitch;
      Real const* const d = b + pitch;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < width; ++i) {
        Real best = a[i];
        Place<Real> at = 0;
        take_larger(b[i], 1, best, at);
        take_larger(c[i], 2, best, at);
        take_larger(d[i], 3, best, at);
        out[i] = best;
        place[i] = at;
      }
      return;
    }
    for (int kh = rows.first; kh < rows.last; ++kh)
      for (int kw = columns.first; kw < columns.last; ++kw) {
        Real const* const from = in + (top + kh) * pitch + Index{left + kw} * shape.channels;
        int const tap = kh * shape.kernel_width + kw;
        if (kh == rows.first && kw == columns.first) {
          NASTURTIUM_INDEPENDENT
          for (int i = 0; i < width; ++i) {
            out[i] = from[i];
            place[i] = tap;
          }
        } else {
          NASTURTIUM_INDEPENDENT
          for (int i = 0; i < width; ++i)
            take_larger(from[i], tap, out[i], place[i]);
        }
      }
  }

  KOKKOS_FUNCTION void element(Index item) const
  {
    int c, ow, oh;
    Index const image = divide(divide(divide(item, shape.channels, c), shape.out_width(), ow), shape.out_height(), oh);
    Real best = 0;
    Place<Real> place = 0;
    window(src + image * shape.in_height * shape.in_width * shape.channels + c, oh, ow, 1, &best, &place);
    dst[item] = best;
    if (argmax != nullptr) argmax[item] = static_cast<std::uint8_t>(place);
  }
};

/// Adds or writes a run of values.
template <class Real>
KOKKOS_FUNCTION void clear(Real* values, Index count)
{
  for (Index i = 0; i < count; ++i)
    values[i] = 0;
}

template <class Real, bool by_row>
struct MaxPoolBackward
{
  Pool2dShape shape;
  Real const* dst_grad;
  std::uint8_t const* argmax;
  Real* src_grad;
  bool accumulate;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item)
      if constexpr (by_row)
        row(item);
      else
        element(item);
  }

  KOKKOS_FUNCTION void row(Index item) const
  {
    int const channels = shape.channels;
    int const out_width = shape.out_width();
    int ih;
    Index const image = divide(item, shape.in_height, ih);
    Index const pitch = Index{shape.in_width} * channels;
    Real* const to = src_grad + item * pitch;
    Covering const rows(ih + shape.pad_top, shape.kernel_height, shape.stride_height, shape.out_height());
    // Windows two wide that tile the row: both columns of a window in one pass, and nothing to clear but the rest.
    bool const tiled = shape.kernel_width == 2 && shape.stride_width == 2 && shape.pad_left == 0 &&
                       2 * out_width <= shape.in_width && rows.last - rows.first == 1;
    if (!accumulate) {
      Index const covered = tiled ? Index{2} * out_width * channels : 0;
      clear(to + covered, pitch - covered);
    }
    int const step = channels < place_capacity ? place_capacity / channels : 1;
    for (int oh = rows.first; oh < rows.last; ++oh) {
      int const kh = ih + shape.pad_top - oh * shape.stride_height;
      int const tap = kh * shape.kernel_width;
      Index const out_row = (image * shape.out_height() + oh) * out_width;
      for (int first = 0; first < channels; first += place_capacity) {
        int const width = channels - first < place_capacity ? channels - first : place_capacity;
        for (int ow = 0; ow < out_width; ow += step) {
          int const pixels = out_width - ow < step ? out_width - ow : step;
          Place<Real> places[place_capacity];
          Index const base = (out_row + ow) * channels + first;
          std::uint8_t const* const from = argmax + base;
          for (int i = 0; i < pixels * width; ++i)
            places[i] = from[i];
          for (int pixel = 0; pixel < pixels; ++pixel) {
            Real const* const dy = dst_grad + base + Index{pixel} * channels;
            Place<Real> const* const place = places + pixel * width;
            if (tiled)
              pair(dy, place, tap, width, to + Index{2} * (ow + pixel) * channels + first);
            else
              scatter(dy, place, tap, ow + pixel, width, to + first);
          }
        }
      }
    }
  }

  KOKKOS_FUNCTION void pair(Real const* dy, Place<Real> const* place, int tap, int width, Real* left) const
  {
    Real* const right = left + shape.channels;
    if (accumulate) {
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < width; ++i) {
        left[i] += place[i] == tap ? dy[i] : Real(0);
        right[i] += place[i] == tap + 1 ? dy[i] : Real(0);
      }
    } else {
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < width; ++i) {
        left[i] = place[i] == tap ? dy[i] : Real(0);
        right[i] = place[i] == tap + 1 ? dy[i] : Real(0);
      }
    }
  }

  KOKKOS_FUNCTION void scatter(Real const* dy, Place<Real> const* place, int tap, int ow, int width, Real* to) const
  {
    int const left = ow * shape.stride_width - shape.pad_left;
    Taps const columns(left, shape.kernel_width, shape.in_width);
    for (int kw = columns.first; kw < columns.last; ++kw) {
      Real* const at = to + Index{left + kw} * shape.channels;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < width; ++i)
        at[i] += place[i] == tap + kw ? dy[i] : Real(0);
    }
  }

  KOKKOS_FUNCTION void element(Index item) const
  {
    int c, iw, ih;
    Index const image = divide(divide(divide(item, shape.channels, c), shape.in_width, iw), shape.in_height, ih);
    Covering const rows(ih + shape.pad_top, shape.kernel_height, shape.stride_height, shape.out_height());
    Covering const columns(iw + shape.pad_left, shape.kernel_width, shape.stride_width, shape.out_width());
    Real sum = accumulate ? src_grad[item] : Real(0);
    for (int oh = rows.first; oh < rows.last; ++oh)
      for (int ow = columns.first; ow < columns.last; ++ow) {
        int const tap = (ih + shape.pad_top - oh * shape.stride_height) * shape.kernel_width + iw + shape.pad_left -
                        ow * shape.stride_width;
        Index const out = ((image * shape.out_height() + oh) * shape.out_width() + ow) * shape.channels + c;
        if (argmax[out] == tap) sum += dst_grad[out];
      }
    src_grad[item] = sum;
  }
};

template <class Real, bool by_row>
struct AvgPoolForward
{
  Pool2dShape shape;
  Real const* src;
  Real* dst;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      if constexpr (by_row) {
        int oh;
        Index const image = divide(item, shape.out_height(), oh);
        for (int ow = 0; ow < shape.out_width(); ++ow)
          window(image, oh, ow, 0, shape.channels, dst + (item * shape.out_width() + ow) * shape.channels);
      } else {
        int c, ow, oh;
        Index const image =
            divide(divide(divide(item, shape.channels, c), shape.out_width(), ow), shape.out_height(), oh);
        window(image, oh, ow, c, 1, dst + item);
      }
    }
  }

  KOKKOS_FUNCTION void window(Index image, int oh, int ow, int first, int width, Real* out) const
  {
    int const top = oh * shape.stride_height - shape.pad_top;
    int const left = ow * shape.stride_width - shape.pad_left;
    Taps const rows(top, shape.kernel_height, shape.in_height);
    Taps const columns(left, shape.kernel_width, shape.in_width);
    clear(out, width);
    for (int kh = rows.first; kh < rows.last; ++kh)
      for (int kw = columns.first; kw < columns.last; ++kw) {
        Real const* const from =
            src + ((image * shape.in_height + top + kh) * shape.in_width + left + kw) * shape.channels + first;
        NASTURTIUM_INDEPENDENT
        for (int i = 0; i < width; ++i)
          out[i] += from[i];
      }
    Real const scale = Real(1) / static_cast<Real>(rows.count() * columns.count());
    for (int i = 0; i < width; ++i)
      out[i] *= scale;
  }
};

template <class Real, bool by_row>
struct AvgPoolBackward
{
  Pool2dShape shape;
  Real const* dst_grad;
  Real* src_grad;
  bool accumulate;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      if constexpr (by_row) {
        int ih;
        Index const image = divide(item, shape.in_height, ih);
        for (int iw = 0; iw < shape.in_width; ++iw)
          pixel(image, ih, iw, 0, shape.channels, src_grad + (item * shape.in_width + iw) * shape.channels);
      } else {
        int c, iw, ih;
        Index const image = divide(divide(divide(item, shape.channels, c), shape.in_width, iw), shape.in_height, ih);
        pixel(image, ih, iw, c, 1, src_grad + item);
      }
    }
  }

  KOKKOS_FUNCTION void pixel(Index image, int ih, int iw, int first, int width, Real* to) const
  {
    if (!accumulate) clear(to, width);
    Covering const rows(ih + shape.pad_top, shape.kernel_height, shape.stride_height, shape.out_height());
    Covering const columns(iw + shape.pad_left, shape.kernel_width, shape.stride_width, shape.out_width());
    for (int oh = rows.first; oh < rows.last; ++oh)
      for (int ow = columns.first; ow < columns.last; ++ow) {
        Taps const high(oh * shape.stride_height - shape.pad_top, shape.kernel_height, shape.in_height);
        Taps const wide(ow * shape.stride_width - shape.pad_left, shape.kernel_width, shape.in_width);
        Real const scale = Real(1) / static_cast<Real>(high.count() * wide.count());
        Real const* const from =
            dst_grad + ((image * shape.out_height() + oh) * shape.out_width() + ow) * shape.channels + first;
        NASTURTIUM_INDEPENDENT
        for (int i = 0; i < width; ++i)
          to[i] += from[i] * scale;
      }
  }
};

/// Items are images on hosts, (image, channel) pairs on devices.
template <class Real, bool by_row>
struct GlobalAvgForward
{
  int pixels, channels;
  Real const* src;
  Real* dst;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      if constexpr (by_row) {
        mean(src + item * pixels * channels, channels, dst + item * channels);
      } else {
        int c;
        Index const image = divide(item, channels, c);
        mean(src + image * pixels * channels + c, 1, dst + item);
      }
    }
  }

  KOKKOS_FUNCTION void mean(Real const* from, int width, Real* out) const
  {
    clear(out, width);
    int pixel = 0;
    for (; pixel + 4 <= pixels; pixel += 4) {
      Real const* const a = from + Index{pixel} * channels;
      Real const* const b = a + channels;
      Real const* const c = b + channels;
      Real const* const d = c + channels;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < width; ++i)
        out[i] += (a[i] + b[i]) + (c[i] + d[i]);
    }
    for (; pixel < pixels; ++pixel) {
      Real const* const a = from + Index{pixel} * channels;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < width; ++i)
        out[i] += a[i];
    }
    Real const scale = Real(1) / static_cast<Real>(pixels);
    for (int i = 0; i < width; ++i)
      out[i] *= scale;
  }
};

template <class Real, bool by_row>
struct GlobalAvgBackward
{
  int pixels, channels;
  Real const* dst_grad;
  Real* src_grad;
  bool accumulate;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    Real const scale = Real(1) / static_cast<Real>(pixels);
    for (Index item = begin; item < end; ++item) {
      if constexpr (by_row) {
        Real const* const from = dst_grad + item * channels;
        for (int pixel = 0; pixel < pixels; ++pixel) {
          Real* const to = src_grad + (item * pixels + pixel) * channels;
          NASTURTIUM_INDEPENDENT
          for (int c = 0; c < channels; ++c)
            to[c] = accumulate ? to[c] + from[c] * scale : from[c] * scale;
        }
      } else {
        int c, pixel;
        Index const image = divide(divide(item, channels, c), pixels, pixel);
        Real const value = dst_grad[image * channels + c] * scale;
        src_grad[item] = accumulate ? src_grad[item] + value : value;
      }
    }
  }
};

inline void require_shape(char const* op, Pool2dShape const& shape)
{
  auto const check = [op](char const* axis, int in, int kernel, int stride, int before, int after) {
    if (in < 1 || kernel < 1 || stride < 1 || before < 0 || after < 0 || before >= kernel || after >= kernel ||
        in + before + after < kernel)
      fail("kernels::", op, ": ", axis, " ", in, " with kernel ", kernel, ", stride ", stride, " and padding ", before,
           " + ", after, " leaves a window without pixels");
  };
  if (shape.batch < 0 || shape.channels < 1)
    fail("kernels::", op, ": ", shape.batch, " images of ", shape.channels, " channels");
  check("height", shape.in_height, shape.kernel_height, shape.stride_height, shape.pad_top, shape.pad_bottom);
  check("width", shape.in_width, shape.kernel_width, shape.stride_width, shape.pad_left, shape.pad_right);
}

inline void require_byte_places(char const* op, Pool2dShape const& shape)
{
  if (Index{shape.kernel_height} * shape.kernel_width > 256)
    fail("kernels::", op, ": a window of ", shape.kernel_height, " x ", shape.kernel_width,
         " has more than 256 places");
}

} // namespace impl

template <class ExecSpace, class Real>
void max_pool2d_forward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> src,
                        Buffer<ExecSpace, Real> dst, Buffer<ExecSpace, std::uint8_t> argmax)
{
  static std::string const label = "nasturtium::max_pool2d_forward";
  constexpr char const* op = "max_pool2d_forward";
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  impl::require_shape(op, shape);
  impl::require_extent(op, "src", src, shape.in_size());
  impl::require_extent(op, "dst", dst, shape.out_size());
  bool const with_argmax = argmax.extent(0) != 0;
  if (with_argmax) {
    impl::require_byte_places(op, shape);
    impl::require_extent(op, "argmax", argmax, shape.out_size());
  }
  Index const items = by_row ? Index{shape.batch} * shape.out_height() : shape.out_size();
  Index const taps = Index{shape.kernel_height} * shape.kernel_width;
  impl::for_items(
      exec, label, items, impl::rows_per_block(taps * shape.out_width() * shape.channels),
      impl::MaxPoolForward<Real, by_row>{shape, src.data(), dst.data(), with_argmax ? argmax.data() : nullptr});
}

template <class ExecSpace, class Real>
void max_pool2d_backward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, std::uint8_t const> argmax, Buffer<ExecSpace, Real> src_grad,
                         bool accumulate)
{
  static std::string const label = "nasturtium::max_pool2d_backward";
  constexpr char const* op = "max_pool2d_backward";
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  impl::require_shape(op, shape);
  impl::require_byte_places(op, shape);
  impl::require_extent(op, "dst_grad", dst_grad, shape.out_size());
  impl::require_extent(op, "argmax", argmax, shape.out_size());
  impl::require_extent(op, "src_grad", src_grad, shape.in_size());
  Index const items = by_row ? Index{shape.batch} * shape.in_height : shape.in_size();
  impl::for_items(
      exec, label, items, impl::rows_per_block(Index{shape.in_width} * shape.channels),
      impl::MaxPoolBackward<Real, by_row>{shape, dst_grad.data(), argmax.data(), src_grad.data(), accumulate});
}

template <class ExecSpace, class Real>
void avg_pool2d_forward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> src,
                        Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::avg_pool2d_forward";
  constexpr char const* op = "avg_pool2d_forward";
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  impl::require_shape(op, shape);
  impl::require_extent(op, "src", src, shape.in_size());
  impl::require_extent(op, "dst", dst, shape.out_size());
  Index const items = by_row ? Index{shape.batch} * shape.out_height() : shape.out_size();
  Index const taps = Index{shape.kernel_height} * shape.kernel_width;
  impl::for_items(exec, label, items, impl::rows_per_block(taps * shape.out_width() * shape.channels),
                  impl::AvgPoolForward<Real, by_row>{shape, src.data(), dst.data()});
}

template <class ExecSpace, class Real>
void avg_pool2d_backward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, Real> src_grad, bool accumulate)
{
  static std::string const label = "nasturtium::avg_pool2d_backward";
  constexpr char const* op = "avg_pool2d_backward";
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  impl::require_shape(op, shape);
  impl::require_extent(op, "dst_grad", dst_grad, shape.out_size());
  impl::require_extent(op, "src_grad", src_grad, shape.in_size());
  Index const items = by_row ? Index{shape.batch} * shape.in_height : shape.in_size();
  impl::for_items(exec, label, items, impl::rows_per_block(Index{shape.in_width} * shape.channels),
                  impl::AvgPoolBackward<Real, by_row>{shape, dst_grad.data(), src_grad.data(), accumulate});
}

template <class ExecSpace, class Real>
void global_avg_pool_forward(ExecSpace const& exec, int batch, int pixels, int channels,
                             Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::global_avg_pool_forward";
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  if (batch < 0 || pixels < 1 || channels < 1)
    fail("kernels::global_avg_pool_forward: ", batch, " images of ", pixels, " pixels, ", channels, " channels");
  impl::require_extent("global_avg_pool_forward", "src", src, Index{batch} * pixels * channels);
  impl::require_extent("global_avg_pool_forward", "dst", dst, Index{batch} * channels);
  impl::for_items(exec, label, by_row ? Index{batch} : Index{batch} * channels,
                  impl::rows_per_block(Index{pixels} * channels),
                  impl::GlobalAvgForward<Real, by_row>{pixels, channels, src.data(), dst.data()});
}

template <class ExecSpace, class Real>
void global_avg_pool_backward(ExecSpace const& exec, int batch, int pixels, int channels,
                              Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> src_grad, bool accumulate)
{
  static std::string const label = "nasturtium::global_avg_pool_backward";
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  if (batch < 0 || pixels < 1 || channels < 1)
    fail("kernels::global_avg_pool_backward: ", batch, " images of ", pixels, " pixels, ", channels, " channels");
  impl::require_extent("global_avg_pool_backward", "dst_grad", dst_grad, Index{batch} * channels);
  impl::require_extent("global_avg_pool_backward", "src_grad", src_grad, Index{batch} * pixels * channels);
  impl::for_items(
      exec, label, by_row ? Index{batch} : Index{batch} * pixels * channels,
      impl::rows_per_block(Index{pixels} * channels),
      impl::GlobalAvgBackward<Real, by_row>{pixels, channels, dst_grad.data(), src_grad.data(), accumulate});
}

#define NASTURTIUM_POOLING(ExecSpace, Real)                                                                            \
  template void max_pool2d_forward<ExecSpace, Real>(ExecSpace const&, Pool2dShape const&,                              \
                                                    Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>,            \
                                                    Buffer<ExecSpace, std::uint8_t>);                                  \
  template void max_pool2d_backward<ExecSpace, Real>(                                                                  \
      ExecSpace const&, Pool2dShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, std::uint8_t const>,      \
      Buffer<ExecSpace, Real>, bool);                                                                                  \
  template void avg_pool2d_forward<ExecSpace, Real>(ExecSpace const&, Pool2dShape const&,                              \
                                                    Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>);           \
  template void avg_pool2d_backward<ExecSpace, Real>(ExecSpace const&, Pool2dShape const&,                             \
                                                     Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>, bool);    \
  template void global_avg_pool_forward<ExecSpace, Real>(ExecSpace const&, int, int, int,                              \
                                                         Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>);      \
  template void global_avg_pool_backward<ExecSpace, Real>(                                                             \
      ExecSpace const&, int, int, int, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>, bool);
NASTURTIUM_INSTANTIATE(NASTURTIUM_POOLING)

} // namespace nasturtium::kernels
