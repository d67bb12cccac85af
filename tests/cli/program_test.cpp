// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The built program as a user meets it: good calls, bad calls, kills and Ctrl-C.
#include "process.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/nn/weights.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

constexpr char const* small_data = "synthetic:count=300:test=60:height=8:width=8:classes=3";

std::string const small_network = R"({"format": "nasturtium-architecture", "version": 1, "name": "small",
 "input": {"height": 8, "width": 8, "channels": 1},
 "nodes": [{"id": "c", "op": "conv2d", "inputs": ["input"], "filters": 6, "kernel": 3, "bias": false},
           {"id": "b", "op": "batch_norm", "inputs": ["c"]}, {"id": "r", "op": "relu", "inputs": ["b"]},
           {"id": "p", "op": "max_pool2d", "inputs": ["r"], "kernel": 2}, {"id": "d", "op": "dropout", "inputs": ["p"], "rate": 0.2},
           {"id": "o", "op": "dense", "inputs": ["d"], "units": 3}],
 "output": {"classes": 3}})";

std::string replaced(std::string text, std::string const& from, std::string const& to)
{
  auto const at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::vector<std::string> training(std::string const& network, std::vector<std::string> const& more)
{
  std::vector<std::string> words{"train", "--arch",       network, "--dataset",   small_data, "--validation",
                                 "0.2",   "--batch-size", "32",    "--optimiser", "adam",     "--learning-rate",
                                 "0.01",  "--schedule",   "cosine"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::size_t lines(std::string const& text)
{
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

void check_same_weights(std::string const& a, std::string const& b)
{
  auto const left = nn::load_weights(a), right = nn::load_weights(b);
  REQUIRE(left.size() == right.size());
  for (auto const& [key, tensor] : left) {
    INFO(key.first << "/" << key.second);
    auto const other = right.find(key);
    REQUIRE(other != right.end());
    CHECK(tensor.extent == other->second.extent);
    CHECK(tensor.values == other->second.values); // every bit; there is no NaN among them
  }
}

// Everything in curves.csv but the times.
std::vector<std::string> curve_values(std::string const& path)
{
  auto reader = CsvReader::open(path);
  std::vector<std::string> rows;
  while (reader.next()) {
    std::string row;
    for (std::size_t i = 0; i < reader.header().size(); ++i)
      if (reader.header()[i].find("seconds") == std::string::npos) row += reader.fields()[i] + ",";
    rows.push_back(row);
  }
  return rows;
}

// The one line that every mistake gets; `expected` are parts of it.
void check_refused(std::vector<std::string> const& arguments, std::vector<std::string> const& expected,
                   Limits const& limits = {})
{
  std::string call;
  for (auto const& word : arguments)
    call += " " + word;
  INFO("nasturtium" << call);
  auto const result = run(arguments, limits);
  INFO("stderr: " << result.err);
  CHECK(result.status == 2);
  CHECK(result.out.empty());
  CHECK(lines(result.err) == 1);
  CHECK(result.err.starts_with("nasturtium: "));
  for (auto const& part : expected) {
    INFO("expected: " << part);
    CHECK(result.err.find(part) != std::string::npos);
  }
}

} // namespace

TEST_CASE("help: every verb explains itself with examples and fits 80 columns")
{
  for (std::vector<std::string> const& call : std::vector<std::vector<std::string>>{{"--help"},
                                                                                    {"train", "--help"},
                                                                                    {"search", "--help"},
                                                                                    {"evaluate", "--help"},
                                                                                    {"datasets", "--help"},
                                                                                    {"info", "--help"},
                                                                                    {"predict", "--help"},
                                                                                    {"transfer", "--help"},
                                                                                    {"transfer", "match", "--help"},
                                                                                    {"estimate", "--help"},
                                                                                    {"estimate", "fit", "--help"},
                                                                                    {"ensemble", "search", "--help"},
                                                                                    {"ensemble", "select", "--help"},
                                                                                    {"ensemble", "plan", "--help"},
                                                                                    {"ensemble", "bench", "--help"},
                                                                                    {"ensemble", "serve", "--help"},
                                                                                    {"ensemble", "--help"},
                                                                                    {"report", "--help"},
                                                                                    {"compare", "--help"},
                                                                                    {"compare", "run", "--help"},
                                                                                    {"compare", "gate", "--help"},
                                                                                    {"reproduce", "--help"},
                                                                                    {"demo", "--help"}}) {
    ::setenv("COLUMNS", "80", 1);
    auto const result = run(call);
    INFO(call.front());
    CHECK(result.status == 0);
    CHECK(result.err.empty());
    if (call.size() > 1) CHECK(result.out.find("Examples:") != std::string::npos);
    if (call.size() == 2) CHECK(result.out.find("--config") != std::string::npos);
    std::istringstream text(result.out);
    bool examples = false;
    for (std::string line; std::getline(text, line);) {
      examples = examples || line == "Examples:"; // commands are not broken
      INFO(line);
      CHECK((examples || line.size() <= 80));
    }
  }
}

TEST_CASE("bad input: one line on stderr, exit status 2, nothing left behind")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network);
  auto const variant = [&](std::string const& name, std::string const& from, std::string const& to) {
    return folder.write(name, replaced(small_network, from, to));
  };
  std::string const unknown_field = variant("field.json", "\"filters\": 6", "\"filters\": 6, \"colour\": 3");
  std::string const unknown_op = variant("op.json", "max_pool2d", "magic");
  std::string const cycle =
      variant("cycle.json", R"("op": "batch_norm", "inputs": ["c"])", R"("op": "batch_norm", "inputs": ["p"])");
  std::string const too_large = variant("large.json", "\"kernel\": 3", "\"kernel\": 30, \"padding\": \"valid\"");
  std::string const other_shape = variant("shape.json", "\"height\": 8", "\"height\": 9");
  std::string const other_classes =
      folder.write("classes.json", replaced(replaced(small_network, "\"units\": 3", "\"units\": 4"), "\"classes\": 3",
                                            "\"classes\": 4"));
  std::string const no_json = folder.write("no.json", "{\"format\": ");
  std::string const plain = folder.write("plain.txt", "hello");
  folder.write("full/file.txt", "something");
  folder.write("idx/train-images-idx3-ubyte.gz",
               std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x63", 11)); // gzip, cut off
  folder.write("magic/train-images-idx3-ubyte", "this is no IDX file at all");
  for (auto const* kind : {"idx", "magic"})
    for (auto const* name : {"train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"})
      folder.write(std::string(kind) + "/" + name, "x");
  std::string const config = folder.write("bad.toml", "epochs = 2\ncolour = 3\n");
  auto const configured = [&](std::string const& name, std::string const& text) { return folder.write(name, text); };
  std::string const section = configured("section.toml", "[trian]\nepochs = 1\n");
  std::string const twice = configured("twice.toml", "# good\nepochs = = 1\n");
  std::string const no_pair = configured("pair.toml", "epochs\n");
  std::string const open_string = configured("string.toml", "backend = \"serial\n");
  std::string const word = configured("word.toml", "epochs = \"abc\"\n");
  std::string const choice = configured("choice.toml", "[train]\nweight_decay = \"foo\"\n");
  std::string const out = folder / "run";
  auto const before = folder.listing();

  auto const train_with = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--out", out});
    return training(network, more);
  };
  auto const train_on = [&](std::string const& dataset) {
    return std::vector<std::string>{"train", "--arch", network, "--dataset", dataset, "--out", out};
  };
  auto const train_network = [&](std::string const& source) { return training(source, {"--out", out}); };

  SECTION("the command line")
  {
    check_refused({}, {"verb"});
    check_refused({"trian"}, {"trian"});
    check_refused({"train", "--colour"}, {"--colour"});
    check_refused({"train", "--dataset", small_data}, {"--arch"});
    check_refused({"train", "--arch", network}, {"--dataset"});
    check_refused(train_with({"--epochs", "three"}), {"--epochs", "three"});
    check_refused(train_with({"--epochs", "0"}), {"epochs", "0"});
    check_refused(train_with({"--epochs", "-4"}), {"epochs", "-4"});
    check_refused(train_with({"--learning-rate", "nan"}), {"learning_rate", "nan"});
    check_refused(train_with({"--learning-rate", "-1"}), {"learning_rate", "-1"});
    check_refused(train_with({"--momentum", "1.5"}), {"momentum", "1.5"});
    check_refused(train_with({"--optimiser", "magic"}), {"--optimiser", "magic", "sgd|adam|adamw|rmsprop"});
    check_refused(train_with({"--initialiser", "magic"}), {"initialiser", "magic"});
    check_refused(train_with({"--validation", "1.5"}), {"--validation", "1.5"});
    check_refused(train_with({"--backend", "abacus"}), {"abacus"});
    check_refused(train_with({"--threads", "-1"}), {"threads", "-1"});
    check_refused(train_with({"--config", config}), {config, "colour"});
    check_refused(train_with({"--config", folder / "none.toml"}), {"none.toml"});
    check_refused(train_with({"--config", section}), {section, "line 1", "trian", "train, "});
    check_refused(train_with({"--config", twice}), {twice, "line 2", "epochs = = 1", "key = value"});
    check_refused(train_with({"--config", no_pair}), {no_pair, "line 1", "epochs"});
    check_refused(train_with({"--config", open_string}), {open_string, "line 1", "serial"});
    check_refused(train_with({"--config", word}), {word, "--epochs", "abc"});
    check_refused(train_with({"--config", choice}), {choice, "--weight-decay", "foo"});
    check_refused({"datasets"}, {"subcommand"});
    check_refused({"datasets", "foo"}, {"subcommand", "'foo'"});
  }
  SECTION("architectures")
  {
    check_refused(train_network(folder / "none.json"), {"none.json"});
    check_refused(train_network("magicnet"), {"magicnet"});
    check_refused(train_network(no_json), {no_json});
    check_refused(train_network(unknown_field), {unknown_field, "'c'", "colour"});
    check_refused(train_network(unknown_op), {unknown_op, "'p'", "magic"});
    check_refused(train_network(cycle), {cycle, "cycle"});
    check_refused(train_network(too_large), {too_large, "'c'"});
    check_refused(train_network(other_shape), {other_shape, "9 x 8 x 1", "8 x 8 x 1"});
    check_refused(train_network(other_classes), {other_classes, "4 classes", "3"});
    check_refused({"info", "--arch", cycle}, {cycle, "cycle"});
  }
  SECTION("data")
  {
    check_refused(train_on("magic-set"), {"magic-set"});
    check_refused(train_on("idx:" + folder / "nowhere"), {"nowhere"});
    check_refused(train_on("idx:" + folder / "idx"), {"train-images-idx3-ubyte.gz"});
    check_refused(train_on("idx:" + folder / "magic"), {"train-images-idx3-ubyte", "magic"});
    check_refused(train_on("hdf5:" + folder / "none.h5"), {"none.h5"});
    check_refused(train_on("hdf5:" + plain), {plain});
    check_refused(train_on("csv:" + folder / "none.csv"), {"none.csv"});
    check_refused(train_on("synthetic:colour=3"), {"colour"});
    check_refused({"datasets", "info", "magic-set"}, {"magic-set"});
    check_refused({"datasets", "verify", "magic-set"}, {"magic-set"});
    check_refused({"datasets", "download", "magic-set"}, {"magic-set"});
    check_refused({"datasets", "convert", small_data, folder / "nowhere/x.h5"}, {"nowhere"});
    check_refused({"datasets", "convert", "idx:" + folder / "idx", folder / "x.h5"}, {"train-images-idx3-ubyte.gz"});
  }
  SECTION("where results go")
  {
    check_refused(training(network, {"--out", plain}), {plain});
    check_refused(training(network, {"--out", plain + "/run"}), {plain});
    check_refused(training(network, {"--out", folder / "full"}), {folder / "full", "not empty"});
    check_refused(training(network, {"--out", "/proc/nasturtium"}), {"/proc/"});
    check_refused(train_with({"--log-steps", folder / "nowhere/steps.csv"}), {"--log-steps", "nowhere"});
    check_refused(train_with({"--log-steps", "/dev/full"}), {"--log-steps", "/dev/full"});
    CHECK(fs::is_character_file("/dev/full"));
    check_refused(train_with({"--export-weights", folder.path()}), {"--export-weights", folder.path()});
    check_refused(train_with({"--seeds", "1,2", "--log-steps", folder / "steps.csv"}), {"--log-steps"});
    check_refused({"train", "--resume", folder / "nowhere"}, {"nowhere"});
    check_refused({"train", "--resume", folder / "full"}, {"full"});
    check_refused({"train", "--resume", folder / "full", "--epochs", "3"}, {"--resume", "--epochs"});
    check_refused(training(network, {"--patience", "2", "--validation", "0", "--out", out}),
                  {"--patience", "validation"});
    check_refused(train_with({"--log-steps", folder / "a", "--export-weights", folder / "./a"}), {"--log-steps"});
    check_refused(training(network, {"--out", ""}), {"--out"});
    check_refused({"info", "--threads", "1000"}, {"1000"});
    check_refused({"info"}, {"standard output"}, {.stdout_path = "/dev/full"});
    check_refused({"datasets", "convert", small_data, folder / "x.h5"}, {"x.h5"}, {.file_size = 4096});
  }
  SECTION("weights")
  {
    check_refused({"evaluate", "--weights", folder / "none.h5", "--dataset", small_data}, {"none.h5"});
    check_refused({"evaluate", "--weights", plain, "--dataset", small_data}, {plain});
    check_refused({"evaluate", "--dataset", small_data}, {"--weights"});
    check_refused(train_with({"--init-weights", folder / "none.h5"}), {"none.h5"});
    check_refused(train_with({"--init-weights", plain}), {plain});
  }
  CHECK(folder.listing() == before);
}

TEST_CASE("train: the run folder holds all that was promised; evaluate finds the same accuracy")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network), out = folder / "run";
  auto const result = run(training(network, {"--epochs", "3", "--out", out, "--json"}));
  INFO(result.err);
  REQUIRE(result.status == 0);
  auto const answer = json::parse(result.out, "stdout").as_object();
  auto const& candidate = answer.at("candidates").as_array().at(0).as_object();
  CHECK(candidate.at("status").as_string() == "completed");
  CHECK(candidate.at("epochs").to_number<double>() == 3);
  CHECK(candidate.at("steps").as_int64() == 3 * 8);       // 240 samples in batches of 32
  CHECK(candidate.at("train_loss").as_double() < 1.0986); // better than guessing among three classes: ln 3

  for (auto const* name :
       {"config.json", "provenance.json", "journal.jsonl", "curves.csv", "checkpoint.h5", "weights.h5", "model.onnx"}) {
    INFO(name);
    CHECK(fs::file_size(out + "/" + name) > 0);
  }
  auto const rows = curve_values(out + "/curves.csv");
  CHECK(rows.size() == 3);
  CHECK(rows.front().starts_with("small-s1,1"));
  auto const provenance = json::parse_file(out + "/provenance.json").as_object();
  for (auto const* field : {"version", "git_hash", "command_line", "seed", "backend", "cpu"})
    CHECK(provenance.contains(field));
  std::istringstream journal(read(out + "/journal.jsonl"));
  std::vector<std::string> events;
  for (std::string line; std::getline(journal, line);)
    events.emplace_back(json::parse(line, "journal").as_object().at("event").as_string());
  CHECK(events == std::vector<std::string>{"start", "report", "checkpoint", "report", "checkpoint", "report",
                                           "checkpoint", "finish", "end"});

  auto const evaluated = run({"evaluate", "--weights", out + "/weights.h5", "--dataset", small_data, "--json",
                              "--logits", folder / "logits.csv"});
  INFO(evaluated.err);
  REQUIRE(evaluated.status == 0);
  auto const numbers = json::parse(evaluated.out, "stdout").as_object();
  CHECK(numbers.at("count").as_int64() == 60);
  CHECK(numbers.at("accuracy").to_number<double>() == candidate.at("test_accuracy").to_number<double>());
  // The accuracy once more, from the logits.
  auto logits = CsvReader::open(folder / "logits.csv");
  int right = 0, all = 0;
  while (logits.next()) {
    std::vector<double> const values{logits.number(2), logits.number(3), logits.number(4)};
    right += std::max_element(values.begin(), values.end()) - values.begin() == logits.integer(1);
    ++all;
  }
  CHECK(all == 60);
  CHECK(static_cast<double>(right) / all == numbers.at("accuracy").to_number<double>());

  SECTION("a folder that holds a run is refused, and a finished run has nothing left to do")
  {
    auto const before = folder.listing();
    check_refused(training(network, {"--epochs", "3", "--out", out}), {out, "--resume"});
    std::string const curves = read(out + "/curves.csv");
    auto const again = run({"train", "--resume", out, "--json"});
    CHECK(again.status == 0);
    CHECK(json::parse(again.out, "stdout").as_object().at("candidates") == answer.at("candidates"));
    CHECK(read(out + "/curves.csv") == curves);
    CHECK(folder.listing() == before);
  }
  SECTION("weights of another network are refused")
  {
    check_refused({"evaluate", "--weights", out + "/weights.h5", "--arch", "lenet", "--dataset", small_data},
                  {out + "/weights.h5"});
    std::string const whole = read(out + "/weights.h5");
    std::string const half = folder.write("half.h5", whole.substr(0, whole.size() / 2));
    check_refused({"evaluate", "--weights", half, "--dataset", small_data}, {half});
    check_refused({"evaluate", "--weights", out + "/weights.h5", "--dataset", small_data, "--split", "validation"},
                  {"validation"});
  }
}

