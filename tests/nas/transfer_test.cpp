// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weight transfer in a search: what is copied, who gives it, and that a search that was cut off decides the same.
#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/journal.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/nas/full_training.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

datasets::Dataset const& images()
{
  static auto const dataset = [] {
    auto made = datasets::load("synthetic:height=12:width=12:classes=4:count=160:test=40:noise=60");
    datasets::split_validation(made, 0.25, 1);
    return made;
  }();
  return dataset;
}

SearchConfig config_of(std::string const& matcher, Provider provider = Provider::parent)
{
  SearchConfig config;
  config.space = "lenet11";
  config.task = {{12, 12, 1}, 4};
  config.settings.algorithm = "aging";
  config.settings.evaluations = 14;
  config.settings.population = 5;
  config.settings.sample = 2;
  config.training.epochs = 1;
  config.training.batch_size = 32;
  config.training.optimiser.learning_rate = 0.02;
  config.transfer.on = matcher != "none";
  if (config.transfer.on) config.transfer.policy.matcher = parse_matcher(matcher);
  config.transfer.provider = provider;
  config.data = "synthetic";
  config.data_checksum = images().checksum;
  return config;
}

nn::TrainerOptions one_thread()
{
  nn::TrainerOptions options;
  options.threads = 1;
  return options;
}

SearchResult search(SearchFolder& folder, std::function<bool()> const& interrupted = {})
{
  SearchObserver nobody;
  return run_search(folder, images(), one_thread(), nobody, interrupted);
}

SearchFolder create(std::string const& path, SearchConfig const& config)
{
  return SearchFolder::create(path, config, make_provenance(0, nullptr, 1, "test"));
}

// Questions, donors and answers, without times.
std::vector<std::string> decisions(std::string const& path)
{
  std::vector<std::string> found;
  for (auto const& event : read_journal(path + "/journal.jsonl")) {
    auto object = event.as_object();
    if (object["event"] != "ask" && object["event"] != "tell") continue;
    for (char const* field : {"utc", "seconds", "engine_seconds"})
      object.erase(field);
    if (auto* const transfer = object.if_contains("transfer"))
      for (char const* field : {"match_seconds", "load_seconds", "store_seconds", "new_bytes"})
        transfer->as_object().erase(field);
    found.push_back(json::compact(object));
  }
  return found;
}

std::map<std::pair<std::string, std::string>, std::vector<double>> values_of(nn::Weights const& weights)
{
  std::map<std::pair<std::string, std::string>, std::vector<double>> values;
  for (auto const& [key, tensor] : weights)
    values[key] = tensor.values;
  return values;
}

} // namespace

TEST_CASE("transfer: filled tensors are the donor's, bit for bit, and the others are left to the seed")
{
  test::TemporaryFolder const place;
  auto config = config_of("lcs");
  auto const space = make_space(config.space, config.task);
  Random random(3, 0);
  for (int round = 0; round < 20; ++round) {
    std::string const folder = place / concat("store-", round);
    WeightTransfer transfer(config.transfer, folder, 1);
    Trial parent{.id = 0, .genome = space->sample(random)};
    Trial child{.id = 1, .genome = space->neighbour(parent.genome, random), .generation = 1, .parent = 0};
    auto const donor = space->decode(parent.genome), network = space->decode(child.genome);
    nn::Weights weights;
    for (auto const& node : nn::spec::infer(donor).nodes)
      for (auto const& parameter : node.parameters) {
        nn::Tensor tensor{parameter.extent, {}};
        std::int64_t count = 1;
        for (auto const extent : parameter.extent)
          count *= extent;
        for (std::int64_t i = 0; i < count; ++i)
          tensor.values.push_back(static_cast<float>(random.uniform()));
        weights[{donor.nodes[static_cast<std::size_t>(node.node)].id, parameter.name}] = std::move(tensor);
      }
    TransferRecord record;
    std::string note;
    transfer.keep(parent, donor, weights, 50, 1, 7, {}, record, note);
    CHECK(note.empty());
    CHECK(record.lineage_epochs == 1);
    transfer.told(parent, donor, 50, record);
    auto const start = transfer.start(child, network);
    auto const found = match(donor, network, config.transfer.policy);
    CHECK(start.record.layers == found.matched);
    CHECK(start.record.bytes == found.bytes);
    CHECK(start.frozen.empty());
    if (found.matched == 0) {
      CHECK_FALSE(start.weights);
      continue;
    }
    CHECK(start.record.donor == 0);
    CHECK(start.record.lineage_length == 1);
    REQUIRE(start.weights);
    CHECK(values_of(*start.weights) == values_of(transferred(found, weights)));
    // The control has the same values in another order.
    auto shuffled = config.transfer;
    shuffled.permute = true;
    WeightTransfer other(shuffled, folder, 1);
    other.told(parent, donor, 50, record);
    auto permuted = values_of(*other.start(child, network).weights), plain = values_of(*start.weights);
    CHECK(permuted != plain);
    for (auto* const set : {&permuted, &plain})
      for (auto& [key, list] : *set)
        std::sort(list.begin(), list.end());
    CHECK(permuted == plain);
  }
}

