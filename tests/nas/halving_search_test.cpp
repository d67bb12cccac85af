// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Successive halving that trains: what it leaves, and that a kill changes nothing.
#include "support/temporary.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/nas/halving_search.hpp>
#include <nasturtium/nn/checkpoint.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::error_of;
namespace fs = std::filesystem;

namespace {

datasets::Dataset const& images()
{
  static auto const dataset = [] {
    auto made = datasets::load("synthetic:height=8:width=8:classes=3:count=80:test=0:noise=60");
    datasets::split_validation(made, 0.25, 1);
    return made;
  }();
  return dataset;
}

HalvingSearchConfig config_of(RankRule rank = RankRule::loss)
{
  HalvingSearchConfig config;
  config.space = "residual-narrow";
  config.task = {{8, 8, 1}, 3};
  config.halving.most_epochs = 9;
  config.halving.trials = 12;
  config.halving.rank = rank;
  config.data = "synthetic";
  config.data_checksum = images().checksum;
  return config;
}

HalvingFolder create(std::string const& path, HalvingSearchConfig const& config = config_of())
{
  return HalvingFolder::create(path, config, make_provenance(0, nullptr, 1, "test"));
}

/// Keeps what it hears.
struct Listener : HalvingObserver
{
  std::vector<HalvingModel> models;
  std::vector<std::string> notes;
  int reports = 0;

  void on_report(int, int, nn::EpochReport const&) override { ++reports; }
  void on_model(HalvingModel const& model) override { models.push_back(model); }
  void on_note(std::string const& text) override { notes.push_back(text); }
};

HalvingResult search(HalvingFolder& folder, HalvingObserver& observer, std::function<bool()> const& interrupted = {})
{
  nn::TrainerOptions trainer;
  trainer.threads = 1;
  return run_halving(folder, images(), trainer, observer, interrupted, Sync::no);
}

HalvingResult search(HalvingFolder& folder, std::function<bool()> const& interrupted = {})
{
  HalvingObserver nobody;
  return search(folder, nobody, interrupted);
}

HalvingResult resume(std::string const& path)
{
  auto folder = HalvingFolder::open(path);
  return search(folder);
}

std::string table(std::string const& path)
{
  return read_file(path + "/trials.csv");
}

/// Starts and resumptions in their order, each (trial, rung) once.
std::vector<std::string> decisions(std::string const& path)
{
  std::vector<std::string> found;
  for (auto const& line : read_journal(path + "/journal.jsonl")) {
    auto const& object = line.as_object();
    auto const* const type = object.if_contains("type");
    if (!type || (*type != "start" && *type != "resume")) continue;
    std::string const decision =
        concat(std::string(type->as_string()), " ", object.at("trial").as_int64(), " ", object.at("rung").as_int64());
    if (std::find(found.begin(), found.end(), decision) == found.end()) found.push_back(decision);
  }
  return found;
}

/// Dies at the n-th notification of this call.
struct Victim : HalvingObserver
{
  int left = 0;

  void die_soon()
  {
    if (--left == 0) ::kill(::getpid(), SIGKILL);
  }
  void on_report(int, int, nn::EpochReport const&) override { die_soon(); }
  void on_model(HalvingModel const& model) override
  {
    if (!model.found) die_soon();
  }
};

constexpr char const* victim_folder = "NASTURTIUM_TEST_HALVING_FOLDER";
constexpr char const* victim_life = "NASTURTIUM_TEST_HALVING_LIFE";

} // namespace

