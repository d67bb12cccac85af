// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Training steps on demand: "NETWORK BATCH SECONDS" is answered with the seconds of one step (SGD, momentum 0.9).
#include "turns.hpp"

#include <nasturtium/nn/stepper.hpp>

#include <map>

using namespace nasturtium;

int main(int argc, char** argv)
{
  nn::Runtime const runtime(argc, argv);
  std::map<std::pair<std::string, int>, nn::Stepper> steppers;
  bench::serve([&](std::istringstream& words) {
    std::string network;
    int batch = 0;
    double seconds = 0;
    words >> network >> batch >> seconds;
    if (network == "describe") {
      std::string text;
      for (auto const& [key, value] : nn::runtime_description())
        if (key.find("KOKKOS_") == std::string::npos) text += (text.empty() ? "" : "; ") + key + ": " + value;
      return text;
    }
    auto entry = steppers.find({network, batch});
    if (entry == steppers.end()) {
      nn::TrainOptions options;
      options.batch_size = batch;
      options.optimiser.learning_rate = 0.01;
      entry =
          steppers.emplace(std::pair(network, batch), nn::Stepper({}, nn::spec::load_architecture(network), options))
              .first;
    }
    return bench::to_text(bench::seconds_per_call([&](long calls) { entry->second.run(calls); }, seconds));
  });
}
