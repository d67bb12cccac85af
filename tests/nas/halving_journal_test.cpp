// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Journals of successive halving: a kill at any event, or within the line of one, changes no decision that is left.
#include "support/temporary.hpp"

#include <nasturtium/core/crc32.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/nas/halving_journal.hpp>
#include <nasturtium/nas/halving_simulation.hpp>

#include <algorithm>
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::error_of;

namespace {

using Kind = HalvingEvent::Kind;

HalvingSettings settings_of(HalvingPreset preset, RankRule rank, int trials)
{
  HalvingSettings settings;
  settings.preset = preset;
  settings.rank = rank;
  settings.trials = trials;
  settings.edges = {4, 8};
  return settings;
}

double loss(int trial, int epochs)
{
  return trial % 7 == 3 ? std::numeric_limits<double>::quiet_NaN() : simulated_loss(3, trial, epochs);
}

double cost(int trial)
{
  return trial % 11;
}

/// Runs a journaled simulation to its end, or until it has been told so many results.
std::vector<HalvingAction> run(HalvingJournal& journal, int workers, int results = -1)
{
  ApplyHalving const apply = [&](HalvingEvent const& event) { return journal.apply(event); };
  int told = 0;
  return simulate(journal.halving(), apply, loss,
                  {.workers = workers,
                   .cost = cost,
                   .stop = [&](HalvingEvent const&, std::int64_t) { return ++told == results; }})
      .decisions;
}

std::vector<std::string> lines_of(std::string const& path)
{
  std::string const text = read_file(path);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t const end = text.find('\n', begin) + 1;
    lines.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return lines;
}

/// Without the care for the disk that takes most of the time of write_file; as a new file, because some file systems
/// wait for the disk where an old one is cut.
void put(std::string const& path, std::string const& text)
{
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << text;
}

std::string joined(std::vector<std::string> const& lines, std::size_t count)
{
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += lines[i];
  return text;
}

/// Decisions without those that went out again after a loss: the first of each (trial, rung).
std::vector<HalvingAction> first_of_each(HalvingJournal const& journal, std::string const& path)
{
  std::vector<HalvingAction> decisions;
  std::set<std::pair<int, int>> seen;
  for (auto const& line : read_journal(path)) {
    auto const& object = line.as_object();
    auto const* const type = object.if_contains("type");
    if (!type || (*type != "start" && *type != "resume")) continue;
    HalvingAction const action{*type == "start" ? HalvingAction::Kind::start : HalvingAction::Kind::resume,
                               static_cast<int>(object.at("trial").as_int64()),
                               static_cast<int>(object.at("rung").as_int64())};
    if (seen.emplace(action.trial, action.rung).second) decisions.push_back(action);
  }
  CHECK(journal.halving().finished());
  return decisions;
}

std::vector<std::pair<HalvingPreset, RankRule>> const variants{
    {HalvingPreset::asha_promote, RankRule::loss},     {HalvingPreset::asha_promote, RankRule::stratified},
    {HalvingPreset::sha_sync, RankRule::nondominated}, {HalvingPreset::hyperband, RankRule::loss},
    {HalvingPreset::asha_stop, RankRule::loss},        {HalvingPreset::pasha, RankRule::nondominated}};

} // namespace

