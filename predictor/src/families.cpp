// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/predictor/families.hpp>

#include <cmath>

namespace nasturtium::predictor {

namespace {

struct Entry
{
  std::string_view name;
  int parameters;
};

constexpr std::array<Entry, family_count> entries{{{"exp_default", 3},
                                                   {"pow2", 2},
                                                   {"pow3", 3},
                                                   {"log2", 2},
                                                   {"exp2", 2},
                                                   {"exp3", 3},
                                                   {"exp4", 4},
                                                   {"expp3", 3},
                                                   {"expd3", 3},
                                                   {"vap3", 3},
                                                   {"mmf4", 4},
                                                   {"wbl4", 4},
                                                   {"ilog2", 2}}};

Entry const& entry(Family family)
{
  return entries[static_cast<std::size_t>(family)];
}

// x^b ln x, with its limit 0 at x = 0 for b > 0 (in_domain has refused b <= 0 there).
double power_log(double x, double power)
{
  return x > 0 ? power * std::log(x) : 0;
}

// x^b has a value: any positive x, zero unless b < 0; a negative x never (b is a real number).
bool power_defined(double x, double b)
{
  return x > 0 || (x == 0 && b >= 0);
}

} // namespace

std::string_view name(Family family)
{
  return entry(family).name;
}

Family family(std::string_view name)
{
  std::string names;
  for (int i = 0; i < family_count; ++i) {
    if (entries[static_cast<std::size_t>(i)].name == name) return static_cast<Family>(i);
    names += (i > 0 ? ", " : "") + std::string(entries[static_cast<std::size_t>(i)].name);
  }
  fail("unknown family ", quoted(name), " (", names, ")");
}

int parameter_count(Family family)
{
  return entry(family).parameters;
}

bool in_domain(Family family, double x, Parameters const& p)
{
  auto const [a, b, c, d] = p;
  switch (family) {
  case Family::exp_default:
    return b > 0;
  case Family::pow2:
  case Family::pow3:
    return power_defined(x, b);
  case Family::log2:
  case Family::vap3:
    return x > 0;
  case Family::exp4:
  case Family::wbl4:
    return power_defined(x, d);
  case Family::expp3:
    // The gradient needs the logarithm of the base, so integers a give no way past b either.
    return x > b || (x == b && a > 0);
  case Family::mmf4:
    return b > 0 && power_defined(x, d);
  case Family::ilog2:
    return x > 1;
  case Family::exp2:
  case Family::exp3:
  case Family::expd3:
    return true;
  }
  return false;
}

double evaluate(Family family, double x, Parameters const& p)
{
  if (!in_domain(family, x, p)) return std::numeric_limits<double>::quiet_NaN();
  auto const [a, b, c, d] = p;
  switch (family) {
  case Family::exp_default:
    return a - std::pow(b, c - x);
  case Family::pow2:
    return a * std::pow(x, b);
  case Family::pow3:
    return a * std::pow(x, b) + c;
  case Family::log2:
    return a * std::log(x) + b;
  case Family::exp2:
    return a * std::exp(b * x);
  case Family::exp3:
    return a * std::exp(b * x) + c;
  case Family::exp4:
    return c - std::exp(-a * std::pow(x, d) + b);
  case Family::expp3:
    return c - std::exp(std::pow(x - b, a));
  case Family::expd3:
    return c - (c - a) * std::exp(-b * x);
  case Family::vap3:
    return std::exp(a + b / x + c * std::log(x));
  case Family::mmf4: {
    double const power = std::pow(x, d);
    return (a * b + c * power) / (b + power);
  }
  case Family::wbl4:
    return a - b * std::exp(-c * std::pow(x, d));
  case Family::ilog2:
    return b - a / std::log(x);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

void gradient(Family family, double x, Parameters const& p, Parameters& dp)
{
  if (!in_domain(family, x, p)) {
    dp.fill(std::numeric_limits<double>::quiet_NaN());
    return;
  }
  auto const [a, b, c, d] = p;
  dp.fill(0);
  switch (family) {
  case Family::exp_default: {
    double const power = std::pow(b, c - x);
    dp = {1, -(c - x) * power / b, -std::log(b) * power, 0};
    break;
  }
  case Family::pow2:
  case Family::pow3: {
    double const power = std::pow(x, b);
    dp = {power, a * power_log(x, power), family == Family::pow3 ? 1.0 : 0.0, 0};
    break;
  }
  case Family::log2:
    dp = {std::log(x), 1, 0, 0};
    break;
  case Family::exp2:
  case Family::exp3: {
    double const growth = std::exp(b * x);
    dp = {growth, a * x * growth, family == Family::exp3 ? 1.0 : 0.0, 0};
    break;
  }
  case Family::exp4: {
    double const power = std::pow(x, d), e = std::exp(-a * power + b);
    dp = {power * e, -e, 1, a * power_log(x, power) * e};
    break;
  }
  case Family::expp3: {
    double const base = x - b, power = std::pow(base, a), e = std::exp(power);
    dp = {-e * power_log(base, power), a == 0 ? 0 : e * a * std::pow(base, a - 1), 1, 0};
    break;
  }
  case Family::expd3: {
    double const e = std::exp(-b * x);
    dp = {e, (c - a) * x * e, 1 - e, 0};
    break;
  }
  case Family::vap3: {
    double const f = std::exp(a + b / x + c * std::log(x));
    dp = {f, f / x, f * std::log(x), 0};
    break;
  }
  case Family::mmf4: {
    double const power = std::pow(x, d), below = b + power;
    dp = {b / below, power * (a - c) / (below * below), power / below,
          b * (c - a) * power_log(x, power) / (below * below)};
    break;
  }
  case Family::wbl4: {
    double const power = std::pow(x, d), e = std::exp(-c * power);
    dp = {1, -e, b * power * e, b * c * power_log(x, power) * e};
    break;
  }
  case Family::ilog2:
    dp = {-1 / std::log(x), 1, 0, 0};
    break;
  }
}

} // namespace nasturtium::predictor
