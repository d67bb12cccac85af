// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium ensemble plan: which device of this machine runs which member at which batch size; the best plans are
// tried for real.
#include "ensemble.hpp"
#include "ensemble_library.hpp"
#include "serving_contest.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/deployment.hpp>
#include <nasturtium/ensemble/profiling.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace ensemble;

constexpr char const* examples =
    "  nasturtium ensemble plan runs/library                              # the knee, a device per core\n"
    "  nasturtium ensemble plan runs/library --take under:2e6 --devices 2,1,1 --batches 1,8,64\n"
    "  nasturtium ensemble plan runs/library --objective latency --latency 5";

struct Options
{
  std::string folder, front, take = "knee", devices, objective = "throughput", method = "automatic", profile, out,
                             data_dir;
  std::vector<int> batches{1, 8, 32, 128};
  double latency_milliseconds = 0, rate = 0, seconds = 0.05, host_gigabytes = 0, device_gigabytes = 0;
  int segment = 0, samples = 16384, rounds = 3;
  std::uint64_t seed = 1;
  bool json = false;
};

/// What an ensemble of a search needs beside its weights.
void describe_input(Deployment& deployment, datasets::Dataset const& dataset)
{
  deployment.height = dataset.height;
  deployment.width = dataset.width;
  deployment.channels = dataset.channels;
  deployment.classes = dataset.classes;
  deployment.class_names = dataset.class_names;
  deployment.moments = {dataset.mean, dataset.deviation};
}

PlanningOptions planning_options(Options const& options)
{
  PlanningOptions planning;
  planning.seed = options.seed;
  if (options.objective == "latency") {
    planning.objective = PlanningObjective::throughput_within_latency;
    require(options.latency_milliseconds > 0, "--objective latency needs --latency MS");
    planning.latency_bound = 1e-3 * options.latency_milliseconds;
  } else if (options.objective == "devices") {
    planning.objective = PlanningObjective::fewest_devices;
    require(options.rate > 0, "--objective devices needs --rate");
    planning.rate = options.rate;
  } else {
    require(options.objective == "throughput", "--objective must be throughput, latency or devices, got ",
            quoted(options.objective));
  }
  if (options.method == "local")
    planning.method = PlanningMethod::local;
  else if (options.method == "exact")
    planning.method = PlanningMethod::exact;
  else
    require(options.method == "automatic", "--method must be automatic, local or exact, got ", quoted(options.method));
  return planning;
}

/// The profile of these members on these devices: that of a file, or measured now and kept as one.
PlanningProblem profile_of(std::vector<ServedModel> const& models, std::vector<ServingDevice> const& devices,
                           Options const& options, std::string const& path)
{
  if (!options.profile.empty()) {
    auto problem = parse_planning_problem(read_file(options.profile), options.profile);
    std::vector<std::string> names;
    for (auto const& model : models)
      names.push_back(model.name);
    require(problem.models == names, options.profile, ": was measured of other models");
    names.clear();
    for (auto const& device : problem.devices)
      names.push_back(device.name);
    std::vector<std::string> wanted;
    for (auto const& device : devices)
      wanted.push_back(device.name);
    require(names == wanted, options.profile, ": was measured on other devices");
    return problem;
  }
  ProfilingOptions profiling;
  profiling.batches = options.batches;
  profiling.seconds = options.seconds;
  profiling.host_bytes = 1e9 * options.host_gigabytes;
  profiling.device_bytes = 1e9 * options.device_gigabytes;
  std::cerr << "measuring " << models.size() << " models at " << options.batches.size() << " batch sizes\n";
  auto problem = measure_profile(models, devices, profiling);
  write_file(path, to_json(problem));
  return problem;
}

} // namespace

