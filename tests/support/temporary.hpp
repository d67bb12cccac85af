// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder for one test's files, and what tests of errors need.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace nasturtium::test {

/// Removed with everything in it at the end of the scope.
class TemporaryFolder
{
public:
  explicit TemporaryFolder(std::filesystem::path const& parent = std::filesystem::temp_directory_path())
  {
    std::string pattern = (parent / "nasturtium-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) fail(pattern, ": cannot be made");
    m_path = pattern;
  }
  ~TemporaryFolder()
  {
    std::error_code ignored;
    std::filesystem::remove_all(m_path, ignored);
  }
  TemporaryFolder(TemporaryFolder const&) = delete;
  TemporaryFolder& operator=(TemporaryFolder const&) = delete;

  std::string path() const { return m_path; }
  std::string operator/(std::string const& name) const { return m_path + "/" + name; }

private:
  std::string m_path;
};

/// The message of the Error that `action` throws; "no error" if it throws none.
template <class Action>
std::string error_of(Action&& action)
{
  try {
    action();
  } catch (Error const& error) {
    return error.what();
  }
  return "no error";
}

/// Seeded random words, one after another.
class Random
{
public:
  explicit Random(std::uint64_t seed) : m_seed(seed) {}
  std::uint32_t operator()() { return random_block(m_seed, Purpose::search, 0, m_index++).word[0]; }
  std::uint32_t below(std::uint32_t bound) { return to_below((*this)(), bound); }

private:
  std::uint64_t m_seed;
  std::uint64_t m_index = 0;
};

/// A copy with one to four seeded mutations: a byte changed, bytes removed, doubled or cut off at the end.
inline std::string mutated(std::string bytes, Random& random)
{
  std::uint32_t const edits = 1 + random.below(4);
  for (std::uint32_t i = 0; i < edits && !bytes.empty(); ++i) {
    std::size_t const at = random.below(static_cast<std::uint32_t>(bytes.size()));
    std::size_t const length = 1 + random.below(8);
    switch (random.below(6)) {
    case 0:
      bytes[at] = static_cast<char>(random());
      break;
    case 1:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 4:
      bytes.resize(at);
      break;
    default:
      bytes[at] = "\0\xff\x7f\x80\"{[,\n-"[random.below(10)];
      break;
    }
  }
  return bytes;
}

} // namespace nasturtium::test
