// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium VERB [options]: finds the verb and turns errors into one line and an exit status.
#include "program.hpp"

#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <new>

namespace nasturtium::cli {

namespace {

constexpr std::array verbs{
    Verb{"demo", "A Fashion-MNIST search with and without prediction, as a page", demo},
    Verb{"train", "Train one network, or a population of them, on a data set", train},
    Verb{"evaluate", "Loss and accuracy of trained weights on a split of a data set", evaluate},
    Verb{"search", "Look for good networks in a space, with early stopping by prediction", search},
    Verb{"predict", "Final values from the beginnings of learning curves", predict},
    Verb{"transfer", "Weights of trained networks as beginnings of others", transfer},
    Verb{"estimate", "How long a training step takes, what wall time and memory to ask for", estimate},
    Verb{"ensemble", "From a search to an ensemble that answers requests", ensemble},
    Verb{"compare", "Backends and machines side by side; a gate against regressions", compare},
    Verb{"reproduce", "Run an experiment of a paper", reproduce},
    Verb{"report", "Write tables, figures and a page again from finished experiments", report},
    Verb{"datasets", "List, inspect, verify, convert and download data sets", data_sets},
    Verb{"info", "This build, this machine, and the networks that come with it", info},
};

std::string help()
{
  std::string text = "nasturtium " + version() +
                     ": neural architecture search that wastes no epochs\n\n"
                     "Usage: nasturtium VERB [options]\n\nVerbs:\n";
  for (auto const& verb : verbs)
    text += "  " + std::string(verb.name) + std::string(10 - std::strlen(verb.name), ' ') + verb.summary + "\n";
  return text + "\nnasturtium VERB --help explains a verb and shows examples.\n";
}

int run(int argc, char** argv)
{
  Invocation call;
  for (int i = 0; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.starts_with("--kokkos-"))
      call.kokkos_flags.push_back(argument);
    else
      call.command_line.push_back(argument);
  }
  if (!call.command_line.empty()) call.command_line.front() = "nasturtium";
  auto const& words = call.command_line;
  require(words.size() > 1, "no verb given (nasturtium --help lists them)");
  if (words[1] == "--help" || words[1] == "-h" || words[1] == "help") {
    std::cout << help();
    return exit_success;
  }
  if (words[1] == "--version") {
    std::cout << "nasturtium " << version() << " (" << git_hash() << ", " << git_state() << ")\n";
    return exit_success;
  }
  for (auto const& verb : verbs)
    call.verbs.emplace_back(verb.name);
  call.arguments.assign(words.begin() + 2, words.end());
  auto const verb =
      std::find_if(verbs.begin(), verbs.end(), [&](Verb const& candidate) { return words[1] == candidate.name; });
  require(verb != verbs.end(), "unknown verb ", quoted(words[1]), " (nasturtium --help lists them)");
  return verb->run(call);
}

void say(std::string message)
{
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::cerr << "nasturtium: " << message << std::endl;
}

} // namespace

} // namespace nasturtium::cli

int main(int argc, char** argv)
{
  using namespace nasturtium;
  try {
    int const status = cli::run(argc, argv);
    errno = 0;
    std::cout.flush();
    require(std::cout.good(), "standard output: ", errno ? std::strerror(errno) : "cannot write");
    return status;
  } catch (Error const& error) {
    cli::say(error.what());
    return cli::exit_error;
  } catch (std::bad_alloc const&) {
    cli::say("out of memory");
    return cli::exit_error;
  } catch (std::exception const& error) {
    cli::say(concat("internal error: ", error.what()));
    return cli::exit_failure;
  }
}
