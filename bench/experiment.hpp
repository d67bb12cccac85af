// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the benchmarks of the papers' experiments share: their command line.
#pragma once

#include "program.hpp"

#include <nasturtium/core/number.hpp>

#include <exception>
#include <functional>
#include <iostream>
#include <string>

namespace nasturtium::bench {

/// The words --NAME=VALUE that Google Benchmark left. --backend and --threads go to `device`, the others to `take`,
/// which returns false for a name that it does not know. Throws Error for that, and for other words.
inline void parse_options(int argc, char** argv, cli::DeviceOptions& device,
                          std::function<bool(std::string const& name, std::string const& value)> const& take)
{
  for (int i = 1; i < argc; ++i) {
    std::string const word = argv[i];
    auto const equals = word.find('=');
    require(word.starts_with("--") && equals != std::string::npos, "unknown argument ", quoted(word));
    std::string const name = word.substr(2, equals - 2), value = word.substr(equals + 1);
    if (name == "backend")
      device.backend = value;
    else if (name == "threads")
      device.threads = static_cast<int>(parse_integer(value).value_or(-1));
    else
      require(take(name, value), "unknown option --", name);
  }
}

/// What an experiment's benchmark takes: --scale, --out, --seeds (0: as the scale has it), --backend, --threads.
struct ExperimentWords
{
  cli::DeviceOptions device;
  std::string scale = "smoke", out;
  int seeds = 0;
};

/// Throws Error for other words. `name` is that of the folder under runs/ where --out is not given.
inline ExperimentWords parse_experiment(int argc, char** argv, std::string const& name)
{
  ExperimentWords words;
  parse_options(argc, argv, words.device, [&](std::string const& option, std::string const& value) {
    if (option == "scale")
      words.scale = value;
    else if (option == "out")
      words.out = value;
    else if (option == "seeds")
      words.seeds = static_cast<int>(parse_integer(value).value_or(0));
    else
      return false;
    return true;
  });
  if (words.out.empty()) words.out = "runs/" + name + "-" + words.scale;
  return words;
}

/// Runs a program; an Error is one line, and the exit status that of the program nasturtium.
inline int run_program(char const* program, int argc, char** argv, int (*run)(int, char**))
{
  try {
    return run(argc, argv);
  } catch (std::exception const& error) {
    std::cerr << program << ": " << error.what() << '\n';
    return cli::exit_error;
  }
}

} // namespace nasturtium::bench
