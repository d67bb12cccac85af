// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium estimate: how long a training step of a network takes, what to ask a scheduler for, how much memory. Its
// subcommands measure, probe, evolve, fit and evaluate make and test the models that answer.
#include "estimate_evaluate.hpp"
#include "estimate_measure.hpp"
#include "estimate_model.hpp"
#include "timing.hpp"
#include "training_cost.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/estimator/memory.hpp>
#include <nasturtium/estimator/program.hpp>
#include <nasturtium/estimator/step_model.hpp>
#include <nasturtium/estimator/wall_time.hpp>

#include <cmath>
#include <iostream>
#include <optional>

namespace nasturtium::cli {

namespace {

using namespace estimator;

constexpr char const* examples =
    "  nasturtium estimate evolve --strategy random --networks 1000 --out runs/timings --threads 1\n"
    "  nasturtium estimate fit runs/timings/timings.jsonl --out runs/estimator.json\n"
    "  nasturtium estimate lenet --batch 32 --epochs 20 --samples 50000 --slurm\n"
    "  nasturtium estimate child.json --batch 64 --optimiser adam --json\n"
    "  nasturtium estimate vgg32 --batch 32 --calibrate --threads 2      # a device that the model does not know\n"
    "  nasturtium estimate measure vgg32 --batch 32";

struct Query
{
  std::string network, model = "runs/estimator.json", device, optimiser = "sgd", program;
  int batch = 32;
  double epochs = 0, startup = 0, risk = 0.01, free_bytes = 0;
  std::int64_t samples = 0;
  std::vector<double> observed;
  bool calibrate = false, slurm = false, json = false;
  DeviceOptions where;
};

/// The backend that a device's name stands for, where this build has it.
std::optional<nn::BackendKind> backend_of(std::string const& device)
{
  for (auto const kind : nn::available_backends())
    if (device == nn::name(kind) || device.starts_with(nn::name(kind) + "-")) return kind;
  return std::nullopt;
}

Cell milliseconds(double seconds)
{
  return std::isfinite(seconds) ? Cell(fixed(1e3 * seconds, 3) + " ms") : Cell("unknown: too few networks");
}

std::string verdict_text(MemoryVerdict verdict)
{
  return verdict == MemoryVerdict::fits ? "fits" : estimator::name(verdict);
}

json::Value finite_or_null(double value)
{
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

int query(Query const& query, Invocation const& call)
{
  require(query.batch >= 1, "--batch must be at least 1, got ", query.batch);
  require(query.risk > 0 && query.risk < 1, "--risk must be between 0 and 1, got ", query.risk);
  require(std::isfinite(query.epochs) && query.epochs >= 0 && query.samples >= 0,
          "--epochs and --samples must not be negative");
  require(!query.slurm || (query.epochs > 0 && query.samples > 0), "--slurm needs --epochs and --samples");
  require(query.startup >= 0, "--startup must not be negative, got ", query.startup);
  require(is_file(query.model), query.model,
          ": no model there; make one with nasturtium estimate evolve and estimate fit (nasturtium estimate --help)");
  Workload workload{nn::spec::load_architecture(query.network), query.batch,
                    parse_optimiser(query.optimiser, "--optimiser")};
  nn::spec::infer(workload.architecture, query.network);
  if (!query.program.empty()) write_file(query.program, pytorch_program(workload));
  auto model = StepModel::load(read_file(query.model), query.model);
  auto const trainer = query.where.trainer();
  auto const runtime = query.where.start(call);
  std::string device = query.device.empty() ? model.devices().front().name : query.device;
  if (query.calibrate) {
    std::vector<Workload> probes;
    for (auto& sample : random_samples("uniform", 10, laptop_ranges(), 17, 0))
      probes.push_back(std::move(sample.workload));
    device = calibrate(model, trainer, probes);
  }
  auto const description = describe(workload);
  Stopwatch const watch;
  auto const step = model.estimate(description, device);
  double const step_limit = model.limit(description, device, query.risk);
  double const query_seconds = watch.seconds();

  double step_seconds = step.seconds, limit = step_limit;
  if (!query.observed.empty()) {
    auto const [low, high] = model.interval(description, device, 0.8);
    double const width = low > 0 && std::isfinite(high) ? std::log(high / low) : 2;
    // 2.56 deviations of a normal distribution hold its middle 80 %.
    auto const refined = refine(LogNormal{std::log(step.seconds), width / 2.56}, query.observed);
    step_seconds = refined.median();
    limit = refined.interval(std::max(0.0, 1 - 2 * query.risk)).second;
  }

  std::int64_t const steps_per_epoch = (query.samples + query.batch - 1) / query.batch;
  auto const steps = static_cast<std::int64_t>(std::ceil(query.epochs * static_cast<double>(steps_per_epoch)));
  double const total = query.startup + static_cast<double>(steps) * step_seconds,
               wall = query.startup + static_cast<double>(steps) * limit;

  // The stack's own plan where its backend is built in, exact; else the portable model.
  auto const backend = backend_of(device);
  auto const memory = backend && workload.optimiser != Optimiser::none
                          ? planned_memory(workload, *backend)
                          : liveness_memory(workload, memory_rules("stack"));
  double const free = query.free_bytes > 0 ? query.free_bytes : static_cast<double>(model.device(device).memory_bytes);
  double const upper = memory.total() * (backend ? 1.0 : 1.05);
  auto const verdict = memory_verdict(memory.total(), upper, free);

  if (query.json) {
    json::Object quantiles, parts;
    for (auto const& [level, seconds] : step.quantiles)
      quantiles["q" + std::to_string(static_cast<int>(std::lround(100 * level)))] = finite_or_null(seconds);
    for (auto const& [part, bytes] : {std::pair{"weights", memory.weights},
                                      {"gradients", memory.gradients},
                                      {"optimiser", memory.state},
                                      {"activations", memory.activations},
                                      {"workspace", memory.workspace},
                                      {"overhead", memory.overhead}})
      parts[part] = bytes;
    json::Array outside, neighbours;
    for (auto const& it : step.outside)
      outside.emplace_back(
          json::Object{{"feature", it.feature}, {"value", it.value}, {"low", it.low}, {"high", it.high}});
    for (auto const& it : step.neighbours)
      neighbours.emplace_back(json::Object{{"name", it.name}, {"seconds", it.seconds}, {"distance", it.distance}});
    std::cout << json::pretty(json::Object{{"network", query.network},
                                           {"batch", query.batch},
                                           {"optimiser", query.optimiser},
                                           {"device", device},
                                           {"model", model.method()},
                                           {"step_seconds", step_seconds},
                                           {"step_quantiles", std::move(quantiles)},
                                           {"step_limit_seconds", finite_or_null(limit)},
                                           {"risk", query.risk},
                                           {"steps", steps},
                                           {"total_seconds", total},
                                           {"wall_time_seconds", finite_or_null(wall)},
                                           {"memory_bytes", memory.total()},
                                           {"memory", std::move(parts)},
                                           {"memory_verdict", verdict_text(verdict)},
                                           {"in_range", step.in_range},
                                           {"outside", std::move(outside)},
                                           {"nearest", std::move(neighbours)},
                                           {"query_seconds", query_seconds}});
    return exit_success;
  }
  if (query.slurm) {
    require(std::isfinite(wall), "a limit at ", shortest(100 * query.risk), " % risk needs ",
            static_cast<std::int64_t>(std::ceil(1 / query.risk - 1)),
            " held-out networks of this size; the model has too few (a larger --risk needs fewer)");
    std::cout << slurm_lines(wall, upper);
  } else {
    Table table({{"step on " + device}, {fixed(1e3 * step_seconds, 3) + " ms"}});
    for (auto const& [level, seconds] : step.quantiles)
      table.add_row({concat("  ", static_cast<int>(std::lround(100 * level)), " % quantile"), milliseconds(seconds)});
    if (steps > 0) {
      table.add_row({"steps", std::to_string(steps)});
      table.add_row({"expected", human_seconds(total)});
      table.add_row({concat("wall time at ", shortest(100 * query.risk), " % risk"),
                     std::isfinite(wall) ? Cell(slurm_time(wall)) : Cell("unknown: too few networks")});
    }
    table.add_row({"memory", concat(human_bytes(memory.total()), ", ", verdict_text(verdict))});
    for (auto const& [part, bytes] : {std::pair{"  weights", memory.weights},
                                      {"  gradients", memory.gradients},
                                      {"  optimiser", memory.state},
                                      {"  activations", memory.activations},
                                      {"  workspace", memory.workspace},
                                      {"  overhead", memory.overhead}})
      table.add_row({part, human_bytes(bytes)});
    std::cout << table.text();
  }
  if (!step.in_range) {
    std::cerr << "nasturtium: this network is unlike those that the model was trained on";
    for (std::size_t i = 0; i < std::min<std::size_t>(3, step.outside.size()); ++i)
      std::cerr << (i == 0 ? ": " : ", ") << step.outside[i].feature << ' ' << fixed(step.outside[i].value, 2)
                << " (seen " << fixed(step.outside[i].low, 2) << " to " << fixed(step.outside[i].high, 2) << ")";
    std::cerr << "; nearest:";
    for (std::size_t i = 0; i < std::min<std::size_t>(3, step.neighbours.size()); ++i)
      std::cerr << ' ' << step.neighbours[i].name << " (" << fixed(1e3 * step.neighbours[i].seconds, 3) << " ms)";
    std::cerr << '\n';
  }
  return exit_success;
}

} // namespace

int estimate(Invocation const& call)
{
  Query options;
  VerbParser parser("estimate", "How long a training step takes, what wall time and memory to ask for.", examples);
  CLI::App& app = parser.app();
  std::function<int()> action;
  app.add_option("NETWORK", options.network, "An architecture: a JSON file or a name of the zoo");
  app.add_option("--batch", options.batch, "Samples per step")->capture_default_str()->type_name("N");
  app.add_option("--optimiser,--optimizer", options.optimiser, "Of the step")
      ->option_text("sgd|momentum|rmsprop|adam [sgd]");
  app.add_option("--model", options.model, "What estimate fit has written")->capture_default_str()->type_name("FILE");
  app.add_option("--device", options.device, "One of the model's devices; else its first")->type_name("NAME");
  app.add_flag("--calibrate", options.calibrate,
               "For this machine with --backend and --threads: ten timings scale the model to it");
  app.add_option("--epochs", options.epochs, "For the total")->type_name("X");
  app.add_option("--samples", options.samples, "Of an epoch")->type_name("N");
  app.add_option("--startup", options.startup, "Seconds before the first step")->capture_default_str()->type_name("S");
  app.add_option("--risk", options.risk, "That the job outlives the suggested wall time")->capture_default_str();
  app.add_option("--observed", options.observed, "Seconds of steps that were seen by now; they correct the estimate")
      ->delimiter(',')
      ->type_name("S,...");
  app.add_option("--free", options.free_bytes, "Bytes of free memory; else all that the device has")
      ->type_name("BYTES");
  app.add_option("--program", options.program, "Write the step as a PyTorch program too")->type_name("FILE");
  app.add_flag("--slurm", options.slurm, "Only the lines for sbatch");
  app.add_flag("--json", options.json, "The answer as JSON on stdout");
  options.where.add_to(app);
  add_estimate_measure(app, call, action);
  add_estimate_model(app, call, action);
  std::function<int(Invocation const&)> evaluation;
  add_estimate_evaluate(app, evaluation);
  if (!parser.parse(call)) return exit_success;
  if (evaluation) return evaluation(call);
  if (action) return action();
  require(!options.network.empty(), "estimate needs a NETWORK, or one of measure, probe, evolve, fit, evaluate");
  return query(options, call);
}

} // namespace nasturtium::cli
