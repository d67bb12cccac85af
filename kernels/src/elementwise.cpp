// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/elementwise.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"
#include "vector_math.hpp"

#include <nasturtium/core/philox.hpp>

namespace nasturtium::kernels {
namespace impl {

// Each activation: its value, and its derivative from what activation_backward saves (input or output).

template <class Real>
struct Identity
{
  KOKKOS_FUNCTION Real value(Real x) const { return x; }
  KOKKOS_FUNCTION Real derivative(Real) const { return Real(1); }
};

template <class Real>
struct Relu
{
  // Written so that NaN passes: a diverged network must not look sound.
  KOKKOS_FUNCTION Real value(Real x) const { return x < Real(0) ? Real(0) : x; }
  KOKKOS_FUNCTION Real derivative(Real y) const { return y > Real(0) ? Real(1) : Real(0); }
};

template <class Real>
struct LeakyRelu
{
  Real slope;
  KOKKOS_FUNCTION Real value(Real x) const { return x > Real(0) ? x : slope * x; }
  KOKKOS_FUNCTION Real derivative(Real y) const { return y > Real(0) ? Real(1) : slope; }
};

template <class Real>
struct Elu
{
  KOKKOS_FUNCTION Real value(Real x) const
  {
    Real const negative = vector_expm1(x < Real(0) ? x : Real(0));
    return x < Real(0) ? negative : x;
  }
  KOKKOS_FUNCTION Real derivative(Real y) const { return y > Real(0) ? Real(1) : y + Real(1); }
};

template <class Real>
struct Gelu
{
  KOKKOS_FUNCTION Real value(Real x) const
  {
    return Real(0.5) * x * (Real(1) + vector_erf(x * Real(0.70710678118654752440)));
  }
  KOKKOS_FUNCTION Real derivative(Real x) const
  {
    Real const cumulative = Real(0.5) * (Real(1) + vector_erf(x * Real(0.70710678118654752440)));
    Real const density = Real(0.39894228040143267794) * vector_exp(Real(-0.5) * x * x);
    return cumulative + x * density;
  }
};

template <class Real>
struct Sigmoid
{
  KOKKOS_FUNCTION Real value(Real x) const { return Real(1) / (Real(1) + vector_exp(-x)); }
  KOKKOS_FUNCTION Real derivative(Real y) const { return y * (Real(1) - y); }
};

template <class Real>
struct Silu
{
  KOKKOS_FUNCTION Real value(Real x) const { return x / (Real(1) + vector_exp(-x)); }
  KOKKOS_FUNCTION Real derivative(Real x) const
  {
    Real const s = Sigmoid<Real>{}.value(x);
    return s * (Real(1) + x * (Real(1) - s));
  }
};

template <class Real>
struct Tanh
{
  KOKKOS_FUNCTION Real value(Real x) const { return vector_tanh(x); }
  KOKKOS_FUNCTION Real derivative(Real y) const { return Real(1) - y * y; }
};

template <class Real, class Function>
struct ActivationForward
{
  Function function;
  Real const* src;
  Real* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    Function const f = function;
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i)
      dst[i] = f.value(src[i]);
  }
};

template <class Real, class Function, bool accumulate>
struct ActivationBackward
{
  Function function;
  Real const* saved;
  Real const* dst_grad;
  Real* src_grad;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    Function const f = function;
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i) {
      Real const gradient = dst_grad[i] * f.derivative(saved[i]);
      src_grad[i] = accumulate ? src_grad[i] + gradient : gradient;
    }
  }
};

/// Calls launch(function) with the functor of `activation`.
template <class Real, class Launch>
void with_activation(Activation activation, Real slope, Launch const& launch)
{
  switch (activation) {
  case Activation::identity:
    return launch(Identity<Real>{});
  case Activation::relu:
    return launch(Relu<Real>{});
  case Activation::leaky_relu:
    return launch(LeakyRelu<Real>{slope});
  case Activation::elu:
    return launch(Elu<Real>{});
  case Activation::gelu:
    return launch(Gelu<Real>{});
  case Activation::silu:
    return launch(Silu<Real>{});
  case Activation::tanh:
    return launch(Tanh<Real>{});
  case Activation::sigmoid:
    return launch(Sigmoid<Real>{});
  }
}

