// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/predictor/fit.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace nasturtium::predictor {

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double tolerance = 1e-8;

using Vector = Parameters;                         // of the n parameters; the rest stays zero
using Matrix = std::array<Vector, max_parameters>; // by columns

double dot(Vector const& left, Vector const& right, int n)
{
  double sum = 0;
  for (int i = 0; i < n; ++i)
    sum += left[i] * right[i];
  return sum;
}

double norm(Vector const& v, int n)
{
  return std::sqrt(dot(v, v, n));
}

Vector times(Vector const& left, Vector const& right)
{
  Vector result;
  for (int i = 0; i < max_parameters; ++i)
    result[i] = left[i] * right[i];
  return result;
}

Vector scaled(Vector const& v, double factor)
{
  Vector result;
  for (int i = 0; i < max_parameters; ++i)
    result[i] = v[i] * factor;
  return result;
}

Vector sum(Vector const& left, Vector const& right)
{
  Vector result;
  for (int i = 0; i < max_parameters; ++i)
    result[i] = left[i] + right[i];
  return result;
}

// Singular values, right singular vectors and U'b of a tall matrix.
struct Decomposition
{
  Vector values{};  // falling
  Matrix vectors{}; // columns
  Vector right{};   // U' b
};

// Householder reduction to a triangle (of the right side too), then one-sided Jacobi rotations on its columns.
// `matrix`: rows x n by columns.
Decomposition decompose(double* matrix, double* right, int rows, int n)
{
  Matrix triangle{};
  Vector reduced{};
  for (int j = 0; j < n; ++j) {
    double* const column = matrix + static_cast<std::ptrdiff_t>(j) * rows;
    double below = 0;
    for (int i = j; i < rows; ++i)
      below += column[i] * column[i];
    double const length = std::sqrt(below), alpha = column[j] > 0 ? -length : length;
    if (length > 0) {
      column[j] -= alpha;
      double const factor = -1 / (alpha * column[j]); // 2 / |v|^2, times -1 twice
      auto const reflect = [&](double* target) {
        double product = 0;
        for (int i = j; i < rows; ++i)
          product += column[i] * target[i];
        product *= factor;
        for (int i = j; i < rows; ++i)
          target[i] -= product * column[i];
      };
      for (int k = j + 1; k < n; ++k)
        reflect(matrix + static_cast<std::ptrdiff_t>(k) * rows);
      reflect(right);
    }
    for (int i = 0; i < j; ++i)
      triangle[j][i] = column[i];
    triangle[j][j] = alpha;
    reduced[j] = right[j];
  }

  Decomposition result;
  for (int j = 0; j < n; ++j)
    result.vectors[j][j] = 1;
  for (int sweep = 0; sweep < 40; ++sweep) {
    bool turned = false;
    for (int p = 0; p < n - 1; ++p)
      for (int q = p + 1; q < n; ++q) {
        double const app = dot(triangle[p], triangle[p], n), aqq = dot(triangle[q], triangle[q], n),
                     apq = dot(triangle[p], triangle[q], n);
        if (!(std::abs(apq) > epsilon * std::sqrt(app) * std::sqrt(aqq))) continue;
        turned = true;
        double const zeta = (aqq - app) / (2 * apq);
        double const tangent = std::copysign(1 / (std::abs(zeta) + std::hypot(1.0, zeta)), zeta);
        double const cosine = 1 / std::hypot(1.0, tangent), sine = cosine * tangent;
        for (auto* const columns : {&triangle, &result.vectors})
          for (int i = 0; i < n; ++i) {
            double const left = (*columns)[p][i], other = (*columns)[q][i];
            (*columns)[p][i] = cosine * left - sine * other;
            (*columns)[q][i] = sine * left + cosine * other;
          }
      }
    if (!turned) break;
  }
  for (int j = 0; j < n; ++j) {
    double const value = norm(triangle[j], n);
    result.values[j] = value;
    result.right[j] = value > 0 ? dot(triangle[j], reduced, n) / value : 0;
  }
  for (int i = 1; i < n; ++i) // falling order
    for (int j = i; j > 0 && result.values[j] > result.values[j - 1]; --j) {
      std::swap(result.values[j], result.values[j - 1]);
      std::swap(result.right[j], result.right[j - 1]);
      std::swap(result.vectors[j], result.vectors[j - 1]);
    }
  return result;
}

