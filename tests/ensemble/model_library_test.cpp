// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ensemble/library_models.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/ensemble/front.hpp>
#include <nasturtium/ensemble/model_library.hpp>
#include <nasturtium/nn/weights.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

struct Place
{
  TemporaryFolder const folder;
  std::string const path = folder / "library", weights = folder / "weights";
  Place() { write_file(weights, "some weights"); }
};

std::vector<std::string> ids_of(std::vector<LibraryModel> const& models)
{
  std::vector<std::string> ids;
  for (auto const& model : models)
    ids.push_back(model.id);
  return ids;
}

void overwrite(std::string const& path, std::string const& bytes)
{
  std::ofstream(path, std::ios::binary) << bytes;
}

} // namespace

TEST_CASE("model library: what is published is listed and read back", "[library]")
{
  Place const place;
  CHECK_FALSE(ModelLibrary::exists(place.path));
  auto library = ModelLibrary::create(place.path, small_splits());
  CHECK(ModelLibrary::exists(place.path));
  CHECK(library.list().empty());
  for (std::uint64_t const number : {7, 3, 11})
    CHECK(library.publish(small_publication(number, place.weights)));
  CHECK_FALSE(library.publish(small_publication(3, place.weights))); // it stays as it is

  auto const again = ModelLibrary::open(place.path);
  auto const models = again.list();
  CHECK(ids_of(models) == std::vector<std::string>{"m11", "m3", "m7"});
  auto const& model = models[1];
  auto const expected = small_publication(3, place.weights);
  CHECK(model.parameters == 103);
  CHECK(model.flops == 1007.5);
  CHECK(model.device_costs == expected.model.device_costs);
  CHECK((model.rung == 1 && model.epochs == 3 && model.seed == 3 && !model.paused));
  CHECK(model.splits == small_splits().hash());
  CHECK(model.bytes() > 0);
  CHECK(read_file(again.weights_path("m3")) == "some weights");
  CHECK(read_file(again.config_path("m3")) == expected.config);
  CHECK(again.verify().empty());

  // Logits: shifted by the row's maximum, with 11 bits.
  auto const logits = again.logits(model, Split::select);
  REQUIRE(logits.size() == expected.select.size());
  for (std::size_t row = 0; row < logits.size(); row += 3) {
    float const peak = *std::max_element(expected.select.begin() + static_cast<std::ptrdiff_t>(row),
                                         expected.select.begin() + static_cast<std::ptrdiff_t>(row) + 3);
    for (std::size_t c = row; c < row + 3; ++c) {
      float const shifted = expected.select[c] - peak;
      CHECK(std::abs(logits[c] - shifted) <= std::abs(shifted) * 0x1p-11f);
    }
  }
  auto const pool = again.load_pool();
  CHECK(pool.size() == 3);
  CHECK(pool.test.models() == 3);
  CHECK(pool.models[1].costs.at("parameters") == 103);
  CHECK(pool.models[1].costs.at("bytes") == 480);
  CHECK(pool.models[1].costs.at("seconds") == 0.25 / 8);
  CHECK(std::abs(loss_of(pool.select, std::vector<Member>{{1, 1}}, Objective::nll, Pooling::mean) - model.loss) < 1e-6);
  std::vector<std::string> const two{"m7", "m11"};
  CHECK(library.load_pool(two).size() == 2);
  CHECK(ModelLibrary::logit_bytes(small_splits(), LogitPrecision::float16, 10) == 10 * (3 * 32 + 13 * 3 * 2));
}