TEST_CASE("halving search: every paused network is on disk, with its loss, and is told", "[halving]")
{
  test::TemporaryFolder const place;
  auto folder = create(place / "run");
  Listener listener;
  auto const result = search(folder, listener);
  CHECK_FALSE(result.interrupted);
  REQUIRE(result.trials.size() == 12);
  REQUIRE(result.best >= 0);
  std::map<HalvingModel::Status, int> count;
  std::int64_t epochs = 0;
  for (auto const& model : listener.models) {
    ++count[model.status];
    auto const& trial = result.trials[static_cast<std::size_t>(model.trial)];
    REQUIRE(model.loss == trial.losses[static_cast<std::size_t>(model.rung)]);
    REQUIRE(model.epochs == std::vector{1, 3, 9}[static_cast<std::size_t>(model.rung)]);
    REQUIRE_FALSE(model.found);
    epochs += std::vector{1, 2, 6}[static_cast<std::size_t>(model.rung)];
    if (model.status == HalvingModel::Status::failed) continue;
    CHECK((model.status == HalvingModel::Status::completed) == (model.rung == 2));
    auto const state = nn::load_checkpoint(model.checkpoint);
    CHECK(nn::reports_of(*state).back().epoch == model.epochs);
    CHECK(nn::reports_of(*state).back().validation_loss == model.loss);
    CHECK(nn::options_of(*state).epochs == 9); // at every rung: the learning rate knows none
    CHECK(nn::weights_of(*state).size() == nn::weights_of(*model.state).size());
    nn::TrainerOptions trainer;
    trainer.threads = 1;
    auto const measured = nn::evaluate(trainer, model.configuration.architecture, nn::weights_of(*state), images(),
                                       images().validation, 64, 1);
    CHECK(std::abs(measured.loss - model.loss) < 1e-5);
    auto curve = CsvReader::open(folder.trial_file(model.trial, "curve.csv"));
    int rows = 0;
    while (curve.next())
      ++rows;
    CHECK(rows >= model.epochs); // of the rung that it reached last
  }
  CHECK(count[HalvingModel::Status::paused] >= 12);
  CHECK(count[HalvingModel::Status::completed] >= 1);
  CHECK(result.epochs == epochs);
  CHECK(listener.reports == epochs);
  auto trials = CsvReader::open(folder.file("trials.csv"));
  int rows = 0;
  while (trials.next())
    ++rows;
  CHECK(rows == 12);
  json::Value const configuration = json::parse_file(folder.trial_file(3, "config.json"));
  CHECK(configuration.at("training").at("epochs") == 9);
  CHECK(configuration.at("cost").to_number<double>() == result.trials[3].cost);
}

TEST_CASE("halving search: a trial that was paused has the bits of one that was not", "[halving]")
{
  test::TemporaryFolder const place;
  auto folder = create(place / "run");
  Listener listener;
  search(folder, listener);
  auto const whole = std::find_if(listener.models.begin(), listener.models.end(),
                                  [](auto const& model) { return model.status == HalvingModel::Status::completed; });
  REQUIRE(whole != listener.models.end());
  nn::Candidate candidate;
  candidate.architecture = whole->configuration.architecture;
  candidate.options = whole->configuration.options;
  nn::TrainerOptions trainer;
  trainer.threads = 1;
  auto const direct = nn::train(trainer, std::span<nn::Candidate const>(&candidate, 1), images());
  REQUIRE(direct[0].status == nn::Status::completed);
  CHECK(direct[0].reports.back().validation_loss == whole->loss);
  auto const paused = nn::load_checkpoint(whole->checkpoint);
  for (auto const& [key, tensor] : *direct[0].weights)
    REQUIRE(nn::weights_of(*paused).at(key).values == tensor.values);
}

TEST_CASE("halving search: cut off at any record and resumed, it decides what it would have decided", "[halving]")
{
  test::TemporaryFolder const place;
  {
    auto folder = create(place / "whole", config_of(RankRule::stratified));
    auto const& edges = folder.config().halving.edges; // between the strata, from the space
    CHECK((edges[0] > 0 && edges[0] < edges[1]));
    search(folder);
  }
  auto const wanted = decisions(place / "whole");
  std::string const text = read_file(place / "whole/journal.jsonl");
  std::vector<std::size_t> ends;
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    ends.push_back(at + 1);
  for (std::size_t kept = 0; kept < ends.size(); kept += 27) {
    for (bool const written : {false, true}) { // the checkpoint of the trial that was out
      INFO(kept << " of " << ends.size() << " records, checkpoint " << written);
      std::string const path = place / concat("cut-", kept, written);
      fs::copy(place / "whole", path, fs::copy_options::recursive);
      fs::remove(path + "/trials.csv");
      write_file(path + "/journal.jsonl", text.substr(0, ends[kept] + kept % 30)); // and a torn line
      std::set<std::string> there;
      {
        auto folder = HalvingFolder::open(path);
        std::string const copy = place / "copy";
        fs::copy_file(folder.file("journal.jsonl"), copy, fs::copy_options::overwrite_existing);
        HalvingJournal const journal(copy, folder.config().halving, Sync::no);
        for (int id = 0; id < 12; ++id)
          for (int rung = 0; rung < 3; ++rung) {
            auto const& trials = journal.halving().trials();
            bool keep = id < static_cast<int>(trials.size()) && rung <= trials[static_cast<std::size_t>(id)].reached;
            for (auto const& flight : journal.halving().flights())
              keep = keep || (written && flight.trial == id && flight.rung == rung);
            if (!keep) fs::remove(folder.checkpoint(id, rung));
          }
      }
      auto const result = resume(path);
      REQUIRE_FALSE(result.interrupted);
      REQUIRE(decisions(path) == wanted);
      REQUIRE(table(path) == table(place / "whole"));
    }
  }
}