TEST_CASE("the same seed twice: the same bits; another seed: others; no policy changes a bit")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network);
  auto const go = [&](std::string const& out, std::vector<std::string> more) {
    more.insert(more.end(), {"--epochs", "2", "--out", folder / out});
    auto const result = run(training(network, more));
    INFO(result.err);
    REQUIRE(result.status == 0);
    CHECK(result.out.find("completed") != std::string::npos);
  };
  go("a", {"--seed", "7"});
  go("b", {"--seed", "7", "--threads", "1"});
  go("c", {"--seeds", "7,8,9"});
  std::vector<std::string> const policies{"one_per_core", "interleaved", "fused"};
  for (auto const& policy : policies)
    go(policy, {"--seeds", "7,8,9", "--policy", policy});
  check_same_weights(folder / "a/weights.h5", folder / "b/weights.h5");
  CHECK(curve_values(folder / "a/curves.csv") == curve_values(folder / "b/curves.csv"));
  check_same_weights(folder / "a/weights.h5", folder / "c/small-s7/weights.h5");
  for (auto const& policy : policies)
    for (std::string const name : {"small-s7", "small-s8", "small-s9"})
      check_same_weights(folder / "c/" + name + "/weights.h5", folder / policy + "/" + name + "/weights.h5");
  CHECK(nn::load_weights(folder / "c/small-s7/weights.h5").begin()->second.values !=
        nn::load_weights(folder / "c/small-s8/weights.h5").begin()->second.values);
}

