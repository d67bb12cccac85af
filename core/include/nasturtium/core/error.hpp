// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one error type of the project, and the one way to raise it.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace nasturtium {

/// What a user or a file got wrong. The message is one line that names the file, the field and the offending value.
/// The program prints it as "nasturtium: MESSAGE" and exits with status 2.
class Error : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

/// The text of all parts, one after another, as operator<< writes them.
template <class... Parts>
std::string concat(Parts const&... parts)
{
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

/// Throws Error with the text of all parts.
template <class... Parts>
[[noreturn]] void fail(Parts const&... parts)
{
  throw Error(concat(parts...));
}

/// Throws Error with the text of all parts unless the condition holds.
template <class... Parts>
void require(bool condition, Parts const&... parts)
{
  if (!condition) fail(parts...);
}

} // namespace nasturtium
