// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nas/random.hpp>
#include <nasturtium/nas/transfer.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace nasturtium::nas {

namespace {

constexpr auto most_int = std::numeric_limits<int>::max();
constexpr auto most_bytes = std::numeric_limits<std::int64_t>::max();
// Streams of their own: questions count from 0.
constexpr std::uint64_t provider_stream = 0x70726f7669646572, permute_stream = 0x7065726d75746500;

std::string model_id(int trial)
{
  return std::to_string(trial);
}

/// The control: what is transferred keeps its distribution and loses its order.
void permute(nn::Weights& weights, std::uint64_t seed, int trial)
{
  Random random(seed ^ permute_stream, static_cast<std::uint32_t>(trial));
  for (auto& [key, tensor] : weights)
    for (std::size_t i = tensor.values.size(); i > 1; --i)
      std::swap(tensor.values[i - 1], tensor.values[static_cast<std::size_t>(random.below(static_cast<int>(i)))]);
}

} // namespace

std::string name(Provider provider)
{
  switch (provider) {
  case Provider::parent:
    return "parent";
  case Provider::nearest:
    return "nearest";
  case Provider::random:
    return "random";
  }
  return "unknown";
}

Provider parse_provider(std::string const& text)
{
  for (Provider const provider : {Provider::parent, Provider::nearest, Provider::random})
    if (name(provider) == text) return provider;
  fail("provider must be parent, nearest or random, got ", quoted(text));
}

json::Value to_json(TransferSettings const& settings)
{
  json::Object object;
  object["matcher"] = name(settings.policy.matcher);
  object["element"] = name(settings.policy.element);
  object["batch_norm"] = name(settings.policy.batch_norm);
  object["provider"] = name(settings.provider);
  object["freeze"] = settings.freeze;
  object["permute"] = settings.permute;
  object["cap_bytes"] = settings.cap_bytes;
  return object;
}

TransferSettings parse_transfer_settings(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  TransferSettings settings;
  settings.on = true;
  settings.policy.matcher = parse_matcher(reader.string("matcher"));
  settings.policy.element = parse_element_rule(reader.string("element"));
  settings.policy.batch_norm = parse_batch_norm_rule(reader.string("batch_norm"));
  settings.provider = parse_provider(reader.string("provider"));
  settings.freeze = reader.boolean("freeze");
  settings.permute = reader.boolean("permute");
  settings.cap_bytes = reader.integer("cap_bytes", 0, most_bytes);
  reader.finish();
  return settings;
}

json::Object to_json(TransferRecord const& record)
{
  json::Object object;
  object["donor"] = record.donor;
  object["donor_missing"] = record.donor_missing;
  object["layers"] = record.layers;
  object["layers_of_child"] = record.layers_of_child;
  object["bytes"] = record.bytes;
  object["fraction"] = record.fraction;
  object["lineage_length"] = record.lineage_length;
  object["lineage_epochs"] = record.lineage_epochs;
  object["match_seconds"] = record.match_seconds;
  object["load_seconds"] = record.load_seconds;
  object["store_seconds"] = record.store_seconds;
  object["stored_bytes"] = record.stored_bytes;
  object["new_bytes"] = record.new_bytes;
  return object;
}

TransferRecord parse_transfer_record(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  TransferRecord record;
  record.donor = static_cast<int>(reader.integer("donor", -1, most_int));
  record.donor_missing = reader.boolean("donor_missing");
  record.layers = static_cast<int>(reader.integer("layers", 0, most_int));
  record.layers_of_child = static_cast<int>(reader.integer("layers_of_child", 0, most_int));
  record.bytes = reader.integer("bytes", 0, most_bytes);
  record.fraction = reader.number("fraction", json::at_least(0));
  record.lineage_length = static_cast<int>(reader.integer("lineage_length", 0, most_int));
  record.lineage_epochs = reader.number("lineage_epochs", json::at_least(0));
  record.match_seconds = reader.number("match_seconds", json::at_least(0));
  record.load_seconds = reader.number("load_seconds", json::at_least(0));
  record.store_seconds = reader.number("store_seconds", json::at_least(0));
  record.stored_bytes = reader.integer("stored_bytes", 0, most_bytes);
  record.new_bytes = reader.integer("new_bytes", 0, most_bytes);
  reader.finish();
  return record;
}

/// What is known of a trial that may give its weights; small, since there may be many.
struct Donor
{
  int trial = 0;
  double score = 0;
  TransferRecord record;
  std::vector<WeightedLayer> layers;
  LayerCodes codes;
};

struct WeightTransfer::Impl
{
  TransferSettings settings;
  WeightStore store;
  std::uint64_t seed;
  std::map<int, Donor> donors; ///< by trial

  /// Bytes that a donor would give.
  std::int64_t matched_bytes(Donor const& donor, LayerCodes const& child) const
  {
    std::int64_t bytes = 0;
    for (auto const& [from, to] : align(donor.codes, child, settings.policy.matcher))
      bytes += child.bytes[static_cast<std::size_t>(to)];
    return bytes;
  }

