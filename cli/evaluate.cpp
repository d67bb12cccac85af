// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium evaluate: what trained weights are worth on a split of a data set.
#include "run.hpp"
#include "training_options.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>

#include <iostream>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium evaluate --weights runs/lenet/weights.h5 --dataset fashion-mnist\n"
    "  nasturtium evaluate --weights w.h5 --arch lenet --dataset mnist --split test --logits logits.csv --json";

enum class Split { train, validation, test };

datasets::Samples const& samples_of(datasets::Dataset const& dataset, Split split)
{
  return split == Split::train ? dataset.train : split == Split::validation ? dataset.validation : dataset.test;
}

// One line per sample: its number, what it is, and what the network says.
void write_logits(std::string const& path, datasets::Samples const& samples, std::size_t width,
                  std::vector<float> const& logits)
{
  bool const classes = !samples.labels.empty();
  std::vector<std::string> fields{"index"};
  if (classes)
    fields.emplace_back("label");
  else
    for (std::size_t i = 0; i < width; ++i)
      fields.push_back(concat("target_", i));
  for (std::size_t i = 0; i < width; ++i)
    fields.push_back(concat(classes ? "logit_" : "value_", i));
  AtomicFile file(path);
  file.write(csv_line(fields));
  for (std::size_t row = 0; row < static_cast<std::size_t>(samples.count); ++row) {
    fields.assign(1, std::to_string(row));
    if (classes)
      fields.push_back(std::to_string(samples.labels[row]));
    else
      for (std::size_t i = 0; i < width; ++i)
        fields.push_back(shortest(samples.targets[row * width + i]));
    for (std::size_t i = 0; i < width; ++i)
      fields.push_back(shortest(logits[row * width + i]));
    file.write(csv_line(fields));
  }
  file.commit();
}

} // namespace

int evaluate(Invocation const& call)
{
  DeviceOptions device;
  DataChoice data;
  std::string weights_path, architecture_source, logits_path;
  Split split = Split::test;
  int batch_size = 256, top_k = 5;
  nn::Precision precision = nn::Precision::float32;
  bool as_json = false;

  VerbParser parser("evaluate", "Loss and accuracy of trained weights on a split of a data set.", examples);
  CLI::App& app = parser.app();
  app.add_option("--weights", weights_path, "Weights (HDF5) as `train` writes them")
      ->type_name("FILE")
      ->required()
      ->option_text("FILE (required)");
  app.add_option("--arch", architecture_source, "Architecture; without it the one that the weights file carries")
      ->type_name("FILE|NAME");
  add_choice<Split>(app, "--split", split,
                    {{"train", Split::train}, {"validation", Split::validation}, {"test", Split::test}},
                    "Which samples");
  app.add_option("--batch-size", batch_size, "Samples at a time")->capture_default_str()->type_name("N");
  app.add_option("--top-k", top_k, "Of the second accuracy")->capture_default_str()->type_name("K");
  add_choice<nn::Precision>(app, "--precision", precision,
                            {{"float32", nn::Precision::float32}, {"float64", nn::Precision::float64}},
                            "Of all numbers");
  app.add_option("--logits", logits_path, "Write the outputs of every sample as CSV")->type_name("FILE");
  app.add_flag("--json", as_json, "The result as JSON on stdout");
  data.add_to(app);
  device.add_to(app);
  if (!parser.parse(call)) return exit_success;

  require(batch_size >= 1 && batch_size <= 65536, "--batch-size must be in [1, 65536], got ", batch_size);
  require(top_k >= 1, "--top-k must be >= 1, got ", top_k);
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const architecture = architecture_source.empty() ? nn::load_weights_architecture(weights_path)
                                                        : nn::spec::load_architecture(architecture_source);
  std::string const source = architecture_source.empty() ? weights_path : architecture_source;
  nn::spec::infer(architecture, source);
  auto const weights = nn::load_weights(weights_path);
  nn::check_weights(weights, architecture, true, weights_path);
  if (!logits_path.empty()) check_writable(logits_path, "--logits");
  auto const dataset = data.load();
  check_fits(architecture, dataset, source);
  auto const& samples = samples_of(dataset, split);
  char const* const split_name = split == Split::train ? "train" : split == Split::validation ? "validation" : "test";
  require(samples.count > 0, data.dataset, ": the ", split_name, " split is empty",
          split == Split::validation ? " (--validation FRACTION takes one from the training samples)" : "");

  std::vector<float> logits;
  auto const result = nn::evaluate(trainer, architecture, weights, dataset, samples, batch_size, top_k,
                                   logits_path.empty() ? nullptr : &logits, precision);
  auto const width = static_cast<std::size_t>(dataset.classes > 0 ? dataset.classes : dataset.target_width);
  if (!logits_path.empty()) write_logits(logits_path, samples, width, logits);

  bool const classes = dataset.classes > 0;
  double const rate = result.seconds > 0 ? static_cast<double>(result.count) / result.seconds : 0;
  if (as_json) {
    json::Object object;
    object["weights"] = weights_path;
    object["architecture"] = architecture.name;
    object["architecture_hash"] = nn::spec::hash(architecture);
    object["dataset"] = dataset.name;
    object["dataset_checksum"] = dataset.checksum;
    object["split"] = split_name;
    object["count"] = result.count;
    object["loss"] = result.loss;
    if (classes) {
      object["accuracy"] = result.accuracy;
      object["top_k"] = top_k;
      object["top_k_accuracy"] = result.top_k;
    }
    object["seconds"] = result.seconds;
    object["images_per_second"] = rate;
    std::cout << json::pretty(object);
    return exit_success;
  }
  std::vector<Column> columns{{"network"}, {"data set"}, {"split"}, {"samples"}, {"loss", 4}};
  if (classes) columns.insert(columns.end(), {{"accuracy %", 2}, {concat("top ", top_k, " %"), 2}});
  columns.push_back({"images/s", 0});
  Table table(columns);
  std::vector<Cell> row{architecture.name.empty() ? source : architecture.name, dataset.name, split_name, result.count,
                        result.loss};
  if (classes) row.insert(row.end(), {100 * result.accuracy, 100 * result.top_k});
  row.emplace_back(rate);
  table.add_row(std::move(row));
  std::cout << table.text();
  return exit_success;
}

} // namespace nasturtium::cli