int ensemble_plan(Invocation const& call)
{
  Options options;
  DeviceOptions device;
  VerbParser parser("ensemble plan", "Spreads the members of an ensemble over the devices of this machine.", examples);
  CLI::App& app = parser.app();
  app.add_option("FOLDER", options.folder, "Folder of a search after nasturtium ensemble select")
      ->required()
      ->option_text("DIR (required)");
  app.add_option("--take", options.take, "Which ensemble of the front")
      ->option_text(std::string(take_words) + " [knee]");
  app.add_option("--front", options.front, "Another front than FOLDER/front.json")->type_name("FILE");
  app.add_option("--devices", options.devices,
                 "A number: a partition of so many cores of the host; cuda: the GPU. By default a device per core")
      ->option_text("N|cuda,...");
  app.add_option("--batches", options.batches, "Batch sizes that a member may run at")
      ->delimiter(',')
      ->option_text("N,... [1,8,32,128]");
  app.add_option("--objective", options.objective,
                 "Samples a second; the same under a bound of latency; the fewest devices for a rate")
      ->option_text("throughput|latency|devices [throughput]");
  app.add_option("--latency", options.latency_milliseconds, "Bound on the slowest batch")->type_name("MS");
  app.add_option("--rate", options.rate, "Samples a second to reach")->type_name("X");
  app.add_option("--method", options.method, "exact: every matrix")->option_text("automatic|local|exact [automatic]");
  app.add_option("--host-memory", options.host_gigabytes, "For all members on the host; 0: what the machine has")
      ->type_name("GB");
  app.add_option("--gpu-memory", options.device_gigabytes, "Of the GPU")->type_name("GB");
  app.add_option("--segment", options.segment, "Samples that members work on at a time; 0: two milliseconds of them")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--profile", options.profile, "Measurements of an earlier call, not new ones")->type_name("FILE");
  app.add_option("--seconds", options.seconds, "Of the measurement of a model and batch")
      ->capture_default_str()
      ->type_name("X");
  app.add_option("--samples", options.samples, "To try the best plans on; 0: do not")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--rounds", options.rounds, "Of trying")->capture_default_str()->type_name("N");
  app.add_option("--seed", options.seed, "Of the planner")->capture_default_str()->type_name("N");
  app.add_option("--out", options.out, "Where deployment.json and profile.json go; by default FOLDER")
      ->type_name("DIR");
  app.add_option("--data-dir", options.data_dir, "Folder to look for the data set first")->type_name("DIR");
  app.add_flag("--json", options.json, "Print the deployment as JSON on stdout");
  app.add_option("--backend", device.backend, "Of the partitions of the host")->option_text("openmp|serial");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto const planning = planning_options(options);
  require(options.samples >= 0 && options.samples <= 10'000'000, "--samples must be >= 0, got ", options.samples);
  require(options.segment >= 0 && options.segment <= 1 << 20, "--segment must be in [0, 1048576], got ",
          options.segment);
  require(options.rounds >= 1 && options.rounds <= 1000, "--rounds must be in [1, 1000], got ", options.rounds);
  if (options.out.empty()) options.out = options.folder;
  if (options.front.empty()) options.front = (fs::path(options.folder) / "front.json").string();
  auto const front = read_front_json(options.front);
  auto const& entry = front.entries[taken_entry(front, options.take)];
  auto const folder = nas::HalvingFolder::open(options.folder);
  auto const dataset = load_data_of(folder.config(), options.folder, options.data_dir);
  device.threads = host_cores();

  Deployment deployment;
  describe_input(deployment, dataset);
  deployment.library = fs::absolute(library_path(options.folder)).lexically_normal().string();
  for (auto const& member : entry.members)
    deployment.members.push_back({member.id, member.weight});
  deployment.temperature = entry.temperature;
  deployment.devices = serving_devices(options.devices, device.trainer().backend);
  auto const models = load_models(deployment);
  auto const runtime = device.start(call);
  create_directories(options.out);
  auto const file = [&](char const* name) { return (fs::path(options.out) / name).string(); };
  auto const problem = profile_of(models, deployment.devices, options, file("profile.json"));
  if (interrupted()) return exit_interrupted;
  auto const answer = plan_allocation(problem, planning);
  if (answer.plans.empty()) {
    std::cerr << "nasturtium: no plan (" << name(answer.reason) << "): " << answer.explanation << '\n';
    return exit_failure;
  }
  auto tried = serving_plans(problem, answer, options.segment);
  if (planning.objective == PlanningObjective::throughput)
    for (auto& baseline : serving_baselines(problem, tried.front().segment_size))
      if (!baseline.sequential) tried.push_back(std::move(baseline)); // a simpler one may be faster after all
  std::size_t best = 0;
  if (options.samples > 0) {
    SampleImages const images(dataset, options.samples);
    if (!run_contest(tried, models, deployment.devices, deployment.moments, images.view(), options.rounds,
                     [] { return interrupted(); }))
      return exit_interrupted;
    for (std::size_t i = 1; i < tried.size(); ++i)
      if (median(tried[i].rates) > median(tried[best].rates)) best = i;
  }
  deployment.plan = tried[best].plan;
  deployment.segment_size = tried[best].segment_size;
  // A folder that moves keeps its library.
  if (auto const relative = fs::path(deployment.library).lexically_relative(fs::absolute(options.out));
      !relative.empty() && *relative.begin() != "..")
    deployment.library = relative.string();
  write_file(file("deployment.json"), to_json(deployment));
  if (options.json) {
    std::cout << json::pretty(json::parse_file(file("deployment.json")));
    return exit_success;
  }
  std::cout << matrix_table(deployment.plan).text() << '\n'
            << serving_table(tried).text() << '\n'
            << (answer.exact ? "Every matrix was tried" : "Found by local search") << " (" << grouped(answer.scored)
            << " plans scored)"
            << (answer.co_location_helps ? "" : "; members on one device do not help each other, they share its time")
            << ".\nNext: nasturtium ensemble serve " << options.out << '\n';
  return exit_success;
}

} // namespace nasturtium::cli