TEST_CASE("transfer: a donor that is gone or damaged is no reason to fail")
{
  test::TemporaryFolder const place;
  auto config = config_of("lp", Provider::nearest);
  auto const space = make_space(config.space, config.task);
  Random random(4, 0);
  Trial const first{.id = 0, .genome = space->sample(random)};
  auto const network = space->decode(first.genome);
  auto const trained = [&] {
    nn::Candidate candidate;
    candidate.architecture = network;
    candidate.options = config.training;
    return nn::train(one_thread(), std::span<nn::Candidate const>(&candidate, 1), images()).front();
  }();
  WeightTransfer transfer(config.transfer, place / "store", 1);
  TransferRecord record;
  std::string note;
  transfer.keep(first, network, *trained.weights, 50, 1, 7, {}, record, note);
  transfer.told(first, network, 50, record);
  Trial const second{.id = 1, .genome = first.genome};
  auto const whole = transfer.start(second, network);
  CHECK(whole.record.layers == whole.record.layers_of_child);
  CHECK(whole.record.fraction == 1);
  // Every byte of an object counts: a flipped bit is found, and the child begins from its seed.
  for (auto const& entry : std::filesystem::recursive_directory_iterator(place / "store/objects"))
    if (entry.is_regular_file()) {
      auto text = read_file(entry.path().string());
      text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
      std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_all);
      std::ofstream(entry.path(), std::ios::binary) << text;
    }
  auto const damaged = transfer.start(second, network);
  CHECK(damaged.record.donor_missing);
  CHECK(damaged.record.layers == 0);
  CHECK_FALSE(damaged.weights);
  transfer.store().remove("0");
  auto const gone = transfer.start(second, network);
  CHECK(gone.record.donor == 0);
  CHECK(gone.record.donor_missing);
  CHECK_FALSE(gone.weights);
}

TEST_CASE("transfer: without a match a search is the search without transfer")
{
  test::TemporaryFolder const place;
  auto plain = config_of("none"), with = config_of("lp");
  // Random search has no parents, so nobody gives anything.
  plain.settings.algorithm = with.settings.algorithm = "random";
  auto one = create(place / "plain", plain), two = create(place / "with", with);
  auto const left = search(one), right = search(two);
  REQUIRE(left.trials.size() == right.trials.size());
  for (std::size_t i = 0; i < left.trials.size(); ++i) {
    CHECK(left.trials[i].trial.genome == right.trials[i].trial.genome);
    CHECK(left.trials[i].fitness == right.trials[i].fitness);
    CHECK(right.trials[i].transfer.donor == -1);
  }
}