  Donor const* best_of(std::vector<Donor const*> const& choice, LayerCodes const& child) const
  {
    Donor const* best = nullptr;
    std::int64_t most = -1;
    for (Donor const* const donor : choice) { // oldest first, so that ties stay with the older
      auto const bytes = matched_bytes(*donor, child);
      if (bytes > most || (bytes == most && donor->score > best->score)) {
        most = bytes;
        best = donor;
      }
    }
    return best;
  }

  Donor const* choose(Trial const& trial, LayerCodes const& child) const
  {
    std::vector<Donor const*> choice;
    switch (settings.provider) {
    case Provider::parent:
      for (int const id : {std::min(trial.parent, trial.other_parent), std::max(trial.parent, trial.other_parent)})
        if (auto const found = donors.find(id); found != donors.end()) choice.push_back(&found->second);
      break;
    case Provider::nearest:
      for (auto const& [id, donor] : donors)
        choice.push_back(&donor);
      break;
    case Provider::random: {
      if (donors.empty()) return nullptr;
      Random random(seed ^ provider_stream, static_cast<std::uint32_t>(trial.id));
      return &std::next(donors.begin(), random.below(static_cast<int>(donors.size())))->second;
    }
    }
    return best_of(choice, child);
  }
};

WeightTransfer::WeightTransfer(TransferSettings const& settings, std::string const& folder, std::uint64_t seed)
    : m_impl(std::make_unique<Impl>(
          Impl{settings, WeightStore::open(folder, StoreOptions{.cap_bytes = settings.cap_bytes}), seed, {}}))
{
}

WeightTransfer::~WeightTransfer() = default;

WeightStore& WeightTransfer::store()
{
  return m_impl->store;
}

WeightTransfer::Start WeightTransfer::start(Trial const& trial, nn::spec::Architecture const& child)
{
  Start start;
  Stopwatch watch;
  auto const layers = weighted_layers(child, m_impl->settings.policy);
  start.record.layers_of_child = static_cast<int>(layers.size());
  Donor const* const donor = m_impl->choose(trial, layer_codes(layers));
  if (!donor) return start;
  auto const found = match(donor->layers, layers, m_impl->settings.policy.matcher);
  start.record.match_seconds = watch.seconds();
  start.record.donor = donor->trial;
  if (found.matched == 0) return start;
  watch = {};
  std::vector<std::string> nodes;
  for (auto const& pair : found.pairs)
    nodes.push_back(pair.first);
  try {
    // Pinned, so that a put beside us cannot evict it under our hands.
    auto const pin = m_impl->store.pin(model_id(donor->trial), model_id(trial.id));
    auto const weights = pin ? m_impl->store.load(pin, nodes) : std::nullopt;
    start.record.load_seconds = watch.seconds();
    if (!weights) {
      start.record.donor_missing = true;
      return start;
    }
    auto taken = transferred(found, *weights);
    if (m_impl->settings.permute) permute(taken, m_impl->seed, trial.id);
    start.weights = std::make_shared<nn::Weights const>(std::move(taken));
  } catch (Error const&) { // damaged: as good as gone
    start.record.load_seconds = watch.seconds();
    start.record.donor_missing = true;
    return start;
  }
  start.record.layers = found.matched;
  start.record.bytes = found.bytes;
  start.record.fraction = found.parameters_of_child > 0
                              ? static_cast<double>(found.parameters) / static_cast<double>(found.parameters_of_child)
                              : 0;
  start.record.lineage_length = donor->record.lineage_length + 1;
  start.record.lineage_epochs = start.record.fraction * donor->record.lineage_epochs; // its own follow in keep()
  if (m_impl->settings.freeze)
    for (auto const& pair : found.pairs)
      if (pair.second != layers.back().id) start.frozen.push_back(pair.second);
  return start;
}

void WeightTransfer::keep(Trial const& trial, nn::spec::Architecture const& architecture, nn::Weights const& weights,
                          double score, double epochs, std::uint64_t seed, std::span<int const> living,
                          TransferRecord& record, std::string& note)
{
  record.lineage_epochs += epochs;
  Stopwatch const watch;
  StoredModel model;
  model.id = model_id(trial.id);
  model.architecture = nn::spec::to_json(architecture);
  model.score = score;
  if (record.layers > 0) model.donor = model_id(record.donor);
  model.lineage_length = record.lineage_length;
  model.lineage_epochs = record.lineage_epochs;
  model.epochs = epochs;
  model.seed = seed;
  std::vector<std::string> spared;
  for (int const id : living)
    spared.push_back(model_id(id));
  try {
    auto const result = m_impl->store.put(model, weights, spared);
    if (result.stored) {
      record.stored_bytes = result.bytes_logical;
      record.new_bytes = result.bytes_written;
    } else {
      note = concat("trial ", trial.id, " gives no weights to others: ", result.reason);
    }
  } catch (Error const& error) { // a full disk ends no search
    note = concat("trial ", trial.id, " gives no weights to others: ", error.what());
  }
  record.store_seconds = watch.seconds();
}

void WeightTransfer::told(Trial const& trial, nn::spec::Architecture const& architecture, double score,
                          TransferRecord const& record)
{
  if (!std::isfinite(score)) return;
  Donor donor{trial.id, score, record, weighted_layers(architecture, m_impl->settings.policy), {}};
  donor.codes = layer_codes(donor.layers);
  m_impl->donors.insert_or_assign(trial.id, std::move(donor));
}

} // namespace nasturtium::nas