TEST_CASE("kill -9 at any moment: the resumed run ends with the same bits")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network);
  std::vector<std::string> const options{"--epochs", "60", "--validations-per-epoch", "2", "--seeds", "3,4"};
  auto const call = [&](std::string const& out) {
    auto words = training(network, options);
    words.insert(words.end(), {"--out", out});
    return words;
  };
  auto const reference = run(call(folder / "whole"));
  INFO(reference.err);
  REQUIRE(reference.status == 0);

  std::mt19937 random(2026);
  std::string const out = folder / "killed";
  auto const events = [&] {
    std::string const journal = read(out + "/journal.jsonl");
    return std::count(journal.begin(), journal.end(), '\n');
  };
  int killed = 0, resumed = 0;
  // After some more events of 240 reports, and then at any moment: progress, not time, so that a busy machine does as
  // well.
  for (int attempt = 0; attempt < 12 && !fs::exists(out + "/small-s4/weights.h5"); ++attempt) {
    bool const begun = fs::exists(out + "/config.json");
    resumed += begun;
    auto const until = (begun ? events() : 0) + std::uniform_int_distribution<long>(0, 30)(random);
    Process process(begun ? std::vector<std::string>{"train", "--resume", out} : call(out));
    while (process.running() && (!fs::exists(out + "/journal.jsonl") || events() < until))
      sleep_ms(1);
    sleep_ms(std::uniform_int_distribution<long>(0, 5)(random));
    process.signal(SIGKILL);
    killed += process.wait().status == -SIGKILL;
  }
  CHECK(killed >= 1);
  auto const last =
      run(fs::exists(out + "/config.json") ? std::vector<std::string>{"train", "--resume", out} : call(out));
  INFO(last.err);
  REQUIRE(last.status == 0);
  for (std::string const name : {"/small-s3", "/small-s4"})
    check_same_weights(folder / "whole" + name + "/weights.h5", out + name + "/weights.h5");
  auto a = curve_values(folder / "whole/curves.csv"), b = curve_values(out + "/curves.csv");
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  CHECK(a == b);
  CHECK(resumed + 1 >= killed);
}

