// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/provenance.hpp>

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string_view>

extern char** environ;

namespace nasturtium {
namespace {

std::string cpu_name()
{
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("model name")) continue;
    auto const colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

int usable_cores()
{
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

// As a shell would take it.
std::string shell_word(std::string_view text)
{
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) return std::string(text);
  std::string word = "'";
  for (char const c : text)
    word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

json::Object object_of(std::vector<std::pair<std::string, std::string>> const& pairs)
{
  json::Object object;
  for (auto const& [key, value] : pairs)
    object[key] = value;
  return object;
}

} // namespace

Provenance make_provenance(int argc, char const* const* argv, std::uint64_t seed, std::string backend)
{
  Provenance result;
  result.version = version();
  result.git_hash = git_hash();
  result.git_state = git_state();
  result.compiler = compiler();
  result.build_type = build_type();
  for (int i = 0; i < argc; ++i)
    result.command_line += (i > 0 ? " " : "") + shell_word(argv[i]);
  result.seed = seed;
  result.backend = std::move(backend);
  result.cpu = cpu_name();
  result.host_cores = usable_cores();
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view const text = *entry;
    bool const ours = text.starts_with("OMP_") || text.starts_with("KOKKOS_") || text.starts_with("OPENBLAS_") ||
                      text.starts_with("GOMP_");
    auto const equals = text.find('=');
    if (ours && equals != std::string_view::npos)
      result.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  std::sort(result.environment.begin(), result.environment.end());
  result.utc = utc_timestamp();
  return result;
}

json::Value to_json(Provenance const& provenance)
{
  return json::Object{{"version", provenance.version},
                      {"git_hash", provenance.git_hash},
                      {"git_state", provenance.git_state},
                      {"compiler", provenance.compiler},
                      {"build_type", provenance.build_type},
                      {"command_line", provenance.command_line},
                      {"seed", provenance.seed},
                      {"backend", provenance.backend},
                      {"cpu", provenance.cpu},
                      {"host_cores", provenance.host_cores},
                      {"environment", object_of(provenance.environment)},
                      {"utc", provenance.utc},
                      {"extra", object_of(provenance.extra)}};
}

Provenance parse_provenance(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  Provenance result;
  result.version = reader.string("version");
  result.git_hash = reader.string("git_hash");
  result.git_state = reader.string("git_state");
  result.compiler = reader.string("compiler");
  result.build_type = reader.string("build_type");
  result.command_line = reader.string("command_line");
  result.seed = reader.seed("seed");
  result.backend = reader.string("backend");
  result.cpu = reader.string("cpu");
  result.host_cores = static_cast<int>(reader.integer("host_cores", 0, 1 << 20));
  result.utc = reader.string("utc");
  auto const pairs = [&](char const* field, auto& into) {
    std::string const where = reader.what(field);
    for (auto const& [key, text] : json::to_object(reader.value(field), where))
      into.emplace_back(key, json::to_string(text, where));
  };
  pairs("environment", result.environment);
  pairs("extra", result.extra);
  reader.finish();
  return result;
}

} // namespace nasturtium
