// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium ensemble bench: a planned deployment against simpler ways to serve the same ensemble, and the members'
// predictions held against those of one thread.
#include "ensemble.hpp"
#include "ensemble_library.hpp"
#include "serving_contest.hpp"
#include "serving_timeline.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/ensemble/deployment.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace ensemble;

constexpr char const* examples =
    "  nasturtium ensemble bench runs/library\n"
    "  nasturtium ensemble bench runs/library --samples 20000 --rounds 20 --csv serving.csv --timeline serving.svg";

/// The largest difference between two ways to serve.
double largest_difference(std::vector<float> const& left, std::vector<float> const& right)
{
  double largest = 0;
  for (std::size_t i = 0; i < left.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(left[i]) - static_cast<double>(right[i])));
  return largest;
}

} // namespace

int ensemble_bench(Invocation const& call)
{
  std::string folder, csv, timeline, data_dir;
  int samples = 32768, rounds = 7;
  bool as_json = false;
  VerbParser parser("ensemble bench", "Measures a deployment against simpler ways to serve the same ensemble.",
                    examples);
  CLI::App& app = parser.app();
  app.add_option("FOLDER", folder, "Folder of a search after nasturtium ensemble plan")
      ->required()
      ->option_text("DIR (required)");
  app.add_option("--samples", samples, "Of a round, taken from the test split again and again")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--rounds", rounds, "All ways in turns, so many times")->capture_default_str()->type_name("N");
  app.add_option("--csv", csv, "Write the table as CSV")->type_name("FILE");
  app.add_option("--timeline", timeline, "Draw which cell worked on which segment, and when: a Gantt chart (SVG)")
      ->type_name("FILE");
  app.add_option("--data-dir", data_dir, "Folder to look for the data set first")->type_name("DIR");
  app.add_flag("--json", as_json, "Print the table as JSON on stdout");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  require(samples >= 1 && samples <= 10'000'000, "--samples must be in [1, 10000000], got ", samples);
  require(rounds >= 1 && rounds <= 1000, "--rounds must be in [1, 1000], got ", rounds);
  auto const deployment = load_deployment((fs::path(folder) / "deployment.json").string());
  std::string const profile = (fs::path(folder) / "profile.json").string();
  auto const problem = parse_planning_problem(read_file(profile), profile);
  auto const dataset = load_data_of(nas::HalvingFolder::open(folder).config(), folder, data_dir);
  DeviceOptions device;
  device.threads = host_cores();
  auto const models = load_models(deployment);
  auto const runtime = device.start(call);
  require(problem.models == deployment.plan.models && problem.devices.size() == deployment.devices.size(), profile,
          ": was measured of another ensemble than that of deployment.json; nasturtium ensemble plan makes both");
  SampleImages const images(dataset, samples);
  auto contenders = serving_baselines(problem, deployment.segment_size);
  contenders.insert(contenders.begin(),
                    ServingContender{"planned", deployment.plan, false, false, deployment.segment_size});
  if (!run_contest(contenders, models, deployment.devices, deployment.moments, images.view(), rounds,
                   [] { return interrupted(); }))
    return exit_interrupted;
  auto const predictions = [&](bool in_fixed_order) {
    ServingOptions options;
    options.segment_size = deployment.segment_size;
    options.fixed_order = in_fixed_order;
    return EnsembleServer(models, deployment.devices, deployment.plan, deployment.moments, options)
        .predict(images.view());
  };
  auto const served = predictions(false), fixed_order = predictions(true);
  auto const reference =
      SequentialEnsemble(models, deployment.devices, deployment.plan, deployment.moments, deployment.segment_size)
          .predict(images.view());
  auto const table = serving_table(contenders);
  if (!csv.empty()) write_file(csv, table.csv());
  if (!timeline.empty()) {
    auto const spans = serving_timeline(models, deployment.devices, deployment.plan, deployment.moments,
                                        deployment.segment_size, images.view());
    write_file(timeline, to_svg(timeline_plot(spans, "The plan at work"), true));
  }
  if (as_json) {
    json::Object object;
    object["table"] = to_json(table);
    object["largest_difference"] = largest_difference(served, reference);
    object["fixed_order_equal"] = fixed_order == reference;
    std::cout << json::pretty(object);
    return exit_success;
  }
  std::cout << matrix_table(deployment.plan).text() << '\n'
            << table.text()
            << "\nfluid, segments: samples/s that the simulators promise; error: of the second; achieved: of the "
               "first;\nratio: to the best of the other baselines; latencies are those of segments.\n"
            << "Against one thread: largest difference " << shortest(largest_difference(served, reference))
            << "; in fixed order " << (fixed_order == reference ? "bitwise equal" : "NOT bitwise equal") << ".\n";
  return fixed_order == reference ? exit_success : exit_failure;
}

} // namespace nasturtium::cli