TEST_CASE("a configuration that changed behind a run's back is refused, and the run can still go on")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network), out = folder / "run";
  auto words = training(network, {"--epochs", "400", "--validation", "0.25"});
  words.insert(words.end(), {"--out", out});
  Process process(words);
  while (process.running() && read(out + "/journal.jsonl").find("checkpoint") == std::string::npos)
    sleep_ms(5);
  process.signal(SIGKILL);
  REQUIRE(process.wait().status == -SIGKILL);
  std::string const config = read(out + "/config.json"), journal = read(out + "/journal.jsonl");
  auto const edited = [&](std::string const& from, std::string const& to) {
    std::string text = config;
    text.replace(text.find(from), from.size(), to);
    std::ofstream(out + "/config.json") << text;
  };
  edited("\"split_seed\": 1", "\"split_seed\": 9");
  check_refused({"train", "--resume", out}, {"config.json", "data.split_seed", "9"});
  edited("\"validation\": 0.25", "\"validation\": 0.5");
  check_refused({"train", "--resume", out}, {"config.json", "data.validation"});
  CHECK(read(out + "/journal.jsonl") == journal);
  edited("\"epochs\": 400", "\"epochs\": 2"); // a limit may change
  CHECK(run({"train", "--resume", out}).status == 0);
}