// The minimiser of |A q + b| inside a sphere, from A's decomposition; `damping` is kept between calls.
Vector trust_region_step(Decomposition const& svd, int n, int points, double radius, double& damping)
{
  auto const combine = [&](Vector const& weights) {
    Vector result{};
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < n; ++i)
        result[i] -= svd.vectors[j][i] * weights[j];
    return result;
  };
  auto const& s = svd.values;
  bool const full_rank = points >= n && s[n - 1] > epsilon * points * s[0];
  Vector weights{};
  if (full_rank) {
    for (int i = 0; i < n; ++i)
      weights[i] = svd.right[i] / s[i];
    Vector const gauss_newton = combine(weights);
    if (norm(gauss_newton, n) <= radius) {
      damping = 0;
      return gauss_newton;
    }
  }
  Vector const product = times(s, svd.right);
  auto const excess = [&](double u, double& slope) {
    double squares = 0, cubes = 0;
    for (int i = 0; i < n; ++i) {
      double const denominator = s[i] * s[i] + u, ratio = product[i] / denominator;
      squares += ratio * ratio;
      cubes += ratio * ratio / denominator;
    }
    double const length = std::sqrt(squares);
    slope = -cubes / length;
    return length - radius;
  };
  double upper = norm(product, n) / radius, lower = 0, slope = 0;
  if (full_rank) {
    double const at_zero = excess(0, slope);
    lower = -at_zero / slope;
  }
  auto const middle = [&] { return std::max(0.001 * upper, std::sqrt(lower * upper)); };
  if (!full_rank && damping == 0) damping = middle();
  for (int round = 0; round < 10; ++round) {
    if (damping < lower || damping > upper) damping = middle();
    double const phi = excess(damping, slope);
    if (phi < 0) upper = damping;
    double const ratio = phi / slope;
    lower = std::max(lower, damping - ratio);
    damping -= (phi + radius) * ratio / radius;
    if (std::abs(phi) < 0.01 * radius) break;
  }
  for (int i = 0; i < n; ++i)
    weights[i] = product[i] / (s[i] * s[i] + damping);
  Vector const step = combine(weights);
  return scaled(step, radius / norm(step, n));
}

// How far `direction` can be followed from p until the first bound, and which components meet one there.
double stride_to_bound(Vector const& p, Vector const& direction, FitRange const& range, int n,
                       std::array<bool, max_parameters>* hits = nullptr)
{
  Vector strides;
  strides.fill(infinite);
  double least = infinite;
  for (int i = 0; i < n; ++i)
    if (direction[i] != 0) {
      strides[i] = std::max((range.lower[i] - p[i]) / direction[i], (range.upper[i] - p[i]) / direction[i]);
      least = std::min(least, strides[i]);
    }
  if (hits)
    for (int i = 0; i < n; ++i)
      (*hits)[i] = direction[i] != 0 && strides[i] == least;
  return least;
}

// The quadratic model 0.5 (|Jh z|^2 + z'Cz) + gh'z in the scaled ("hat") space.
struct Model
{
  double const* jacobian; // points x n by columns, scaled
  int points, n;
  Vector curvature, gradient;

  double squares(Vector const& left, Vector const& right) const
  {
    double sum = 0;
    for (int i = 0; i < points; ++i) {
      double l = 0, r = 0;
      for (int j = 0; j < n; ++j) {
        double const entry = jacobian[static_cast<std::ptrdiff_t>(j) * points + i];
        l += entry * left[j];
        r += entry * right[j];
      }
      sum += l * r;
    }
    for (int j = 0; j < n; ++j)
      sum += curvature[j] * left[j] * right[j];
    return sum;
  }
  double value(Vector const& z) const { return 0.5 * squares(z, z) + dot(gradient, z, n); }

  // The least value of t -> value(origin + t direction) over [from, to].
  double least(Vector const& origin, Vector const& direction, double from, double to, double& t) const
  {
    double const a = 0.5 * squares(direction, direction), b = dot(gradient, direction, n) + squares(origin, direction),
                 c = value(origin);
    auto const at = [&](double stride) { return stride * (a * stride + b) + c; };
    t = at(to) < at(from) ? to : from;
    if (a != 0) {
      double const extremum = -0.5 * b / a;
      if (from < extremum && extremum < to && at(extremum) < at(t)) t = extremum;
    }
    return at(t);
  }
};

} // namespace

FitRange penguin_range()
{
  return {{10, 1.001, 100, 0}, {0.5, 1, 0, 0}, {200, infinite, infinite, 0}};
}

