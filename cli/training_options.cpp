// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "training_options.hpp"

#include <nasturtium/datasets/registry.hpp>

namespace nasturtium::cli {

void add_training_options(CLI::App& app, nn::TrainOptions& options)
{
  auto const number = [&app](std::string const& name, auto& target, char const* type, std::string const& description) {
    return app.add_option(name, target, description)->capture_default_str()->type_name(type);
  };
  std::string group = "Training";
  number("--epochs", options.epochs, "N", "Passes over the training samples")->group(group);
  number("--batch-size,--batch", options.batch_size, "N", "Samples per step; the last batch of an epoch may be smaller")
      ->group(group);
  number("--steps", options.max_steps, "N", "Train so many steps (schedules end there too); 0: no limit")->group(group);
  number("--seed", options.seed, "N", "Seed of initial weights, order, dropout and augmentation")->group(group);
  add_choice<nn::Order>(app, "--order", options.order,
                        {{"shuffled", nn::Order::shuffled}, {"sequential", nn::Order::sequential}},
                        "Order of the samples")
      ->group(group);
  add_choice<nn::Precision>(app, "--precision", options.precision,
                            {{"float32", nn::Precision::float32}, {"float64", nn::Precision::float64}},
                            "Of all numbers")
      ->group(group);
  number("--initialiser", options.initialiser, "NAME", "Of the weights: he_normal, glorot_uniform, orthogonal, ...")
      ->group(group);
  number("--label-smoothing", options.label_smoothing, "X", "In [0, 1)")->group(group);
  number("--top-k", options.top_k, "K", "Of the second accuracy")->group(group);
  number("--validations-per-epoch", options.validations_per_epoch, "N", "1, or 2 for a report every half epoch")
      ->group(group);
  number("--patience", options.early_stopping_patience, "N", "Stop after N validations without a better loss; 0: never")
      ->group(group);
  number("--time-limit", options.time_limit_seconds, "SECONDS", "Stop a candidate after so many seconds; 0: never")
      ->group(group);
  number("--memory-limit", options.memory_limit_bytes, "BYTES", "Refuse a candidate that needs more; 0: no limit")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES (2gb: units are understood)")
      ->group(group);

  group = "Optimiser";
  using nn::OptimiserKind;
  auto& optimiser = options.optimiser;
  add_choice<OptimiserKind>(app, "--optimiser,--optimizer", optimiser.kind,
                            {{"sgd", OptimiserKind::sgd},
                             {"adam", OptimiserKind::adam},
                             {"adamw", OptimiserKind::adamw},
                             {"rmsprop", OptimiserKind::rmsprop}},
                            "The rule of the updates")
      ->group(group);
  number("--learning-rate,--lr", optimiser.learning_rate, "X", "Peak of the schedule")->group(group);
  number("--momentum", optimiser.momentum, "X", "sgd, rmsprop; in [0, 1)")->group(group);
  app.add_flag("--nesterov,!--no-nesterov", optimiser.nesterov, "sgd: Nesterov momentum")->group(group);
  number("--weight-decay", optimiser.weight_decay, "X", "On kernels alone")->group(group);
  app.add_flag("--decoupled,!--no-decoupled", optimiser.decoupled,
               "sgd, rmsprop, adam: weight decay apart from the gradient")
      ->group(group);
  number("--beta1", optimiser.beta1, "X", "adam, adamw")->group(group);
  number("--beta2", optimiser.beta2, "X", "adam, adamw")->group(group);
  number("--rho", optimiser.rho, "X", "rmsprop")->group(group);
  number("--epsilon", optimiser.epsilon, "X", "adam, adamw, rmsprop")->group(group);
  number("--clip-norm", optimiser.clip_norm, "X", "Largest norm of the gradient; 0: no clipping")->group(group);

  group = "Schedule of the learning rate";
  using nn::ScheduleKind;
  auto& schedule = options.schedule;
  add_choice<ScheduleKind>(app, "--schedule", schedule.kind,
                           {{"constant", ScheduleKind::constant},
                            {"step", ScheduleKind::step},
                            {"cosine", ScheduleKind::cosine},
                            {"one_cycle", ScheduleKind::one_cycle}},
                           "Its shape")
      ->group(group);
  number("--warmup-epochs", schedule.warmup_epochs, "X", "Linear from 0")->group(group);
  number("--step-epochs", schedule.step_epochs, "X", "step: epochs between two drops")->group(group);
  number("--gamma", schedule.gamma, "X", "step: factor of a drop")->group(group);
  number("--final-fraction", schedule.final_fraction, "X", "cosine, one_cycle: last rate / peak")->group(group);
  number("--peak-fraction", schedule.peak_fraction, "X", "one_cycle: where the peak lies")->group(group);
  number("--initial-fraction", schedule.initial_fraction, "X", "one_cycle: first rate / peak")->group(group);

  group = "Augmentation";
  number("--crop-padding", options.augment.crop_padding, "N", "Random crops of the image padded by N; 0: none")
      ->group(group);
  app.add_flag("--flip,!--no-flip", options.augment.flip, "Random horizontal flips")->group(group);
  number("--cutout", options.augment.cutout, "N", "Side of a square set to the mean (0 without normalisation); 0: none")
      ->group(group);
}

void DataChoice::add_to(CLI::App& app)
{
  std::string const group = "Data";
  app.add_option(
         "--dataset", dataset,
         "A name (nasturtium datasets list) or idx:DIR, hdf5:FILE, csv:FILE:label=COLUMN, synthetic:key=value:..., ...")
      ->type_name("SPEC")
      ->group(group);
  app.add_option("--data-dir", data_dir, "Folder to look for data sets first")->type_name("DIR")->group(group);
  app.add_flag("!--no-normalise", normalise,
               "Take the values as they are stored, not shifted and scaled to mean 0 and deviation 1 per channel")
      ->group(group);
  app.add_option("--validation", validation, "Part of the training samples to validate on, in [0, 1); stratified")
      ->capture_default_str()
      ->type_name("X")
      ->group(group);
  app.add_option("--subset", subset, "Train on so many samples, stratified; 0: all")
      ->capture_default_str()
      ->type_name("N")
      ->group(group);
  app.add_option("--test-subset", test_subset, "Test on so many samples, stratified; 0: all")
      ->capture_default_str()
      ->type_name("N")
      ->group(group);
  app.add_option("--split-seed", split_seed, "Seed of subset and validation split")
      ->capture_default_str()
      ->type_name("N")
      ->group(group);
}

datasets::Dataset DataChoice::load() const
{
  require(!dataset.empty(), "--dataset is required");
  require(validation >= 0 && validation < 1, "--validation must be in [0, 1), got ", validation);
  require(subset >= 0, "--subset must be >= 0, got ", subset);
  require(test_subset >= 0, "--test-subset must be >= 0, got ", test_subset);
  auto data = datasets::load(dataset, data_dir);
  // Whatever part is taken, the values are normalised as the whole training split is, so that a network meets the same
  // images in `evaluate` as in `train`.
  auto mean = data.mean, deviation = data.deviation;
  if (!normalise) {
    mean.assign(static_cast<std::size_t>(data.channels), 0.0F);
    deviation.assign(static_cast<std::size_t>(data.channels), 1.0F);
  }
  if (subset > 0 || test_subset > 0) datasets::take_subset(data, subset, test_subset, split_seed);
  if (validation > 0) datasets::split_validation(data, validation, split_seed);
  data.mean = std::move(mean);
  data.deviation = std::move(deviation);
  return data;
}

std::optional<datasets::Dataset> DataChoice::load_or_leave_out() const
{
  try {
    return load();
  } catch (Error const& error) {
    if (dataset.find(':') != std::string::npos) throw;
    std::cerr << "nasturtium: without " << dataset << ": " << error.what() << '\n';
    return std::nullopt;
  }
}

json::Value to_json(DataChoice const& choice)
{
  json::Object object;
  object["dataset"] = choice.dataset;
  object["data_dir"] = choice.data_dir;
  object["validation"] = choice.validation;
  object["subset"] = choice.subset;
  object["test_subset"] = choice.test_subset;
  object["split_seed"] = choice.split_seed;
  object["normalise"] = choice.normalise;
  return object;
}

DataChoice parse_data_choice(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  auto const most = std::numeric_limits<std::int64_t>::max();
  DataChoice choice;
  choice.dataset = reader.string("dataset");
  choice.data_dir = reader.string("data_dir", "");
  choice.validation = reader.number("validation", json::half_open(0, 1), 0.0);
  choice.subset = reader.integer("subset", 0, most, 0);
  choice.test_subset = reader.integer("test_subset", 0, most, 0);
  choice.split_seed = reader.seed("split_seed", 1);
  choice.normalise = reader.boolean("normalise", true);
  reader.finish();
  return choice;
}

std::string short_name(std::string const& dataset)
{
  return dataset.substr(0, dataset.find(':'));
}

void check_fits(nn::spec::Architecture const& architecture, datasets::Dataset const& dataset, std::string const& source)
{
  auto const shape = [](int height, int width, int channels) { return concat(height, " x ", width, " x ", channels); };
  auto const& input = architecture.input;
  require(input.height == dataset.height && input.width == dataset.width && input.channels == dataset.channels, source,
          ": input is ", shape(input.height, input.width, input.channels), ", but the samples of ", dataset.name,
          " are ", shape(dataset.height, dataset.width, dataset.channels));
  if (dataset.classes > 0)
    require(architecture.classes == dataset.classes, source, ": output has ", architecture.classes, " classes, but ",
            dataset.name, " has ", dataset.classes);
  else
    require(architecture.regression == dataset.target_width, source, ": output has ", architecture.regression,
            " regression values, but ", dataset.name, " has ", dataset.target_width);
}

} // namespace nasturtium::cli