TEST_CASE("an empty folder that is there already may become a run's, the current one too")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network), out = folder / "here";
  fs::create_directory(out);
  auto words = training(network, {"--epochs", "1"});
  words.insert(words.end(), {"--out", out + "/."});
  CHECK(run(words).status == 0);
  CHECK(fs::exists(out + "/weights.h5"));
}

TEST_CASE("Ctrl-C: a consistent stop, exit status 130, and the way to go on")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network), out = folder / "run";
  std::vector<std::string> const options{"--epochs", "400", "--seed", "5"};
  auto words = training(network, options);
  words.insert(words.end(), {"--out", out});
  Process process(words);
  for (int waited = 0;
       waited < 20000 && process.running() && read(out + "/journal.jsonl").find("checkpoint") == std::string::npos;
       ++waited)
    sleep_ms(1);
  process.signal(SIGINT);
  auto const stopped = process.wait();
  INFO(stopped.err);
  REQUIRE(stopped.status == 130);
  CHECK(stopped.out.empty());
  CHECK(stopped.err.find("nasturtium train --resume " + out) != std::string::npos);
  CHECK(fs::exists(out + "/checkpoint.h5"));
  CHECK_FALSE(fs::exists(out + "/weights.h5"));

  auto const resumed = run({"train", "--resume", out});
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  words.back() = folder / "whole";
  REQUIRE(run(words).status == 0);
  check_same_weights(folder / "whole/weights.h5", out + "/weights.h5");
}