TEST_CASE("halving search: interrupted and resumed, it tells everything again and ends the same", "[halving]")
{
  test::TemporaryFolder const place;
  std::atomic<int> polls = 0;
  Listener all;
  {
    auto folder = create(place / "whole");
    search(folder, all, [&] {
      ++polls;
      return false;
    });
  }
  std::string const path = place / "part";
  std::size_t told = 0;
  {
    auto folder = create(path);
    std::atomic<int> seen = 0;
    int const limit = polls / 2;
    Listener first;
    auto const result = search(folder, first, [&] { return ++seen > limit; });
    CHECK(result.interrupted);
    CHECK_FALSE(is_file(folder.file("trials.csv")));
    told = first.models.size();
  }
  auto folder = HalvingFolder::open(path);
  Listener second;
  search(folder, second);
  REQUIRE(second.models.size() == all.models.size());
  for (std::size_t i = 0; i < all.models.size(); ++i) {
    REQUIRE(second.models[i].found == (i < told));
    REQUIRE(second.models[i].trial == all.models[i].trial);
    REQUIRE(second.models[i].rung == all.models[i].rung);
    REQUIRE(second.models[i].status == all.models[i].status);
    REQUIRE(second.models[i].checkpoint.substr(path.size()) ==
            all.models[i].checkpoint.substr((place / "whole").size()));
  }
  CHECK(table(path) == table(place / "whole"));
}

TEST_CASE("halving search: the process that a test of kills kills", "[.][halving-victim]")
{
  char const* const path = std::getenv(victim_folder);
  REQUIRE(path != nullptr);
  auto folder = HalvingFolder::open_or_create(path, config_of(), make_provenance(0, nullptr, 1, "test"));
  Victim victim;
  victim.left = std::atoi(std::getenv(victim_life));
  CHECK_FALSE(search(folder, victim).interrupted);
}

TEST_CASE("halving search: kill -9 at any moment, again and again", "[halving]")
{
  test::TemporaryFolder const place;
  {
    auto folder = create(place / "whole");
    search(folder);
  }
  std::string const path = place / "killed";
  test::Random random(3);
  int kills = 0;
  for (bool done = false; !done;) {
    // By itself after a report or a model, or from outside at any instruction.
    bool const outside = kills % 4 == 3;
    // Later lives are longer: a rung that needs more time than a life has would never end, on a busy machine above all.
    std::string const life = std::to_string(outside ? 1000 : 2 + random.below(5) + static_cast<unsigned>(kills) / 20);
    std::string program = fs::read_symlink("/proc/self/exe"), filter = "[halving-victim]";
    pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) { // a new program: threads of this one did not come along
      ::setenv(victim_folder, path.c_str(), 1);
      ::setenv(victim_life, life.c_str(), 1);
      ::setenv("OMP_NUM_THREADS", "1", 1);
      char* arguments[] = {program.data(), filter.data(), nullptr};
      bool const quiet = std::freopen("/dev/null", "w", stdout) && std::freopen("/dev/null", "w", stderr);
      if (!quiet) ::_exit(4);
      ::execv(program.c_str(), arguments);
      ::_exit(3);
    }
    if (outside) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random.below(80) + static_cast<unsigned>(kills) * 2));
      ::kill(child, SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    done = WIFEXITED(status);
    if (done) REQUIRE(WEXITSTATUS(status) == 0);
    if (!done) REQUIRE(WTERMSIG(status) == SIGKILL); // any other signal is a fault
    kills += !done;
    REQUIRE(kills < 500);
  }
  CHECK(kills >= 3);
  CHECK(decisions(path) == decisions(place / "whole"));
  CHECK(table(path) == table(place / "whole"));
}

