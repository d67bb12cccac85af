// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Training states as HDF5 files. Format: docs/formats.md.
#include <nasturtium/nn/checkpoint.hpp>

#include "network_plan.hpp"
#include "train_state.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/json.hpp>

#include <algorithm>
#include <set>

namespace nasturtium::nn {

namespace {

constexpr std::int64_t format_version = 1;
constexpr std::int64_t pending_width = 4;
constexpr std::int64_t report_width = 11;

void write_text(hdf5::Writer& file, std::string const& object, std::string const& text)
{
  // As a data set: attributes are limited to 64 KiB.
  std::vector<std::uint8_t> const bytes(text.begin(), text.end());
  file.write(object, {static_cast<std::int64_t>(bytes.size())}, bytes);
}

std::string read_text(hdf5::Reader const& file, std::string const& object)
{
  require(file.has(object), file.path(), ": data set '", object, "' is missing");
  auto const bytes = file.read<std::uint8_t>(object).values;
  return {bytes.begin(), bytes.end()};
}

void write_weights(hdf5::Writer& file, std::string const& group, Weights const& weights, Precision precision)
{
  file.create_group(group);
  for (auto const& [key, tensor] : weights) {
    auto const object = concat(group, "/", key.first, "/", key.second);
    if (precision == Precision::float64) {
      file.write(object, tensor.extent, tensor.values);
    } else {
      file.write(object, tensor.extent, std::vector<float>(tensor.values.begin(), tensor.values.end()));
    }
  }
}

Weights read_weights(hdf5::Reader const& file, std::string const& group)
{
  require(file.has(group) && file.is_group(group), file.path(), ": group '", group, "' is missing");
  Weights weights;
  for (auto const& node : file.children(group)) {
    auto const inner = group + "/" + node;
    require(file.is_group(inner), file.path(), ": '", inner, "' is not a group");
    for (auto const& name : file.children(inner)) {
      auto array = file.read<double>(inner + "/" + name);
      weights[{node, name}] = {std::move(array.extent), std::move(array.values)};
    }
  }
  return weights;
}

/// A table of doubles of a given width.
std::vector<double> read_rows(hdf5::Reader const& file, std::string const& object, std::int64_t width)
{
  require(file.has(object), file.path(), ": data set '", object, "' is missing");
  auto array = file.read<double>(object);
  require(array.extent.size() == 2 && array.extent[1] == width, file.path(), ": data set '", object, "' must have ",
          width, " columns");
  return std::move(array.values);
}

std::int64_t read_count(hdf5::Reader const& file, std::string const& attribute)
{
  auto const value = file.integer_attribute("/", attribute);
  require(value >= 0, file.path(), ": attribute '", attribute, "' must not be negative, got ", value);
  return value;
}

/// The values that an optimiser keeps: one tensor for every trained parameter.
void check_slot(Weights const& slot, spec::Architecture const& architecture, std::vector<std::string> const& frozen,
                std::string const& source)
{
  check_weights(slot, architecture, false, source);
  auto const inferred = spec::infer(architecture);
  for (auto const& info : inferred.nodes) {
    auto const& id = architecture.nodes[info.node].id;
    bool const is_frozen = std::find(frozen.begin(), frozen.end(), id) != frozen.end();
    for (auto const& parameter : info.parameters) {
      bool const there = slot.count({id, parameter.name}) > 0;
      require(there == (parameter.trainable && !is_frozen), source, ": node '", id, "': ", parameter.name,
              there ? " is not trained" : " is missing");
    }
  }
}

std::vector<std::string> parse_frozen(std::string const& text, std::string const& source)
{
  auto const value = json::parse(text, source);
  require(value.is_array(), source, " must be an array of node ids, got ", text);
  std::vector<std::string> frozen;
  for (auto const& id : value.get_array())
    frozen.push_back(json::to_string(id, source));
  return frozen;
}

/// Throws where two JSON values differ; names the first field.
void check_equal(boost::json::value const& stored, boost::json::value const& wanted, std::string const& path,
                 std::string const& source)
{
  if (stored.is_object() && wanted.is_object()) {
    for (auto const& [key, value] : stored.as_object()) {
      auto const* const other = wanted.as_object().if_contains(key);
      auto const inner = concat(path, path.empty() ? "" : ".", std::string(key));
      require(other != nullptr, source, ": option '", inner, "' is missing");
      check_equal(value, *other, inner, source);
    }
    return;
  }
  require(stored == wanted, source, ": option '", path, "' was ", boost::json::serialize(stored), ", but now is ",
          boost::json::serialize(wanted));
}

} // namespace

void save_checkpoint(std::string const& path, TrainState const& state)
{
  hdf5::Writer file(path);
  file.set_attribute("/", "format", "nasturtium-checkpoint");
  file.set_attribute("/", "version", format_version);
  file.set_attribute("/", "architecture_hash", spec::hash(state.architecture));
  file.set_attribute("/", "dataset_checksum", state.dataset_checksum);
  file.set_attribute("/", "samples", state.samples);
  file.set_attribute("/", "step", state.step);
  file.set_attribute("/", "best_loss", state.best_loss);
  file.set_attribute("/", "stale_validations", state.stale_validations);
  file.set_attribute("/", "seconds", state.seconds);
  file.set_attribute("/", "validation_seconds", state.validation_seconds);
  write_text(file, "/architecture", spec::to_json(state.architecture));
  write_text(file, "/options", to_json(state.options));
  if (!state.frozen.empty()) {
    write_text(file, "/frozen", json::compact(json::Array(state.frozen.begin(), state.frozen.end())));
  }
  write_weights(file, "/weights", state.weights, state.options.precision);
  auto const names = impl::slot_names(state.options.optimiser.kind);
  for (std::size_t slot = 0; slot < state.slots.size(); ++slot) {
    write_weights(file, "/optimiser/" + names.at(slot), state.slots[slot], state.options.precision);
  }
  std::vector<double> rows;
  for (auto const& sums : state.pending)
    rows.insert(rows.end(), sums.begin(), sums.end());
  file.write("/pending", {static_cast<std::int64_t>(state.pending.size()), pending_width}, rows);
  rows.clear();
  for (auto const& report : state.reports) {
    rows.insert(rows.end(), {report.epoch, static_cast<double>(report.step), report.train_loss, report.train_accuracy,
                             report.train_top_k, report.validation_loss, report.validation_accuracy,
                             report.validation_top_k, report.learning_rate, report.seconds, report.validation_seconds});
  }
  file.write("/reports", {static_cast<std::int64_t>(state.reports.size()), report_width}, rows);
  file.commit();
}

std::shared_ptr<TrainState const> load_checkpoint(std::string const& path)
{
  hdf5::Reader const file(path);
  require(file.has_attribute("/", "format") && file.string_attribute("/", "format") == "nasturtium-checkpoint", path,
          ": attribute 'format' must be 'nasturtium-checkpoint': not a checkpoint");
  auto const version = file.integer_attribute("/", "version");
  require(version == format_version, path, ": attribute 'version' must be ", format_version, ", got ", version);
  auto state = std::make_shared<TrainState>();
  state->architecture = spec::parse_architecture(read_text(file, "/architecture"), path + ": architecture");
  auto const hash = file.string_attribute("/", "architecture_hash");
  require(hash == spec::hash(state->architecture), path,
          ": attribute 'architecture_hash' is not that of 'architecture'");
  state->options = parse_options(read_text(file, "/options"), path + ": options");
  check(state->options);
  if (file.has("/frozen")) state->frozen = parse_frozen(read_text(file, "/frozen"), path + ": /frozen");
  state->dataset_checksum = file.string_attribute("/", "dataset_checksum");
  state->samples = read_count(file, "samples");
  state->step = read_count(file, "step");
  state->best_loss = file.number_attribute("/", "best_loss");
  state->stale_validations = static_cast<int>(read_count(file, "stale_validations"));
  state->seconds = file.number_attribute("/", "seconds");
  state->validation_seconds = file.number_attribute("/", "validation_seconds");
  state->weights = read_weights(file, "/weights");
  check_weights(state->weights, state->architecture, true, path);
  for (auto const& name : impl::slot_names(state->options.optimiser.kind)) {
    state->slots.push_back(read_weights(file, "/optimiser/" + name));
    check_slot(state->slots.back(), state->architecture, state->frozen, concat(path, ": /optimiser/", name));
  }
  auto const pending = read_rows(file, "/pending", pending_width);
  for (std::size_t i = 0; i < pending.size(); i += pending_width) {
    state->pending.push_back({pending[i], pending[i + 1], pending[i + 2], pending[i + 3]});
  }
  auto const rows = read_rows(file, "/reports", report_width);
  for (std::size_t i = 0; i < rows.size(); i += report_width) {
    EpochReport report;
    auto const* row = rows.data() + i;
    require(row[1] >= 0 && row[1] <= static_cast<double>(state->step), path, ": /reports: step ", row[1],
            " is not in [0, ", state->step, "]");
    report.epoch = row[0];
    report.step = static_cast<std::int64_t>(row[1]);
    report.train_loss = row[2];
    report.train_accuracy = row[3];
    report.train_top_k = row[4];
    report.validation_loss = row[5];
    report.validation_accuracy = row[6];
    report.validation_top_k = row[7];
    report.learning_rate = row[8];
    report.seconds = row[9];
    report.validation_seconds = row[10];
    state->reports.push_back(report);
  }
  return state;
}

void check_resumable(TrainState const& state, spec::Architecture const& architecture, TrainOptions const& options,
                     std::vector<std::string> const& frozen, std::string const& source)
{
  require(spec::hash(state.architecture) == spec::hash(architecture), source, ": the state's architecture '",
          state.architecture.name, "' is not '", architecture.name, "': their hashes differ");
  // Limits may be moved; everything else decides about results.
  auto stored = state.options;
  stored.epochs = options.epochs;
  stored.max_steps = options.max_steps;
  stored.time_limit_seconds = options.time_limit_seconds;
  stored.memory_limit_bytes = options.memory_limit_bytes;
  check_equal(json::parse(to_json(stored), source), json::parse(to_json(options), source), "", source);
  auto const sorted = [](std::vector<std::string> const& ids) {
    std::set<std::string> const set(ids.begin(), ids.end());
    return json::Array(set.begin(), set.end());
  };
  check_equal(sorted(state.frozen), sorted(frozen), "frozen", source);
}

spec::Architecture const& architecture_of(TrainState const& state)
{
  return state.architecture;
}
TrainOptions const& options_of(TrainState const& state)
{
  return state.options;
}
Weights const& weights_of(TrainState const& state)
{
  return state.weights;
}
std::vector<EpochReport> const& reports_of(TrainState const& state)
{
  return state.reports;
}
std::int64_t steps_of(TrainState const& state)
{
  return state.step;
}

} // namespace nasturtium::nn
