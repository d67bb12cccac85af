// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What all verbs of the program have in common: how they are called, their options, their exit statuses.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <CLI/CLI.hpp>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::cli {

inline constexpr int exit_success = 0;
inline constexpr int exit_failure = 1; ///< the work was done and nothing useful came out (every training diverged)
inline constexpr int exit_error = 2;   ///< what a user or a file got wrong
inline constexpr int exit_interrupted = 130; ///< Ctrl-C: stopped at a consistent point

/// One call of the program.
struct Invocation
{
  std::vector<std::string> command_line; ///< all of it
  std::vector<std::string> arguments;    ///< what follows the verb
  std::vector<std::string> kokkos_flags; ///< --kokkos-..., taken out of both
  std::vector<std::string> verbs;        ///< names of all verbs: the sections of a config file
};

struct Verb
{
  char const* name;
  char const* summary;
  int (*run)(Invocation const&);
};

int train(Invocation const& call);
int evaluate(Invocation const& call);
int search(Invocation const& call);
int estimate(Invocation const& call);
int ensemble(Invocation const& call);
int compare(Invocation const& call);
int reproduce(Invocation const& call);
int report(Invocation const& call);
int data_sets(Invocation const& call);
int info(Invocation const& call);
int demo(Invocation const& call);
int predict(Invocation const& call);
int transfer(Invocation const& call);

/// The command line parser of a verb: CLI11 with --help, --config FILE and one way to report errors.
class VerbParser
{
public:
  VerbParser(std::string const& name, std::string description, std::string examples);

  CLI::App& app() { return m_app; }
  CLI::App* operator->() { return &m_app; }

  /// False where help was asked for (and printed). Throws Error for wrong options; a config file is read here too.
  bool parse(Invocation const& call);

private:
  CLI::App m_app;
  std::string m_verb;
};

/// An option that takes one of some words, each of which stands for a value.
template <class T>
CLI::Option* add_choice(CLI::App& app, std::string const& name, T& target,
                        std::vector<std::pair<std::string, T>> const& choices, std::string const& description)
{
  std::string words, current;
  for (auto const& [word, value] : choices) {
    words += (words.empty() ? "" : "|") + word;
    if (value == target) current = word;
  }
  auto const set = [&target, choices, words, name](std::string const& text) {
    for (auto const& [word, value] : choices)
      if (word == text) {
        target = value;
        return;
      }
    throw CLI::ValidationError(name.substr(0, name.find(',')), "must be one of " + words + ", got '" + text + "'");
  };
  return app.add_option_function<std::string>(name, set, description)->type_name(words)->default_str(current);
}

/// --backend and --threads.
class DeviceOptions
{
public:
  void add_to(CLI::App& app);
  /// Throws Error for a backend that is unknown or not built in and for a negative number of threads.
  nn::TrainerOptions trainer() const;
  /// Brings the backends up; keep it until the end of the verb.
  std::unique_ptr<nn::Runtime> start(Invocation const& call) const;

  std::string backend;
  int threads = 0;
};

/// Where a result of this call comes from; `extra` is added to what the runtime says of itself.
Provenance provenance_of(Invocation const& call, std::uint64_t seed, nn::BackendKind backend,
                         std::vector<std::pair<std::string, std::string>> const& extra = {});

/// --resume goes on with what was decided at the start: throws Error for every option given but those that decide
/// nothing (backend, threads, json, data-dir, config, and `harmless`).
void refuse_beside_resume(CLI::App& app, std::set<std::string> harmless = {});

/// Thousands apart by thin groups: 431080 -> "431,080".
std::string grouped(std::int64_t value);

} // namespace nasturtium::cli