FitRange a4nn_range()
{
  auto range = penguin_range();
  range.start = {100.25, 2, 1, 0};
  return range;
}

Fitter::Fitter(std::size_t points)
{
  m_residual.reserve(points);
  m_trial.reserve(points);
  m_jacobian.reserve(2 * points * max_parameters);
  m_augmented.reserve((points + max_parameters) * max_parameters);
  m_right.reserve(points + max_parameters);
}

Fit Fitter::trust_region(Family family, std::span<double const> x, std::span<double const> y, FitRange const& range,
                         int max_evaluations)
{
  int const n = parameter_count(family), points = static_cast<int>(x.size());
  Fit fit;
  fit.parameters.fill(infinite);
  fit.cost = infinite;
  Vector p = range.start;
  for (int i = 0; i < n; ++i)
    if (!(range.lower[i] < p[i] && p[i] < range.upper[i])) return fit;
  if (points == 0) return fit;
  auto const count = static_cast<std::size_t>(points);
  m_residual.resize(count);
  m_trial.resize(count);
  m_jacobian.resize(2 * count * static_cast<std::size_t>(n));
  m_augmented.resize((count + static_cast<std::size_t>(n)) * static_cast<std::size_t>(n));
  m_right.resize(count + static_cast<std::size_t>(n));
  double* const jacobian = m_jacobian.data();
  double* const scaled_jacobian = jacobian + static_cast<std::ptrdiff_t>(points) * n;

  // Residuals at q and half their squares; infinite where one of them is not finite.
  auto const residuals = [&](Vector const& q, std::vector<double>& into) {
    double squares = 0;
    for (std::size_t i = 0; i < count; ++i) {
      into[i] = evaluate(family, x[i], q) - y[i];
      squares += into[i] * into[i];
    }
    return std::isfinite(squares) ? 0.5 * squares : infinite;
  };
  Vector g{};
  auto const differentiate = [&] {
    g.fill(0);
    Vector row;
    for (int i = 0; i < points; ++i) {
      gradient(family, x[static_cast<std::size_t>(i)], p, row);
      for (int j = 0; j < n; ++j) {
        jacobian[static_cast<std::ptrdiff_t>(j) * points + i] = row[j];
        g[j] += row[j] * m_residual[static_cast<std::size_t>(i)];
      }
    }
    for (int j = 0; j < n; ++j)
      if (!std::isfinite(g[j])) return false;
    return true;
  };
  // Distance to the bound that the gradient points to, and its derivative (Coleman and Li).
  Vector v{}, dv{};
  auto const scale = [&] {
    for (int i = 0; i < n; ++i) {
      v[i] = 1;
      dv[i] = 0;
      if (g[i] < 0 && std::isfinite(range.upper[i])) {
        v[i] = range.upper[i] - p[i];
        dv[i] = -1;
      } else if (g[i] > 0 && std::isfinite(range.lower[i])) {
        v[i] = p[i] - range.lower[i];
        dv[i] = 1;
      }
    }
  };

  double cost = residuals(p, m_residual);
  int evaluations = 1;
  if (!std::isfinite(cost) || !differentiate()) {
    fit.evaluations = evaluations;
    return fit;
  }
  scale();
  double radius = 0;
  for (int i = 0; i < n; ++i)
    radius += p[i] * p[i] / v[i];
  radius = radius > 0 ? std::sqrt(radius) : 1;
  double damping = 0;
  bool ended = false;
  for (;;) {
    scale();
    double steepest = 0;
    for (int i = 0; i < n; ++i)
      steepest = std::max(steepest, std::abs(g[i] * v[i]));
    if (steepest < tolerance || ended) {
      fit.success = true;
      break;
    }
    if (evaluations >= max_evaluations) break;

    Vector d{}, curvature{}, hat_gradient{};
    for (int i = 0; i < n; ++i) {
      d[i] = std::sqrt(v[i]);
      curvature[i] = g[i] * dv[i];
      hat_gradient[i] = d[i] * g[i];
    }
    int const rows = points + n;
    for (int j = 0; j < n; ++j) {
      double* const column = m_augmented.data() + static_cast<std::ptrdiff_t>(j) * rows;
      double* const kept = scaled_jacobian + static_cast<std::ptrdiff_t>(j) * points;
      for (int i = 0; i < points; ++i)
        column[i] = kept[i] = jacobian[static_cast<std::ptrdiff_t>(j) * points + i] * d[j];
      for (int i = 0; i < n; ++i)
        column[points + i] = i == j ? std::sqrt(curvature[j]) : 0;
    }
    std::copy(m_residual.begin(), m_residual.end(), m_right.begin());
    std::fill(m_right.begin() + points, m_right.end(), 0.0);
    auto const svd = decompose(m_augmented.data(), m_right.data(), rows, n);
    Model const model{scaled_jacobian, points, n, curvature, hat_gradient};
    double const theta = std::max(0.995, 1 - steepest);

    double actual = -1;
    Vector next{};
    double next_cost = infinite;
    while (actual <= 0 && evaluations < max_evaluations) {
      Vector q = trust_region_step(svd, n, points, radius, damping);
      // The step: q itself where it stays inside, else the best of three that do.
      Vector step = times(d, q);
      bool inside = true;
      for (int i = 0; i < n; ++i)
        inside = inside && p[i] + step[i] >= range.lower[i] && p[i] + step[i] <= range.upper[i];
      double predicted = 0;
      if (inside) {
        predicted = -model.value(q);
      } else {
        std::array<bool, max_parameters> hits{};
        double const fraction = stride_to_bound(p, step, range, n, &hits);
        Vector reflected = q;
        for (int i = 0; i < n; ++i)
          if (hits[i]) reflected[i] = -reflected[i];
        Vector const cut = scaled(q, fraction), at_bound = sum(p, times(d, cut));
        // The reflected ray leaves the sphere at the positive root of |cut + t reflected| = radius.
        double const a = dot(reflected, reflected, n), b = dot(cut, reflected, n),
                     c = dot(cut, cut, n) - radius * radius;
        double const root = std::sqrt(std::max(0.0, b * b - a * c)), sign = -(b + std::copysign(root, b));
        double const to_sphere = std::max(sign / a, c / sign);
        double const to_bound = stride_to_bound(at_bound, times(d, reflected), range, n);
        double const reach = std::min(to_bound, to_sphere);
        double reflected_value = infinite;
        if (reach > 0) {
          double const from = (1 - theta) * fraction / reach, to = reach == to_bound ? theta * to_bound : to_sphere;
          if (from <= to) {
            double t = 0;
            reflected_value = model.least(cut, reflected, from, to, t);
            reflected = sum(cut, scaled(reflected, t));
          }
        }
        q = scaled(cut, theta);
        double const cut_value = model.value(q);
        Vector descent = scaled(hat_gradient, -1);
        double const descent_sphere = radius / norm(descent, n),
                     descent_bound = stride_to_bound(p, times(d, descent), range, n);
        double t = 0;
        double const descent_value =
            model.least({}, descent, 0, descent_bound < descent_sphere ? theta * descent_bound : descent_sphere, t);
        descent = scaled(descent, t);
        double best = cut_value;
        if (!(cut_value < reflected_value && cut_value < descent_value)) {
          bool const reflect = reflected_value < cut_value && reflected_value < descent_value;
          q = reflect ? reflected : descent;
          best = reflect ? reflected_value : descent_value;
        }
        predicted = -best;
        step = times(d, q);
      }
      next = sum(p, step);
      for (int i = 0; i < n; ++i) {
        if (next[i] <= range.lower[i]) next[i] = std::nextafter(range.lower[i], range.upper[i]);
        if (next[i] >= range.upper[i]) next[i] = std::nextafter(range.upper[i], range.lower[i]);
      }
      next_cost = residuals(next, m_trial);
      ++evaluations;
      double const length = norm(q, n);
      if (!std::isfinite(next_cost)) {
        radius = 0.25 * length;
        if (!(radius > 0)) break; // nowhere to go
        continue;
      }
      actual = cost - next_cost;
      double const ratio = predicted > 0 ? actual / predicted : predicted == 0 && actual == 0 ? 1 : 0;
      double next_radius = radius;
      if (ratio < 0.25)
        next_radius = 0.25 * length;
      else if (ratio > 0.75 && length > 0.95 * radius)
        next_radius = 2 * radius;
      if ((actual < tolerance * cost && ratio > 0.25) || norm(step, n) < tolerance * (tolerance + norm(p, n))) {
        ended = true;
        break;
      }
      damping *= radius / next_radius;
      radius = next_radius;
    }
    if (actual > 0) {
      p = next;
      cost = next_cost;
      std::swap(m_residual, m_trial);
      if (!differentiate()) break;
    } else if (!ended && !(radius > 0)) {
      break;
    }
  }
  fit.evaluations = evaluations;
  if (fit.success) {
    fit.parameters = p;
    for (int i = n; i < max_parameters; ++i)
      fit.parameters[i] = 0;
    fit.cost = cost;
  }
  return fit;
}