TEST_CASE("halving search: several workers train the same bits", "[halving]")
{
  test::TemporaryFolder const place;
  auto config = config_of();
  auto one = create(place / "one", config);
  config.workers = 3;
  auto three = create(place / "three", config);
  auto const alone = search(one), together = search(three);
  REQUIRE(together.trials.size() == 12);
  CHECK(together.records[0] == 12);
  CHECK(together.records[1] >= 3);
  int compared = 0;
  for (std::size_t i = 0; i < alone.trials.size(); ++i) {
    auto const count = std::min(alone.trials[i].losses.size(), together.trials[i].losses.size());
    for (std::size_t rung = 0; rung < count; ++rung, ++compared)
      REQUIRE(alone.trials[i].losses[rung] == together.trials[i].losses[rung]);
  }
  CHECK(compared >= 12);
}

TEST_CASE("halving search: other presets; the last checkpoints alone", "[halving]")
{
  test::TemporaryFolder const place;
  for (auto const preset : {HalvingPreset::asha_stop, HalvingPreset::hyperband, HalvingPreset::random_full}) {
    auto config = config_of();
    config.halving.preset = preset;
    config.halving.most_epochs = 3;
    config.halving.trials = 5;
    config.objective = HalvingObjective::error;
    config.keep_all = false;
    auto folder = create(place / name(preset), config);
    auto const result = search(folder);
    REQUIRE(result.trials.size() == 5);
    for (int id = 0; id < 5; ++id) {
      auto const& trial = result.trials[static_cast<std::size_t>(id)];
      CHECK((trial.losses.back() >= 0 && trial.losses.back() <= 1));
      for (int rung = 0; rung < 2; ++rung)
        CHECK(is_file(folder.checkpoint(id, rung)) == (rung == trial.reached));
    }
    CHECK(read_file(folder.file("config.json")) ==
          json::pretty(to_json(parse_halving_search_config(json::parse_file(folder.file("config.json")), "test"))));
  }
}

TEST_CASE("halving search: trials without a finite loss have failed, and it ends", "[halving]")
{
  test::TemporaryFolder const place;
  auto dataset = datasets::load("synthetic:task=regression:height=2:width=2:count=40:test=0");
  datasets::split_validation(dataset, 0.25, 1);
  dataset.validation.targets[0] = std::nanf("");
  HalvingSearchConfig config = config_of();
  config.task = {{2, 2, 1}, 0, 1};
  config.halving.trials = 4;
  config.data_checksum = dataset.checksum;
  auto folder = create(place / "run", config);
  Listener listener;
  auto const result = run_halving(folder, dataset, {.threads = 1}, listener, {}, Sync::no);
  CHECK(result.best == -1);
  CHECK(result.records == std::vector<std::int64_t>{4, 0, 0});
  REQUIRE(listener.models.size() == 4);
  for (auto const& model : listener.models) {
    CHECK(model.status == HalvingModel::Status::failed);
    CHECK(model.reason == "the validation loss is not finite");
    CHECK_FALSE(is_file(folder.checkpoint(model.trial, 0)));
  }
}

TEST_CASE("halving search: several trials in turns on one device, the same every time", "[halving]")
{
  test::TemporaryFolder const place;
  auto config = config_of();
  config.workers = 3;
  for (auto const policy : {nn::PopulationPolicy::interleaved, nn::PopulationPolicy::fused}) {
    nn::TrainerOptions trainer;
    trainer.threads = 1;
    trainer.policy = policy;
    std::vector<std::string> tables;
    for (char const* const name : {"one", "two"}) {
      std::string const path = place / concat(name, static_cast<int>(policy));
      auto folder = create(path, config);
      HalvingObserver nobody;
      auto const result = run_halving(folder, images(), trainer, nobody, {}, Sync::no);
      CHECK(result.best >= 0);
      std::string decided;
      for (auto const& line : decisions(path))
        decided += line + '\n';
      tables.push_back(decided);
    }
    CHECK(tables[0] == tables[1]);
    CHECK(tables[0].find("resume") != std::string::npos); // trials were paused and went on
  }
  config.backend = nn::BackendKind::cuda;
  CHECK(error_of([&] { check(config); }) == "halving: 'workers' must be 1 with backend cuda, got 3");
}