/// Elements whose random words are drawn together on hosts, in groups of four.
inline constexpr int dropout_lanes = 16;

template <class Real, bool accumulate>
struct Dropout
{
  DropoutKey key;
  float rate;
  Real scale;
  Real const* src;
  Real* dst;
  Index count;

  KOKKOS_FUNCTION void write(Index i, std::uint32_t word) const
  {
    Real const value = to_unit_float(word) >= rate ? src[i] * scale : Real(0);
    dst[i] = accumulate ? dst[i] + value : value;
  }

  // [begin, end) counts groups of four elements, one block of the generator each.
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    std::uint64_t const step = key.current ? static_cast<std::uint64_t>(key.current->step) : key.step;
    Index group = begin;
    for (; group + dropout_lanes <= end && (group + dropout_lanes) * 4 <= count; group += dropout_lanes) {
      std::uint32_t words[4 * dropout_lanes];
      NASTURTIUM_INDEPENDENT
      for (int lane = 0; lane < dropout_lanes; ++lane) {
        PhiloxBlock const block = draw(step, group + lane);
        words[4 * lane] = block.word[0];
        words[4 * lane + 1] = block.word[1];
        words[4 * lane + 2] = block.word[2];
        words[4 * lane + 3] = block.word[3];
      }
      Index const first = group * 4;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < 4 * dropout_lanes; ++i)
        write(first + i, words[i]);
    }
    for (; group < end; ++group) {
      PhiloxBlock const block = draw(step, group);
      for (int i = 0; i < 4; ++i)
        if (group * 4 + i < count) write(group * 4 + i, block.word[i]);
    }
  }

  KOKKOS_FUNCTION PhiloxBlock draw(std::uint64_t step, Index group) const
  {
    return random_block(key.seed, Purpose::dropout, key.node, step << 32 | static_cast<std::uint64_t>(group));
  }
};

template <class Real>
struct Add
{
  Real const* a;
  Real const* b;
  Real* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i)
      dst[i] = a[i] + b[i];
  }
};

template <class Real, bool accumulate>
struct Copy
{
  Real const* src;
  Real* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i)
      dst[i] = accumulate ? dst[i] + src[i] : src[i];
  }
};

template <class Real>
struct Fill
{
  Real value;
  Real* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index i = begin; i < end; ++i)
      dst[i] = value;
  }
};

/// Items are rows on hosts and elements on devices.
template <class Real, bool accumulate, bool by_row>
struct CopyChannels
{
  int channels;
  Real const* src; // the first channel to copy of the first row
  int src_channels;
  Real* dst;
  int dst_channels;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      if constexpr (by_row) {
        Real const* const from = src + item * src_channels;
        Real* const to = dst + item * dst_channels;
        NASTURTIUM_INDEPENDENT
        for (int c = 0; c < channels; ++c)
          to[c] = accumulate ? to[c] + from[c] : from[c];
      } else {
        int c;
        Index const row = divide(item, channels, c);
        Real const value = src[row * src_channels + c];
        Real& to = dst[row * dst_channels + c];
        to = accumulate ? to + value : value;
      }
    }
  }
};

/// Items are rows on hosts and elements of dst on devices.
template <class Real, bool by_row>
struct PadChannels
{
  int channels;
  Real const* src;
  Real* dst;
  int dst_channels;
  int dst_offset;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      if constexpr (by_row) {
        Real const* const from = src + item * channels;
        Real* const to = dst + item * dst_channels;
        for (int c = 0; c < dst_offset; ++c)
          to[c] = 0;
        NASTURTIUM_INDEPENDENT
        for (int c = 0; c < channels; ++c)
          to[dst_offset + c] = from[c];
        for (int c = dst_offset + channels; c < dst_channels; ++c)
          to[c] = 0;
      } else {
        int c;
        Index const row = divide(item, dst_channels, c);
        c -= dst_offset;
        dst[item] = c >= 0 && c < channels ? src[row * channels + c] : Real(0);
      }
    }
  }
};

} // namespace impl

