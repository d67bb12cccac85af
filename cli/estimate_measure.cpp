// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium estimate measure, nasturtium estimate probe: what training steps take on this machine, and how fast it is.
#include "estimate_measure.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/estimator/archive.hpp>
#include <nasturtium/nn/device_probe.hpp>

#include <iostream>
#include <memory>

namespace nasturtium::cli {

namespace {

struct Options
{
  std::vector<std::string> networks, optimisers{"sgd"};
  std::vector<int> batches{32};
  DeviceOptions device;
  std::string archive, constants, name;
  bool quick = false, mix = false, json = false;
};

/// Networks x batches x optimisers, all read before the first is timed.
std::vector<estimator::Workload> workloads(Options const& options)
{
  std::vector<estimator::Workload> all;
  for (auto const& source : options.networks) {
    auto architecture = nn::spec::load_architecture(source);
    nn::spec::infer(architecture, source);
    if (architecture.name.empty()) architecture.name = source;
    for (int const batch : options.batches) {
      require(batch >= 1, "--batch must be at least 1, got ", batch);
      for (auto const& word : options.optimisers) {
        auto const optimiser = estimator::parse_optimiser(word, "--optimiser");
        estimator::to_options(optimiser); // only some train here
        all.push_back({architecture, batch, optimiser});
      }
    }
  }
  return all;
}

/// The archive, or null where none is wanted. Its constants of the device are those that it began with; a new one, and
/// another device that is to be mixed in, begins with a probe.
std::unique_ptr<estimator::ArchiveWriter> open_archive(Options const& options, nn::TrainerOptions const& trainer)
{
  if (options.archive.empty()) return nullptr;
  if (is_file(options.archive)) {
    if (auto const known = estimator::read_archive(options.archive); !known.provenances.empty()) {
      auto const& before = known.provenances.back();
      auto const now = estimator::timing_provenance(trainer, before.device);
      if (now == before || !options.mix) return std::make_unique<estimator::ArchiveWriter>(options.archive, now);
    }
  }
  auto const device = options.constants.empty()
                          ? estimator::probe_device(trainer)
                          : estimator::parse_device(read_file(options.constants), options.constants);
  auto const now = estimator::timing_provenance(trainer, device);
  return std::make_unique<estimator::ArchiveWriter>(options.archive, now, options.mix);
}

json::Object to_json(estimator::Workload const& workload, estimator::Measurement const& measurement)
{
  json::Object object{{"network", workload.architecture.name},
                      {"architecture_sha256", nn::spec::hash(workload.architecture)},
                      {"batch", workload.batch},
                      {"optimiser", estimator::name(workload.optimiser)}};
  for (auto const& field : estimator::to_json(measurement))
    object[field.key()] = field.value();
  object["noisy"] = measurement.noisy();
  return object;
}

std::string status_text(estimator::Measurement const& measurement)
{
  if (measurement.status != estimator::MeasureStatus::timed) return estimator::name(measurement.status);
  return measurement.noisy() ? "noisy" : "";
}

int measure(Options const& options, Invocation const& call)
{
  auto const all = workloads(options);
  auto const trainer = options.device.trainer();
  auto const runtime = options.device.start(call);
  auto const archive = open_archive(options, trainer);
  auto const preset = estimator::measure_preset(options.quick ? "quick" : "full");
  catch_interrupts();
  Table table({{"network"}, {"batch"}, {"optimiser"}, {"ms", 3}, {"min", 3}, {"sd", 3}, {"steps"}, {"memory"}, {""}});
  json::Array array;
  int timed = 0;
  for (auto const& workload : all) {
    if (interrupted()) break;
    auto const it = estimator::measure(workload, trainer, preset);
    bool const good = it.status == estimator::MeasureStatus::timed;
    timed += good ? 1 : 0;
    if (archive) {
      estimator::Sample sample;
      sample.workload = workload;
      sample.measurement = it;
      archive->append(sample);
    }
    auto const ms = [&](double seconds) { return good ? Cell(1e3 * seconds) : Cell(); };
    table.add_row({workload.architecture.name, std::int64_t{workload.batch}, estimator::name(workload.optimiser),
                   ms(it.median), ms(it.min), ms(it.sd), it.steps,
                   it.bytes > 0 ? Cell(human_bytes(static_cast<double>(it.bytes))) : Cell(), status_text(it)});
    array.emplace_back(to_json(workload, it));
    if (!good)
      std::cerr << "nasturtium: " << workload.architecture.name << ", batch " << workload.batch << ": " << it.reason
                << '\n';
  }
  if (options.json)
    std::cout << json::pretty(array);
  else
    std::cout << table.text();
  if (interrupted()) return exit_interrupted;
  return timed > 0 ? exit_success : exit_failure;
}

int probe(Options const& options, Invocation const& call)
{
  auto const trainer = options.device.trainer();
  auto const runtime = options.device.start(call);
  auto const identity = nn::device_identity(trainer);
  auto const device = estimator::probe_device(trainer, options.name);
  if (options.json) {
    std::cout << estimator::to_json(device);
    return exit_success;
  }
  Table table({{"constant"}, {"value"}});
  table.add_row({"name", device.name});
  table.add_row({"hardware", identity.hardware});
  if (!identity.driver.empty()) table.add_row({"driver", identity.driver});
  table.add_row({"matrix product", fixed(device.peak_flops * 1e-9, 1) + " GFLOP/s"});
  table.add_row({"triad", fixed(device.bandwidth * 1e-9, 2) + " GB/s"});
  table.add_row({"empty launch", fixed(device.launch_seconds * 1e6, 2) + " us"});
  table.add_row(
      {trainer.backend == nn::BackendKind::cuda ? "multiprocessors" : "threads", std::to_string(device.cores)});
  if (device.clock_mhz > 0) table.add_row({"clock", fixed(device.clock_mhz, 0) + " MHz"});
  table.add_row({"memory", human_bytes(static_cast<double>(device.memory_bytes))});
  std::cout << table.text();
  return exit_success;
}

} // namespace

void add_estimate_measure(CLI::App& app, Invocation const& call, std::function<int()>& action)
{
  auto const options = std::make_shared<Options>();
  auto* const measurer = app.add_subcommand("measure", "Time training steps of networks on this machine");
  measurer->callback([&action, &call, options] { action = [options, &call] { return measure(*options, call); }; });
  measurer->add_option("NETWORK", options->networks, "Architectures: JSON files or names of the zoo")->required();
  measurer->add_option("--batch", options->batches, "Samples per step; several by commas")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->capture_default_str()
      ->type_name("N[,N...]");
  measurer
      ->add_option("--optimiser,--optimizer", options->optimisers, "sgd, momentum, rmsprop, adam; several by commas")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->capture_default_str()
      ->type_name("NAME[,NAME...]");
  measurer->add_flag("--quick", options->quick, "5 blocks of 2 steps instead of a second and more");
  measurer->add_option("--archive", options->archive, "Append every timing to this archive (JSON lines)")
      ->type_name("FILE");
  measurer
      ->add_option("--constants", options->constants,
                   "The device as estimate probe --json wrote it, for a new archive; else it is probed")
      ->type_name("FILE");
  measurer->add_flag("--mix", options->mix,
                     "Append even where the archive's timings come from another device or build");
  auto* const prober = app.add_subcommand("probe", "Measure the constants of the device (about two seconds)");
  prober->callback([&action, &call, options] { action = [options, &call] { return probe(*options, call); }; });
  prober->add_option("--name", options->name, "Name of the device; made of backend and threads where it is not given")
      ->type_name("NAME");
  for (auto* const verb : {measurer, prober}) {
    verb->add_flag("--json", options->json, "The answer as JSON on stdout");
    options->device.add_to(*verb);
  }
}

} // namespace nasturtium::cli