TEST_CASE("model library: float16 holds every value that it can, and the nearest of the others", "[library]")
{
  Place const place;
  // One sample for every finite half below 0; its second logit is 0.
  std::vector<float> exact, between;
  for (std::uint32_t bits = 1; bits < 0x7c00; ++bits) {
    float const value =
        bits < 0x400 ? static_cast<float>(bits) * 0x1p-24f : std::bit_cast<float>((bits << 13) + 0x38000000u);
    exact.insert(exact.end(), {-value, 0.0f});
    float const next = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) + (bits < 0x400 ? 0u : 0x800u));
    between.insert(between.end(), {-next, 0.0f}); // a quarter of the way to the next
  }
  LibrarySplits splits{2, std::vector<std::int32_t>(exact.size() / 2, 1), {0}, {}};
  auto library = ModelLibrary::create(place.path, splits);
  Publication publication = small_publication(1, place.weights);
  publication.check = {0, -1e30f};
  publication.test.clear();
  publication.select = exact;
  REQUIRE(library.publish(publication));
  publication.model.id = "between";
  publication.select = between;
  REQUIRE(library.publish(publication));
  for (auto const& model : library.list()) {
    CHECK(library.logits(model, Split::select) == exact);
    CHECK(library.logits(model, Split::check) == std::vector<float>{0, -65504});
  }
  // float32 keeps the bits.
  auto wide = ModelLibrary::create(place.folder / "wide", splits, LogitPrecision::float32);
  REQUIRE(wide.publish(publication));
  CHECK(wide.logits(wide.list()[0], Split::select) == between);
}

TEST_CASE("model library: the catalogue is no more than a copy of the manifests", "[library]")
{
  Place const place;
  auto library = ModelLibrary::create(place.path, small_splits());
  for (std::uint64_t number = 0; number < 6; ++number)
    library.publish(small_publication(number, place.weights));
  library.remove("m2");
  auto const models = library.list();
  CHECK(ids_of(models) == std::vector<std::string>{"m0", "m1", "m3", "m4", "m5"});
  std::string const catalogue = place.path + "/catalogue.jsonl", text = read_file(catalogue);

  SECTION("it is gone")
  {
    std::filesystem::remove(catalogue);
    CHECK(library.list() == models);
  }
  SECTION("it lacks the last lines, or was cut off in one")
  {
    for (std::size_t size = 0; size < text.size(); size += 97) {
      overwrite(catalogue, text.substr(0, size));
      CHECK(library.list() == models);
    }
    library.publish(small_publication(9, place.weights)); // behind a torn line
    CHECK(ids_of(library.list()) == std::vector<std::string>{"m0", "m1", "m3", "m4", "m5", "m9"});
    CHECK(library.verify().empty());
  }
  SECTION("it is made again")
  {
    library.rebuild_catalogue();
    CHECK(library.list() == models);
    std::string const rebuilt = read_file(catalogue);
    CHECK(std::count(rebuilt.begin(), rebuilt.end(), '\n') == 5);
    CHECK(library.verify().empty());
    library.rebuild_catalogue();
    CHECK(read_file(catalogue) == rebuilt);
  }
  SECTION("a name is given again")
  {
    CHECK(library.publish(small_publication(2, place.weights, 4)));
    CHECK(library.list()[2].loss < models[2].loss);
    CHECK(library.verify().empty());
  }
  SECTION("it says something else")
  {
    std::string other = text;
    other.replace(other.find("\"rung\":1"), 8, "\"rung\":7");
    overwrite(catalogue, other);
    auto const faults = library.verify();
    REQUIRE(faults.size() == 1);
    CHECK(faults[0] == catalogue + ": does not say of 'm0' what its manifest says");
    library.rebuild_catalogue();
    CHECK(library.verify().empty());
  }
}