template <class ExecSpace, class Real>
void activation_forward(ExecSpace const& exec, Activation activation, Real slope, Buffer<ExecSpace, Real const> src,
                        Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::activation_forward";
  impl::require_extent("activation_forward", "src", src, static_cast<Index>(dst.extent(0)));
  impl::with_activation(activation, slope, [&]<class Function>(Function const& function) {
    impl::for_elements(exec, label, static_cast<Index>(dst.extent(0)),
                       impl::ActivationForward<Real, Function>{function, src.data(), dst.data()});
  });
}

template <class ExecSpace, class Real>
void activation_backward(ExecSpace const& exec, Activation activation, Real slope, Buffer<ExecSpace, Real const> saved,
                         Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> src_grad, bool accumulate)
{
  static std::string const label = "nasturtium::activation_backward";
  auto const count = static_cast<Index>(src_grad.extent(0));
  impl::require_extent("activation_backward", "saved", saved, count);
  impl::require_extent("activation_backward", "dst_grad", dst_grad, count);
  impl::with_activation(activation, slope, [&]<class Function>(Function const& function) {
    if (accumulate)
      impl::for_elements(
          exec, label, count,
          impl::ActivationBackward<Real, Function, true>{function, saved.data(), dst_grad.data(), src_grad.data()});
    else
      impl::for_elements(
          exec, label, count,
          impl::ActivationBackward<Real, Function, false>{function, saved.data(), dst_grad.data(), src_grad.data()});
  });
}

template <class ExecSpace, class Real>
void dropout(ExecSpace const& exec, DropoutKey key, Real rate, Buffer<ExecSpace, Real const> src,
             Buffer<ExecSpace, Real> dst, bool accumulate)
{
  static std::string const label = "nasturtium::dropout";
  auto const count = static_cast<Index>(dst.extent(0));
  impl::require_extent("dropout", "src", src, count);
  if (!(rate >= Real(0) && rate < Real(1))) fail("kernels::dropout: rate ", rate, " is not in [0, 1)");
  auto const threshold = static_cast<float>(rate);
  Real const scale = Real(1) / (Real(1) - rate);
  Index const groups = (count + 3) / 4;
  // The generator costs more than the memory traffic: smaller blocks.
  if (accumulate)
    impl::for_items(exec, label, groups, impl::block_elements / 16,
                    impl::Dropout<Real, true>{key, threshold, scale, src.data(), dst.data(), count});
  else
    impl::for_items(exec, label, groups, impl::block_elements / 16,
                    impl::Dropout<Real, false>{key, threshold, scale, src.data(), dst.data(), count});
}

template <class ExecSpace, class Real>
void add(ExecSpace const& exec, Buffer<ExecSpace, Real const> a, Buffer<ExecSpace, Real const> b,
         Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::add";
  auto const count = static_cast<Index>(dst.extent(0));
  impl::require_extent("add", "a", a, count);
  impl::require_extent("add", "b", b, count);
  impl::for_elements(exec, label, count, impl::Add<Real>{a.data(), b.data(), dst.data()});
}

template <class ExecSpace, class Real>
void copy(ExecSpace const& exec, Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real> dst, bool accumulate)
{
  static std::string const label = "nasturtium::copy";
  auto const count = static_cast<Index>(dst.extent(0));
  impl::require_extent("copy", "src", src, count);
  if (accumulate)
    impl::for_elements(exec, label, count, impl::Copy<Real, true>{src.data(), dst.data()});
  else
    impl::for_elements(exec, label, count, impl::Copy<Real, false>{src.data(), dst.data()});
}

template <class ExecSpace, class Real>
void fill(ExecSpace const& exec, Real value, Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::fill";
  impl::for_elements(exec, label, static_cast<Index>(dst.extent(0)), impl::Fill<Real>{value, dst.data()});
}

