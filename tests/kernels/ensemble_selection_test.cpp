// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/ensemble_selection.hpp>

#include "support/device_values.hpp"
#include "support/kernel_log.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

constexpr double least = 1e-12;

template <class Real>
struct Problem
{
  std::size_t samples, models, stride;
  std::vector<Real> columns; // padded
  std::vector<double> sums;

  Problem(std::size_t samples_, std::size_t models_, double low = 0)
      : samples(samples_), models(models_),
        stride(static_cast<std::size_t>(selection_stride(static_cast<Index>(samples_)))),
        columns(models_ * stride, Real(0)), sums(stride, 1.0)
  {
    auto const q = random_values<Real>(samples, models * samples, low, 1);
    auto const s = random_values<double>(samples + 1, samples, 0, 3);
    for (std::size_t m = 0; m < models; ++m)
      for (std::size_t i = 0; i < samples; ++i)
        columns[m * stride + i] = q[m * samples + i] < Real(0) ? Real(0) : q[m * samples + i];
    for (std::size_t i = 0; i < samples; ++i)
      sums[i] = low < 0 ? 0 : s[i];
  }

  /// ln of the product, sample by sample.
  double logarithm(std::size_t model, double floor) const
  {
    long double sum = 0; // thousands of equal terms would round the same way in double
    for (std::size_t i = 0; i < samples; ++i)
      sum += std::log(
          static_cast<long double>(std::max(sums[i] + static_cast<double>(columns[model * stride + i]), floor)));
    return static_cast<double>(sum);
  }
};

struct Result
{
  std::vector<double> mantissas;
  std::vector<std::int64_t> exponents;
};

template <class Exec, class Real>
Result run(Exec const& exec, Problem<Real> const& problem, std::vector<std::int32_t> const& candidates, double floor)
{
  Values<Real> const columns(problem.columns);
  Values<double> const sums(problem.sums);
  Values<std::int32_t> const chosen(candidates);
  Values<double> const mantissas(candidates.size());
  Values<std::int64_t> const exponents(candidates.size());
  candidate_likelihoods<Exec, Real>(exec, static_cast<Index>(problem.samples), columns, sums, chosen, floor, mantissas,
                                    exponents);
  return {mantissas.host(), exponents.host()};
}

} // namespace

TEMPLATE_TEST_CASE("candidate likelihoods: products against sums of logarithms", "[selection]", float, double)
{
  for (std::size_t const samples : {1, 2, 31, 511, 512, 513, 2047, 2053, 10007})
    for (double const low : {0.0, -2.0}) { // without a member yet, two thirds of the probabilities are 0
      Problem<TestType> const problem(samples, 5, low);
      std::vector<std::int32_t> const candidates{3, 0, 4, 4};
      auto const result = run(Space(), problem, candidates, 4 * least);
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        INFO(samples << " samples, candidate " << i);
        CHECK(result.mantissas[i] >= 1);
        CHECK(result.mantissas[i] < 2);
        double const expected = problem.logarithm(static_cast<std::size_t>(candidates[i]), 4 * least);
        double const logarithm =
            std::log(result.mantissas[i]) + static_cast<double>(result.exponents[i]) * std::numbers::ln2;
        // Every product is rounded once, by at most 2^-53; the logarithm at the end, and ln 2, at their size.
        CHECK(std::abs(logarithm - expected) <= 0x1p-52 * (2 * std::abs(expected) + static_cast<double>(samples)));
      }
    }
}

TEMPLATE_TEST_CASE("candidate likelihoods: the same bits with every number of threads and on every host backend",
                   "[selection]", float, double)
{
  Problem<TestType> const problem(5003, 40);
  std::vector<std::int32_t> candidates(40);
  for (std::size_t i = 0; i < candidates.size(); ++i)
    candidates[i] = static_cast<std::int32_t>(i);
  auto const expected = run(Space(), problem, candidates, least);
  CHECK(instance_difference("mantissas",
                            [&](Space const& exec) { return run(exec, problem, candidates, least).mantissas; }) == "");
  CHECK(instance_difference("exponents",
                            [&](Space const& exec) { return run(exec, problem, candidates, least).exponents; }) == "");
  // A candidate does not depend on its neighbours.
  for (std::size_t i = 0; i < candidates.size(); i += 13) {
    auto const alone = run(Space(), problem, {candidates[i]}, least);
    CHECK(alone.mantissas[0] == expected.mantissas[i]);
    CHECK(alone.exponents[0] == expected.exponents[i]);
  }
#if defined(KOKKOS_ENABLE_SERIAL) && !defined(KOKKOS_ENABLE_CUDA)
  auto const serial = run(Kokkos::Serial(), problem, candidates, least);
  CHECK(first_bit_difference("mantissas", serial.mantissas, expected.mantissas) == "");
  CHECK(first_bit_difference("exponents", serial.exponents, expected.exponents) == "");
#endif
}

TEMPLATE_TEST_CASE("add column: so many copies", "[selection]", float, double)
{
  Problem<TestType> const problem(1531, 3);
  Values<TestType> const columns(problem.columns);
  Values<double> const sums(problem.sums);
  add_column<Space, TestType>(Space(), 1531, columns, 2, 5, sums);
  auto const after = sums.host();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < problem.stride; ++i) {
    double const expected =
        problem.sums[i] + 5 * static_cast<double>(problem.columns[2 * problem.stride + i]); // 0 behind the last sample
    wrong += std::abs(after[i] - expected) > 1e-15 * expected;
  }
  CHECK(wrong == 0);
}

TEST_CASE("ensemble selection: labelled kernels that neither allocate nor fence; arguments are checked", "[selection]")
{
  Problem<float> const problem(700, 3);
  Values<float> const columns(problem.columns);
  Values<double> const sums(problem.sums), mantissas(3);
  Values<std::int64_t> const exponents(3);
  Values<std::int32_t> const chosen(std::vector<std::int32_t>{0, 1, 2});
  Space const exec;
  {
    KernelLog const log;
    candidate_likelihoods<Space, float>(exec, 700, columns, sums, chosen, least, mantissas, exponents);
    add_column<Space, float>(exec, 700, columns, 1, 1, sums);
    CHECK(log.events() ==
          std::vector<std::string>{"kernel nasturtium::candidate_likelihoods", "kernel nasturtium::add_column"});
  }
  auto const likelihoods = [&](Index samples, double floor) {
    candidate_likelihoods<Space, float>(exec, samples, columns, sums, chosen, floor, mantissas, exponents);
  };
  CHECK_THROWS_AS(likelihoods(0, least), nasturtium::Error);
  CHECK_THROWS_AS(likelihoods(700, 0), nasturtium::Error);
  CHECK_THROWS_AS(likelihoods(2000, least), nasturtium::Error);
  CHECK_THROWS_AS((add_column<Space, float>(exec, 700, columns, 3, 1, sums)), nasturtium::Error);
}
