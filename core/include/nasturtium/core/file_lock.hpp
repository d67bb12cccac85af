// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What keeps two processes, or two threads, from working on one file or folder at the same time.
#pragma once

#include <string>

namespace nasturtium {

/// An exclusive advisory lock (flock) that is held until the object, or the process, ends.
class FileLock
{
public:
  enum class On { file, existing_file, folder };
  enum class Wait { yes, no };
  /// `file` is made where there is none; an `existing_file` that cannot be opened is not locked. Throws Error naming
  /// `path` where a file or folder cannot be opened otherwise. A lock that another holds and is not waited for, and
  /// a file system without locks, leave held() false.
  FileLock(std::string const& path, On on, Wait wait);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock(FileLock const&) = delete;
  FileLock& operator=(FileLock const&) = delete;

  bool opened() const { return m_descriptor >= 0; }
  bool held() const { return m_held; }

private:
  int m_descriptor = -1;
  bool m_held = false;
};

} // namespace nasturtium
