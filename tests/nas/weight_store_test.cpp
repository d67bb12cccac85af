// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nas/small_models.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/nas/weight_store.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::nas;
using namespace nasturtium::test;

namespace fs = std::filesystem;

namespace {

using Kind = StoreReport::Kind;

std::string object_file(std::string const& store, std::string const& name)
{
  return store + "/objects/" + name.substr(0, 2) + "/" + name;
}

/// What the records say, counted anew.
struct Recount
{
  std::map<std::string, int> references; ///< object -> models
  std::int64_t logical = 0, physical = 0;
  int models = 0;
};

Recount recount(WeightStore const& store)
{
  Recount count;
  for (auto const& model : store.list()) {
    ++count.models;
    std::set<std::string> seen;
    for (auto const& layer : model.layers) {
      count.logical += layer.bytes;
      if (!seen.insert(layer.object).second) continue;
      if (count.references[layer.object]++ == 0) count.physical += layer.bytes;
    }
  }
  return count;
}

/// The disk holds what the records say and nothing else; every object has as many links as references.
void check_counts(WeightStore const& store)
{
  auto const count = recount(store);
  auto const usage = store.usage();
  CHECK(usage.models == count.models);
  CHECK(usage.objects == static_cast<int>(count.references.size()));
  CHECK(usage.logical_bytes == count.logical);
  CHECK(usage.physical_bytes == count.physical);
  int wrong = 0;
  for (auto const& [name, references] : count.references) {
    struct stat status;
    int const links =
        ::stat(object_file(store.path(), name).c_str(), &status) == 0 ? static_cast<int>(status.st_nlink) : 0;
    wrong += links != (store.hard_links() ? references + 1 : 1);
  }
  CHECK(wrong == 0);
}

/// Files in memory where there are such, for what is many operations and not about disks.
std::string memory_folder()
{
  return ::access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : fs::temp_directory_path().string();
}

void flip_bit(std::string const& path, std::int64_t at)
{
  int const file = ::open(path.c_str(), O_RDWR);
  REQUIRE(file >= 0);
  char byte = 0;
  REQUIRE(::pread(file, &byte, 1, at) == 1);
  byte = static_cast<char>(byte ^ 4);
  REQUIRE(::pwrite(file, &byte, 1, at) == 1);
  ::close(file);
}

std::vector<std::string> entries(std::string const& folder)
{
  std::vector<std::string> names;
  for (auto const& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

std::string object_of(WeightStore const& store, std::string const& id, std::string const& node)
{
  auto const model = store.find(id);
  REQUIRE(model.has_value());
  for (auto const& layer : model->layers)
    if (layer.node == node) return layer.object;
  FAIL("no layer " << node);
  return {};
}

} // namespace

TEST_CASE("weight store: what is put comes back with the same bits", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  auto store = WeightStore::open(place / "store", {.hard_links = links});
  CHECK(store.hard_links() == links);
  auto model = small_model("a-1.x", 0.75);
  model.donor = "b";
  model.lineage_length = 3;
  model.lineage_epochs = 2.5;
  model.epochs = 1;
  model.seed = 18446744073709551615u;
  model.extra["genes"] = json::Array{1, 2};
  auto const weights = small_weights({1, 2, 3, 4});
  auto const result = store.put(model, weights);
  CHECK(result.stored);
  CHECK(result.objects == 4);
  CHECK(result.objects_shared == 0);
  CHECK(result.bytes_written == result.bytes_logical);
  // By another opener, which remembers nothing.
  auto const again = WeightStore::open(place / "store");
  CHECK(again.hard_links() == links); // the store's own, not the option's
  auto const loaded = again.load("a-1.x");
  REQUIRE(loaded.has_value());
  CHECK(same_weights(*loaded, weights));
  std::vector<std::string> const some{"d2", "b1"};
  auto const part = again.load("a-1.x", some);
  REQUIRE(part.has_value());
  CHECK(part->size() == 6);
  CHECK(part->count({"d0", "kernel"}) == 0);
  CHECK(error_of([&] { again.load("a-1.x", std::vector<std::string>{"r1"}); }).find("of a node \"r1\"") !=
        std::string::npos);
  auto const record = again.find("a-1.x");
  REQUIRE(record.has_value());
  CHECK(record->architecture == model.architecture);
  CHECK(record->score == 0.75);
  CHECK(record->donor == "b");
  CHECK(record->lineage_length == 3);
  CHECK(record->lineage_epochs == 2.5);
  CHECK(record->epochs == 1);
  CHECK(record->seed == model.seed);
  CHECK(json::compact(record->extra) == R"({"genes":[1,2]})");
  CHECK(record->layers.size() == 4);
  CHECK(record->layers[0].node == "b1");
  CHECK(record->layers[0].type == "batch_norm");
  CHECK(record->bytes() == result.bytes_logical);
  CHECK_FALSE(again.find("b").has_value());
  CHECK_FALSE(again.load("b").has_value());
  CHECK(again.ids() == std::vector<std::string>{"a-1.x"});
  check_counts(again);
}

TEST_CASE("weight store: values that float32 has not are kept as float64", "[store]")
{
  TemporaryFolder const place;
  auto store = WeightStore::open(place / "store");
  auto weights = small_weights({1, 2, 3, 4});
  double const nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  weights[{"d0", "bias"}].values = {-0.0, infinity, 0x1p-149, 0x1.fffffep127, -infinity}; // float32 has all of these
  weights[{"d2", "bias"}].values = {0.1, 1e300, 5e-324, nan, -nan, 1.0 + 1e-12, 0};
  weights[{"d3", "bias"}].values = {1e39, 0};
  store.put(small_model("m", nan), weights);
  auto const loaded = store.load("m");
  REQUIRE(loaded.has_value());
  CHECK(same_weights(*loaded, weights));
  auto const model = store.find("m");
  CHECK(std::isnan(model->score));
  std::map<std::string, bool> float64;
  for (auto const& layer : model->layers)
    float64[layer.node] = layer.float64;
  CHECK_FALSE(float64["b1"]);
  CHECK(float64["d2"]);
  CHECK(float64["d3"]);
  CHECK_FALSE(float64["d0"]);
  // No weights at all, and tensors without values.
  store.put(small_model("none", 0), {});
  CHECK(store.load("none")->empty());
  store.put(small_model("empty", 0), {{{"d0", "kernel"}, {{0, 5}, {}}}});
  CHECK(store.load("empty")->at({"d0", "kernel"}).extent == std::vector<std::int64_t>{0, 5});
}

TEST_CASE("weight store: equal layers are stored once, whatever their nodes are called", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  auto store = WeightStore::open(place / "store", {.hard_links = links});
  auto const first = store.put(small_model("parent", 1), small_weights({1, 2, 3, 4}));
  auto const second = store.put(small_model("child", 2), small_weights({1, 2, 3, 5}));
  CHECK(second.objects_shared == 3);
  CHECK(second.bytes_logical == first.bytes_logical);
  CHECK(second.bytes_written < second.bytes_logical);
  check_counts(store);
  // d2 and d0 as nodes of the same extents.
  auto twins = small_weights({1, 2, 3, 4});
  twins[{"d3", "kernel"}] = twins[{"d2", "kernel"}];
  twins[{"d3", "bias"}] = twins[{"d2", "bias"}];
  auto const third = store.put(small_model("twins", 3), twins);
  CHECK(third.objects == 3);
  CHECK(third.objects_shared == 3);
  CHECK(third.bytes_written == 0);
  CHECK(same_weights(*store.load("twins"), twins));
  check_counts(store);
  CHECK(store.remove("parent"));
  CHECK_FALSE(store.remove("parent"));
  check_counts(store);
  CHECK(same_weights(*store.load("child"), small_weights({1, 2, 3, 5})));
  store.remove("child");
  store.remove("twins");
  CHECK(store.usage().physical_bytes == 0);
  CHECK(store.verify(false).findings.empty());
}

TEST_CASE("weight store: a model that is put again replaces the one before", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  std::int64_t const cap = GENERATE(0, 100000);
  auto store = WeightStore::open(place / "store", {.cap_bytes = cap, .hard_links = links});
  store.put(small_model("m", 1), small_weights({1, 2, 3, 4}));
  store.put(small_model("m", 2), small_weights({1, 2, 9, 4}));
  CHECK(store.list().size() == 1);
  CHECK(store.find("m")->score == 2);
  CHECK(same_weights(*store.load("m"), small_weights({1, 2, 9, 4})));
  check_counts(store);
  CHECK(entries(place / "store/trash").empty());
  CHECK(entries(place / "store/tmp").empty());
}

TEST_CASE("weight store: ten thousand random operations, counts equal to a recount", "[store]")
{
  TemporaryFolder const place(memory_folder()); // what is tested here is counting
  bool const links = GENERATE(true, false);
  auto store = WeightStore::open(place / "store", {.hard_links = links});
  std::map<std::string, std::array<std::uint64_t, 4>> expected;
  Random random(links ? 1 : 2);
  int const operations = links ? 10000 : 2000;
  int wrong = 0, found = 0;
  for (int i = 0; i < operations; ++i) {
    std::string const id = concat("m", random.below(60));
    auto const known = expected.find(id);
    switch (random.below(5)) {
    case 0:
    case 1: {
      std::array<std::uint64_t, 4> const seeds{random.below(3), random.below(5), random.below(8), random.below(200)};
      wrong += !store.put(small_model(id, random.below(100)), small_weights(seeds)).stored;
      expected[id] = seeds;
      break;
    }
    case 2:
    case 3: {
      auto const weights = store.load(id);
      wrong += weights.has_value() != (known != expected.end());
      if (weights && known != expected.end()) {
        ++found;
        wrong += !same_weights(*weights, small_weights(known->second));
      }
      break;
    }
    default:
      wrong += store.remove(id) != (known != expected.end());
      expected.erase(id);
    }
    if (i % (operations / 10) == 0) {
      check_counts(store);
      CHECK(store.ids().size() == expected.size());
    }
  }
  CHECK(wrong == 0);
  CHECK(found > operations / 10);
  check_counts(store);
  CHECK(store.verify(false).findings.empty());
  for (auto const& [id, seeds] : expected)
    store.remove(id);
  CHECK(store.usage().physical_bytes == 0);
  CHECK(store.usage().objects == 0);
  check_counts(store);
}

TEST_CASE("weight store: the cap is kept, and the best, the kept and the pinned stay", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  std::int64_t const one =
      WeightStore::open(place / "probe").put(small_model("m", 0), small_weights({1, 2, 3, 4})).bytes_logical;
  std::int64_t const cap = 12 * one + one / 2;
  auto store = WeightStore::open(place / "store", {.cap_bytes = cap, .keep_best = 3, .hard_links = links});
  Random random(5);
  std::vector<std::string> const keep{"m7", "m8"};
  std::vector<std::pair<double, std::string>> scores;
  WeightStore::Pin pin;
  for (std::uint64_t i = 0; i < 60; ++i) {
    std::string const id = concat("m", i);
    double const score = random.below(1000);
    auto const result = store.put(small_model(id, score), small_weights({10 * i, 10 * i + 1, 10 * i + 2, i}), keep);
    CHECK(result.stored);
    scores.emplace_back(score, id);
    CHECK(store.usage().physical_bytes <= cap);
    CHECK(store.find(id).has_value());
    if (i == 5) pin = store.pin("m5", "trial-9");
    std::sort(scores.rbegin(), scores.rend());
    for (std::size_t k = 0; k < std::min<std::size_t>(3, scores.size()); ++k)
      CHECK(store.find(scores[k].second).has_value());
  }
  CHECK(store.list().size() == 12);
  CHECK(store.find("m5").has_value());
  CHECK(store.find("m7").has_value());
  CHECK(store.find("m8").has_value());
  pin = {};
  check_counts(store);
  store.put(small_model("z", 2000), small_weights({7, 7, 7, 777777}));
  CHECK(store.list().size() == 12);
}

TEST_CASE("weight store: eviction order", "[store]")
{
  TemporaryFolder const place;
  std::int64_t const one =
      WeightStore::open(place / "probe").put(small_model("m", 0), small_weights({1, 2, 3, 4})).bytes_logical;
  auto store = WeightStore::open(place / "store", {.cap_bytes = 4 * one, .keep_best = 0});
  double const nan = std::numeric_limits<double>::quiet_NaN();
  int number = 0;
  auto const put = [&](double score) {
    auto const n = static_cast<std::uint64_t>(++number);
    auto const result =
        store.put(small_model(concat("m", n), score), small_weights({4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3}));
    std::string present;
    for (auto const& model : store.list())
      present += model.id;
    return result.stored ? present : "refused";
  };
  CHECK(put(5) == "m1");
  CHECK(put(5) == "m1m2");
  CHECK(put(nan) == "m1m2m3");
  CHECK(put(1) == "m1m2m3m4");
  CHECK(put(5) == "m1m2m4m5");
  CHECK(put(0) == "m1m2m5m6");
  CHECK(put(3) == "m1m2m5m7");
  CHECK(put(4) == "m1m2m5m8");
  CHECK(put(4) == "m1m2m5m9");
  CHECK(put(4) == "m1m2m5m10");
  // Of three equals the first one is the best; then the oldest goes.
  CHECK(put(6) == "m1m2m5m11");
  CHECK(put(6) == "m2m5m11m12");
}

TEST_CASE("weight store: where nothing may go the put is refused and nothing changes", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  std::int64_t const one =
      WeightStore::open(place / "probe").put(small_model("m", 0), small_weights({1, 2, 3, 4})).bytes_logical;
  auto store = WeightStore::open(place / "store", {.cap_bytes = 3 * one, .keep_best = 1, .hard_links = links});
  for (std::uint64_t i = 0; i < 3; ++i)
    store.put(small_model(concat("m", i), 1), small_weights({10 * i, 10 * i + 1, 10 * i + 2, 10 * i + 3}));
  std::vector<std::string> const keep{"m0", "m1", "m2"};
  auto const refused = store.put(small_model("n", 9), small_weights({100, 101, 102, 103}), keep);
  CHECK_FALSE(refused.stored);
  CHECK(refused.reason.starts_with("no room: this model and those that have to stay need "));
  CHECK(store.ids() == keep);
  check_counts(store);
  CHECK(entries(place / "store/tmp").empty());
  // A model that shares all of its layers needs no room.
  CHECK(store.put(small_model("same", 0), small_weights({10, 11, 12, 13}), keep).stored);
  check_counts(store);
  // One that is greater than the cap, in an empty store.
  auto small = WeightStore::open(place / "small", {.cap_bytes = one - 1, .hard_links = links});
  CHECK_FALSE(small.put(small_model("m", 1), small_weights({1, 2, 3, 4})).stored);
  CHECK(small.usage().physical_bytes == 0);
}

TEST_CASE("weight store: a pinned model can be read after its removal", "[store]")
{
  TemporaryFolder const place;
  auto store = WeightStore::open(place / "store");
  auto const weights = small_weights({1, 2, 3, 4});
  store.put(small_model("m", 1), weights);
  CHECK_FALSE(store.pin("gone", "t1"));
  {
    auto pin = store.pin("m", "t1");
    REQUIRE(pin);
    CHECK(pin.id() == "m");
    CHECK(store.remove("m"));
    auto const loaded = store.load(pin);
    REQUIRE(loaded.has_value());
    CHECK(same_weights(*loaded, weights));
    CHECK(store.usage().physical_bytes > 0);
    CHECK(store.gc().findings.empty());
    auto const other = std::move(pin);
    CHECK(store.load(other).has_value());
    CHECK_FALSE(store.load(WeightStore::Pin()).has_value());
  }
  CHECK(store.usage().physical_bytes == 0);
  CHECK(entries(place / "store/pins").empty());
}

TEST_CASE("weight store: what dead owners left is swept by the next opener", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  std::string const path = place / "store";
  {
    auto store = WeightStore::open(path, {.hard_links = links});
    store.put(small_model("m", 1), small_weights({1, 2, 3, 4}));
    store.put(small_model("n", 2), small_weights({5, 6, 7, 8}));
  }
  // A process that holds two pins, removes a model, and dies.
  pid_t const child = ::fork();
  if (child == 0) {
    auto store = WeightStore::open(path);
    auto const first = store.pin("m", "t1"), second = store.pin("n", "t2");
    store.remove("m");
    ::_exit(first && second ? 0 : 1); // no destructors
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  CHECK(entries(path + "/pins").size() == 2);
  // A folder of another machine's process counts as alive for an hour.
  std::string const foreign = path + "/pins/t3@elsewhere.1.2.3-4";
  fs::copy(path + "/models/n", foreign);
  auto store = WeightStore::open(path);
  CHECK(entries(path + "/pins").size() == 1);
  CHECK(store.ids() == std::vector<std::string>{"n"});
  timespec const old[2] = {{1000000000, 0}, {1000000000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, foreign.c_str(), old, 0) == 0);
  store.gc();
  CHECK(entries(path + "/pins").empty());
  check_counts(store);
  CHECK(same_weights(*store.load("n"), small_weights({5, 6, 7, 8})));
}

TEST_CASE("weight store: a flipped bit is found by load and by verify", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  std::string const path = place / "store";
  auto store = WeightStore::open(path, {.hard_links = links});
  store.put(small_model("m", 1), small_weights({1, 2, 3, 4}));
  store.put(small_model("n", 2), small_weights({1, 2, 3, 5}));
  store.put(small_model("o", 3), small_weights({6, 7, 8, 9}));
  std::string const name = object_of(store, "m", "d2");
  std::string const file = object_file(path, name);
  auto const size = static_cast<std::int64_t>(fs::file_size(file));
  for (std::int64_t const at : {std::int64_t{0}, std::int64_t{20}, size - 1}) { // header and values
    flip_bit(file, at);
    auto const message = error_of([&] { store.load("m"); });
    CHECK(message.find(name) != std::string::npos);
    CHECK(message.find("is damaged") != std::string::npos);
    flip_bit(file, at);
  }
  CHECK(store.load("m").has_value());
  flip_bit(file, size - 1);
  auto const report = store.verify(false);
  CHECK(report.models == 3);
  CHECK(report.count(Kind::damage) == 2); // two models have that object
  CHECK(report.unrepaired_damage() == 2);
  CHECK(report.findings[0].path.find(name) != std::string::npos);
  CHECK(store.gc().unrepaired_damage() == 0); // reads no tensors, removes no model
  CHECK(store.list().size() == 3);
  auto const repaired = store.verify(true);
  CHECK(repaired.count(Kind::damage) == 2);
  CHECK(repaired.unrepaired_damage() == 0);
  CHECK(store.ids() == std::vector<std::string>{"o"});
  CHECK(store.verify(false).findings.empty());
  check_counts(store);
  // Nobody shares the damaged object afterwards.
  store.put(small_model("m", 1), small_weights({1, 2, 3, 4}));
  CHECK(same_weights(*store.load("m"), small_weights({1, 2, 3, 4})));
}

TEST_CASE("weight store: lost entries and second copies are mended, lost tensors reported", "[store]")
{
  TemporaryFolder const place;
  std::string const path = place / "store";
  auto store = WeightStore::open(path);
  auto const weights = small_weights({1, 2, 3, 4});
  store.put(small_model("m", 1), weights);
  std::string const name = object_of(store, "m", "d2");
  std::string const entry = object_file(path, name), link = path + "/models/m/" + name;
  // No entry in objects/.
  fs::remove(entry);
  CHECK(store.verify(false).count(Kind::leftover) == 1);
  CHECK(store.verify(false).count(Kind::damage) == 0);
  CHECK(store.gc().findings.at(0).repaired);
  check_counts(store);
  // Without the entry a second copy is made, and merged by verify.
  fs::remove(entry);
  store.put(small_model("n", 1), weights);
  CHECK(store.usage().objects == 5);
  CHECK(store.verify(false).count(Kind::leftover) == 1);
  CHECK(store.verify(true).unrepaired_damage() == 0);
  check_counts(store);
  // A good copy mends a damaged one.
  fs::remove(link);
  fs::copy_file(entry, link);
  flip_bit(link, 100);
  CHECK(store.verify(false).unrepaired_damage() == 1);
  CHECK(store.verify(true).unrepaired_damage() == 0);
  check_counts(store);
  CHECK(same_weights(*store.load("m"), weights));
  // A model without its link can still be read, and gets it back.
  fs::remove(link);
  CHECK(same_weights(*store.load("m"), weights));
  CHECK(store.gc().findings.at(0).repaired);
  check_counts(store);
  // An object that nobody needs.
  store.remove("n");
  fs::create_directories(path + "/objects/00");
  write_file(path + "/objects/00/" + std::string(32, '0'), "x");
  CHECK(store.verify(false).count(Kind::leftover) == 1);
  CHECK(store.gc().findings.at(0).repaired);
  check_counts(store);
  // Gone for good.
  fs::remove(link);
  fs::remove(entry);
  CHECK(error_of([&] { store.load("m"); }).find(name + ": is missing") != std::string::npos);
  CHECK(store.verify(false).unrepaired_damage() == 1);
  CHECK(store.verify(true).unrepaired_damage() == 0);
  CHECK(store.ids().empty());
  CHECK(store.usage().physical_bytes == 0);
}

TEST_CASE("weight store: damaged records are left out and named; no bytes break the reader", "[store]")
{
  TemporaryFolder const place;
  std::string const path = place / "store";
  auto store = WeightStore::open(path);
  store.put(small_model("m", 1), small_weights({1, 2, 3, 4}));
  store.put(small_model("n", 2), small_weights({1, 2, 3, 5}));
  std::string const record = path + "/models/m/record.json", good = read_file(record);
  Random random(3);
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string const bytes =
        i < 300 ? good.substr(0, good.size() * static_cast<std::size_t>(i) / 300) : mutated(good, random);
    ::unlink(record.c_str());
    int const file = ::open(record.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    REQUIRE(::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    ::close(file);
    try {
      store.find("m");
      store.load("m");
    } catch (Error const& error) {
      ++refused;
      CHECK(std::string(error.what()).starts_with(path + "/"));
    }
  }
  CHECK(refused > 1000);
  write_file(record, R"({"format": "nasturtium-stored-model", "version": 1, "id": "m", "score": "high"})");
  CHECK(error_of([&] { store.find("m"); }) == record + ": field 'score' must be a finite number, got \"high\"");
  std::vector<std::string> unreadable;
  CHECK(WeightStore::open(path).list(&unreadable).size() == 1);
  REQUIRE(unreadable.size() == 1);
  CHECK(unreadable[0].find(record) == 0);
  // A record of another model under this name.
  write_file(record, read_file(path + "/models/n/record.json"));
  CHECK(store.verify(false).unrepaired_damage() == 1);
  fs::remove(record);
  CHECK(store.verify(false).unrepaired_damage() == 1);
  CHECK(store.verify(true).unrepaired_damage() == 0);
  CHECK(store.ids() == std::vector<std::string>{"n"});
  check_counts(store);
}

TEST_CASE("weight store: what is no store is refused", "[store]")
{
  TemporaryFolder const place;
  write_file(place / "other", "x");
  CHECK(error_of([&] { WeightStore::open(place.path()); }) ==
        place.path() + ": is no weight store, and holds other things (\"other\")");
  CHECK(entries(place.path()).size() == 1);
  CHECK_FALSE(WeightStore::exists(place.path()));
  std::string const path = place / "store";
  auto store = WeightStore::open(path);
  CHECK(WeightStore::exists(path));
  for (std::string const id : {"", ".", "..", ".m", "a/b", "a b", "../x"}) {
    CHECK(error_of([&] { store.put(small_model(id, 1), {}); }).find("the model's id must be 1 to 128") !=
          std::string::npos);
    CHECK(error_of([&] { store.find(id); }).find("must be 1 to 128") != std::string::npos);
    CHECK(error_of([&] { store.load(id); }).find("must be 1 to 128") != std::string::npos);
    CHECK(error_of([&] { store.remove(id); }).find("must be 1 to 128") != std::string::npos);
    CHECK(error_of([&] { store.pin("m", id); }).find("must be 1 to 128") != std::string::npos);
  }
  CHECK(error_of([&] {
          store.put(small_model("m", 1), {{{"x", "kernel"}, {{1}, {1}}}});
        }).find("node \"x\" has weights, but is not in the architecture") != std::string::npos);
  CHECK(error_of([&] {
          store.put(small_model("m", 1), {{{"d0", "bias"}, {{2}, {1}}}});
        }).find("'bias' has 1 values for an extent of 2") != std::string::npos);
  CHECK(store.ids().empty());
  CHECK(entries(path + "/tmp").empty());
  CHECK(error_of([&] { WeightStore::open(path, {.cap_bytes = -1}); }).find("cap_bytes must be >= 0, got -1") !=
        std::string::npos);
  CHECK(error_of([&] { WeightStore::open(path, {.keep_best = -1}); }).find("keep_best must be >= 0, got -1") !=
        std::string::npos);
  write_file(path + "/store.json", R"({"format": "nasturtium-weight-store", "version": 2})");
  CHECK(error_of([&] { WeightStore::open(path); }).find("store.json: field 'version' must be 1, got 2") !=
        std::string::npos);
}

TEST_CASE("weight store: a full disk ends a put with an error and leaves nothing", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  std::string const path = place / "store";
  {
    auto store = WeightStore::open(path, {.hard_links = links});
    store.put(small_model("m", 1), small_weights({1, 2, 3, 4}));
  }
  int refused = 0;
  for (rlim_t const limit : {0, 100, 200, 300, 1000}) {
    pid_t const child = ::fork();
    if (child == 0) {
      ::signal(SIGXFSZ, SIG_IGN);
      auto store = WeightStore::open(path);
      rlimit const full{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &full);
      auto const message = error_of([&] { store.put(small_model("n", 2), small_weights({5, 2, 6, 7})); });
      ::_exit(message == "no error"                                                    ? 2
              : message.find("cannot be written: File too large") != std::string::npos ? 0
                                                                                       : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) != 1);
    refused += WEXITSTATUS(status) == 0;
    CHECK(entries(path + "/tmp").empty());
    auto store = WeightStore::open(path);
    CHECK(store.ids() ==
          (WEXITSTATUS(status) == 0 ? std::vector<std::string>{"m"} : std::vector<std::string>{"m", "n"}));
    check_counts(store);
    store.remove("n");
  }
  CHECK(refused >= 4);
}

TEST_CASE("weight store: threads share one object", "[store]")
{
  TemporaryFolder const place;
  bool const links = GENERATE(true, false);
  auto store = WeightStore::open(place / "store", {.cap_bytes = 1 << 20, .hard_links = links});
  std::vector<std::thread> threads;
  std::array<int, 4> wrong{};
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto mine = store; // stands for the same store
      for (std::uint64_t i = 0; i < 15; ++i) {
        std::string const id = concat("m", t, "-", i);
        std::array<std::uint64_t, 4> const seeds{i, 2, 3, 100 * t + i};
        wrong[t] += !mine.put(small_model(id, static_cast<double>(i)), small_weights(seeds)).stored;
        auto const pin = mine.pin(id, "t");
        auto const weights = mine.load(pin);
        wrong[t] += !weights || !same_weights(*weights, small_weights(seeds));
        // Its own are there at least: all so far but every third, whatever the others are at.
        wrong[t] += mine.list().size() < i + 1 - (i + 2) / 3;
        if (i % 3 == 0) wrong[t] += !mine.remove(id);
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(wrong == std::array<int, 4>{});
  CHECK(store.ids().size() == 40);
  CHECK(store.verify(true).count(Kind::damage) == 0);
  check_counts(store);
}

TEST_CASE("weight store: more links than a file may have", "[.][store-scale]")
{
  TemporaryFolder const place;
  std::string const path = place / "store";
  auto store = WeightStore::open(path, {.durability = Durability::node});
  auto const weights = small_weights({1, 2, 3, 4});
  store.put(small_model("m", 1), weights);
  std::string const entry = object_file(path, object_of(store, "m", "d2"));
  fs::create_directory(place / "links");
  int made = 0;
  while (made < 70000 && ::link(entry.c_str(), (place / concat("links/", made)).c_str()) == 0)
    ++made;
  if (made == 70000) SKIP("this file system has no such limit");
  auto const result = store.put(small_model("n", 2), weights);
  CHECK(result.objects_shared == 3);
  CHECK(same_weights(*store.load("n"), weights));
  CHECK(same_weights(*store.load("m"), weights));
  CHECK(store.put(small_model("o", 2), weights).objects_shared == 4); // the second copy
  CHECK(store.verify(false).count(Kind::damage) == 0);
}