TEST_CASE("parity options: logged losses, imported and exported weights, in double")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network);
  REQUIRE(run({"datasets", "convert", small_data, folder / "data.h5"}).status == 0);
  auto const steps = [&](std::string const& number, std::vector<std::string> more) {
    std::vector<std::string> words{"train",   "--arch",      network,   "--dataset", "hdf5:" + folder / "data.h5",
                                   "--order", "sequential",  "--steps", number,      "--batch-size",
                                   "32",      "--precision", "float64", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    auto const result = run(words);
    INFO(result.err);
    REQUIRE(result.status == 0);
    return json::parse(result.out, "stdout").as_object().at("candidates").as_array().at(0).as_object();
  };
  auto const done = steps("15", {"--log-steps", folder / "all.csv", "--export-weights", folder / "first.h5"});
  CHECK(done.at("steps").as_int64() == 15);
  auto log = CsvReader::open(folder / "all.csv");
  CHECK(log.header() == std::vector<std::string>{"step", "loss"});
  std::vector<double> losses;
  while (log.next()) {
    CHECK(log.integer(0) == static_cast<std::int64_t>(losses.size()) + 1);
    losses.push_back(log.number(1));
  }
  REQUIRE(losses.size() == 15);
  // Started from those weights with the same order, the first loss is a new one, and an improvement on the first
  // before.
  steps("1", {"--log-steps", folder / "next.csv", "--init-weights", folder / "first.h5"});
  auto next = CsvReader::open(folder / "next.csv");
  REQUIRE(next.next());
  CHECK(next.number(1) < losses.front());
}

