// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Timing many networks into archives that a killed run goes on with.
#pragma once

#include <nasturtium/estimator/archive.hpp>
#include <nasturtium/estimator/coevolution.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// Name of a device in archives and models that are made here: "openmp-2"; of other backends their own.
std::string device_name(nn::TrainerOptions const& trainer);

/// Times the samples that the file does not hold yet; a caller gives the same samples in the same order every time,
/// else Error. Nothing where Ctrl-C ended it. An archive that is complete may come from another build, one that goes on
/// must not.
std::optional<estimator::Archive> timed(std::string const& path, std::vector<estimator::Sample> const& samples,
                                        estimator::MeasureOptions const& options, nn::TrainerOptions const& trainer,
                                        estimator::Device const& device);

/// A co-evolution with the reconstruction's estimator in the loop (paper-mlp on short features). Networks that the file
/// holds are answered from there, so that a killed run goes on with the same questions. `on_timed` hears of every
/// network.
std::optional<estimator::Coevolution> coevolved(std::string const& path, estimator::CoevolutionOptions const& options,
                                                std::vector<estimator::Example> const& probes,
                                                estimator::MeasureOptions const& timing,
                                                nn::TrainerOptions const& trainer, estimator::Device const& device,
                                                std::function<void(estimator::Coevolution const&)> const& on_timed);

/// `count` random networks of a generator as samples to be timed; their lineages are numbers from `lineage` on.
std::vector<estimator::Sample> random_samples(std::string const& generator, int count,
                                              estimator::GeneratorOptions const& ranges, std::uint64_t seed,
                                              std::int64_t lineage);

/// Ranges for the few seconds that a laptop has for a network: images up to 32, batches up to 32, 16 layers of up to
/// 128 filters or 512 units, 2 GFLOP a step. The layers are the reference's.
estimator::GeneratorOptions laptop_ranges();

} // namespace nasturtium::cli
