// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/temporary.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/journal.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/nas/search.hpp>
#include <nasturtium/nn/weights.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <filesystem>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::error_of;

namespace {

datasets::Dataset const& images()
{
  static auto const dataset = [] {
    auto made = datasets::load("synthetic:height=8:width=8:classes=4:count=160:test=40:noise=60");
    datasets::split_validation(made, 0.25, 1);
    return made;
  }();
  return dataset;
}

SearchConfig config_of(std::string const& predictor = "none")
{
  SearchConfig config;
  config.space = "menndl";
  config.task = {{8, 8, 1}, 4};
  config.settings.algorithm = "menndl";
  config.settings.evaluations = 8;
  config.settings.population = 4;
  config.training.epochs = 6;
  config.training.batch_size = 32;
  config.training.optimiser.learning_rate = 0.05;
  config.predictor = predictor;
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

// What was decided: questions and answers, without times.
std::vector<std::string> decisions(std::string const& path)
{
  std::vector<std::string> found;
  std::set<std::int64_t> told;
  for (auto const& event : read_journal(path + "/journal.jsonl")) {
    auto object = event.as_object();
    std::string const kind(object["event"].as_string());
    if (kind == "ask") {
      object.erase("utc");
      found.push_back(json::compact(object));
    } else if (kind == "tell") {
      CHECK(told.insert(object["trial"].as_int64()).second);
      for (char const* field : {"utc", "seconds", "engine_seconds"})
        object.erase(field);
      found.push_back(json::compact(object));
    }
  }
  return found;
}

} // namespace

TEST_CASE("search: trains every candidate, keeps the fittest, and writes what it did")
{
  test::TemporaryFolder const place;
  auto folder = create(place / "run", config_of());
  auto const result = search(folder);
  REQUIRE(result.trials.size() == 8);
  REQUIRE(result.best >= 0);
  auto const& best = result.trials[static_cast<std::size_t>(result.best)];
  for (auto const& trial : result.trials) {
    CHECK((trial.failed() || trial.epochs == 6));
    CHECK((trial.failed() || trial.fitness <= best.fitness));
  }
  CHECK(result.saved() == 0);
  // The weights that were kept reach what the search was told of them.
  auto const path = folder.file("best/weights.h5");
  auto const architecture = nn::load_weights_architecture(path);
  CHECK(nn::spec::hash(architecture) == best.hash);
  CHECK(nn::spec::hash(nn::spec::load_architecture(folder.file("best/architecture.json"))) == best.hash);
  auto const measured =
      nn::evaluate(one_thread(), architecture, nn::load_weights(path), images(), images().validation, 64, 1);
  CHECK(std::abs(100 * measured.accuracy - best.fitness) < 1e-9);
  // Tables: a row a candidate, a row an epoch.
  auto trials = CsvReader::open(folder.file("trials.csv"));
  int rows = 0;
  while (trials.next())
    ++rows;
  CHECK(rows == 8);
  auto curves = CsvReader::open(folder.file("curves.csv"));
  rows = 0;
  while (curves.next())
    ++rows;
  CHECK(rows == static_cast<int>(result.epochs_used));
}

TEST_CASE("search: the same configuration decides the same, candidates are repeatable one by one")
{
  test::TemporaryFolder const place;
  auto one = create(place / "one", config_of("a4nn")), two = create(place / "two", config_of("a4nn"));
  auto const first = search(one), second = search(two);
  CHECK(decisions(one.path()) == decisions(two.path()));
  CHECK(first.epochs_used == second.epochs_used);
}

TEST_CASE("search: interrupted anywhere and resumed, it decides what it would have decided")
{
  test::TemporaryFolder const place;
  for (std::string const predictor : {"none", "last-value"}) {
    auto whole = create(place / ("whole-" + predictor), config_of(predictor));
    std::atomic<int> polls = 0;
    search(whole, [&] {
      ++polls;
      return false;
    });
    auto const wanted = decisions(whole.path());
    for (int const part : {1, 3, 7}) {
      INFO("after " << part << " tenths of the steps, predictor " << predictor);
      std::string const path = (place / concat("part-", predictor, part));
      {
        auto folder = create(path, config_of(predictor));
        std::atomic<int> seen = 0;
        int const limit = polls * part / 10;
        CHECK(search(folder, [&] { return ++seen > limit; }).interrupted);
      }
      auto folder = SearchFolder::open(path);
      auto const result = search(folder);
      CHECK_FALSE(result.interrupted);
      CHECK(decisions(path) == wanted);
      CHECK(read_file(folder.file("best/architecture.json")) == read_file(whole.file("best/architecture.json")));
    }
  }
}

TEST_CASE("search: a finished search is resumed to the same end without training")
{
  test::TemporaryFolder const place;
  double best = 0;
  {
    auto folder = create(place / "run", config_of());
    auto const result = search(folder);
    best = result.trials[static_cast<std::size_t>(result.best)].fitness;
  }
  auto folder = SearchFolder::open(place / "run");
  auto const result = search(folder, [] { return true; }); // training would be interrupted at once
  CHECK_FALSE(result.interrupted);
  REQUIRE(result.trials.size() == 8);
  CHECK(result.trials[static_cast<std::size_t>(result.best)].fitness == best);
}

TEST_CASE("search: a configuration that was edited by hand is refused, field by field")
{
  test::TemporaryFolder const place;
  {
    auto folder = create(place / "run", config_of());
    search(folder);
  }
  std::string const path = place / "run" + std::string("/config.json");
  std::string const good = read_file(path);
  for (auto const& [from, to] : {std::pair<std::string, std::string>{"\"batch_size\": ", "\"batch_size\": 1"},
                                 {"\"learning_rate\": ", "\"learning_rate\": 1"},
                                 {"\"predictor\": \"none\"", "\"predictor\": \"last-value\""}}) {
    std::string text = good;
    auto const at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    write_file(path, text);
    auto folder = SearchFolder::open(place / "run");
    CHECK_THROWS_WITH(search(folder), Catch::Matchers::ContainsSubstring("config.json") &&
                                          Catch::Matchers::ContainsSubstring(from.substr(1, 9)));
  }
}

TEST_CASE("search: several workers answer every question once")
{
  test::TemporaryFolder const place;
  auto config = config_of("a4nn");
  config.settings.workers = 3;
  auto folder = create(place / "run", config);
  auto const result = search(folder);
  CHECK(result.trials.size() == 8);
  std::set<int> ids;
  for (auto const& trial : result.trials)
    ids.insert(trial.trial.id);
  CHECK(ids.size() == 8);
}

TEST_CASE("search: a GPU trains several candidates at a time, too")
{
  auto config = config_of();
  config.backend = nn::BackendKind::cuda;
  config.settings.workers = 16;
  CHECK_NOTHROW(check(config));
}

TEST_CASE("search: with estimates and several workers the longest of a generation go first, and the search is the same")
{
  test::TemporaryFolder const place;
  auto config = config_of();
  config.settings.algorithm = "nsga-net";
  config.settings.workers = 2;
  config.settings.evaluations = 12;
  auto trainer = one_thread();
  trainer.policy = nn::PopulationPolicy::fused;
  TrainingCost const cost = [](nn::spec::Architecture const& it) {
    return static_cast<double>(nn::spec::infer(it, "test").parameter_count);
  };
  struct Begun : SearchObserver
  {
    std::map<int, std::vector<int>> order; ///< by generation: candidates as their training is first heard of
    std::map<int, double> expected;
    void on_report(Trial const& trial, nn::EpochReport const&, predictor::Prediction const&) override
    {
      auto& here = order[trial.generation];
      if (std::find(here.begin(), here.end(), trial.id) == here.end()) here.push_back(trial.id);
    }
    void on_result(TrialResult const& result) override { expected[result.trial.id] = result.expected_seconds; }
  } begun;

  auto plain = create(place / "plain", config);
  SearchObserver nobody;
  auto const without = run_search(plain, images(), trainer, nobody);
  config.estimator = json::Object{{"device", "test"}};
  auto folder = create(place / "estimated", config);
  CHECK(error_of([&] { run_search(folder, images(), trainer, nobody); }).find("'estimator'") != std::string::npos);
  auto const with = run_search(folder, images(), trainer, begun, {}, cost);

  REQUIRE(begun.order.size() == 3);
  for (auto const& [generation, ids] : begun.order) { // two begin together: either may be heard of first
    REQUIRE(ids.size() == 4);
    auto const of = [&](std::size_t i) { return begun.expected.at(ids[i]); };
    CHECK(std::min(of(0), of(1)) >= std::max(of(2), of(3)));
  }
  // A generation does not mind the order of its answers: the same questions, the same answers.
  std::map<int, std::pair<Genome, double>> answers;
  for (auto const& trial : without.trials)
    answers[trial.trial.id] = {trial.trial.genome, trial.fitness};
  REQUIRE(with.trials.size() == without.trials.size());
  for (auto const& trial : with.trials) {
    CHECK(answers.at(trial.trial.id) == std::pair(trial.trial.genome, trial.fitness));
    CHECK(std::isfinite(trial.expected_seconds));
  }
  CHECK(read_file(folder.file("trials.csv")).find("expected_seconds") != std::string::npos);
}

TEST_CASE("search: candidates over the cap are answers without training, whenever the search is stopped and resumed")
{
  test::TemporaryFolder const place;
  auto config = config_of();
  config.estimator = json::Object{{"device", "test"}};
  TrainingCost const cost = [](nn::spec::Architecture const& it) {
    return static_cast<double>(nn::spec::infer(it, "test").parameter_count) / 1000;
  };
  SearchObserver nobody;
  auto whole = create(place / "whole", config);
  std::vector<double> expected;
  for (auto const& trial : run_search(whole, images(), one_thread(), nobody, {}, cost).trials)
    expected.push_back(trial.expected_seconds);
  std::sort(expected.begin(), expected.end());
  config.seconds_cap = (expected[3] + expected[4]) / 2;

  auto capped = create(place / "capped", config);
  auto const result = run_search(capped, images(), one_thread(), nobody, {}, cost);
  int over = 0;
  for (auto const& trial : result.trials) {
    bool const too_long = trial.expected_seconds > config.seconds_cap;
    over += too_long;
    CHECK(trial.failed() == too_long);
    CHECK((trial.epochs == 0) == too_long);
    if (too_long) CHECK(trial.reason.find("the cap is") != std::string::npos);
  }
  CHECK(over > 0);
  CHECK(over < static_cast<int>(result.trials.size()));
  {
    auto cut = create(place / "cut", config);
    int polls = 0;
    run_search(cut, images(), one_thread(), nobody, [&] { return ++polls > 40; }, cost);
  }
  auto again = SearchFolder::open(place / "cut");
  CHECK(again.config().seconds_cap == config.seconds_cap);
  run_search(again, images(), one_thread(), nobody, {}, cost);
  CHECK(decisions(again.path()) == decisions(capped.path()));

  config.estimator = nullptr;
  CHECK(error_of([&] { check(config); }).find("needs an estimator") != std::string::npos);
  config.estimator = json::Object{{"device", "test"}};
  config.seconds_cap = -1;
  CHECK(error_of([&] { check(config); }).find("'seconds_cap'") != std::string::npos);
}

TEST_CASE("search: the engine stops candidates, and the algorithm hears the prediction")
{
  test::TemporaryFolder const place;
  for (FitnessRule const rule : {FitnessRule::prediction, FitnessRule::last, FitnessRule::best}) {
    auto config = config_of("a4nn");
    config.fitness = rule;
    config.training.epochs = 25;
    config.settings.evaluations = 6;
    auto folder = create(place / name(rule), config);
    auto const result = search(folder);
    for (auto const& trial : result.trials) {
      if (trial.status != nn::Status::stopped) continue;
      CHECK(trial.epochs < 25);
      CHECK(trial.fitness == (rule == FitnessRule::prediction ? trial.prediction
                              : rule == FitnessRule::last     ? trial.last
                                                              : trial.best));
    }
    CHECK(result.saved() > 0); // eight by eight images are learnt in a few epochs
  }
}

TEST_CASE("search: folders of another configuration, of another data set, and edited journals are refused")
{
  test::TemporaryFolder const place;
  auto const path = (place / "run");
  {
    auto folder = create(path, config_of());
    search(folder);
  }
  CHECK(error_of([&] { create(path, config_of()); }).find("holds a run already") != std::string::npos);
  {
    auto folder = SearchFolder::open(path);
    auto other = images();
    other.validation = {};
    SearchObserver nobody;
    CHECK(error_of([&] { run_search(folder, other, one_thread(), nobody); }).find("validation split") !=
          std::string::npos);
  }
  std::string const config = read_file(path + "/config.json");
  auto edited = config;
  edited.replace(edited.find("\"seed\": 1"), 9, "\"seed\": 2");
  write_file(path + "/config.json", edited);
  {
    auto folder = SearchFolder::open(path);
    CHECK(error_of([&] { search(folder); }).find("when the search was begun") != std::string::npos);
  }
  write_file(path + "/config.json", config);
  std::string const journal = read_file(path + "/journal.jsonl");
  auto genome = journal;
  auto const at = genome.find("\"genome\":[") + 10;
  genome.replace(at, 1, genome[at] == '1' ? "2" : "1");
  write_file(path + "/journal.jsonl", genome);
  {
    auto folder = SearchFolder::open(path);
    CHECK(error_of([&] { search(folder); }).find("is not what this configuration asks for") != std::string::npos);
  }
  write_file(path + "/journal.jsonl", journal);
  for (auto const& [from, to] : {std::pair<std::string, std::string>{"\"menndl\"", "\"mendel\""},
                                 {"\"predictor\": \"none\"", "\"predictor\": \"oracle\""},
                                 {"\"version\": 1", "\"version\": 9"},
                                 {"\"space\"", "\"spice\""}}) {
    edited = config;
    edited.replace(edited.find(from), from.size(), to);
    write_file(path + "/config.json", edited);
    INFO(to);
    CHECK(error_of([&] { SearchFolder::open(path); }) != "no error");
  }
}

TEST_CASE("search: a model that cannot be written is told, and the search goes on")
{
  test::TemporaryFolder const folder;
  struct Notes : SearchObserver
  {
    std::vector<std::string> texts;
    void on_note(std::string const& text) override { texts.push_back(text); }
  } notes;
  auto run_folder = create(folder / "search", config_of());
  std::filesystem::create_directories(folder / "search/best/model.onnx/in-the-way");
  auto const result = run_search(run_folder, images(), one_thread(), notes);
  CHECK(result.trials.size() == 8);
  REQUIRE_FALSE(notes.texts.empty());
  CHECK(notes.texts.front().find("model.onnx") != std::string::npos);
  CHECK(is_file(folder / "search/best/weights.h5"));
}

TEST_CASE("search: a regression is searched by R2 of the validation split")
{
  test::TemporaryFolder const place;
  auto data = datasets::load("synthetic:task=regression:height=8:width=8:count=160:test=0");
  datasets::split_validation(data, 0.25, 1);
  auto config = config_of();
  config.task = {{8, 8, 1}, 0, 1};
  config.settings.evaluations = 4;
  config.training.epochs = 3;
  config.training.optimiser.learning_rate = 0.01;
  config.data_checksum = data.checksum;
  auto folder = create(place / "run", config);
  CHECK(to_json(parse_search_config(to_json(config), "test")) == to_json(config));
  SearchObserver nobody;
  auto const result = run_search(folder, data, one_thread(), nobody);
  REQUIRE(result.best >= 0);
  auto const& best = result.trials[static_cast<std::size_t>(result.best)];
  auto const path = folder.file("best/weights.h5");
  auto const measured = nn::evaluate(one_thread(), nn::load_weights_architecture(path), nn::load_weights(path), data,
                                     data.validation, 64, 1);
  double mean = 0, squares = 0;
  for (float const target : data.validation.targets)
    mean += static_cast<double>(target) / 40;
  for (float const target : data.validation.targets)
    squares += std::pow(static_cast<double>(target) - mean, 2) / 40;
  CHECK(std::abs(datasets::target_variance(data.validation, 1) - squares) < 1e-12);
  CHECK(std::abs(100 * (1 - measured.loss / squares) - best.fitness) < 1e-6);
  for (auto const& trial : result.trials)
    CHECK((trial.failed() || trial.fitness <= best.fitness));

  auto wrong = config;
  wrong.predictor = "a4nn";
  CHECK(error_of([&] { check(wrong); }) ==
        "search: prediction engines know accuracies alone; with a regression 'predictor' must be none, got 'a4nn'");
  CHECK(error_of([&] { run_search(folder, images(), one_thread(), nobody); }).find("is not the data set") !=
        std::string::npos);
  std::fill(data.validation.targets.begin(), data.validation.targets.end(), 0.5f);
  CHECK(error_of([&] {
          run_search(folder, data, one_thread(), nobody);
        }).find("targets of the validation split are all equal") != std::string::npos);
}