TEST_CASE("model library: incomplete and damaged folders", "[library]")
{
  Place const place;
  auto library = ModelLibrary::create(place.path, small_splits());
  library.publish(small_publication(1, place.weights));
  library.publish(small_publication(2, place.weights));
  std::filesystem::create_directories(place.path + "/models/half");
  overwrite(place.path + "/models/half/weights.h5", "some weights");
  CHECK(ids_of(library.list()) == std::vector<std::string>{"m1", "m2"});

  std::string const logits = place.path + "/models/m2/logits-select.bin", bytes = read_file(logits);
  overwrite(logits, bytes.substr(0, bytes.size() - 1) + "x");
  REQUIRE(library.verify().size() == 1);
  CHECK(library.verify()[0] == logits + ": its checksum is not the manifest's");
  overwrite(logits, bytes + "x");
  CHECK(library.verify()[0] == concat(logits, ": has ", bytes.size() + 1, " bytes, the manifest says ", bytes.size()));
  CHECK(error_of([&] { library.load_pool(); }) == logits + ": bytes after the end of the logits");
  overwrite(logits, bytes);
  CHECK(library.verify().empty());

  std::string const manifest = place.path + "/models/m1/manifest.json", text = read_file(manifest);
  overwrite(manifest, text.substr(0, text.size() / 2));
  std::filesystem::remove(place.path + "/catalogue.jsonl");
  std::vector<std::string> unreadable;
  CHECK(ids_of(library.list(&unreadable)) == std::vector<std::string>{"m2"});
  REQUIRE(unreadable.size() == 1);
  CHECK(unreadable[0].starts_with(manifest + ":"));
  // A manifest must not name files elsewhere.
  std::string other = text;
  other.replace(other.find("weights.h5"), 10, "../x");
  overwrite(manifest, other);
  unreadable.clear();
  library.list(&unreadable);
  REQUIRE(unreadable.size() == 1);
  CHECK(unreadable[0].find("got '../x'") != std::string::npos);
}

TEST_CASE("model library: mutated manifests and logits are read or refused, never worse", "[library][fuzz]")
{
  Place const place;
  auto library = ModelLibrary::create(place.path, small_splits());
  library.publish(small_publication(1, place.weights));
  auto const model = library.list()[0];
  std::string const folder = place.path + "/models/m1";
  std::string const manifest = read_file(folder + "/manifest.json"), logits = read_file(folder + "/logits-select.bin");
  std::filesystem::remove(place.path + "/catalogue.jsonl");
  Random random(5);
  int refused = 0, read = 0;
  for (int i = 0; i < 400; ++i) {
    overwrite(folder + "/manifest.json", mutated(manifest, random));
    std::vector<std::string> unreadable;
    auto const models = library.list(&unreadable);
    CHECK(models.size() + unreadable.size() == 1);
    refused += static_cast<int>(unreadable.size());
    overwrite(folder + "/logits-select.bin", mutated(logits, random));
    try {
      for (float const z : library.logits(model, Split::select))
        CHECK(z <= 0);
      ++read;
    } catch (Error const& error) {
      CHECK(std::string(error.what()).starts_with(folder));
      ++refused;
    }
  }
  CHECK(refused > 200);
  CHECK(read > 10);
}

TEST_CASE("model library: what is refused leaves nothing", "[library]")
{
  Place const place;
  auto library = ModelLibrary::create(place.path, small_splits());
  auto const refused = [&](auto const& spoil) {
    auto publication = small_publication(1, place.weights);
    spoil(publication);
    auto const message = error_of([&] { library.publish(publication); });
    CHECK(library.list().empty());
    CHECK(std::filesystem::is_empty(place.path + "/tmp"));
    return message;
  };
  std::string const what = place.path + ": model 'm1': ";
  CHECK(refused([](auto& it) { it.select.pop_back(); }) ==
        what + "23 logits for 8 samples of split 'select' and 3 classes");
  CHECK(refused([](auto& it) { it.test[4] = NAN; }) == what + "split 'test': sample 1: a logit is nan");
  CHECK(refused([](auto& it) { it.check[0] = INFINITY; }) ==
        what + "split 'check': sample 0: the largest logit is inf");
  CHECK(refused([](auto& it) { it.weights_path += "x"; }) == place.weights + "x: no such file");
  CHECK(refused([](auto& it) { it.model.epochs = -1; }) == what + "field 'epochs' must be >= 0, got -1");
  CHECK(refused([](auto& it) { it.config = "{"; }).starts_with(what + "config:"));
  CHECK(refused([](auto& it) { it.model.id = "../m1"; }).find("got '../m1'") != std::string::npos);

  auto splits = small_splits();
  splits.check[0] = 1;
  CHECK(error_of([&] { ModelLibrary::create(place.path, splits); }) == place.path + ": is a library of other splits");
  CHECK(error_of([&] { ModelLibrary::create(place.path, small_splits(), LogitPrecision::float32); }) ==
        place.path + ": keeps logits in another precision");
  CHECK(error_of([&] {
          ModelLibrary::create(place.folder.path(), small_splits());
        }).starts_with(place.folder.path() + ": is no model library, and holds other things ("));
  CHECK(error_of([&] { ModelLibrary::open(place.folder / "nowhere"); }) ==
        place.folder / "nowhere/library.json" + ": no such file");
  CHECK(error_of([&] { library.load_pool(); }) == place.path + ": has no models");
  splits.check.clear();
  CHECK(error_of([&] { ModelLibrary::create(place.folder / "new", splits); }) ==
        place.folder / "new" + ": split 'check' has no samples");
}

