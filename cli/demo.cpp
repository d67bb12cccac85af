// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium demo: two networks on real images, a table and a page to look at.
#include "line_plot.hpp"
#include "page.hpp"
#include "run.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>

#include <cmath>
#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples = "  nasturtium demo\n"
                                 "  nasturtium demo --subset 6000 --epochs 2 --out /tmp/demo   # a few seconds";

struct Network
{
  char const* name;
  int epochs;
};

// Epochs that take about three minutes together on two cores.
constexpr Network networks[] = {{"lenet", 6}, {"cnn2", 6}};

struct Options
{
  DeviceOptions device;
  DataChoice data;
  int epochs = 0;
  std::uint64_t seed = 1;
  std::string out = "results/demo";
  bool json = false;
};

struct Result
{
  std::string name;
  nn::spec::Architecture architecture;
  nn::TrainOptions options;
  Outcome outcome;
};

nn::TrainOptions recipe(int epochs, std::uint64_t seed)
{
  nn::TrainOptions options;
  options.epochs = epochs;
  options.batch_size = 128;
  options.optimiser.kind = nn::OptimiserKind::adam;
  options.optimiser.learning_rate = 0.002;
  options.schedule.kind = nn::ScheduleKind::one_cycle;
  options.seed = seed;
  options.validations_per_epoch = 2;
  return options;
}

// The same training by the verb `train`.
std::string train_command(std::string const& name, Options const& options, nn::TrainOptions const& training)
{
  std::string text = concat(
      "nasturtium train --arch ", name, " --dataset ", options.data.dataset, " --validation ", options.data.validation,
      options.data.subset > 0 ? concat(" --subset ", options.data.subset) : std::string(), " --epochs ",
      training.epochs, " \\\n    --optimiser adam --learning-rate ", training.optimiser.learning_rate,
      " --schedule one_cycle --validations-per-epoch ", training.validations_per_epoch, " --seed ", training.seed,
      " \\\n    --out runs/", name, "\n");
  return text;
}

datasets::Dataset load(DataChoice const& data)
{
  try {
    return data.load();
  } catch (Error const& error) {
    fail("demo needs the 70,000 images of Fashion-MNIST: install Debian's package dataset-fashion-mnist, or run "
         "'nasturtium datasets "
         "download fashion-mnist', or name a folder with its four IDX files with --data-dir (",
         error.what(), ")");
  }
}

// Whether the run in a folder was made by the demo: only those may be replaced.
bool made_by_demo(std::string const& path)
{
  std::string const file = (fs::path(path) / "provenance.json").string();
  if (!is_file(file)) return false;
  auto const provenance = json::parse_file(file);
  auto const* const object = provenance.if_object();
  auto const* const command = object ? object->if_contains("command_line") : nullptr;
  return command && command->is_string() && command->get_string().starts_with("nasturtium demo");
}

// A run of the same configuration that was interrupted goes on; anything else that a demo left is replaced.
RunDirectory prepare(std::string const& path, RunConfig const& config, Provenance const& provenance, bool afresh)
{
  if (RunFolder::exists(path)) {
    require(made_by_demo(path), path, ": holds a run that is not the demo's; choose another --out");
    if (!afresh) {
      try {
        auto directory = RunDirectory::open(path);
        if (to_json(directory.config()) == to_json(config)) return directory;
      } catch (Error const& error) { // of another version, or damaged
        std::cerr << "nasturtium: " << path << " is begun again: " << error.what() << '\n';
      }
    }
    fs::remove_all(path);
  }
  return RunDirectory::create(path, config, provenance);
}

std::string percent(double fraction, int decimals = 2)
{
  return fixed(100 * fraction, decimals);
}

LinePlot curves(std::vector<Result> const& results, std::vector<std::pair<std::string, nn::EpochReport>> const& reports)
{
  LinePlot plot;
  plot.title = "Accuracy on Fashion-MNIST";
  plot.subtitle = "Solid: validation images, dashed: training images so far seen";
  plot.x_label = "epoch";
  plot.y_label = "accuracy, %";
  plot.description = "Accuracy over the epochs of training.";
  for (std::size_t i = 0; i < results.size(); ++i) {
    Series validation{results[i].name, {}, static_cast<int>(i), false},
        training{results[i].name, {}, static_cast<int>(i), true};
    for (auto const& [id, report] : reports) {
      if (id != results[i].name) continue;
      validation.points.emplace_back(report.epoch, 100 * report.validation_accuracy);
      training.points.emplace_back(report.epoch, 100 * report.train_accuracy);
    }
    if (validation.points.empty()) continue;
    plot.description += concat(
        " ", results[i].name, ": validation accuracy ", fixed(validation.points.front().second, 1), " % at epoch ",
        shortest(validation.points.front().first), ", ", fixed(validation.points.back().second, 1), " % at epoch ",
        shortest(validation.points.back().first), ".");
    validation.name += concat(" ", fixed(validation.points.back().second, 1), " %");
    plot.series.push_back(std::move(validation));
    plot.series.push_back(std::move(training));
  }
  return plot;
}

