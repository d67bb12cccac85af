// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/initialise.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

#include <nasturtium/core/philox.hpp>

#include <cmath>
#include <vector>

namespace nasturtium::kernels {
namespace impl {

/// `count` standard normals by Box and Muller's transform (1958): four from each block of the generator.
inline std::vector<float> draw_normals(std::uint64_t seed, std::uint32_t node, Index count)
{
  std::vector<float> values(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; i += 4) {
    PhiloxBlock const block = random_block(seed, Purpose::weights, node, static_cast<std::uint64_t>(i / 4));
    for (int pair = 0; pair < 2; ++pair) {
      // 1 - u is in (0, 1]: its logarithm is finite.
      double const radius = std::sqrt(-2.0 * std::log(1.0 - static_cast<double>(to_unit_float(block.word[2 * pair]))));
      double const angle = 6.283185307179586 * static_cast<double>(to_unit_float(block.word[2 * pair + 1]));
      double const normals[2] = {radius * std::cos(angle), radius * std::sin(angle)};
      for (int k = 0; k < 2; ++k)
        if (Index const at = i + 2 * pair + k; at < count)
          values[static_cast<std::size_t>(at)] = static_cast<float>(normals[k]);
    }
  }
  return values;
}

/// `count` numbers uniform in [-1, 1), on a grid that float32 holds exactly.
inline std::vector<float> draw_uniforms(std::uint64_t seed, std::uint32_t node, Index count)
{
  std::vector<float> values(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    PhiloxBlock const block = random_block(seed, Purpose::weights, node, static_cast<std::uint64_t>(i / 4));
    values[static_cast<std::size_t>(i)] = 2.0f * to_unit_float(block.word[i % 4]) - 1.0f;
  }
  return values;
}

/// Makes the `count` vectors of `length` values (count <= length) orthonormal by modified Gram-Schmidt, each twice for
/// orthogonality to rounding (Giraud et al., 2005). A triangular factor with positive diagonal: Haar-distributed where
/// the vectors are normal (Mezzadri, 2007).
inline void orthonormalise(std::vector<double>& vectors, Index count, Index length)
{
  for (Index i = 0; i < count; ++i) {
    double* const v = vectors.data() + i * length;
    for (int pass = 0; pass < 2; ++pass)
      for (Index j = 0; j < i; ++j) {
        double const* const q = vectors.data() + j * length;
        double product = 0;
        for (Index k = 0; k < length; ++k)
          product += q[k] * v[k];
        for (Index k = 0; k < length; ++k)
          v[k] -= product * q[k];
      }
    double square = 0;
    for (Index k = 0; k < length; ++k)
      square += v[k] * v[k];
    double const scale = 1.0 / std::sqrt(square);
    for (Index k = 0; k < length; ++k)
      v[k] *= scale;
  }
}

inline std::vector<float> draw_orthogonal(std::uint64_t seed, std::uint32_t node, Index rows, Index columns)
{
  std::vector<float> values = draw_normals(seed, node, rows * columns);
  bool const tall = rows >= columns; // then the columns are orthonormal, else the rows
  Index const count = tall ? columns : rows;
  Index const length = tall ? rows : columns;
  auto const place = [&](Index vector, Index k) {
    return static_cast<std::size_t>(tall ? k * columns + vector : vector * columns + k);
  };
  std::vector<double> vectors(values.size());
  for (Index i = 0; i < count; ++i)
    for (Index k = 0; k < length; ++k)
      vectors[static_cast<std::size_t>(i * length + k)] = static_cast<double>(values[place(i, k)]);
  orthonormalise(vectors, count, length);
  for (Index i = 0; i < count; ++i)
    for (Index k = 0; k < length; ++k)
      values[place(i, k)] = static_cast<float>(vectors[static_cast<std::size_t>(i * length + k)]);
  return values;
}

/// What the drawn numbers are multiplied by: the standard deviation, or a uniform distribution's bound sqrt(3) times
/// it.
inline double spread(Initialiser kind, double fan_in, double fan_out)
{
  switch (kind) {
  case Initialiser::he_normal:
    return std::sqrt(2.0 / fan_in);
  case Initialiser::he_uniform:
    return std::sqrt(6.0 / fan_in);
  case Initialiser::glorot_normal:
    return std::sqrt(2.0 / (fan_in + fan_out));
  case Initialiser::glorot_uniform:
    return std::sqrt(6.0 / (fan_in + fan_out));
  case Initialiser::lecun_normal:
    return std::sqrt(1.0 / fan_in);
  case Initialiser::lecun_uniform:
    return std::sqrt(3.0 / fan_in);
  case Initialiser::orthogonal:
    return 1.0;
  }
  return 1.0;
}

inline bool is_uniform(Initialiser kind)
{
  return kind == Initialiser::he_uniform || kind == Initialiser::glorot_uniform || kind == Initialiser::lecun_uniform;
}

} // namespace impl

template <class ExecSpace, class Real>
void initialise(ExecSpace const& exec, Initialiser kind, std::uint64_t seed, std::uint32_t node, Index fan_in,
                Index fan_out, Index columns, Buffer<ExecSpace, Real> dst)
{
  auto const count = static_cast<Index>(dst.extent(0));
  if (count == 0) return;
  if (fan_in < 1 || fan_out < 1) fail("kernels::initialise: fan in ", fan_in, ", fan out ", fan_out);
  bool const orthogonal = kind == Initialiser::orthogonal;
  if (orthogonal && (columns < 1 || count % columns != 0))
    fail("kernels::initialise: ", count, " weights are no matrix of ", columns, " columns");
  std::vector<float> const drawn = orthogonal ? impl::draw_orthogonal(seed, node, count / columns, columns)
                                   : impl::is_uniform(kind) ? impl::draw_uniforms(seed, node, count)
                                                            : impl::draw_normals(seed, node, count);
  auto const scale = static_cast<float>(impl::spread(kind, static_cast<double>(fan_in), static_cast<double>(fan_out)));
  std::vector<Real> weights(drawn.size());
  for (std::size_t i = 0; i < drawn.size(); ++i)
    weights[i] = static_cast<Real>(drawn[i] * scale);
  Buffer<Kokkos::DefaultHostExecutionSpace, Real const> const host(weights.data(), weights.size());
  Kokkos::deep_copy(exec, dst, host);
  exec.fence("nasturtium::initialise");
}

#define NASTURTIUM_INITIALISE(ExecSpace, Real)                                                                         \
  template void initialise<ExecSpace, Real>(ExecSpace const&, Initialiser, std::uint64_t, std::uint32_t, Index, Index, \
                                            Index, Buffer<ExecSpace, Real>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_INITIALISE)

} // namespace nasturtium::kernels
