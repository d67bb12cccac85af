// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several processes on one library, and processes that are killed in the middle of everything.
#include "ensemble/library_models.hpp"

#include <catch2/catch_test_macros.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <new>
#include <set>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

constexpr std::uint64_t most_models = 1 << 16;

/// What the processes tell the test; shared memory, so that it outlives them.
struct Shared
{
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> next{0}, faults{0}, removals{0};
  std::atomic<std::uint8_t> published[most_models]{}, removed[most_models]{}; ///< acknowledged
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
  Shared& operator*() const { return *m_shared; }

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

/// Publishes, reads, removes and rebuilds until it is stopped or killed.
void work(std::string const& path, std::string const& weights, Shared& shared, std::uint64_t seed)
{
  Random random(seed);
  auto library = ModelLibrary::create(path, small_splits());
  while (!shared.stop && shared.next < most_models - 100) {
    std::uint64_t const number = shared.next++;
    if (!library.publish(small_publication(number, weights))) ++shared.faults;
    shared.published[number] = 1;
    if (random.below(4) == 0) { // what others publish is whole from the first moment on
      auto const models = library.list();
      auto const& some = models[random.below(static_cast<std::uint32_t>(models.size()))];
      try {
        if (library.logits(some, Split::select).size() != 24) ++shared.faults;
      } catch (Error const&) { // removed meanwhile, or a fault
        if (std::filesystem::exists(path + "/models/" + some.id)) ++shared.faults;
      }
    }
    if (random.below(5) == 0) {
      std::uint64_t const victim = random.below(static_cast<std::uint32_t>(number + 1));
      shared.removed[victim] = 1; // before: a kill in between may have removed it or not
      if (library.remove(concat("m", victim))) ++shared.removals;
    }
    if (random.below(10) == 0) library.rebuild_catalogue();
  }
}

void check_library(std::string const& path, Shared const& shared)
{
  auto library = ModelLibrary::open(path);
  std::vector<std::string> unreadable;
  auto const models = library.list(&unreadable);
  CHECK(unreadable.empty());
  CHECK(library.verify().empty());
  std::set<std::string> ids;
  for (auto const& model : models)
    ids.insert(model.id);
  std::uint64_t lost = 0;
  for (std::uint64_t number = 0; number < shared.next; ++number)
    lost += shared.published[number] && !shared.removed[number] && ids.count(concat("m", number)) == 0;
  CHECK(lost == 0);
  library.rebuild_catalogue();
  CHECK(library.list() == models);
  // Nothing of the dead is left. What died in the moment between folder and lock waits for an hour.
  int left = 0;
  for (auto const& entry : std::filesystem::directory_iterator(path + "/tmp"))
    left += std::filesystem::exists(entry.path() / "lock");
  CHECK(left == 0);
}

} // namespace

TEST_CASE("model library: several processes publish, remove and rebuild at the same time", "[library]")
{
  TemporaryFolder const place;
  std::string const path = place / "library", weights = place / "weights";
  write_file(weights, "some weights");
  SharedMemory const shared;
  std::vector<pid_t> processes;
  for (std::uint64_t i = 0; i < 4; ++i) // they make the library, too
    processes.push_back(start([&, i] { work(path, weights, *shared, 1000 + i); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  (*shared).stop = true;
  for (pid_t const process : processes) {
    int status = -1;
    ::waitpid(process, &status, 0);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  CHECK((*shared).faults == 0);
  CHECK((*shared).next > 8);
  check_library(path, *shared);
}

TEST_CASE("model library: kill -9 at any moment leaves whole models, and no acknowledged one is lost", "[library]")
{
  TemporaryFolder const place;
  std::string const path = place / "library", weights = place / "weights";
  write_file(weights, "some weights");
  SharedMemory const shared;
  ModelLibrary::create(path, small_splits());
  std::uint64_t seed = 1;
  std::vector<pid_t> writers;
  auto const launch = [&] {
    std::uint64_t const mine = seed++;
    return start([&, mine] { work(path, weights, *shared, mine); });
  };
  for (int i = 0; i < 3; ++i)
    writers.push_back(launch());
  Random random(99);
  int ended_badly = 0;
  for (int i = 0; i < 60; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + random.below(25000)));
    pid_t& victim = writers[random.below(static_cast<std::uint32_t>(writers.size()))];
    ::kill(victim, SIGKILL);
    int status = 0;
    ::waitpid(victim, &status, 0);
    ended_badly += !WIFSIGNALED(status); // an error ended it before
    victim = launch();
  }
  (*shared).stop = true;
  for (pid_t const writer : writers) {
    int status = 0;
    ::waitpid(writer, &status, 0);
    ended_badly += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  CHECK(ended_badly == 0);
  CHECK((*shared).faults == 0);
  CHECK((*shared).next > 30);
  check_library(path, *shared);
}