Table make_table(std::vector<Result> const& results)
{
  Table table({{"network"}, {"parameters"}, {"epochs"}, {"test accuracy %", 2}, {"time s", 1}, {"images/s", 0}});
  for (auto const& result : results)
    table.add_row({result.name, result.outcome.parameters, result.outcome.epochs, 100 * result.outcome.test_accuracy,
                   result.outcome.seconds, result.outcome.images_per_second});
  return table;
}

std::string make_page(std::vector<Result> const& results, LinePlot const& plot, datasets::Dataset const& dataset,
                      Options const& options, Provenance const& provenance)
{
  Result const* best = &results.front();
  for (auto const& result : results)
    if (result.outcome.test_accuracy > best->outcome.test_accuracy) best = &result;
  Page page("nasturtium: two networks on Fashion-MNIST");
  page.lead(concat(best->name, " names ", percent(best->outcome.test_accuracy, 1), " % of ",
                   grouped(dataset.test.count), " unseen images correctly after ", shortest(best->outcome.epochs),
                   " passes over ", grouped(dataset.train.count), " training images, which took ",
                   human_seconds(best->outcome.seconds), " (", grouped(std::llround(best->outcome.images_per_second)),
                   " images per second)."));
  std::vector<std::vector<std::string>> rows;
  for (auto const& result : results)
    rows.push_back({result.name, grouped(result.outcome.parameters), shortest(result.outcome.epochs),
                    percent(result.outcome.validation_accuracy), percent(result.outcome.test_accuracy),
                    human_seconds(result.outcome.seconds), grouped(std::llround(result.outcome.images_per_second))});
  page.table({"network", "parameters", "epochs", "validation %", "test %", "time", "images/s"}, rows,
             {false, true, true, true, true, true, true});
  page.paragraph(
      "Time and rate are those of the training steps. The test images were used once, after the last epoch.");
  page.heading("Learning curves");
  LinePlot narrow = plot;
  narrow.width = 400;
  narrow.height = 380;
  narrow.subtitle = "Solid: validation, dashed: training";
  page.svg(
      to_svg(plot, false), to_svg(narrow, false),
      "Every point is one validation, two an epoch. The accuracy on training images is a mean over the steps since the "
      "point before, so early points lag behind.");
  page.heading("What was done");
  auto const& recipe = results.front().options;
  page.paragraph(concat("Of the ", grouped(dataset.train.count + dataset.validation.count), " training images ",
                        grouped(dataset.validation.count),
                        ", the same part of every class, were set aside for validation. Adam, learning rate ",
                        shortest(recipe.optimiser.learning_rate), " at the peak of a one-cycle schedule, batches of ",
                        recipe.batch_size, ", seed ", recipe.seed, ", float32. No augmentation."));
  for (auto const& result : results)
    page.details("Layers of " + result.name, nn::spec::summary(result.architecture));
  page.heading("How to reproduce");
  std::string commands = "./nasturtium demo";
  if (options.epochs > 0) commands += concat(" --epochs ", options.epochs);
  if (options.data.subset > 0) commands += concat(" --subset ", options.data.subset);
  if (options.seed != 1) commands += concat(" --seed ", options.seed);
  page.code(commands + "\n");
  page.paragraph("The same trainings one by one; on the same backend they end with the same weights, bit for bit:");
  std::string trainings;
  for (auto const& result : results)
    trainings += "./" + train_command(result.name, options, result.options);
  page.code(trainings);
  page.heading("Provenance");
  std::vector<std::pair<std::string, std::string>> pairs{
      {"version", provenance.version},
      {"git", provenance.git_hash + " (" + provenance.git_state + ")"},
      {"compiler", provenance.compiler + ", " + provenance.build_type},
      {"backend", provenance.backend},
      {"processor", provenance.cpu},
      {"cores", std::to_string(provenance.host_cores)},
      {"time", provenance.utc}};
  for (auto const& pair : provenance.extra) // provenance.json has all of them
    if (!pair.first.starts_with("kokkos ") || pair.first == "kokkos version") pairs.push_back(pair);
  pairs.insert(pairs.end(), provenance.environment.begin(), provenance.environment.end());
  page.pairs(pairs);
  return page.html();
}

} // namespace

