// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The folder of a run (training, search): made complete or not at all, worked on by one process at a time.
#pragma once

#include <nasturtium/core/file_lock.hpp>

#include <string>
#include <utility>
#include <vector>

namespace nasturtium {

/// Held exclusively while the object lives. A folder is a run's where it has a config.json.
class RunFolder
{
public:
  /// What a new folder holds: files by name (config.json among them) and empty folders.
  struct Content
  {
    std::vector<std::pair<std::string, std::string>> files;
    std::vector<std::string> folders;
  };
  /// Makes the folder, and those above it, or nothing. `resume` is the command that would continue a run that is there
  /// already ("nasturtium train --resume"), for the message. Throws Error where there is anything but an empty folder.
  static RunFolder create(std::string const& path, Content const& content, std::string const& resume);
  /// Opens the folder of an earlier run; throws Error where it is none, or another process works on it.
  /// Temporary files (.*.tmp) that a killed process left in it are removed.
  static RunFolder open(std::string const& path);
  /// True where the folder holds a run.
  static bool exists(std::string const& path);

  std::string const& path() const { return m_path; }
  std::string file(std::string const& name) const;

private:
  explicit RunFolder(std::string path);

  std::string m_path;
  FileLock m_lock;
};

} // namespace nasturtium
