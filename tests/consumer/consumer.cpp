// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a user's own program does first: take a network of the zoo and one training run of it.
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <iostream>

int main(int argc, char* argv[])
{
  nasturtium::nn::Runtime const runtime(argc, argv);
  nasturtium::nn::Candidate candidate;
  candidate.architecture = nasturtium::nn::spec::load_architecture("lenet");
  candidate.options.epochs = 1;
  candidate.options.batch_size = 16;
  auto const dataset =
      nasturtium::datasets::load("synthetic:count=64:test=16:height=28:width=28:channels=1:classes=10:seed=1");
  auto const results = nasturtium::nn::train({}, {&candidate, 1}, dataset);
  std::cout << "lenet: " << name(results[0].status) << ", training loss " << results[0].reports.back().train_loss
            << "\n";
  return results[0].status == nasturtium::nn::Status::completed ? 0 : 1;
}