int demo(Invocation const& call)
{
  Options options;
  options.data.dataset = "fashion-mnist";
  options.data.validation = 0.1;
  VerbParser parser("demo", "Trains lenet and cnn2 on Fashion-MNIST; writes a table, curves and a page.", examples);
  CLI::App& app = parser.app();
  app.add_option("--out", options.out, "Folder of the report and of both runs; an earlier demo there is replaced")
      ->capture_default_str()
      ->type_name("DIR");
  app.add_option("--epochs", options.epochs, "For both networks; 0: what fits into about three minutes")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--subset", options.data.subset, "Train on so many images; 0: all 60,000")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--seed", options.seed, "Of everything random")->capture_default_str()->type_name("N");
  app.add_option("--data-dir", options.data.data_dir, "Folder to look for Fashion-MNIST first")->type_name("DIR");
  app.add_flag("--json", options.json, "The table as JSON on stdout");
  options.device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  require(options.epochs >= 0, "--epochs must be >= 0, got ", options.epochs);

  catch_interrupts();
  Stopwatch const total;
  auto const runtime = options.device.start(call);
  auto const trainer = options.device.trainer();
  auto const dataset = load(options.data);
  std::cerr << "Fashion-MNIST: " << grouped(dataset.train.count) << " training, " << grouped(dataset.validation.count)
            << " validation, " << grouped(dataset.test.count) << " test images\n";

  // A finished demo is done again, an interrupted one goes on.
  auto const in_out = [&](std::string const& name) { return (fs::path(options.out) / name).string(); };
  bool afresh = true;
  for (auto const& network : networks)
    afresh = afresh && RunFolder::exists(in_out(network.name)) && is_file(in_out(concat(network.name, "/weights.h5")));
  auto const provenance = provenance_of(call, options.seed, trainer.backend,
                                        {{"dataset", dataset.name}, {"dataset_checksum", dataset.checksum}});

  std::vector<Result> results;
  std::vector<std::pair<std::string, nn::EpochReport>> reports;
  for (auto const& network : networks) {
    Result result{network.name,
                  nn::spec::load_architecture(network.name),
                  recipe(options.epochs > 0 ? options.epochs : network.epochs, options.seed),
                  {}};
    nn::check(result.options);
    check_fits(result.architecture, dataset, network.name);
    RunConfig config;
    config.data = options.data;
    config.data_checksum = dataset.checksum;
    config.backend = trainer.backend;
    config.candidates = {{network.name, result.architecture, result.options}};
    if (interrupted()) return exit_interrupted;
    auto directory = prepare(in_out(network.name), config, provenance, afresh);
    RunRequest request;
    request.label = network.name;
    auto const outcome = run(config, &directory, dataset, trainer, request);
    if (outcome.interrupted) {
      std::cerr << "nasturtium: interrupted; the same command again goes on:";
      for (auto const& word : call.command_line)
        std::cerr << ' ' << word;
      std::cerr << '\n';
      return exit_interrupted;
    }
    result.outcome = outcome.outcomes.front();
    if (result.outcome.failed()) {
      std::cerr << "nasturtium: " << network.name << ": " << nn::name(result.outcome.status) << ": "
                << result.outcome.reason << '\n';
      return exit_failure;
    }
    reports.insert(reports.end(), outcome.reports.begin(), outcome.reports.end());
    results.push_back(std::move(result));
  }

  Table const table = make_table(results);
  LinePlot const plot = curves(results, reports);
  write_file(in_out("curves.csv"), curves_csv(reports));
  write_file(in_out("table.csv"), table.csv());
  write_file(in_out("table.md"), table.markdown());
  write_file(in_out("curves.svg"), to_svg(plot, true));
  write_file(in_out("provenance.json"), json::pretty(to_json(provenance)));
  write_file(in_out("index.html"), make_page(results, plot, dataset, options, provenance));
  if (options.json) {
    json::Object object;
    json::Array rows;
    for (auto const& result : results)
      rows.push_back(to_json(result.outcome));
    object["networks"] = std::move(rows);
    object["seconds"] = total.seconds();
    object["page"] = in_out("index.html");
    std::cout << json::pretty(object);
  } else {
    std::cout << '\n'
              << table.text() << "\nDone in " << human_seconds(total.seconds())
              << ". To look at: " << in_out("index.html") << '\n';
  }
  return exit_success;
}

} // namespace nasturtium::cli
