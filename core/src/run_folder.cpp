// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/run_folder.hpp>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace nasturtium {

namespace fs = std::filesystem;

namespace {

// What a killed process did not finish; nobody else writes here while the lock is held.
void remove_temporaries(std::string const& folder)
{
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && entry != end; entry.increment(error)) {
    std::string const name = entry->path().filename().string();
    if (name.starts_with('.') && name.ends_with(".tmp") && fs::is_regular_file(entry->symlink_status()))
      stale.push_back(entry->path());
  }
  for (auto const& path : stale)
    fs::remove(path, error);
}

} // namespace

RunFolder::RunFolder(std::string path)
    : m_path(std::move(path)), m_lock(m_path, FileLock::On::folder, FileLock::Wait::no)
{
  require(m_lock.held(), m_path, ": another process works on this run");
}

bool RunFolder::exists(std::string const& path)
{
  return is_file((fs::path(path) / "config.json").string());
}

std::string RunFolder::file(std::string const& name) const
{
  return (fs::path(m_path) / name).string();
}

namespace {

// All of it, config.json last: with it the folder is a run's. Or none of it.
void fill(fs::path const& folder, RunFolder::Content const& content)
{
  std::error_code error;
  try {
    for (auto const& name : content.folders)
      create_directories((folder / name).string());
    for (bool const last : {false, true})
      for (auto const& [name, text] : content.files)
        if ((name == "config.json") == last) write_file((folder / name).string(), text);
  } catch (...) {
    for (auto const& name : content.folders)
      fs::remove(folder / name, error);
    for (auto const& [name, text] : content.files)
      fs::remove(folder / name, error);
    throw;
  }
}

} // namespace

RunFolder RunFolder::create(std::string const& path, Content const& content, std::string const& resume)
{
  std::error_code error;
  if (fs::exists(fs::symlink_status(path, error))) {
    require(fs::is_directory(path, error), path, ": is not a folder");
    require(!exists(path), path, ": holds a run already (", resume, " ", path, " continues it)");
    require(fs::is_empty(path, error) && !error, path, ": the folder is not empty; a run wants a folder of its own");
    fill(path, content); // it may be somebody's current folder, or a link: it stays itself
    return RunFolder(path);
  }
  fs::path target = fs::absolute(path).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();
  std::vector<fs::path> made; // what to take away again if something fails
  for (fs::path parent = target.parent_path(); !parent.empty() && !fs::exists(parent, error);
       parent = parent.parent_path()) {
    made.push_back(parent);
    if (parent == parent.parent_path()) break;
  }
  // Made under another name, so that a folder with a run's name always holds a run.
  fs::path const temporary = target.parent_path() / concat(".", target.filename().string(), ".", ::getpid(), ".tmp");
  try {
    create_directories(temporary.string());
    fill(temporary, content);
    bool const renamed = ::rename(temporary.c_str(), target.c_str()) == 0;
    require(renamed, path, ": cannot make the folder: ", std::strerror(errno));
  } catch (Error const& reason) {
    fs::remove_all(temporary, error);
    for (auto const& parent : made)
      fs::remove(parent, error); // only if empty
    // The folder that a user knows.
    std::string what = reason.what();
    if (auto const at = what.find(temporary.string()); at != std::string::npos)
      what.replace(at, temporary.string().size(), target.string());
    fail(what);
  }
  return RunFolder(path);
}

RunFolder RunFolder::open(std::string const& path)
{
  require(exists(path), path, ": is not the folder of a run (there is no config.json)");
  RunFolder folder(path);
  remove_temporaries(path);
  return folder;
}

} // namespace nasturtium
