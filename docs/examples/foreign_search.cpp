// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A search that is not nasturtium's, stopped early by nasturtium's engine as a library call. Links
// nasturtium::predictor alone.
#include <nasturtium/predictor/presets.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>
#include <string>

namespace predictor = nasturtium::predictor;

namespace {

constexpr int epochs = 20;

/// Stands for your training: validation accuracy in percent.
double train_one_epoch(double rate, double width, int epoch)
{
  return (90 - 6 * std::abs(std::log10(rate) + 2) - 300 / width) *
         (1 - std::exp(-0.25 * epoch * std::sqrt(width / 64)));
}

} // namespace

int main()
{
  auto settings = predictor::preset("nasturtium");
  settings.e_pred = epochs;
  auto const engine = predictor::make_method(settings);

  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-4, -1), width(16, 256);
  int used = 0, stopped = 0;
  double best = 0;
  for (int trial = 0; trial < 40; ++trial) {
    double const rate = std::pow(10, exponent(random)), units = width(random);
    std::string const id = std::to_string(trial);
    double fitness = 0;
    bool stop = false;
    for (int epoch = 1; epoch <= epochs && !stop; ++epoch) {
      ++used;
      double const value = train_one_epoch(rate, units, epoch);
      auto const answer = engine->observe(id, epoch, value, {.learning_rate = rate});
      stop = answer.decision == predictor::Decision::stop && epoch < epochs;
      fitness = stop ? answer.value : value; // what your search is told
    }
    if (stop) {
      engine->abandon(id);
      ++stopped;
    } else {
      engine->finish(id);
    }
    best = std::max(best, fitness);
  }
  std::cout << "40 trials, " << stopped << " stopped, " << 100 - 100.0 * used / (40 * epochs)
            << " % of the epochs saved, best " << best << '\n';
  return stopped > 0 ? 0 : 1;
}
