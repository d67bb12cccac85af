// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several processes on one store, and processes that are killed in the middle of everything.
#include "nas/small_models.hpp"

#include <nasturtium/nas/weight_store.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nas;
using namespace nasturtium::test;

namespace {

using Kind = StoreReport::Kind;

/// What the processes tell the test; shared memory, so that it outlives them.
struct Shared
{
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> best{0}; ///< the highest score of a put that was acknowledged
  std::atomic<std::uint64_t> puts{0}, refused{0}, loads{0}, removals{0}, faults{0};
};

class SharedMemory
{
public:
  SharedMemory()
  {
    void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap failed");
    m_shared = new (memory) Shared;
  }
  ~SharedMemory() { ::munmap(m_shared, sizeof(Shared)); }
  SharedMemory(SharedMemory const&) = delete;
  SharedMemory& operator=(SharedMemory const&) = delete;
  Shared* operator->() const { return m_shared; }

private:
  Shared* m_shared;
};

pid_t start(std::function<void()> const& work)
{
  pid_t const child = ::fork();
  if (child < 0) fail("fork failed");
  if (child > 0) return child;
  try {
    work();
    ::_exit(0);
  } catch (std::exception const& error) {
    std::string const line = concat(error.what(), "\n");
    [[maybe_unused]] auto const ignored = ::write(2, line.data(), line.size());
    ::_exit(1);
  }
}

std::uint64_t seed_part(double score, int layer)
{
  return static_cast<std::uint64_t>(score) * 4 + static_cast<std::uint64_t>(layer);
}

/// What a model of this score holds: half of the layers are shared by many, half are its own.
nn::Weights weights_of(double score)
{
  auto const number = static_cast<std::uint64_t>(score);
  return small_weights({number % 7, number % 11, seed_part(score, 2), seed_part(score, 3)});
}

/// Puts, reads, pins and removes at random until it is stopped or killed. Scores are distinct: they name the models.
void work(std::string const& path, StoreOptions const& options, Shared& shared, std::uint64_t seed)
{
  Random random(seed);
  auto store = WeightStore::open(path, options);
  auto const check = [&](std::string const& id, std::optional<nn::Weights> const& weights) {
    if (!weights) return;
    ++shared.loads;
    if (!same_weights(*weights, weights_of(std::stod(id.substr(1))))) ++shared.faults;
  };
  while (!shared.stop) {
    auto const ids = store.ids();
    std::string const other = ids.empty() ? "m0" : ids[random.below(static_cast<std::uint32_t>(ids.size()))];
    switch (random.below(8)) {
    case 0:
      check(other, store.load(other));
      break;
    case 1: {
      auto const pin = store.pin(other, "t");
      check(other, store.load(pin));
      if (pin && !store.load(pin)) ++shared.faults;
      break;
    }
    case 2:
      // Never the best one: that is what is asked for in the end.
      if (std::stod(other.substr(1)) < static_cast<double>(shared.best)) shared.removals += store.remove(other);
      break;
    case 3:
      if (random.below(10) == 0) store.gc();
      break;
    default: {
      auto const score = random.below(1000000000);
      auto const result = store.put(small_model(concat("m", score), score), weights_of(score));
      if (!result.stored) {
        ++shared.refused;
        break;
      }
      ++shared.puts;
      std::uint64_t best = shared.best;
      while (score > best && !shared.best.compare_exchange_weak(best, score)) {
      }
    }
    }
  }
}

/// Everything that must hold once all writers are gone.
void check_store(std::string const& path, Shared const& shared)
{
  auto store = WeightStore::open(path);
  std::vector<std::string> unreadable;
  auto const models = store.list(&unreadable);
  CHECK(unreadable.empty());
  int wrong = 0;
  std::int64_t physical = 0;
  std::set<std::string> objects;
  for (auto const& model : models) {
    auto const weights = store.load(model.id);
    wrong += !weights || !same_weights(*weights, weights_of(model.score));
    for (auto const& layer : model.layers)
      if (objects.insert(layer.object).second) physical += layer.bytes;
  }
  CHECK(wrong == 0);
  CHECK(store.verify(false).count(Kind::damage) == 0);
  if (shared.best > 0) CHECK(store.find(concat("m", shared.best.load())).has_value());
  // After gc() nothing is left that nobody needs and nothing lacks its entry; copies that lost a race are merged.
  store.gc();
  for (auto const& finding : store.verify(false).findings)
    CHECK(finding.what == "is a second copy of its object");
  store.verify(true);
  CHECK(store.verify(false).findings.empty());
  auto const usage = store.usage();
  CHECK(usage.objects == static_cast<int>(objects.size()));
  CHECK(usage.physical_bytes == physical);
  for (auto const& model : models)
    store.remove(model.id);
  CHECK(store.usage().physical_bytes == 0);
  CHECK(store.usage().objects == 0);
}

struct Crash
{
  int kills, writers;
  bool hard_links;
};

void crash_test(Crash const& test)
{
  TemporaryFolder const place;
  std::string const path = place / "store";
  SharedMemory const shared;
  std::int64_t const one = WeightStore::open(place / "probe").put(small_model("m1", 0), weights_of(1)).bytes_logical;
  StoreOptions const options{.cap_bytes = 25 * one, .keep_best = 5, .hard_links = test.hard_links};
  WeightStore::open(path, options);
  std::uint64_t seed = 1;
  std::vector<pid_t> writers;
  auto const launch = [&] {
    std::uint64_t const mine = seed++;
    return start([&, mine] { work(path, options, *shared.operator->(), mine); });
  };
  for (int i = 0; i < test.writers; ++i)
    writers.push_back(launch());
  Random random(99);
  int ended_badly = 0;
  for (int i = 0; i < test.kills; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + random.below(12000)));
    pid_t& victim = writers[random.below(static_cast<std::uint32_t>(writers.size()))];
    ::kill(victim, SIGKILL);
    int status = 0;
    ::waitpid(victim, &status, 0);
    ended_badly += !WIFSIGNALED(status); // an error ended it before
    victim = launch();
  }
  shared->stop = true;
  for (pid_t const writer : writers) {
    int status = 0;
    ::waitpid(writer, &status, 0);
    ended_badly += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  CHECK(ended_badly == 0);
  CHECK(shared->faults == 0);
  CHECK(shared->refused == 0);
  CHECK(shared->puts > static_cast<std::uint64_t>(test.kills) / 4);
  CHECK(shared->loads > 0);
  CHECK(shared->removals > 0);
  INFO(shared->puts << " puts, " << shared->loads << " loads, " << shared->removals << " removals");
  check_store(path, *shared.operator->());
}

} // namespace

