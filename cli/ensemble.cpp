// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium ensemble: from a search to an ensemble that answers requests.
#include "ensemble.hpp"

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium ensemble search --dataset fashion-mnist --validation 0.2 --trials 60 --out runs/library\n"
    "  nasturtium ensemble select runs/library\n"
    "  nasturtium ensemble plan runs/library --take knee\n"
    "  nasturtium ensemble serve runs/library --port 8080\n"
    "  nasturtium ensemble COMMAND --help";

struct Command
{
  char const* name;
  char const* summary;
  int (*run)(Invocation const&);
};

constexpr std::initializer_list<Command> commands = {
    {"search", "successive halving trains networks and keeps all of them in a library", ensemble_search},
    {"select", "ensembles from cheap to accurate", ensemble_select},
    {"plan", "which device runs which member", ensemble_plan},
    {"serve", "predictions over HTTP", ensemble_serve},
    {"bench", "the plan against simpler ways to serve, measured", ensemble_bench},
};

} // namespace

int ensemble(Invocation const& call)
{
  for (auto const& command : commands)
    if (!call.arguments.empty() && call.arguments.front() == command.name) {
      Invocation inner = call;
      inner.arguments.erase(inner.arguments.begin());
      return command.run(inner);
    }
  std::string words, summaries, name;
  for (auto const& command : commands) {
    words += (words.empty() ? "" : "|") + std::string(command.name);
    summaries += (summaries.empty() ? "" : "; ") + std::string(command.name) + ": " + command.summary;
  }
  VerbParser parser("ensemble", "From a search to an ensemble that answers requests, step by step.", examples);
  parser->add_option("COMMAND", name, summaries + "; its own options stand behind it")
      ->required()
      ->option_text(words + " (required)");
  parser->allow_extras();
  if (!parser.parse(call)) return exit_success;
  fail("ensemble: unknown command ", quoted(name), " (", words, ")");
}

} // namespace nasturtium::cli
