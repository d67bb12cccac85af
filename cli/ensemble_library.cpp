// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ensemble_library.hpp"

#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/front.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

namespace nasturtium::cli {

HalvingWatcher::HalvingWatcher(std::string const& label, nas::HalvingSearchConfig const& config,
                               ensemble::HalvingLibrary* library)
    : m_library(library), m_progress(label, nas::plan(config.halving).epochs, "epochs"),
      m_best(std::numeric_limits<double>::infinity())
{
}

void HalvingWatcher::on_report(int /*trial*/, int /*rung*/, nn::EpochReport const& /*report*/)
{
  m_progress.set(m_epochs + ++m_reports);
}

void HalvingWatcher::on_model(nas::HalvingModel const& model)
{
  using Status = nas::HalvingModel::Status;
  if (m_library) m_library->on_model(model);
  int& reached = m_epochs_of[model.trial];
  int const increment = model.epochs - reached;
  m_reports = std::max<std::int64_t>(0, m_reports - increment);
  m_epochs += increment;
  reached = model.epochs;
  if (model.status == Status::failed) {
    ++m_failed;
    if (!model.reason.empty()) m_progress.message(concat("trial ", model.trial, ": ", model.reason));
  } else {
    m_best = std::min(m_best, model.loss);
    m_moments.push_back({m_epochs, model.loss});
  }
  m_progress.set(m_epochs + m_reports, note());
}

std::string HalvingWatcher::note() const
{
  std::string text = concat(m_moments.size(), " models");
  if (m_failed > 0) text += concat(", ", m_failed, " failed");
  if (std::isfinite(m_best)) text += concat(", least loss ", fixed(m_best, 4));
  return text;
}

void HalvingWatcher::on_note(std::string const& text)
{
  m_progress.message("nasturtium: " + text);
}

datasets::Dataset load_data_of(nas::HalvingSearchConfig const& config, std::string const& source,
                               std::string const& data_dir)
{
  DataChoice data = parse_data_choice(config.data, source + ": 'data'");
  if (!data_dir.empty()) data.data_dir = data_dir;
  auto dataset = data.load();
  require(dataset.checksum == config.data_checksum, data.dataset,
          ": is not the data set that the search was begun with (checksum ", dataset.checksum, ", was ",
          config.data_checksum, ")");
  return dataset;
}

std::string library_path(std::string const& folder)
{
  if (ensemble::ModelLibrary::exists(folder)) return folder;
  std::string inner = (std::filesystem::path(folder) / "library").string();
  require(ensemble::ModelLibrary::exists(inner), folder,
          ": holds no library of models (nasturtium ensemble search "
          "makes one)");
  return inner;
}

std::size_t taken_entry(ensemble::FrontReport const& front, std::string const& take)
{
  using namespace ensemble;
  require(!front.entries.empty(), "--take: the front is empty");
  std::vector<CostLoss> points;
  std::vector<double> accuracies;
  for (auto const& entry : front.entries) {
    points.push_back({entry.costs.at(front.cost_axis), entry.loss});
    accuracies.push_back(entry.check.accuracy);
  }
  auto const number_after = [&](std::string const& prefix) {
    auto const number = parse_double(take.substr(prefix.size()));
    require(number.has_value() && std::isfinite(*number), "--take ", quoted(take), ": a number is expected after ",
            prefix);
    return *number;
  };
  std::optional<std::size_t> found;
  if (take == "knee") {
    found = knee(points);
  } else if (take == "best") {
    found = points.size() - 1;
  } else if (take == "cheapest") {
    found = 0;
  } else if (take.starts_with("under:")) {
    double const budget = number_after("under:");
    found = best_under_budget(points, budget);
    require(found.has_value(), "--take ", take, ": the cheapest costs ", shortest(points.front().cost), " ",
            front.cost_axis);
  } else if (take.starts_with("above:")) {
    double const accuracy = number_after("above:");
    found = cheapest_above_accuracy(points, accuracies, accuracy / 100);
    require(found.has_value(), "--take ", take, ": the most accurate has ",
            fixed(100 * *std::max_element(accuracies.begin(), accuracies.end()), 2), " %");
  } else {
    auto const number = parse_integer(take);
    require(number.has_value(), "--take must be ", take_words, ", got ", quoted(take));
    require(*number >= 1 && *number <= static_cast<std::int64_t>(points.size()), "--take must be in [1, ",
            points.size(), "], got ", *number);
    found = static_cast<std::size_t>(*number - 1);
  }
  return found.value();
}

SampleImages::SampleImages(datasets::Dataset const& dataset, int count)
{
  auto const& samples = dataset.test.count > 0 ? dataset.test : dataset.validation;
  require(samples.count > 0, dataset.name, ": has no samples to serve");
  auto const fill = [&](auto const& from, auto& to) {
    if (from.empty()) return;
    to.resize(static_cast<std::size_t>(count * dataset.sample_size()));
    for (std::size_t i = 0; i < to.size(); ++i)
      to[i] = from[i % from.size()];
  };
  fill(samples.bytes, m_bytes);
  fill(samples.values, m_values);
}

int host_cores()
{
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

std::vector<ensemble::ServingDevice> serving_devices(std::string const& list, nn::BackendKind host)
{
  int const cores = host_cores();
  std::vector<ensemble::ServingDevice> devices;
  int used = 0;
  auto const add_partition = [&](int threads) {
    ensemble::ServingDevice device;
    device.name = concat("cores", used, threads > 1 ? concat("-", used + threads - 1) : "");
    device.backend = host;
    device.threads = threads;
    for (int core = used; core < used + threads; ++core)
      device.cores.push_back(core);
    used += threads;
    devices.push_back(std::move(device));
  };
  if (list.empty()) {
    while (used < cores)
      add_partition(1);
    return devices;
  }
  std::stringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    if (word == "cuda") {
      ensemble::ServingDevice device;
      device.name = "cuda";
      device.backend = nn::parse_backend(word);
      devices.push_back(std::move(device));
      continue;
    }
    auto const threads = parse_integer(word);
    require(threads.has_value() && *threads >= 1, "--devices: numbers of cores and cuda are expected, got ",
            quoted(word));
    require(used + *threads <= cores, "--devices ", list, ": there are ", cores, " cores");
    add_partition(static_cast<int>(*threads));
  }
  require(!devices.empty(), "--devices: is empty");
  return devices;
}

} // namespace nasturtium::cli