TEST_CASE("weight store: several processes write and read at the same time", "[store]")
{
  TemporaryFolder const place;
  std::string const path = place / "store";
  bool const links = GENERATE(true, false), capped = GENERATE(true, false);
  SharedMemory const shared;
  StoreOptions const options{.cap_bytes = capped ? 30000 : 0, .keep_best = 2, .hard_links = links};
  std::vector<pid_t> processes;
  for (std::uint64_t i = 0; i < 4; ++i) // they make the store, too
    processes.push_back(start([&, i] { work(path, options, *shared.operator->(), 1000 + i); }));
  for (int turn = 0; turn < 3 || (turn < 200 && (shared->puts <= 20 || shared->loads <= 5)); ++turn)
    std::this_thread::sleep_for(std::chrono::milliseconds(100)); // longer on a busy machine
  shared->stop = true;
  for (pid_t const process : processes) {
    int status = -1;
    ::waitpid(process, &status, 0);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  CHECK(shared->faults == 0);
  CHECK(shared->puts > 20);
  CHECK(shared->loads > 5);
  check_store(path, *shared.operator->());
}

TEST_CASE("weight store: kill -9 at any moment leaves whole models, the best among them, and no leak", "[store]")
{
  crash_test({200, 4, true});
}

TEST_CASE("weight store: kill -9 without hard links", "[store]")
{
  crash_test({60, 3, false});
}

TEST_CASE("weight store: a thousand kills of eight writers", "[.][store-scale]")
{
  crash_test({1000, 8, GENERATE(true, false)});
}