namespace {

// The best a and A of a - A e^(-kx) for a given k: a in [low, high], A >= 1.
struct Linear
{
  double a = 0, amplitude = 1, cost = infinite;
};

Linear linear_part(std::span<double const> x, std::span<double const> y, double k, double low, double high)
{
  double const shift = x.empty() ? 0 : x.front(); // keeps the exponentials near one
  double n = 0, se = 0, see = 0, sy = 0, sey = 0, syy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const e = std::exp(-k * (x[i] - shift));
    n += 1;
    se += e;
    see += e * e;
    sy += y[i];
    sey += e * y[i];
    syy += y[i] * y[i];
  }
  double const least_amplitude = std::exp(-k * shift); // A >= 1, in units of the shifted exponential
  auto const cost = [&](double a, double amplitude) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      double const r = a - amplitude * std::exp(-k * (x[i] - shift)) - y[i];
      sum += r * r;
    }
    return 0.5 * sum;
  };
  Linear best;
  auto const offer = [&](double a, double amplitude) {
    a = std::clamp(a, low, high);
    amplitude = std::max(amplitude, least_amplitude);
    double const value = cost(a, amplitude);
    if (value < best.cost) best = {a, amplitude, value};
  };
  double const determinant = n * see - se * se;
  if (determinant > 1e-14 * n * see) {
    double const a = (see * sy - se * sey) / determinant, amplitude = (se * sy - n * sey) / determinant;
    if (a >= low && a <= high && amplitude >= least_amplitude) {
      offer(a, amplitude);
      best.amplitude *= 1 / least_amplitude;
      return best;
    }
  }
  // The optimum of a convex problem lies on the border where it does not lie inside.
  offer((sy + least_amplitude * se) / n, least_amplitude);
  for (double const a : {low, high})
    offer(a, (a * se - sey) / see);
  best.amplitude *= 1 / least_amplitude;
  return best;
}

} // namespace

