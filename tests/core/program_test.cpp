// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/core/signal.hpp>

#include <support/temporary.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <sstream>
#include <thread>

using namespace nasturtium;

namespace {

// Each '#' of the pattern stands for one digit or more, everything else for itself.
bool matches(std::string const& text, std::string const& pattern)
{
  auto const digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t at = 0;
  for (char const c : pattern) {
    if (at >= text.size()) return false;
    if (c != '#') {
      if (text[at++] != c) return false;
      continue;
    }
    if (!digit(text[at])) return false;
    while (at < text.size() && digit(text[at]))
      ++at;
  }
  return at == text.size();
}

} // namespace

TEST_CASE("Philox gives the published numbers")
{
  // Known answers of the authors' Random123 distribution (kat_vectors, philox 4x32 10).
  auto const zero = philox4x32(0, 0, 0, 0, 0, 0);
  CHECK(zero.word[0] == 0x6627e8d5u);
  CHECK(zero.word[1] == 0xe169c58du);
  CHECK(zero.word[2] == 0xbc57ac4cu);
  CHECK(zero.word[3] == 0x9b00dbd8u);
  auto const ones = philox4x32(~0u, ~0u, ~0u, ~0u, ~0u, ~0u);
  CHECK(ones.word[0] == 0x408f276du);
  CHECK(ones.word[1] == 0x41c83b0eu);
  CHECK(ones.word[2] == 0xa20bc7c6u);
  CHECK(ones.word[3] == 0x6d5451fdu);
  auto const pi = philox4x32(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
  CHECK(pi.word[0] == 0xd16cfe09u);
  CHECK(pi.word[1] == 0x94fdccebu);
  CHECK(pi.word[2] == 0x5001e420u);
  CHECK(pi.word[3] == 0x24126ea1u);
  CHECK(to_unit_float(0) == 0.0f);
  CHECK(to_unit_float(~0u) < 1.0f);
  CHECK(to_below(~0u, 10) == 9);
}

TEST_CASE("Time as people write it")
{
  CHECK(human_seconds(0.84) == "0.8 s");
  CHECK(human_seconds(12.4) == "12 s");
  CHECK(human_seconds(185) == "3 min 05 s");
  CHECK(human_seconds(7830) == "2 h 10 min");
  CHECK(human_seconds(NAN) == "?");
  CHECK(utc_timestamp().size() == 20);
  CHECK(matches(utc_timestamp(), "#-#-#T#:#:#Z"));
  Stopwatch const watch;
  ::usleep(2000);
  CHECK(watch.seconds() >= 0.002);
}

TEST_CASE("Progress as lines, as a bar and quiet")
{
  std::ostringstream lines;
  {
    Progress progress("train", 4000, "images", ProgressStyle::lines, &lines, 0);
    progress.advance(2000, "loss 0.5");
    progress.message("epoch 1");
    progress.set(4000);
  }
  CHECK(matches(lines.str(),
                "train: #/# images, #/s, #.# s left, loss #.#\nepoch #\ntrain: #/# images, #/s, #.# s, loss #.#\n"
                "train: #/# images, #/s, #.# s, loss #.#\n"));
  CHECK(lines.str().starts_with("train: 2000/4000 images, "));
  CHECK(lines.str().find(" left, loss 0.5\nepoch 1\ntrain: 4000/4000 images, ") != std::string::npos);
  std::ostringstream seldom;
  {
    Progress progress("train", 1000, "steps", ProgressStyle::lines, &seldom, 3600);
    for (int i = 0; i < 1000; ++i)
      progress.advance();
  }
  CHECK(matches(seldom.str(), "train: #/# steps, #/s, #.# s\n"));
  CHECK(seldom.str().starts_with("train: 1000/1000 steps, "));
  std::ostringstream bar;
  {
    Progress progress("read", 4, "files", ProgressStyle::bar, &bar);
    progress.set(4);
    progress.finish();
    progress.set(5);
  }
  CHECK(bar.str().starts_with("\rread [####################] 4/4 files, "));
  CHECK(bar.str().ends_with("\n"));
  std::ostringstream quiet;
  {
    Progress progress("x", 4, "y", ProgressStyle::quiet, &quiet);
    progress.set(4);
    progress.message("hidden");
  }
  CHECK(quiet.str().empty());
}

TEST_CASE("Progress takes updates from several threads")
{
  std::ostringstream out;
  {
    Progress progress("x", 4000, "steps", ProgressStyle::lines, &out, 3600);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i)
          progress.advance();
      });
    for (auto& thread : threads)
      thread.join();
  }
  CHECK(out.str().starts_with("x: 4000/4000 steps"));
}

TEST_CASE("Provenance knows the build and the process")
{
  ::setenv("OMP_PROVENANCE_TEST", "4", 1);
  char const* const argv[] = {"nasturtium", "train", "--name", "it's two"};
  Provenance provenance = make_provenance(4, argv, 18446744073709551615u, "openmp");
  ::unsetenv("OMP_PROVENANCE_TEST");
  provenance.extra.emplace_back("dataset", "abc");
  auto const value = json::parse(json::pretty(to_json(provenance)), "x");
  CHECK(value.at("version") == "0.1.0");
  CHECK(value.at("command_line") == "nasturtium train --name 'it'\\''s two'");
  CHECK(value.at("seed").to_number<std::uint64_t>() == 18446744073709551615u);
  CHECK(value.at("backend") == "openmp");
  CHECK(value.at("host_cores").as_int64() >= 1);
  CHECK(value.at("environment").at("OMP_PROVENANCE_TEST") == "4");
  CHECK(value.at("extra").at("dataset") == "abc");
  std::string const hash(value.at("git_hash").as_string());
  CHECK((hash == "unknown" || (hash.size() == 40 && hash.find_first_not_of("0123456789abcdef") == std::string::npos)));
  std::string const state(value.at("git_state").as_string());
  CHECK((state == "unknown" || state == "clean" || state == "modified"));
  CHECK_FALSE(provenance.compiler.empty());
}

TEST_CASE("The first Ctrl-C sets the flag, the second kills")
{
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    catch_interrupts();
    if (interrupted()) ::_exit(1);
    std::raise(SIGINT);
    if (!interrupted()) ::_exit(2);
    reset_interrupts();
    if (interrupted()) ::_exit(3);
    std::raise(SIGTERM);
    if (!interrupted()) ::_exit(4);
    std::raise(SIGINT);
    ::_exit(5);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);
}
