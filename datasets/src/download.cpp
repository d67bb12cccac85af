// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "download.hpp"
#include "checks.hpp"

#include <nasturtium/core/file.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

extern char** environ;

namespace nasturtium::datasets {
namespace impl {

void check_content(FileCheck& check, std::string const& content_sha256)
{
  try {
    InputFile file(check.path);
    Sha256 hash;
    file.hash_into(&hash);
    std::vector<char> buffer(1 << 18);
    while (file.read(buffer.data(), buffer.size()) > 0) {
    }
    bool const known = !content_sha256.empty();
    check.state = !known ? FileState::unchecked : hash.hex() == content_sha256 ? FileState::good : FileState::bad;
    if (check.state == FileState::bad)
      check.detail = concat("content has SHA-256 ", hash.hex(), ", published is ", content_sha256);
  } catch (Error const& error) {
    check.state = FileState::bad;
    check.detail = error.what();
  }
}

void unpack(std::string const& archive, std::vector<std::string> const& names, std::string const& folder)
{
  InputFile file(archive);
  std::vector<std::string> missing = names;
  std::array<char, 512> header{};
  while (file.read(header.data(), header.size()) == header.size()) {
    if (std::all_of(header.begin(), header.end(), [](char c) { return c == '\0'; })) break; // the end's mark
    require(std::memcmp(header.data() + 257, "ustar", 5) == 0, archive, ": is not a tar archive");
    std::string const path(header.data(), strnlen(header.data(), 100));
    std::int64_t size = 0;
    for (std::size_t i = 124; i < 136 && header[i] != '\0' && header[i] != ' '; ++i) {
      require(header[i] >= '0' && header[i] <= '7', archive, ": the size of ", quoted(path), " is not a number");
      size = size * 8 + (header[i] - '0');
    }
    bool const regular = header[156] == '0' || header[156] == '\0';
    auto const wanted = std::find(missing.begin(), missing.end(), file_name(path));
    std::int64_t const padded = (size + 511) / 512 * 512;
    std::vector<std::uint8_t> const bytes = file.read_bytes(padded, concat(quoted(path), " of the archive"));
    if (!regular || wanted == missing.end()) continue;
    AtomicFile out(folder + "/" + *wanted);
    out.write(std::span(bytes).first(static_cast<std::size_t>(size)));
    out.commit();
    missing.erase(wanted);
  }
  require(missing.empty(), archive, ": lacks ", missing.empty() ? "" : missing.front());
}

} // namespace impl

namespace {

// Runs curl; its last line of complaint, or nothing when it succeeded.
std::string run_curl(std::string const& url, std::string const& output, bool quiet)
{
  std::vector<std::string> words = {"curl", "--fail",   "--location", "--retry", "2", "--connect-timeout",
                                    "20",   "--output", output};
  if (quiet)
    words.insert(words.end(), {"--silent", "--show-error"});
  else
    words.push_back("--progress-bar");
  words.push_back(url);
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);

  std::array<int, 2> ends{-1, -1};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (quiet) {
    bool const made = ::pipe2(ends.data(), O_CLOEXEC) == 0;
    require(made, "curl cannot be started: ", std::strerror(errno));
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  }
  pid_t child = -1;
  int const error = posix_spawnp(&child, "curl", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  std::string complaint;
  if (quiet) {
    ::close(ends[1]);
    std::array<char, 4096> buffer{};
    ssize_t n = 0;
    while (error == 0 && ((n = ::read(ends[0], buffer.data(), buffer.size())) > 0 || (n < 0 && errno == EINTR)))
      if (n > 0) complaint.append(buffer.data(), static_cast<std::size_t>(n));
    ::close(ends[0]);
  }
  if (error != 0) return concat("the program curl cannot be started (", std::strerror(error), ")");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  while (!complaint.empty() && complaint.back() == '\n')
    complaint.pop_back();
  complaint = complaint.substr(complaint.rfind('\n') + 1); // npos + 1 == 0
  if (!complaint.empty()) return complaint;
  return WIFEXITED(status) ? concat("curl ended with status ", WEXITSTATUS(status)) : std::string("curl was killed");
}

} // namespace

std::string download(Entry const& entry, std::string const& data_dir, bool quiet)
{
  std::string const folder = download_folder(entry, data_dir);
  auto const state_of = [&](DataFile const& file) {
    FileCheck check;
    for (std::string const& path : {folder + "/" + file.name, folder + "/" + file.name + ".gz"})
      if (check.path.empty() && is_file(path)) check.path = path;
    if (!check.path.empty()) impl::check_content(check, file.content_sha256);
    return check;
  };
  auto const usable = [](FileCheck const& check) {
    return check.state == FileState::good || check.state == FileState::unchecked;
  };

  auto const is_archive = [](PublishedFile const& published) { return published.name.ends_with(".tar.gz"); };
  auto const comes_from = [&](DataFile const& file, PublishedFile const& published) {
    return is_archive(published) || published.name == file.name || published.name == file.name + ".gz";
  };
  auto const present = [&](PublishedFile const& published) {
    return std::all_of(entry.data.begin(), entry.data.end(),
                       [&](DataFile const& file) { return !comes_from(file, published) || usable(state_of(file)); });
  };
  // All that is still to be done, on the one line that an error has.
  auto const by_hand = [&] {
    std::string text = "; to do it by hand, put into " + folder + ":";
    char const* separator = " ";
    for (auto const& published : entry.files) {
      if (present(published)) continue;
      text += concat(separator, published.name, is_archive(published) ? "'s .bin files" : "", " (", published.url);
      if (!published.sha256.empty()) text += ", SHA-256 " + published.sha256;
      for (auto const& file : entry.data)
        if (published.sha256.empty() && !is_archive(published) && comes_from(file, published) &&
            !file.content_sha256.empty())
          text += concat(", SHA-256 ", published.name == file.name ? "" : "of the content ", file.content_sha256);
      text += ")";
      separator = ", ";
    }
    return text;
  };

  std::error_code error;
  bool const made = !std::filesystem::exists(folder, error);
  create_directories(folder);
  for (auto const& published : entry.files) {
    if (present(published)) continue;
    bool const archive = is_archive(published);
    std::string const path = folder + "/" + published.name;
    std::string const temporary = temporary_beside(path);
    std::string complaint = run_curl(published.url, temporary, quiet);
    try {
      if (complaint.empty() && !published.sha256.empty())
        if (std::string const found = sha256_file(temporary); found != published.sha256)
          complaint = concat("what came has SHA-256 ", found, ", published is ", published.sha256);
      if (complaint.empty() && archive) {
        std::vector<std::string> names;
        for (auto const& file : entry.data)
          names.push_back(file.name);
        impl::unpack(temporary, names, folder);
        ::unlink(temporary.c_str());
      } else if (complaint.empty()) {
        for (auto const& file : entry.data) {
          if (!comes_from(file, published)) continue;
          FileCheck check;
          check.path = temporary;
          impl::check_content(check, file.content_sha256);
          if (!usable(check)) complaint = "what came is not it: " + check.detail;
        }
        if (complaint.empty()) commit_file(temporary, path);
      }
    } catch (Error const& error) {
      complaint = error.what();
    }
    ::unlink(temporary.c_str());
    if (complaint.empty()) continue;
    std::string const remedy = by_hand();
    if (made) std::filesystem::remove(folder, error); // only if empty
    fail(published.url, ": download failed: ", complaint, remedy);
  }
  return folder;
}

} // namespace nasturtium::datasets
