// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/optimiser.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

#include <cmath>

namespace nasturtium::kernels {
namespace impl {

/// Values whose squares are summed as one chunk; the chunks are merged in order.
inline constexpr Index norm_chunk = block_elements;
/// Threads that merge the chunks on a device.
inline constexpr int norm_threads = 256;

/// Items are chunks; on hosts `lanes` running sums keep the loop in vectors.
template <class Real>
struct SumSquares
{
  static constexpr int lanes = 16;
  Index count;
  Real const* values;
  double* partial;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index chunk = begin; chunk < end; ++chunk) {
      Index const first = chunk * norm_chunk;
      Index const last = first + norm_chunk < count ? first + norm_chunk : count;
      double sum[lanes] = {};
      Index i = first;
      for (; i + lanes <= last; i += lanes)
        for (int lane = 0; lane < lanes; ++lane) {
          auto const value = static_cast<double>(values[i + lane]);
          sum[lane] += value * value;
        }
      for (int lane = 0; i + lane < last; ++lane) {
        auto const value = static_cast<double>(values[i + lane]);
        sum[lane] += value * value;
      }
      double total = 0;
      for (int lane = 0; lane < lanes; ++lane)
        total += sum[lane];
      partial[chunk] = total;
    }
  }
};

struct MergeSums
{
  Index chunks;
  double const* partial;
  double* result;
  KOKKOS_FUNCTION void operator()(Index, Index) const
  {
    double sum = 0;
    for (Index chunk = 0; chunk < chunks; ++chunk)
      sum += partial[chunk];
    result[0] = sum;
  }
};

/// The same on a device: a team per chunk, its threads' sums added in thread order.
template <class Value>
struct DeviceSum
{
  Index count, chunk;
  Value const* values;
  double* result;
  bool square;
  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    auto* const scratch = static_cast<double*>(team.team_shmem().get_shmem(norm_threads * sizeof(double)));
    int const rank = team.team_rank();
    Index const first = team.league_rank() * chunk;
    Index const last = first + chunk < count ? first + chunk : count;
    double sum = 0;
    for (Index i = first + rank; i < last; i += norm_threads) {
      auto const value = static_cast<double>(values[i]);
      sum += square ? value * value : value;
    }
    scratch[rank] = sum;
    for (int half = norm_threads / 2; half > 0; half /= 2) {
      team.team_barrier();
      if (rank < half) scratch[rank] += scratch[rank + half];
    }
    if (rank == 0) result[team.league_rank()] = scratch[0];
  }
};

/// What all optimisers share: the clipped gradient, with decay on the first elements alone.
template <class Real>
struct Descent
{
  StepRates rates;
  StepRates const* current; // on the device, instead of `rates`
  Real l2;                  // added to the gradient, times the weight
  Index decay_count;
  Real clip_norm;
  double const* norm;
  Real* weights;
  Real const* gradient;

  KOKKOS_FUNCTION Real clip_scale() const
  {
    if (!(clip_norm > Real(0))) return Real(1);
    double const size = Kokkos::sqrt(norm[0]);
    double const scale = static_cast<double>(clip_norm) / size;
    return scale < 1.0 ? static_cast<Real>(scale) : Real(1);
  }
};

template <class Real>
Descent<Real> descent(OptimiserStep<Real> const& step, Real* weights, Real const* gradient, double const* norm)
{
  return {step.current ? StepRates{} : step_rates(step),
          step.current,
          step.decoupled ? Real(0) : step.weight_decay,
          step.weight_decay == Real(0) ? Index{0} : step.decay_count,
          step.clip_norm,
          norm,
          weights,
          gradient};
}

/// Applies `Rule` to [begin, end): first the elements that decay, then the others.
template <class Real, class Rule>
struct Update
{
  Descent<Real> descent;
  Rule rule;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    StepRates const rates = descent.current ? *descent.current : descent.rates;
    Index const middle = descent.decay_count < begin ? begin : (descent.decay_count < end ? descent.decay_count : end);
    run(rates, begin, middle, descent.l2, static_cast<Real>(rates.shrink));
    run(rates, middle, end, Real(0), Real(1));
  }

  KOKKOS_FUNCTION void run(StepRates const& rates, Index begin, Index end, Real l2, Real shrink) const
  {
    Real* const weights = descent.weights;
    Real const* const gradient = descent.gradient;
    Real const scale = descent.clip_scale();
    auto const apply = rule.at(rates);
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i) {
      Real const weight = weights[i];
      Real const g = gradient[i] * scale + l2 * weight;
      weights[i] = weight * shrink - apply(i, g);
    }
  }
};

// Each rule, at the rates of a step, takes an element's gradient and returns what is subtracted from its weight.

template <class Real, bool with_velocity, bool nesterov>
struct Sgd
{
  Real momentum;
  Real* velocity;
  Real learning_rate = 0;
  KOKKOS_FUNCTION Sgd at(StepRates const& rates) const
  {
    return {momentum, velocity, static_cast<Real>(rates.learning_rate)};
  }
  KOKKOS_FUNCTION Real operator()(Index i, Real g) const
  {
    if constexpr (with_velocity) {
      Real const v = momentum * velocity[i] + g;
      velocity[i] = v;
      return learning_rate * (nesterov ? g + momentum * v : v);
    } else {
      return learning_rate * g;
    }
  }
};

