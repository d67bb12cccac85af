// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "store/folder.hpp"

#include <nasturtium/core/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace nasturtium::nas::impl {

namespace {

// ESTALE: another machine of a network file system removed it.
bool is_gone(int error)
{
  return error == ENOENT || error == ENOTDIR || error == ESTALE;
}

} // namespace

void fail_errno(std::string const& path, char const* what)
{
  int const cause = errno;
  fail(path, ": ", what, ": ", std::strerror(cause));
}

std::vector<std::string> names_in(std::string const& folder)
{
  std::vector<std::string> names;
  DIR* const stream = ::opendir(folder.c_str());
  if (stream == nullptr) {
    if (is_gone(errno)) return names;
    fail_errno(folder, "cannot be read");
  }
  while (dirent const* const entry = ::readdir(stream))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(stream);
  return names;
}

std::optional<struct stat> status_of(std::string const& path)
{
  struct stat status;
  if (::lstat(path.c_str(), &status) == 0) return status;
  if (is_gone(errno)) return std::nullopt;
  fail_errno(path, "cannot be inspected");
}

std::optional<Bytes> read_if_there(std::string const& path)
{
  int const descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    if (is_gone(errno)) return std::nullopt;
    fail_errno(path, "cannot be opened");
  }
  struct stat status;
  bool good = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  Bytes bytes = allocate(good ? static_cast<std::size_t>(status.st_size) : 0);
  std::size_t done = 0;
  while (good && done < bytes.size) {
    ssize_t const n = ::read(descriptor, bytes.data.get() + done, bytes.size - done);
    if (n == 0) break; // it was cut off meanwhile
    if (n > 0)
      done += static_cast<std::size_t>(n);
    else if (errno != EINTR)
      good = false;
  }
  int const cause = errno;
  ::close(descriptor);
  if (!good && cause == ESTALE) return std::nullopt;
  errno = cause;
  if (!good) fail_errno(path, "cannot be read");
  bytes.size = done;
  return bytes;
}

void write_new(std::string const& path, std::string_view bytes, bool sync)
{
  int const descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_errno(path, "cannot be written");
  bool good = true;
  while (good && !bytes.empty()) {
    ssize_t const n = ::write(descriptor, bytes.data(), bytes.size());
    if (n >= 0)
      bytes.remove_prefix(static_cast<std::size_t>(n));
    else
      good = errno == EINTR;
  }
  good = good && (!sync || ::fsync(descriptor) == 0);
  int const cause = errno;
  bool const closed = ::close(descriptor) == 0; // network file systems report a full disk as late as here
  if (good && closed) return;
  if (!good) errno = cause;
  int const reason = errno;
  ::unlink(path.c_str());
  errno = reason;
  fail_errno(path, "cannot be written");
}

void sync_folder(std::string const& path)
{
  int const descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

bool unlink_if_there(std::string const& path)
{
  if (::unlink(path.c_str()) == 0) return true;
  if (is_gone(errno)) return false;
  fail_errno(path, "cannot be removed");
}

bool try_rename(std::string const& from, std::string const& to)
{
  if (::rename(from.c_str(), to.c_str()) == 0) return true;
  if (is_gone(errno) || errno == ENOTEMPTY || errno == EEXIST) return false;
  fail_errno(from, "cannot be renamed");
}

int try_link(std::string const& from, std::string const& to)
{
  if (::link(from.c_str(), to.c_str()) == 0) return 0;
  return is_gone(errno) ? ENOENT : errno;
}

bool refuses_links(int error)
{
  return error == EPERM || error == ENOSYS || error == EOPNOTSUPP || error == EXDEV;
}

void make_folder(std::string const& path)
{
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) fail_errno(path, "the folder cannot be made");
}

std::int64_t now_nanoseconds()
{
  auto const since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

double age_of(struct stat const& status)
{
  return static_cast<double>(now_nanoseconds()) / 1e9 - static_cast<double>(status.st_mtime);
}

} // namespace nasturtium::nas::impl