TEST_CASE("transfer: interrupted anywhere and resumed, a search has the same donors and the same answers")
{
  test::TemporaryFolder const place;
  for (Provider const provider : {Provider::parent, Provider::nearest, Provider::random})
    for (bool const freeze : {false, true}) {
      auto config = config_of("lcs", provider);
      config.transfer.freeze = freeze;
      std::string const kind = concat(name(provider), freeze ? "-frozen" : "");
      auto whole = create(place / (kind + "-whole"), config);
      std::atomic<int> polls = 0;
      auto const result = search(whole, [&] {
        ++polls;
        return false;
      });
      int warm = 0;
      for (auto const& trial : result.trials)
        warm += trial.transfer.layers > 0;
      CHECK(warm >= 2);
      auto const wanted = decisions(whole.path());
      for (int const part : {3, 7}) {
        INFO(kind << " after " << part << " tenths of the steps");
        std::string const path = place / concat(kind, "-", part);
        {
          auto folder = create(path, config);
          std::atomic<int> seen = 0;
          int const limit = polls * part / 10;
          CHECK(search(folder, [&] { return ++seen > limit; }).interrupted);
        }
        auto folder = SearchFolder::open(path);
        CHECK_FALSE(search(folder).interrupted);
        CHECK(decisions(path) == wanted);
      }
      // Donors are trials that were answered before; under `parent` they are parents.
      std::set<int> told;
      auto store = WeightStore::open(whole.file("store"));
      for (auto const& trial : result.trials) {
        auto const& record = trial.transfer;
        if (record.layers > 0) {
          CHECK(told.contains(record.donor));
          if (provider == Provider::parent) CHECK(record.donor == trial.trial.parent);
          if (freeze) {
            // What was frozen is in the child's model as it was in the donor's: the same objects.
            auto const child = store.find(std::to_string(trial.trial.id)),
                       donor = store.find(std::to_string(record.donor));
            REQUIRE(child);
            REQUIRE(donor);
            std::set<std::string> objects;
            for (auto const& layer : donor->layers)
              objects.insert(layer.object);
            int const shared =
                static_cast<int>(std::count_if(child->layers.begin(), child->layers.end(),
                                               [&](auto const& layer) { return objects.contains(layer.object); }));
            CHECK(shared >= record.layers - 1); // the last layer is trained
          }
        }
        told.insert(trial.trial.id);
      }
    }
}

TEST_CASE("transfer: a cap never takes the weights of those that may become parents")
{
  test::TemporaryFolder const place;
  auto config = config_of("lcs");
  config.settings.evaluations = 30;
  config.transfer.cap_bytes = 1; // less than one model: every put is refused
  auto folder = create(place / "run", config);
  auto const result = search(folder);
  int missing = 0;
  for (auto const& trial : result.trials) {
    CHECK(trial.transfer.stored_bytes == 0);
    CHECK(trial.transfer.layers == 0);
    missing += trial.transfer.donor_missing;
  }
  CHECK(result.trials.size() == 30); // a store without room ends no search
  CHECK(missing > 0);
  auto roomy = config;
  roomy.transfer.cap_bytes = std::int64_t{6} << 20; // some dozen of these networks
  auto other = create(place / "roomy", roomy);
  for (auto const& trial : search(other).trials)
    CHECK_FALSE(trial.transfer.donor_missing);
}

TEST_CASE("full training: arms start from what they say, and a run that was cut off goes on")
{
  test::TemporaryFolder const place;
  auto folder = create(place / "run", config_of("lcs"));
  auto const result = search(folder);
  auto const best = fittest(result.trials, 2);
  REQUIRE(best.size() == 2);
  CHECK(best[0].fitness >= best[1].fitness);
  CHECK(best[0].fitness == result.trials[static_cast<std::size_t>(result.best)].fitness);
  FullTrainingOptions options;
  options.most_epochs = 6;
  std::vector<Arm> const arms{Arm::random, Arm::rescore, Arm::own, Arm::transferred, Arm::lineage};
  auto const whole = train_fully(folder, best, arms, options, images(), one_thread());
  REQUIRE(whole.size() == 10);
  for (auto const& it : whole) {
    INFO(it.trial << " " << name(it.arm));
    CHECK(it.epochs >= 1);
    CHECK(it.epochs <= 6);
    CHECK(std::isfinite(it.test));
    if (it.arm == Arm::rescore) CHECK(it.epochs == 1);
  }
  // Cut off after some trainings, anywhere in one, it ends with the same figures.
  auto second = create(place / "again", config_of("lcs"));
  auto const same = search(second);
  std::atomic<int> polls = 0;
  auto const part = train_fully(second, fittest(same.trials, 2), arms, options, images(), one_thread(), {},
                                [&] { return ++polls > 40; });
  CHECK(part.size() < whole.size());
  auto const rest = train_fully(second, fittest(same.trials, 2), arms, options, images(), one_thread());
  REQUIRE(rest.size() == whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CHECK(rest[i].trial == whole[i].trial);
    CHECK(rest[i].arm == whole[i].arm);
    CHECK(rest[i].epochs == whole[i].epochs);
    CHECK(rest[i].test == whole[i].test);
  }
  // Journals that are not of this kind are refused with file and line.
  write_file(folder.file("full_training.jsonl"), "{\"trial\": 0, \"arm\": \"magic\"}\n");
  CHECK(test::error_of([&] {
          train_fully(folder, best, arms, options, images(), one_thread());
        }).find("full_training.jsonl:1") != std::string::npos);
}