template <class Real>
struct Adam
{
  Real rest1, beta2, rest2; // rest = 1 - beta, rounded once
  Real epsilon;
  Real* first;
  Real* second;
  Real step_size = 0, inverse_root = 0;
  KOKKOS_FUNCTION Adam at(StepRates const& rates) const
  {
    return {rest1,
            beta2,
            rest2,
            epsilon,
            first,
            second,
            static_cast<Real>(rates.step_size),
            static_cast<Real>(rates.inverse_root)};
  }
  KOKKOS_FUNCTION Real operator()(Index i, Real g) const
  {
    Real const m = first[i] + (g - first[i]) * rest1;
    Real const v = beta2 * second[i] + rest2 * g * g;
    first[i] = m;
    second[i] = v;
    return step_size * m / (Kokkos::sqrt(v) * inverse_root + epsilon);
  }
};

template <class Real, bool with_velocity>
struct RmsProp
{
  Real rho, rest, epsilon, momentum;
  Real* mean_square;
  Real* velocity;
  Real learning_rate = 0;
  KOKKOS_FUNCTION RmsProp at(StepRates const& rates) const
  {
    return {rho, rest, epsilon, momentum, mean_square, velocity, static_cast<Real>(rates.learning_rate)};
  }
  KOKKOS_FUNCTION Real operator()(Index i, Real g) const
  {
    Real const square = rho * mean_square[i] + rest * g * g;
    mean_square[i] = square;
    Real const direction = g / (Kokkos::sqrt(square) + epsilon);
    if constexpr (with_velocity) {
      Real const v = momentum * velocity[i] + direction;
      velocity[i] = v;
      return learning_rate * v;
    } else {
      return learning_rate * direction;
    }
  }
};

template <class ExecSpace, class Real, class Rule>
void update(ExecSpace const& exec, std::string const& label, Index count, Descent<Real> const& descent,
            Rule const& rule)
{
  for_items(exec, label, count, block_elements / 2, Update<Real, Rule>{descent, rule});
}

template <class ExecSpace, class Real>
void require_buffers(char const* op, OptimiserStep<Real> const& step, Index count,
                     Buffer<ExecSpace, Real const> const& gradient, Buffer<ExecSpace, double const> const& norm)
{
  require_extent(op, "gradient", gradient, count);
  if (step.clip_norm > Real(0)) require_extent(op, "norm", norm, 1);
}

} // namespace impl

template <class Real>
StepRates step_rates(OptimiserStep<Real> const& step)
{
  if (step.step < 1) fail("kernels::optimiser: step ", step.step, " is less than 1");
  auto const t = static_cast<double>(step.step);
  double const correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), t);
  double const correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), t);
  StepRates rates;
  rates.learning_rate = static_cast<double>(step.learning_rate);
  Real const shrink = step.decoupled ? Real(1) - step.learning_rate * step.weight_decay : Real(1);
  rates.shrink = static_cast<double>(shrink);
  rates.step_size = static_cast<double>(static_cast<Real>(rates.learning_rate / correction1));
  rates.inverse_root = static_cast<double>(static_cast<Real>(1.0 / std::sqrt(correction2)));
  return rates;
}
template StepRates step_rates(OptimiserStep<float> const&);
template StepRates step_rates(OptimiserStep<double> const&);

template <class ExecSpace, class Real>
std::size_t squared_norm_workspace(Index count)
{
  return static_cast<std::size_t>((count + impl::norm_chunk - 1) / impl::norm_chunk) * sizeof(double);
}

template <class ExecSpace, class Real>
void squared_norm(ExecSpace const& exec, Buffer<ExecSpace, Real const> values, Buffer<ExecSpace, double> result,
                  Workspace<ExecSpace> workspace)
{
  static std::string const label = "nasturtium::squared_norm";
  static std::string const merge_label = "nasturtium::squared_norm_merge";
  auto const count = static_cast<Index>(values.extent(0));
  impl::require_extent("squared_norm", "result", result, 1);
  impl::require_extent("squared_norm", "workspace", workspace,
                       static_cast<Index>(squared_norm_workspace<ExecSpace, Real>(count)));
  auto* const partial = reinterpret_cast<double*>(workspace.data());
  Index const chunks = (count + impl::norm_chunk - 1) / impl::norm_chunk;
  if constexpr (impl::is_host_space<ExecSpace>) {
    impl::for_items(exec, label, chunks, 1, impl::SumSquares<Real>{count, values.data(), partial});
    impl::for_items(exec, merge_label, 1, 1, impl::MergeSums{chunks, partial, result.data()});
  } else {
    constexpr std::size_t scratch = impl::norm_threads * sizeof(double);
    impl::for_teams(exec, label, chunks, impl::norm_threads, scratch,
                    impl::DeviceSum<Real>{count, impl::norm_chunk, values.data(), partial, true});
    impl::for_teams(exec, merge_label, 1, impl::norm_threads, scratch,
                    impl::DeviceSum<double>{chunks, chunks, partial, result.data(), false});
  }
}