Fit Fitter::exact(std::span<double const> x, std::span<double const> y, FitRange const& range)
{
  Fit fit;
  fit.parameters.fill(infinite);
  fit.cost = infinite;
  if (x.empty()) return fit;
  double const low = range.lower[0], high = range.upper[0];
  double const width = std::max(1.0, x.back() - x.front());
  int evaluations = 0;
  auto const at = [&](double log_k) {
    ++evaluations;
    return linear_part(x, y, std::exp(log_k), low, high);
  };
  // A grid over the rates that the points can tell apart, then golden sections around its best cell.
  constexpr int cells = 96;
  double const first = std::log(1e-7 / width), last = std::log(50.0);
  double const cell = (last - first) / cells;
  int best_cell = 0;
  double best_cost = infinite;
  for (int i = 0; i <= cells; ++i) {
    double const cost = at(first + i * cell).cost;
    if (cost < best_cost) {
      best_cost = cost;
      best_cell = i;
    }
  }
  double left = first + (best_cell - 1) * cell, right = first + (best_cell + 1) * cell;
  constexpr double golden = 0.6180339887498949;
  double inner_left = right - golden * (right - left), inner_right = left + golden * (right - left);
  double cost_left = at(inner_left).cost, cost_right = at(inner_right).cost;
  while (right - left > 1e-10) {
    if (cost_left <= cost_right) {
      right = inner_right;
      inner_right = inner_left;
      cost_right = cost_left;
      inner_left = right - golden * (right - left);
      cost_left = at(inner_left).cost;
    } else {
      left = inner_left;
      inner_left = inner_right;
      cost_left = cost_right;
      inner_right = left + golden * (right - left);
      cost_right = at(inner_right).cost;
    }
  }
  double const log_k = 0.5 * (left + right), k = std::exp(log_k);
  auto const best = at(log_k);
  fit.parameters = {best.a, std::exp(k), std::log(std::max(1.0, best.amplitude)) / k, 0};
  fit.cost = best.cost;
  fit.evaluations = evaluations;
  fit.success = std::isfinite(best.cost) && std::isfinite(fit.parameters[2]);
  if (!fit.success) fit.parameters.fill(infinite);
  return fit;
}

