// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parametric families that learning curves are fitted with: values and gradients in closed form.
#pragma once

#include <array>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace nasturtium::predictor {

/// The 13 families of the PENGUIN engine.
enum class Family {
  exp_default, ///< a - b^(c - x), the papers'
  pow2,        ///< a x^b
  pow3,        ///< a x^b + c
  log2,        ///< a ln x + b
  exp2,        ///< a e^(b x)
  exp3,        ///< a e^(b x) + c
  exp4,        ///< c - e^(-a x^d + b)
  expp3,       ///< c - e^((x - b)^a)
  expd3,       ///< c - (c - a) e^(-b x)
  vap3,        ///< e^(a + b/x + c ln x)
  mmf4,        ///< (a b + c x^d) / (b + x^d)
  wbl4,        ///< a - b e^(-c x^d)
  ilog2        ///< b - a / ln x
};
inline constexpr int family_count = 13;
inline constexpr int max_parameters = 4;

/// Parameters in the order a, b, c, d; those that a family does not have are ignored.
using Parameters = std::array<double, max_parameters>;

std::string_view name(Family family);
/// Throws Error for a name that is none, listing those that are.
Family family(std::string_view name);
int parameter_count(Family family);

/// True where the family is defined for these parameters (pow2 with b < 0 wants x > 0, ilog2 wants x > 1, ...).
bool in_domain(Family family, double x, Parameters const& p);
/// F(x); NaN outside the domain, infinite where it overflows.
double evaluate(Family family, double x, Parameters const& p);
/// dF/dp into the first parameter_count() places; NaN outside the domain.
void gradient(Family family, double x, Parameters const& p, Parameters& dp);

} // namespace nasturtium::predictor