template <class ExecSpace, class Real>
void sgd(ExecSpace const& exec, OptimiserStep<Real> const& step, Buffer<ExecSpace, Real> weights,
         Buffer<ExecSpace, Real const> gradient, Buffer<ExecSpace, Real> velocity, Buffer<ExecSpace, double const> norm)
{
  static std::string const label = "nasturtium::sgd";
  auto const count = static_cast<Index>(weights.extent(0));
  impl::require_buffers<ExecSpace, Real>("sgd", step, count, gradient, norm);
  auto const descent = impl::descent(step, weights.data(), gradient.data(), norm.data());
  if (step.momentum == Real(0)) {
    impl::update(exec, label, count, descent, impl::Sgd<Real, false, false>{Real(0), nullptr});
    return;
  }
  impl::require_extent("sgd", "velocity", velocity, count);
  if (step.nesterov)
    impl::update(exec, label, count, descent, impl::Sgd<Real, true, true>{step.momentum, velocity.data()});
  else
    impl::update(exec, label, count, descent, impl::Sgd<Real, true, false>{step.momentum, velocity.data()});
}

template <class ExecSpace, class Real>
void adam(ExecSpace const& exec, OptimiserStep<Real> const& step, Buffer<ExecSpace, Real> weights,
          Buffer<ExecSpace, Real const> gradient, Buffer<ExecSpace, Real> first_moment,
          Buffer<ExecSpace, Real> second_moment, Buffer<ExecSpace, double const> norm)
{
  static std::string const label = "nasturtium::adam";
  auto const count = static_cast<Index>(weights.extent(0));
  impl::require_buffers<ExecSpace, Real>("adam", step, count, gradient, norm);
  impl::require_extent("adam", "first_moment", first_moment, count);
  impl::require_extent("adam", "second_moment", second_moment, count);
  impl::Adam<Real> const rule{static_cast<Real>(1.0 - static_cast<double>(step.beta1)),
                              step.beta2,
                              static_cast<Real>(1.0 - static_cast<double>(step.beta2)),
                              step.epsilon,
                              first_moment.data(),
                              second_moment.data()};
  impl::update(exec, label, count, impl::descent(step, weights.data(), gradient.data(), norm.data()), rule);
}

template <class ExecSpace, class Real>
void rmsprop(ExecSpace const& exec, OptimiserStep<Real> const& step, Buffer<ExecSpace, Real> weights,
             Buffer<ExecSpace, Real const> gradient, Buffer<ExecSpace, Real> mean_square,
             Buffer<ExecSpace, Real> velocity, Buffer<ExecSpace, double const> norm)
{
  static std::string const label = "nasturtium::rmsprop";
  auto const count = static_cast<Index>(weights.extent(0));
  impl::require_buffers<ExecSpace, Real>("rmsprop", step, count, gradient, norm);
  impl::require_extent("rmsprop", "mean_square", mean_square, count);
  auto const rest = static_cast<Real>(1.0 - static_cast<double>(step.rho));
  auto const descent = impl::descent(step, weights.data(), gradient.data(), norm.data());
  if (step.momentum == Real(0)) {
    impl::update(exec, label, count, descent,
                 impl::RmsProp<Real, false>{step.rho, rest, step.epsilon, Real(0), mean_square.data(), nullptr});
    return;
  }
  impl::require_extent("rmsprop", "velocity", velocity, count);
  impl::update(
      exec, label, count, descent,
      impl::RmsProp<Real, true>{step.rho, rest, step.epsilon, step.momentum, mean_square.data(), velocity.data()});
}

#define NASTURTIUM_OPTIMISER(ExecSpace, Real)                                                                          \
  template std::size_t squared_norm_workspace<ExecSpace, Real>(Index);                                                 \
  template void squared_norm<ExecSpace, Real>(ExecSpace const&, Buffer<ExecSpace, Real const>,                         \
                                              Buffer<ExecSpace, double>, Workspace<ExecSpace>);                        \
  template void sgd<ExecSpace, Real>(ExecSpace const&, OptimiserStep<Real> const&, Buffer<ExecSpace, Real>,            \
                                     Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>,                           \
                                     Buffer<ExecSpace, double const>);                                                 \
  template void adam<ExecSpace, Real>(ExecSpace const&, OptimiserStep<Real> const&, Buffer<ExecSpace, Real>,           \
                                      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>, Buffer<ExecSpace, Real>, \
                                      Buffer<ExecSpace, double const>);                                                \
  template void rmsprop<ExecSpace, Real>(ExecSpace const&, OptimiserStep<Real> const&, Buffer<ExecSpace, Real>,        \
                                         Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>,                       \
                                         Buffer<ExecSpace, Real>, Buffer<ExecSpace, double const>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_OPTIMISER)

} // namespace nasturtium::kernels
