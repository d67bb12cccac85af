// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/journal.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace nasturtium {

JournalWriter::JournalWriter(std::string path, Sync sync) : m_path(std::move(path)), m_sync(sync)
{
  if (is_file(m_path)) {
    std::string const text = read_file(m_path);
    std::size_t const whole = text.rfind('\n') + 1; // npos + 1 == 0
    if (whole != text.size()) {
      bool const cut = ::truncate(m_path.c_str(), static_cast<off_t>(whole)) == 0;
      require(cut, m_path, ": cannot be written: ", std::strerror(errno));
    }
  }
  m_descriptor = ::open(m_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  require(m_descriptor >= 0, m_path, ": cannot be written: ", std::strerror(errno));
}

JournalWriter::~JournalWriter()
{
  ::close(m_descriptor);
}

void JournalWriter::append(json::Value const& event)
{
  std::string const line = json::compact(event) + "\n";
  for (std::size_t done = 0; done < line.size();) {
    ssize_t const n = ::write(m_descriptor, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    require(n >= 0, m_path, ": cannot be written: ", std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
  bool const synced = m_sync == Sync::no || ::fsync(m_descriptor) == 0;
  require(synced, m_path, ": cannot be written: ", std::strerror(errno));
}

std::vector<json::Value> read_journal(std::string const& path)
{
  std::string const text = read_file(path);
  std::vector<json::Value> events;
  std::size_t begin = 0;
  for (std::int64_t line = 1;; ++line) {
    std::size_t const end = text.find('\n', begin);
    if (end == std::string::npos) return events;
    events.push_back(json::parse(std::string_view(text).substr(begin, end - begin), concat(path, ":", line)));
    begin = end + 1;
  }
}

} // namespace nasturtium
