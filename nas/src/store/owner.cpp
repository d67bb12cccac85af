// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "store/owner.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <optional>

namespace nasturtium::nas::impl {

namespace {

/// Machine, its start, and, in containers, the numbering of processes: only within these a process number means
/// something. Host names alone are not always distinct.
std::string const& place()
{
  static std::string const text = [] {
    std::array<char, 256> buffer{};
    std::string host = ::gethostname(buffer.data(), buffer.size() - 1) == 0 ? buffer.data() : "unknown";
    std::replace_if(
        host.begin(), host.end(), [](unsigned char c) { return !std::isalnum(c) && c != '.' && c != '-'; }, '_');
    auto const length = ::readlink("/proc/self/ns/pid", buffer.data(), buffer.size());
    std::string_view link(buffer.data(), length > 0 ? static_cast<std::size_t>(length) : 0); // pid:[4026531836]
    auto const begin = link.find('['), end = link.find(']');
    link = begin < end && end != std::string_view::npos ? link.substr(begin + 1, end - begin - 1) : "0";
    std::string boot;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
    return concat(host.substr(0, 64), ".", boot.substr(0, 8), ".", link);
  }();
  return text;
}

/// When a process began, in ticks since the machine did: its number may be given to another one. Nothing for a process
/// that is no more, or only waits to be buried; 0 where the system does not tell.
std::optional<std::string> start_of(std::int64_t process)
{
  if (::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH) return std::nullopt;
  std::ifstream file(concat("/proc/", process, "/stat"));
  std::string line;
  if (!std::getline(file, line)) return "0";
  auto const name_end = line.rfind(") "); // the second field may hold anything
  if (name_end == std::string::npos) return "0";
  std::istringstream fields(line.substr(name_end + 2));
  std::string field;
  fields >> field;
  if (field == "Z" || field == "X") return std::nullopt;
  for (int i = 4; i <= 22 && fields >> field; ++i) {
  }
  return field;
}

} // namespace

std::string owned_name()
{
  static std::atomic<unsigned> counter{0};
  return concat(place(), ".", ::getpid(), ".", start_of(::getpid()).value_or("0"), "-", counter++);
}

Owner owner_of(std::string_view name)
{
  name = name.substr(0, name.rfind('-'));
  auto const dot = name.rfind('.');
  if (dot == std::string_view::npos) return Owner::elsewhere;
  std::string_view const start = name.substr(dot + 1), rest = name.substr(0, dot);
  auto const before = rest.rfind('.');
  if (before == std::string_view::npos || rest.substr(0, before) != place()) return Owner::elsewhere;
  auto const process = parse_integer(rest.substr(before + 1));
  if (!process || *process < 1 || *process > 1 << 30) return Owner::elsewhere;
  auto const now = start_of(*process);
  return now && (*now == start || *now == "0") ? Owner::alive : Owner::dead;
}

} // namespace nasturtium::nas::impl