TEST_CASE("model library: a quota takes the dominated first, and never a member of a front", "[library]")
{
  Place const place;
  auto library = ModelLibrary::create(place.path, small_splits());
  // The number is the cost, too; skills are out of order.
  std::vector<double> const skills{0.2, 1.5, 0.1, 2.0, 3.0, 0.4, 2.5, 4.0, 1.0, 4.5};
  for (std::uint64_t number = 0; number < skills.size(); ++number) {
    auto publication = small_publication(number, place.weights, skills[number]);
    publication.model.paused = number == 4;
    library.publish(publication);
  }
  auto const models = library.list();
  std::int64_t total = 0, largest = 0;
  for (auto const& model : models) {
    total += model.bytes();
    largest = std::max(largest, model.bytes());
  }
  SelectionOptions options;
  auto const pool = library.load_pool();
  std::set<std::string> members;
  for (auto const& choice : select(pool, "front", options))
    for (auto const& member : choice.members)
      members.insert(pool.models[static_cast<std::size_t>(member.model)].id);
  REQUIRE(members.size() < models.size());
  std::vector<std::string> const keep(members.begin(), members.end());

  CHECK(library.evict(total, "parameters", keep).ids.empty());
  auto const dominated = [&](std::string const& id) {
    auto const own = std::find_if(models.begin(), models.end(), [&](auto const& it) { return it.id == id; });
    return std::any_of(models.begin(), models.end(),
                       [&](auto const& it) { return it.parameters < own->parameters && it.loss < own->loss; });
  };
  auto const one = library.evict(total - 1, "parameters", keep);
  REQUIRE(one.ids.size() == 1);
  CHECK(dominated(one.ids[0]));
  CHECK(members.count(one.ids[0]) == 0);
  CHECK(one.bytes_before == total);
  CHECK(one.bytes_after < total);
  CHECK(library.list().size() == models.size() - 1);

  // Down to the members and the best one; less is not to be had, and then nothing goes.
  std::int64_t needed = 0;
  double least = 1e9;
  std::string best;
  for (auto const& model : models)
    if (model.loss < least) {
      least = model.loss;
      best = model.id;
    }
  std::set<std::string> stay = members;
  stay.insert(best);
  for (auto const& model : models)
    if (stay.count(model.id) > 0) needed += model.bytes();
  auto const none = library.evict(needed - 1, "parameters", keep);
  CHECK(none.ids.empty());
  CHECK(none.reason.starts_with("no room: the models that have to stay need "));
  CHECK(library.list().size() == models.size() - 1);
  auto const all = library.evict(needed, "parameters", keep);
  CHECK(all.reason.empty());
  CHECK(all.bytes_after == needed);
  auto const left = ids_of(library.list());
  CHECK(std::set<std::string>(left.begin(), left.end()) == stay);
  CHECK(library.verify().empty());
  CHECK(error_of([&] { library.evict(-1, "parameters", keep); }) == place.path + ": quota_bytes must be >= 0, got -1");
}

