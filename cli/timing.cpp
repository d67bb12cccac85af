// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "timing.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>

#include <filesystem>
#include <map>
#include <memory>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace estimator;

/// An archive that is opened for writing when the first timing is missing: what is complete may be read by a later
/// build, what goes on must be of this one.
class LazyArchive
{
public:
  LazyArchive(std::string path, nn::TrainerOptions trainer, Device device)
      : m_path(std::move(path)), m_trainer(trainer), m_device(std::move(device))
  {
    if (is_file(m_path)) m_known = read_archive(m_path);
  }
  Archive const& archive() const { return m_writer ? m_writer->archive() : m_known; }
  ArchiveWriter& writer()
  {
    if (!m_writer) m_writer = std::make_unique<ArchiveWriter>(m_path, timing_provenance(m_trainer, m_device));
    return *m_writer;
  }

private:
  std::string m_path;
  nn::TrainerOptions m_trainer;
  Device m_device;
  Archive m_known;
  std::unique_ptr<ArchiveWriter> m_writer;
};

} // namespace

std::string device_name(nn::TrainerOptions const& trainer)
{
  return trainer.backend == nn::BackendKind::openmp ? concat("openmp-", trainer.threads) : nn::name(trainer.backend);
}

std::optional<Archive> timed(std::string const& path, std::vector<Sample> const& samples, MeasureOptions const& options,
                             nn::TrainerOptions const& trainer, Device const& device)
{
  LazyArchive file(path, trainer, device);
  require(file.archive().samples.size() <= samples.size(), path, ": has ", file.archive().samples.size(),
          " samples, not the ", samples.size(), " of this plan");
  Progress progress(concat(device.name, " ", fs::path(path).stem().string()), static_cast<std::int64_t>(samples.size()),
                    "networks");
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (i < file.archive().samples.size()) {
      require(network_hash(file.archive().samples[i].workload) == network_hash(samples[i].workload), path, ": sample ",
              i, " is not the network of this plan");
    } else {
      if (interrupted()) return std::nullopt;
      Sample sample = samples[i];
      sample.measurement = measure(sample.workload, trainer, options);
      file.writer().append(std::move(sample));
    }
    progress.set(static_cast<std::int64_t>(i + 1));
  }
  return file.archive();
}

std::optional<Coevolution> coevolved(std::string const& path, CoevolutionOptions const& options,
                                     std::vector<Example> const& probes, MeasureOptions const& timing,
                                     nn::TrainerOptions const& trainer, Device const& device,
                                     std::function<void(Coevolution const&)> const& on_timed)
{
  LazyArchive file(path, trainer, device);
  std::map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < file.archive().samples.size(); ++i)
    known.emplace(network_hash(file.archive().samples[i].workload), i);
  Coevolution evolution(options, [] { return make_estimator("paper-mlp", Level::brief); }, probes, device);
  while (!evolution.finished())
    for (auto const& question : evolution.ask()) {
      if (evolution.finished()) break;
      if (interrupted()) return std::nullopt;
      auto const key = network_hash(question.workload);
      auto const found = known.find(key);
      Answer answer;
      if (question.again >= 0) {
        auto const position = known.at(key);
        if (file.archive().samples[position].retimed == 0) {
          auto const again = measure(question.workload, trainer, timing);
          answer.timed = again.status == MeasureStatus::timed;
          answer.cost_seconds = again.total_seconds;
          if (answer.timed) file.writer().retime(position, again);
        }
        answer.seconds = file.archive().samples[position].retimed;
      } else {
        if (found == known.end()) {
          Sample sample;
          sample.workload = question.workload;
          sample.genome = to_text(question.genome);
          sample.seed = options.seed;
          sample.strategy = options.strategy;
          sample.lineage = question.lineage;
          sample.generation = question.generation;
          sample.measurement = measure(question.workload, trainer, timing);
          file.writer().append(std::move(sample));
          known.emplace(key, file.archive().samples.size() - 1);
        }
        auto const& measurement = file.archive().samples[known.at(key)].measurement;
        answer.timed = measurement.status == MeasureStatus::timed;
        answer.seconds = measurement.median;
        answer.cost_seconds = measurement.total_seconds;
      }
      evolution.tell(question.id, answer);
      if (question.again < 0 && answer.timed) on_timed(evolution);
    }
  return evolution;
}

std::vector<Sample> random_samples(std::string const& generator, int count, GeneratorOptions const& ranges,
                                   std::uint64_t seed, std::int64_t lineage)
{
  Random random(seed);
  std::vector<Sample> samples;
  for (auto& individual : draw(generator, count, ranges, random)) {
    Sample sample;
    sample.genome = to_text(individual.genome);
    sample.workload = std::move(individual.workload);
    sample.seed = seed;
    sample.strategy = "random";
    sample.lineage = lineage + static_cast<std::int64_t>(samples.size());
    samples.push_back(std::move(sample));
  }
  return samples;
}

GeneratorOptions laptop_ranges()
{
  GeneratorOptions ranges;
  ranges.max_log2_batch = 5;
  ranges.sides = {8, 16, 24, 28, 32};
  ranges.max_genes = 16;
  ranges.max_filters = 128;
  ranges.max_units = 512;
  ranges.caps.step_flops = 2e9;
  return ranges;
}

} // namespace nasturtium::cli