TEST_CASE("halving search: what does not belong together is refused by name", "[halving]")
{
  test::TemporaryFolder const place;
  std::string const path = place / "run";
  {
    auto folder = create(path);
    search(folder);
  }
  auto config = config_of();
  config.halving.trials = 13;
  auto const provenance = make_provenance(0, nullptr, 1, "test");
  CHECK(error_of([&] { HalvingFolder::open_or_create(path, config, provenance); }) ==
        path + ": 'halving.trials' is '13', was '12' in this folder; choose another one");
  config = config_of();
  config.workers = 0;
  CHECK(error_of([&] { create(place / "new", config); }) == "halving: 'workers' must be in [1, 4096], got 0");
  CHECK_FALSE(fs::exists(place / "new"));
  config = config_of();
  config.task = {{8, 8, 1}, 0, 1};
  config.objective = HalvingObjective::error;
  CHECK(error_of([&] { create(place / "new", config); }) ==
        "halving: 'objective' must be loss with a regression, got 'error'");
  auto const error_with = [&](std::string const& from, std::string const& to) {
    std::string const good = read_file(path + "/config.json");
    std::string text = good;
    REQUIRE(text.find(from) != std::string::npos);
    text.replace(text.find(from), from.size(), to);
    write_file(path + "/config.json", text);
    auto const message = error_of([&] { resume(path); });
    write_file(path + "/config.json", good);
    return message;
  };
  CHECK(error_with("\"eta\": 3", "\"eta\": 2")
            .starts_with(path + "/journal.jsonl: header: 'settings.eta' is '2', was '3'"));
  CHECK(error_with("\"eta\": 3", "\"eta\": 0").starts_with(path + "/config.json: 'halving': field 'eta'"));
  CHECK(error_with("\"objective\": \"loss\"", "\"objective\": \"speed\"")
            .starts_with(path + "/config.json: field 'objective'"));
  CHECK(error_with("\"space_hash\": \"", "\"space_hash\": \"0").find("it would draw other trials") !=
        std::string::npos);
  CHECK(error_with("\"data_checksum\": \"", "\"data_checksum\": \"0")
            .find("is not the data set that the search was begun with") != std::string::npos);
  CHECK(error_of([&] {
          auto const other = HalvingFolder::open(path);
          create(path);
        }).find("holds a run already") != std::string::npos);
  // A checkpoint that a resumption needs is damaged: an error that names it.
  auto lines = read_file(path + "/journal.jsonl");
  auto const resumed = lines.find("\"resume\"");
  REQUIRE(resumed != std::string::npos);
  auto const line = json::parse(
      lines.substr(lines.rfind('\n', resumed) + 1, lines.find('\n', resumed) - lines.rfind('\n', resumed) - 1), "test");
  write_file(path + "/journal.jsonl", lines.substr(0, lines.rfind('\n', resumed) + 1));
  std::string const needed = concat(path, "/trials/", line.at("trial").as_int64(), "/rung-0.h5");
  write_file(needed, "no HDF5");
  fs::remove(concat(path, "/trials/", line.at("trial").as_int64(), "/rung-1.h5"));
  CHECK(error_of([&] { resume(path); }).starts_with(needed + ": "));
}

TEST_CASE("halving search: configurations with mutations are read, or refused with the name of the file", "[halving]")
{
  test::TemporaryFolder const place;
  std::string const good = json::pretty(to_json(prepared(config_of())));
  test::Random random(23);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string const text = test::mutated(good, random);
    try {
      auto const config = parse_halving_search_config(json::parse(text, "config.json"), "config.json");
      check(config);
    } catch (Error const& error) {
      ++refused;
      std::string const message = error.what();
      REQUIRE_FALSE(message.empty());
      REQUIRE(message.find('\n') == std::string::npos);
    }
  }
  CHECK(refused > 150);
}
