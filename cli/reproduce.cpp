// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce: the papers' experiments, one of them or all.
#include "reproduce.hpp"
#include "penguin.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <set>
#include <thread>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples =
    "  nasturtium reproduce all --scale smoke                   # minutes, synthetic images\n"
    "  nasturtium reproduce penguin --scale laptop --dry-run    # the plan: networks, epochs, seconds, disk\n"
    "  nasturtium reproduce weight-transfer --scale laptop --out runs/transfer\n"
    "  nasturtium reproduce --resume runs/transfer\n"
    "  nasturtium reproduce EXPERIMENT --help";

struct Experiment
{
  char const* name;
  char const* summary;
  int (*run)(Invocation const&);
};

constexpr Experiment experiments[] = {
    {"penguin", "fitness prediction in three searches", reproduce_penguin},
    {"weight-transfer", "starting from earlier weights", reproduce_weight_transfer},
    {"time-estimator", "how long a training step takes", reproduce_time_estimator},
    {"ensembles", "from searches to ensembles that are served", reproduce_ensembles},
};

/// Arguments without what says where, or only how to show: `names` with a value behind, and --json where `json`.
std::vector<std::string> without(std::vector<std::string> const& arguments, std::set<std::string> const& names,
                                 bool json)
{
  std::vector<std::string> left;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string const& word = arguments[i];
    std::string const name = word.substr(0, word.find('='));
    if (names.count(name) > 0)
      i += name == word; // the value is the next word
    else if (!json || word != "--json")
      left.push_back(word);
  }
  return left;
}