namespace {

// Starts of the families whose published ones are not known: read off the data's range and the points' range.
int scaled_starts(Family family, std::span<double const> x, std::span<double const> y, std::array<Parameters, 6>& into)
{
  double const first = y.front(), last = y.back();
  double const low = *std::min_element(y.begin(), y.end()), high = *std::max_element(y.begin(), y.end());
  double const rise = std::max(1e-3, high - low), top = high + 0.05 * rise, x0 = x.front(),
               x1 = std::max(x.back(), x0 + 1);
  double const middle = std::max(0.5, 0.3 * (x1 - x0));
  double const positive = std::max(1e-3, last);
  switch (family) {
  case Family::exp_default:
    into[0] = {top, 1.1, std::log(rise) / std::log(1.1) + x0, 0};
    into[1] = {top, 2, std::log2(rise) + x0, 0};
    into[2] = {100.25, 2, 1, 0};
    return 3;
  case Family::pow2:
    into[0] = {std::max(1e-3, first), 0.1, 0, 0};
    into[1] = {positive, 0.01, 0, 0};
    into[2] = {positive, -0.1, 0, 0};
    return 3;
  case Family::pow3:
    into[0] = {-rise, -0.5, top, 0};
    into[1] = {-rise, -1.5, top, 0};
    into[2] = {rise / std::sqrt(x1), 0.5, low, 0};
    into[3] = {rise, -0.5, low, 0};
    return 4;
  case Family::log2:
    into[0] = {rise / std::log(x1 + 1), low, 0, 0};
    return 1;
  case Family::exp2:
    into[0] = {positive, 1e-3, 0, 0};
    into[1] = {positive, -1e-2, 0, 0};
    return 2;
  case Family::exp3:
    into[0] = {-rise, -1 / middle, top, 0};
    into[1] = {-rise, -0.2 / middle, top, 0};
    into[2] = {rise, -1 / middle, low, 0};
    return 3;
  case Family::exp4:
    into[0] = {1 / middle, std::log(rise), top, 1};
    into[1] = {0.5, std::log(rise), top, 0.5};
    into[2] = {1 / middle, std::log(rise), top, 0.7};
    return 3;
  case Family::expp3:
    into[0] = {-0.5, x0 - 0.5, top + 1, 0};
    into[1] = {-1, x0 - 1, top + 1, 0};
    into[2] = {0.3, x0 - 0.1, high + 3, 0};
    return 3;
  case Family::expd3:
    into[0] = {low, 1 / middle, top, 0};
    into[1] = {low, 0.2 / middle, top, 0};
    into[2] = {high, 1 / middle, low, 0};
    return 3;
  case Family::vap3:
    into[0] = {std::log(positive), -0.1, 0.01, 0};
    into[1] = {std::log(positive), -1, 0, 0};
    return 2;
  case Family::mmf4:
    into[0] = {low, middle, top, 1};
    into[1] = {low, 5, top + rise, 0.5};
    into[2] = {low, 20, top, 2};
    return 3;
  case Family::wbl4:
    into[0] = {top, rise, 1 / middle, 1};
    into[1] = {top, rise, 0.5, 0.5};
    into[2] = {top, -rise, 1 / middle, 1};
    return 3;
  case Family::ilog2:
    into[0] = {rise * std::log(std::max(1.1, x0)), top, 0, 0};
    return 1;
  }
  return 0;
}

FitRange open_range(Family family, Parameters const& start, std::span<double const> x)
{
  FitRange range;
  range.start = start;
  range.lower.fill(-infinite);
  range.upper.fill(infinite);
  switch (family) {
  case Family::exp_default:
    range.lower[1] = 1;
    break;
  case Family::mmf4:
    range.lower[1] = 0;
    break;
  case Family::expp3:
    range.upper[1] = x.front();
    break;
  default:
    break;
  }
  return range;
}

} // namespace

Fit Fitter::multi_start(Family family, std::span<double const> x, std::span<double const> y, int max_evaluations)
{
  Fit best;
  best.parameters.fill(infinite);
  best.cost = infinite;
  if (x.empty()) return best;
  std::array<Parameters, 6> starts{};
  int const count = scaled_starts(family, x, y, starts);
  int evaluations = 0;
  for (int i = 0; i < count; ++i) {
    auto const fit =
        trust_region(family, x, y, open_range(family, starts[static_cast<std::size_t>(i)], x), max_evaluations);
    evaluations += fit.evaluations;
    if (fit.success && fit.cost < best.cost) best = fit;
  }
  best.evaluations = evaluations;
  return best;
}

} // namespace nasturtium::predictor