TEST_CASE("halving journal: a record is what the format says", "[halving]")
{
  test::TemporaryFolder const place;
  HalvingJournal journal(place / "journal", settings_of(HalvingPreset::asha_promote, RankRule::loss, 3), Sync::yes);
  journal.apply({.worker = 2});
  journal.apply({Kind::started, 0, 0, 1.5, 2});
  auto const lines = lines_of(place / "journal");
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].starts_with(
      R"({"format":"nasturtium-halving-journal","version":1,"settings":{"preset":"asha-promote",)"));
  CHECK(lines[1].starts_with(
      R"({"sequence":1,"type":"free","trial":-1,"rung":-1,"value":"0000000000000000","worker":2,"crc":")"));
  CHECK(lines[2].starts_with(
      R"({"sequence":2,"type":"start","trial":0,"rung":0,"value":"0000000000000000","worker":2,"crc":")"));
  CHECK(lines[3].starts_with(
      R"({"sequence":3,"type":"started","trial":0,"rung":0,"value":"3ff8000000000000","worker":2,"crc":")"));
}

TEST_CASE("halving journal: cut at any byte, it is replayed, and all that follows is decided as before", "[halving]")
{
  test::TemporaryFolder const place;
  for (auto const& [preset, rank] : variants) {
    auto const settings = settings_of(preset, rank, 11);
    for (int const workers : {1, 3}) {
      std::string const path = place / "whole";
      std::filesystem::remove(path);
      HalvingJournal whole(path, settings, Sync::no);
      run(whole, workers);
      auto const lines = lines_of(path);
      auto const records = read_journal(path);
      for (std::size_t kept = 0; kept <= lines.size(); ++kept) {
        INFO(name(preset) << ", " << name(rank) << ", " << workers << " workers, " << kept << " lines");
        std::string text = joined(lines, kept);
        if (kept < lines.size()) text += lines[kept].substr(0, kept * 7 % lines[kept].size()); // torn
        std::string const cut = place / "cut";
        put(cut, text);
        HalvingJournal again(cut, settings, Sync::no);
        // The events that were to come, as they came.
        std::size_t events = 0;
        for (std::size_t i = 1; i < lines.size(); ++i) {
          json::Reader reader(records[i], "test");
          auto const type =
              reader.choice("type", {"started", "result", "failed", "lost", "free", "start", "resume", "idle"});
          if (type >= 5 || events++ < again.replayed().size()) continue;
          auto const bits = std::stoull(reader.string("value"), nullptr, 16);
          again.apply({static_cast<Kind>(type), static_cast<int>(reader.integer("trial", -1, 1000)),
                       static_cast<int>(reader.integer("rung", -1, 1000)), std::bit_cast<double>(bits),
                       static_cast<int>(reader.integer("worker", 0, 1000))});
        }
        REQUIRE(lines_of(cut) == lines);
      }
    }
  }
}

TEST_CASE("halving journal: killed at any event, one worker makes the decisions that were left", "[halving]")
{
  test::TemporaryFolder const place;
  for (auto const& [preset, rank] : variants) {
    auto const settings = settings_of(preset, rank, 11);
    std::string const path = place / "whole", cut = place / "cut";
    std::filesystem::remove(path);
    HalvingJournal whole(path, settings, Sync::no);
    run(whole, 1);
    auto const wanted = first_of_each(whole, path);
    auto const lines = lines_of(path);
    for (std::size_t kept = 1; kept <= lines.size(); ++kept) {
      for (bool const checkpoint : {false, true}) { // written before the kill, or not
        INFO(name(preset) << ", " << kept << " lines, checkpoint " << checkpoint);
        put(cut, joined(lines, kept));
        HalvingJournal again(cut, settings, Sync::no);
        auto const events = recovery(again.halving(), [&](int trial, int rung) -> std::optional<double> {
          if (!checkpoint) return std::nullopt;
          return loss(trial, again.halving().epochs(trial, rung));
        });
        for (auto const& event : events)
          again.apply(event);
        run(again, 1);
        REQUIRE(first_of_each(again, cut) == wanted);
        REQUIRE(again.halving().records() == whole.halving().records());
        REQUIRE(again.halving().epochs_trained() == whole.halving().epochs_trained());
      }
    }
  }
}

TEST_CASE("halving journal: kill -9 at any moment, again and again", "[halving]")
{
  test::TemporaryFolder const place;
  auto const settings = settings_of(HalvingPreset::asha_promote, RankRule::loss, 60);
  HalvingJournal whole(place / "whole", settings, Sync::no);
  run(whole, 1);
  auto const wanted = first_of_each(whole, place / "whole");
  std::string const path = place / "killed";
  test::Random random(5);
  int kills = 0;
  for (bool done = false; !done;) {
    pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      try {
        HalvingJournal journal(path, settings, Sync::no);
        for (auto const& event : recovery(journal.halving(), [](int, int) { return std::optional<double>(); }))
          journal.apply(event);
        ApplyHalving const apply = [&](HalvingEvent const& event) {
          std::this_thread::sleep_for(std::chrono::microseconds(300));
          return journal.apply(event);
        };
        simulate(journal.halving(), apply, loss, {.cost = cost});
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(3000 + random.below(12000)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE((WIFSIGNALED(status) || WEXITSTATUS(status) == 0));
    done = !WIFSIGNALED(status);
    kills += !done;
    REQUIRE(kills < 500);
  }
  CHECK(kills > 3);
  HalvingJournal const last(path, settings, Sync::no);
  CHECK(first_of_each(last, path) == wanted);
}

TEST_CASE("halving journal: another halving, and an edited record, are refused by name", "[halving]")
{
  test::TemporaryFolder const place;
  auto const settings = settings_of(HalvingPreset::asha_promote, RankRule::loss, 12);
  std::string const path = place / "journal";
  HalvingJournal whole(path, settings, Sync::no);
  run(whole, 2);
  auto const lines = lines_of(path);
  auto other = settings;
  other.eta = 4;
  CHECK(error_of([&] { HalvingJournal(path, other, Sync::no); }) ==
        path + ": header: 'settings.eta' is '4', was '3'; the journal belongs to another halving");
  other = settings;
  other.space_hash = "abc";
  CHECK(error_of([&] { HalvingJournal(path, other, Sync::no); }) ==
        path + ": header: 'settings.space_hash' is 'abc', was ''; the journal belongs to another halving");
  // An action that these events do not lead to, with a good checksum.
  auto edited = lines;
  auto const resume = std::find_if(edited.begin(), edited.end(), [](std::string const& line) {
    return line.find("\"resume\"") != std::string::npos;
  });
  REQUIRE(resume != edited.end());
  auto const number = resume - edited.begin();
  auto object = json::parse(*resume, "test").as_object();
  auto const trial = object["trial"].as_int64();
  object["trial"] = trial + 1;
  object.erase("crc");
  std::string digits(8, '0');
  std::snprintf(digits.data(), 9, "%08x", crc32(json::compact(object)));
  object["crc"] = digits;
  *resume = json::compact(object) + "\n";
  put(path, joined(edited, edited.size()));
  auto const message = error_of([&] { HalvingJournal(path, settings, Sync::no); });
  CHECK(
      message.starts_with(concat(path, ": record ", number, ": resume of trial ", trial + 1, " to rung 1 by worker ")));
  CHECK(message.find(concat("these events lead to resume of trial ", trial, " to rung 1")) != std::string::npos);
  // A bit that changed.
  edited = lines;
  edited[5][edited[5].find("value") + 9] ^= 1;
  put(path, joined(edited, edited.size()));
  CHECK(error_of([&] {
          HalvingJournal(path, settings, Sync::no);
        }).starts_with(path + ": record 5: is damaged: field 'crc'"));
  // A line that is gone.
  edited = lines;
  edited.erase(edited.begin() + 4);
  put(path, joined(edited, edited.size()));
  CHECK(error_of([&] { HalvingJournal(path, settings, Sync::no); }) ==
        path + ": record 4: field 'sequence' must be 4, got 5");
}

TEST_CASE("halving journal: of damaged bytes it takes nothing but records that were written", "[halving]")
{
  test::TemporaryFolder const place;
  auto const settings = settings_of(HalvingPreset::asha_promote, RankRule::stratified, 12);
  std::string const path = place / "journal";
  HalvingJournal whole(path, settings, Sync::no);
  run(whole, 2);
  auto const lines = lines_of(path);
  std::string const good = read_file(path);
  test::Random random(17);
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    put(path, test::mutated(good, random));
    try {
      HalvingJournal const again(path, settings, Sync::no);
      auto const found = lines_of(path); // what it goes on behind; an action may have been written again
      REQUIRE(found.size() <= lines.size());
      for (std::size_t k = 0; k < found.size(); ++k)
        REQUIRE(json::parse(found[k], "found") == json::parse(lines[k], "line"));
    } catch (Error const& error) {
      ++refused;
      REQUIRE(std::string(error.what()).find(path) == 0);
    }
  }
  CHECK(refused > 100);
}
