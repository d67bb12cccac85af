// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file_lock.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace nasturtium {

FileLock::FileLock(std::string const& path, On on, Wait wait)
{
  int const flags = on == On::folder ? O_RDONLY | O_DIRECTORY : on == On::file ? O_RDWR | O_CREAT : O_RDWR;
  m_descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (m_descriptor < 0) {
    if (on == On::existing_file) return;
    fail(path, ": cannot be opened: ", std::strerror(errno));
  }
  int const how = wait == Wait::yes ? LOCK_EX : LOCK_EX | LOCK_NB;
  while (!(m_held = ::flock(m_descriptor, how) == 0) && errno == EINTR) {
  }
}

FileLock::FileLock(FileLock&& other) noexcept
    : m_descriptor(std::exchange(other.m_descriptor, -1)), m_held(std::exchange(other.m_held, false))
{
}

FileLock::~FileLock()
{
  if (m_descriptor >= 0) ::close(m_descriptor);
}

} // namespace nasturtium