TEST_CASE("a disk that fills up: one line, exit status 2, and the run can go on")
{
  Folder const folder;
  std::string const wide =
      folder.write("wide.json", replaced(replaced(small_network, "\"filters\": 6", "\"filters\": 64"),
                                         "\"name\": \"small\"", "\"name\": \"wide\""));
  std::string const out = folder / "run";
  // Room for the small files, not for a checkpoint.
  auto const result = run(training(wide, {"--epochs", "2", "--out", out}), {.file_size = 20000});
  INFO(result.err);
  CHECK(result.status == 2);
  CHECK(result.out.empty());
  CHECK(result.err.find("checkpoint.h5") != std::string::npos);
  for (auto const& name : folder.listing())
    CHECK(name.find("tmp") == std::string::npos);
  CHECK(run({"train", "--resume", out}).status == 0);
}

TEST_CASE("info and datasets: text for people, JSON for programs")
{
  auto const info = run({"info", "--json"});
  REQUIRE(info.status == 0);
  auto const object = json::parse(info.out, "stdout").as_object();
  CHECK(object.contains("version"));
  CHECK(object.at("zoo").as_array().size() >= 8);
  CHECK(run({"info"}).out.find("resnet20") != std::string::npos);
  CHECK(run({"info", "--arch", "lenet"}).out.find("431080") != std::string::npos);
  auto const list = run({"datasets", "list", "--json"});
  REQUIRE(list.status == 0);
  CHECK(json::parse(list.out, "stdout").as_array().size() >= 5);
  auto const described = run({"datasets", "info", small_data, "--json"});
  REQUIRE(described.status == 0);
  CHECK(json::parse(described.out, "stdout").is_object());
  CHECK(run({"datasets", "info", small_data}).out.find("checksum") != std::string::npos);
}

TEST_CASE("options from a file: those of the verb, and the command line wins")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network);
  std::string const config = folder.write("c.toml", "epochs = 2\nbatch_size = 16\n\n[train]\noptimiser = "
                                                    "\"rmsprop\"\nseeds = [3, 4]\n\n[evaluate]\nsplit = \"train\"\n");
  auto const result = run({"train", "--arch", network, "--dataset", small_data, "--config", config, "--epochs", "1",
                           "--out", folder / "run", "--json"});
  INFO(result.err);
  REQUIRE(result.status == 0);
  auto const candidates = json::parse_file(folder / "run/config.json").as_object().at("candidates").as_array();
  REQUIRE(candidates.size() == 2);
  auto const options = json::compact(candidates.at(1).as_object().at("options"));
  CHECK(options.find("\"epochs\":1,") != std::string::npos);
  CHECK(options.find("\"batch_size\":16") != std::string::npos);
  CHECK(options.find("rmsprop") != std::string::npos);
  CHECK(options.find("\"seed\":4") != std::string::npos);
}

TEST_CASE("a training that diverges is told and gives exit status 1")
{
  Folder const folder;
  std::string const network = folder.write("small.json", small_network);
  auto const result =
      run({"train", "--arch", network, "--dataset", small_data, "--epochs", "3", "--learning-rate", "1e30", "--json"});
  CHECK(result.status == 1);
  CHECK(json::parse(result.out, "stdout")
            .as_object()
            .at("candidates")
            .as_array()
            .at(0)
            .as_object()
            .at("status")
            .as_string() == "diverged");
  CHECK(result.err.find("diverged") != std::string::npos);
}
