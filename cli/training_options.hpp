// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The options of a training and of its data on the command line, shared by the verbs that train.
#pragma once

#include "program.hpp"

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/nn/options.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace nasturtium::cli {

/// Adds an option for everything in TrainOptions; defaults are the values that `options` holds.
void add_training_options(CLI::App& app, nn::TrainOptions& options);

/// Which samples: a data set, a part of it, and its splits.
struct DataChoice
{
  std::string dataset;
  std::string data_dir;
  double validation = 0;        ///< fraction of the training split; 0: the data set's own validation split, if any
  std::int64_t subset = 0;      ///< training samples before the split; 0: all
  std::int64_t test_subset = 0; ///< 0: all
  std::uint64_t split_seed = 1; ///< of subset and split; apart from the seed of the training on purpose
  bool normalise = true;

  void add_to(CLI::App& app);
  /// Throws Error for values out of range and for everything that datasets::load throws for.
  datasets::Dataset load() const;
  /// As load, for experiments: a data set that is named alone and is not there is told on stderr, and left out. One
  /// that is named with its files was asked for in so many words, so that Error is thrown.
  std::optional<datasets::Dataset> load_or_leave_out() const;
};

json::Value to_json(DataChoice const& choice);
DataChoice parse_data_choice(json::Value const& value, std::string const& where);

/// "cifar10" of "cifar10:TRAIN:TEST": a data set as titles and folders name it.
std::string short_name(std::string const& dataset);

/// Throws Error naming `source` where the architecture does not fit the data.
void check_fits(nn::spec::Architecture const& architecture, datasets::Dataset const& dataset,
                std::string const& source);

} // namespace nasturtium::cli
