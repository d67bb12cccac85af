// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The measuring side of a comparison: a process that lives through the whole comparison and measures when it is its
// turn. A request is a line on stdin, the answer a line on stdout; bench/peers/turns.py asks. Standard library alone,
// since it is compiled in two environments.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>

namespace nasturtium::bench {

/// Mean seconds of one call over about `seconds`; `run(n)` makes n calls and waits for them. Two calls warm up.
inline double seconds_per_call(std::function<void(long)> const& run, double seconds)
{
  auto const timed = [&](long calls) {
    auto const start = std::chrono::steady_clock::now();
    run(calls);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  run(2);
  double const one = timed(2) / 2;
  long const calls = std::max(2L, std::lround(std::ceil(seconds / one)));
  return timed(calls) / static_cast<double>(calls);
}

/// Answers every line with what `measure` makes of it, until the end of the input. An exception becomes an answer that
/// begins with "error".
inline void serve(std::function<std::string(std::istringstream&)> const& measure)
{
  for (std::string line; std::getline(std::cin, line);) {
    std::string answer;
    try {
      std::istringstream words(line);
      answer = measure(words);
    } catch (std::exception const& error) {
      answer = std::string("error ") + error.what();
    }
    std::cout << answer << std::endl;
  }
}

/// Seventeen digits, so that nothing is lost on the way.
inline std::string to_text(double value)
{
  std::ostringstream text;
  text.precision(17);
  text << value;
  return text.str();
}

} // namespace nasturtium::bench