TEST_CASE("model library: of equals in loss and cost the redundant go before the paused", "[library]")
{
  Place const place;
  auto library = ModelLibrary::create(place.path, small_splits());
  // Along a front: each costs more and is better than the one before; "twin" says nearly what "best" says.
  auto const add = [&](char const* id, std::uint64_t seed, std::int64_t cost, double skill, bool paused) {
    auto publication = small_publication(seed, place.weights, skill);
    publication.model.id = id;
    publication.model.parameters = cost;
    publication.model.paused = paused;
    REQUIRE(library.publish(publication));
    return publication.model;
  };
  add("paused", 50, 10, 0.5, true);
  add("other", 60, 20, 2, false);
  add("twin", 70, 30, 3.9, false);
  add("best", 70, 40, 4, false);
  std::vector<double> losses;
  std::int64_t total = 0;
  for (auto const* id : {"paused", "other", "twin", "best"})
    for (auto const& model : library.list())
      if (model.id == id) {
        losses.push_back(model.loss);
        total += model.bytes();
      }
  REQUIRE(std::is_sorted(losses.rbegin(), losses.rend()));
  auto const eviction = library.evict(total / 4 + 10, "parameters", {});
  CHECK(eviction.ids == std::vector<std::string>{"twin", "other", "paused"});
}

TEST_CASE("model library: a trained network is asked about all splits and published", "[library]")
{
  Place const place;
  datasets::Dataset dataset;
  dataset.name = "points";
  dataset.channels = 3;
  dataset.classes = 2;
  Random random(1);
  auto const fill = [&](datasets::Samples& samples, int count) {
    samples.count = count;
    for (int i = 0; i < count; ++i) {
      samples.labels.push_back(i % 2);
      for (int c = 0; c < 3; ++c)
        samples.values.push_back(static_cast<float>(random.below(1000)) / 500.0f + static_cast<float>(i % 2));
    }
  };
  fill(dataset.train, 20);
  fill(dataset.validation, 50);
  fill(dataset.test, 30);
  datasets::measure_normalisation(dataset);
  auto const architecture = nn::spec::parse_architecture(
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 1, "width": 1, "channels": 3},
          "nodes": [{"id": "d", "op": "dense", "units": 2, "inputs": ["input"]}], "output": {"classes": 2}})",
      "test");
  nn::Weights weights;
  weights[{"d", "kernel"}] = {{3, 2}, {-1, 1, -1, 1, -1, 1}};
  weights[{"d", "bias"}] = {{2}, {0, 0}};

  auto const held_out = split_held_out(dataset, 4);
  CHECK((held_out.select.count == 30 && held_out.check.count == 20));
  CHECK(std::count(held_out.check.labels.begin(), held_out.check.labels.end(), 1) == 10); // stratified
  auto library = ModelLibrary::create(place.path, splits_of(dataset, held_out));
  LibraryModel model;
  model.id = "net";
  model.epochs = 2;
  REQUIRE(publish_trained(library, {}, model, architecture, weights, dataset, held_out, 16));
  auto const found = library.list()[0];
  CHECK(found.parameters == 8);
  CHECK(found.flops > 0);
  CHECK(found.weight_bytes == 32);
  CHECK(found.activation_bytes == 8);
  REQUIRE(found.device_costs.size() == 1);
  CHECK((found.device_costs[0].batch == 16 && found.device_costs[0].seconds > 0));
  auto const evaluation = nn::evaluate({}, architecture, weights, dataset, held_out.select, 7, 1);
  CHECK(std::abs(found.loss - evaluation.loss) < 1e-3); // logits in float16
  CHECK(nn::load_weights(library.weights_path("net")).at({"d", "kernel"}).values == weights.at({"d", "kernel"}).values);
  CHECK(nn::spec::parse_architecture(read_file(library.config_path("net")), "config") == architecture);
  CHECK(select(library.load_pool(), "front", {}).size() == 1);
  datasets::Dataset without = dataset;
  without.validation = {};
  CHECK(error_of([&] { split_held_out(without, 1); }) == "data set points: an ensemble needs a validation split");
}