/// Runs this program again with other arguments; its exit status, or 128 and the signal that ended it.
int run_again(std::vector<std::string> const& arguments)
{
  std::vector<std::string> words{"nasturtium"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  std::cout.flush();
  pid_t const child = ::fork();
  require(child >= 0, "a process cannot be started");
  if (child == 0) {
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  // Ctrl-C tells both; a signal to this process alone is passed on.
  int raw = 0;
  bool told = false;
  while (::waitpid(child, &raw, WNOHANG) == 0) {
    if (interrupted() && !told) {
      ::kill(child, SIGINT);
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

/// All experiments, each as a process of its own: one that fails does not stop the others, and each has its own number
/// of threads.
int reproduce_all(Invocation const& call)
{
  ExperimentCall it("all");
  VerbParser parser("reproduce all", "Every experiment, and one page of all results.", examples);
  it.add_to(parser.app());
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  it.trainer();           // a backend that is not there is told now
  penguin_plan(it.scale); // and so is a scale
  std::string const out = it.out();
  auto const passed = without(call.arguments, {"--out"}, false);
  bool const dry_run = std::count(passed.begin(), passed.end(), "--dry-run") > 0;
  if (!dry_run) keep_call(out, "all", passed);
  std::vector<std::string> failed, report{"report"};
  for (auto const& experiment : experiments) {
    std::string const folder = (fs::path(out) / experiment.name).string();
    std::cerr << "== " << experiment.name << ": " << experiment.summary << '\n';
    std::vector<std::string> words{"reproduce", experiment.name, "--out", folder};
    words.insert(words.end(), passed.begin(), passed.end());
    int const status = run_again(words);
    if (status == exit_interrupted || interrupted()) {
      std::cerr << "nasturtium: interrupted; go on with: nasturtium reproduce --resume " << out << '\n';
      return exit_interrupted;
    }
    if (status == exit_success)
      report.push_back(folder);
    else
      failed.emplace_back(experiment.name);
  }
  for (auto const& name : failed)
    std::cerr << "nasturtium: " << name << " did not come to its end\n";
  if (!dry_run && report.size() > 1) {
    report.insert(report.end(), {"--out", (fs::path(out) / "report").string()});
    if (run_again(report) != exit_success) failed.emplace_back("report");
  }
  return failed.empty() ? exit_success : exit_failure;
}

/// NAME ... --resume DIR, or --resume DIR alone: what DIR was called with, and whatever decides no result.
Invocation resumed(Invocation const& call, std::string const& folder, std::vector<std::string> rest)
{
  KeptCall const kept = kept_call(folder);
  if (!rest.empty() && !rest.front().starts_with("-")) {
    require(rest.front() == kept.experiment, folder, ": is a folder of ", kept.experiment, ", not of ",
            quoted(rest.front()));
    rest.erase(rest.begin());
  }
  std::set<std::string> const with_value{"--threads", "--data-dir", "--estimator"}, flags{"--json", "--dry-run"};
  for (std::size_t i = 0; i < rest.size(); ++i) {
    std::string const name = rest[i].substr(0, rest[i].find('='));
    bool const takes = with_value.count(name) > 0;
    require(takes || flags.count(name) > 0, "--resume goes on with what was asked for at the start; ", quoted(name),
            " cannot be given beside it");
    if (takes && name == rest[i]) ++i;
  }
  Invocation inner = call;
  inner.arguments = {kept.experiment};
  inner.arguments.insert(inner.arguments.end(), kept.arguments.begin(), kept.arguments.end());
  inner.arguments.insert(inner.arguments.end(), {"--out", folder});
  inner.arguments.insert(inner.arguments.end(), rest.begin(), rest.end());
  return inner;
}

std::string duration(double seconds)
{
  if (seconds < 120) return fixed(seconds, 0) + " s";
  if (seconds < 7200) return fixed(seconds / 60, 0) + " min";
  return fixed(seconds / 3600, 1) + " h";
}

double bytes_below(std::string const& folder)
{
  double bytes = 0;
  for (auto const& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += static_cast<double>(entry.file_size());
  return bytes;
}

} // namespace

void ExperimentCall::add_to(CLI::App& app)
{
  app.add_option("--scale", scale, "smoke: a minute; laptop: two cores, hours; node: a GPU; paper: as published")
      ->option_text("smoke|laptop|node|paper [smoke]");
  app.add_option("--out", m_out, "Folder of all runs and tables; what is there already is not run again")
      ->type_name("DIR");
  app.add_option("--resume", m_resume, "Go on with the experiment of this folder, as it was asked for")
      ->type_name("DIR");
  app.add_option("--data-dir", data_dir, "Folder to look for data sets first")->type_name("DIR");
  app.add_option("--estimator", m_estimator, "Model of nasturtium estimate that tells the seconds of the plan")
      ->type_name("FILE");
  app.add_flag("--dry-run", m_dry_run, "Print the plan alone");
  app.add_flag("--json", m_json, "The plan (--dry-run) or the report as JSON on stdout");
  device.add_to(app);
}

std::string ExperimentCall::out() const
{
  return m_out.empty() ? concat("runs/", m_name, "-", scale) : m_out;
}

bool ExperimentCall::begin(Invocation const& call, std::vector<PlannedTraining> const& work)
{
  m_runtime = device.start(call);
  auto const estimate = estimate_plan(work, m_estimator, trainer());
  std::cerr << "plan: " << m_name << " at scale " << scale << ": ";
  bool first = true;
  for (auto const& kind : work) {
    std::cerr << (first ? "" : "; ") << kind.name;
    first = false;
  }
  std::cerr << "\nplan: " << grouped(std::llround(estimate.networks)) << " networks, at most "
            << grouped(std::llround(estimate.epochs)) << " epochs in all; about " << duration(estimate.seconds) << " ("
            << estimate.basis << ") and " << human_bytes(estimate.bytes) << " of weights; --out " << out() << '\n';
  if (m_dry_run) {
    if (m_json) {
      json::Object object;
      object["experiment"] = m_name;
      object["scale"] = scale;
      object["out"] = out();
      object["networks"] = estimate.networks;
      object["epochs"] = estimate.epochs;
      object["seconds"] = estimate.seconds;
      object["seconds_from"] = estimate.basis;
      object["bytes"] = estimate.bytes;
      std::cout << json::pretty(object);
    }
    return false;
  }
  m_expected = estimate.seconds;
  keep_call(out(), m_name, without(call.arguments, {"--out", "--resume"}, true));
  m_clock = Stopwatch();
  return true;
}

int ExperimentCall::interrupted() const
{
  std::cerr << "nasturtium: interrupted; go on with: nasturtium reproduce --resume " << out() << '\n';
  return exit_interrupted;
}

int ExperimentCall::finish(ReportDocument const& report, std::string const& text) const
{
  report.write(out());
  std::cerr << "done in " << duration(m_clock.seconds()) << " (planned " << duration(m_expected)
            << " for all of it), the folder has " << human_bytes(bytes_below(out())) << '\n';
  if (m_json)
    std::cout << json::pretty(report.to_json());
  else
    std::cout << text << "\nTo look at: " << (fs::path(out()) / "index.html").string() << '\n';
  return exit_success;
}

void keep_call(std::string const& folder, std::string const& experiment, std::vector<std::string> const& arguments)
{
  create_directories(folder);
  json::Object object;
  object["format"] = "nasturtium-experiment-call";
  object["version"] = 1;
  object["experiment"] = experiment;
  object["arguments"] = json::Array(arguments.begin(), arguments.end());
  write_file((fs::path(folder) / "call.json").string(), json::pretty(object));
}

KeptCall kept_call(std::string const& folder)
{
  std::string const file = (fs::path(folder) / "call.json").string();
  require(is_file(file), "--resume ", folder, ": holds no experiment (there is no call.json)");
  json::Value const value = json::parse_file(file);
  json::Reader reader(value, file);
  json::check_format(reader, "nasturtium-experiment-call", 1);
  KeptCall kept;
  kept.experiment = reader.string("experiment");
  bool const known =
      kept.experiment == "all" || std::any_of(std::begin(experiments), std::end(experiments),
                                              [&](Experiment const& it) { return kept.experiment == it.name; });
  require(known, reader.what("experiment"), ": there is no experiment ", quoted(kept.experiment));
  for (auto const& word : reader.array("arguments"))
    kept.arguments.push_back(json::to_string(word, reader.what("arguments")));
  reader.finish();
  return kept;
}

int reproduce(Invocation const& call)
{
  auto const& given = call.arguments;
  auto const resume = std::find_if(given.begin(), given.end(), [](std::string const& word) {
    return word == "--resume" || word.starts_with("--resume=");
  });
  bool const helped =
      std::count(given.begin(), given.end(), "--help") + std::count(given.begin(), given.end(), "-h") > 0;
  if (resume != given.end() && !helped) {
    std::vector<std::string> rest(given.begin(), resume);
    std::string folder = resume->starts_with("--resume=") ? resume->substr(9) : "";
    auto behind = resume + 1;
    if (folder.empty()) {
      require(behind != given.end(), "--resume needs a folder");
      folder = *behind++;
    }
    rest.insert(rest.end(), behind, given.end());
    return reproduce(resumed(call, folder, rest));
  }
  auto const inner = [&] {
    Invocation one = call;
    one.arguments.erase(one.arguments.begin());
    return one;
  };
  if (!given.empty() && given.front() == "all") return reproduce_all(inner());
  std::string words, summaries, name;
  for (auto const& experiment : experiments) {
    if (!given.empty() && given.front() == experiment.name) return experiment.run(inner());
    words += concat(experiment.name, "|");
    summaries += concat(experiment.name, ": ", experiment.summary, "; ");
  }
  VerbParser parser("reproduce", "Runs an experiment of a paper: trains, compares, writes tables and a page.",
                    examples);
  parser->add_option("EXPERIMENT", name, summaries + "all: each of them. Its own options stand behind it")
      ->option_text(words + "all (or --resume)");
  std::string folder;
  parser->add_option("--resume", folder, "Go on with the experiment of this folder, as it was asked for")
      ->type_name("DIR");
  parser->allow_extras();
  if (!parser.parse(call)) return exit_success;
  require(!name.empty(), "reproduce: EXPERIMENT or --resume is required (", words, "all)");
  fail("reproduce: unknown experiment ", quoted(name), " (", words, "all)");
}

} // namespace nasturtium::cli