template <class ExecSpace, class Real>
void copy_channels(ExecSpace const& exec, Index rows, int channels, Buffer<ExecSpace, Real const> src, int src_channels,
                   int src_offset, Buffer<ExecSpace, Real> dst, int dst_channels, int dst_offset, bool accumulate)
{
  static std::string const label = "nasturtium::copy_channels";
  if (rows <= 0 || channels <= 0) return;
  if (src_offset < 0 || src_offset + channels > src_channels || dst_offset < 0 || dst_offset + channels > dst_channels)
    fail("kernels::copy_channels: channels [", src_offset, ", ", src_offset + channels, ") of ", src_channels,
         " do not fit to [", dst_offset, ", ", dst_offset + channels, ") of ", dst_channels);
  impl::require_extent("copy_channels", "src", src, rows * src_channels);
  impl::require_extent("copy_channels", "dst", dst, rows * dst_channels);
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  Index const items = by_row ? rows : rows * channels;
  Real const* const from = src.data() + src_offset;
  Real* const to = dst.data() + dst_offset;
  if (accumulate)
    impl::for_items(exec, label, items, impl::rows_per_block(channels),
                    impl::CopyChannels<Real, true, by_row>{channels, from, src_channels, to, dst_channels});
  else
    impl::for_items(exec, label, items, impl::rows_per_block(channels),
                    impl::CopyChannels<Real, false, by_row>{channels, from, src_channels, to, dst_channels});
}

template <class ExecSpace, class Real>
void pad_channels(ExecSpace const& exec, Index rows, int channels, Buffer<ExecSpace, Real const> src,
                  Buffer<ExecSpace, Real> dst, int dst_channels, int dst_offset)
{
  static std::string const label = "nasturtium::pad_channels";
  if (rows <= 0 || dst_channels <= 0) return;
  if (channels < 0 || dst_offset < 0 || dst_offset + channels > dst_channels)
    fail("kernels::pad_channels: ", channels, " channels do not fit to [", dst_offset, ", ", dst_offset + channels,
         ") of ", dst_channels);
  impl::require_extent("pad_channels", "src", src, rows * channels);
  impl::require_extent("pad_channels", "dst", dst, rows * dst_channels);
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  impl::for_items(exec, label, by_row ? rows : rows * dst_channels, impl::rows_per_block(dst_channels),
                  impl::PadChannels<Real, by_row>{channels, src.data(), dst.data(), dst_channels, dst_offset});
}

#define NASTURTIUM_ELEMENTWISE(ExecSpace, Real)                                                                        \
  template void activation_forward<ExecSpace, Real>(ExecSpace const&, Activation, Real, Buffer<ExecSpace, Real const>, \
                                                    Buffer<ExecSpace, Real>);                                          \
  template void activation_backward<ExecSpace, Real>(ExecSpace const&, Activation, Real,                               \
                                                     Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,     \
                                                     Buffer<ExecSpace, Real>, bool);                                   \
  template void dropout<ExecSpace, Real>(ExecSpace const&, DropoutKey, Real, Buffer<ExecSpace, Real const>,            \
                                         Buffer<ExecSpace, Real>, bool);                                               \
  template void add<ExecSpace, Real>(ExecSpace const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,   \
                                     Buffer<ExecSpace, Real>);                                                         \
  template void copy<ExecSpace, Real>(ExecSpace const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>, bool); \
  template void fill<ExecSpace, Real>(ExecSpace const&, Real, Buffer<ExecSpace, Real>);                                \
  template void copy_channels<ExecSpace, Real>(ExecSpace const&, Index, int, Buffer<ExecSpace, Real const>, int, int,  \
                                               Buffer<ExecSpace, Real>, int, int, bool);                               \
  template void pad_channels<ExecSpace, Real>(ExecSpace const&, Index, int, Buffer<ExecSpace, Real const>,             \
                                              Buffer<ExecSpace, Real>, int, int);
NASTURTIUM_INSTANTIATE(NASTURTIUM_ELEMENTWISE)

} // namespace nasturtium::kernels
