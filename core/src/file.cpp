// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>

#include <zlib.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace nasturtium {
namespace {

[[noreturn]] void fail_errno(std::string const& path, char const* what)
{
  int const cause = errno;
  fail(path, ": ", what, ": ", std::strerror(cause));
}

int open_to_read(std::string const& path)
{
  int const descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    if (errno == ENOENT) fail(path, ": no such file");
    fail_errno(path, "cannot be opened");
  }
  struct stat status;
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail(path, ": is not a regular file");
  }
  return descriptor;
}

std::size_t read_some(int descriptor, void* destination, std::size_t size, std::string const& path)
{
  for (;;) {
    ssize_t const n = ::read(descriptor, destination, size);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) fail_errno(path, "cannot be read");
  }
}

void write_all(int descriptor, char const* bytes, std::size_t size, std::string const& path)
{
  while (size > 0) {
    ssize_t const n = ::write(descriptor, bytes, size);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_errno(path, "cannot be written");
    }
    bytes += n;
    size -= static_cast<std::size_t>(n);
  }
}

std::string folder_of(std::string const& path)
{
  std::string const folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

struct Descriptor
{
  int value = -1;
  ~Descriptor()
  {
    if (value >= 0) ::close(value);
  }
};

} // namespace

bool is_file(std::string const& path)
{
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::int64_t file_size(std::string const& path)
{
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) fail(path, ": no such file");
    fail_errno(path, "cannot be inspected");
  }
  require(S_ISREG(status.st_mode), path, ": is not a regular file");
  return status.st_size;
}

std::string read_file(std::string const& path)
{
  Descriptor const file{open_to_read(path)};
  struct stat status;
  std::string text;
  if (::fstat(file.value, &status) == 0) text.resize(static_cast<std::size_t>(status.st_size));
  std::size_t size = 0;
  for (;;) {
    if (size == text.size()) text.resize(size + 4096);
    std::size_t const n = read_some(file.value, text.data() + size, text.size() - size, path);
    if (n == 0) break;
    size += n;
  }
  text.resize(size);
  return text;
}

void create_directories(std::string const& path)
{
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error && !std::filesystem::is_directory(path, error) && !error)
    error = std::make_error_code(std::errc::not_a_directory);
  require(!error, path, ": the folder cannot be made: ", error.message());
}

std::string temporary_beside(std::string const& path)
{
  static std::atomic<unsigned> counter{0};
  std::filesystem::path const target(path);
  for (;;) {
    // A process that was killed leaves its names behind, and process numbers come again, in containers soon.
    std::string const name = concat(".", target.filename().string(), ".", ::getpid(), ".", counter++, ".tmp");
    std::string const temporary = (target.parent_path() / name).string();
    Descriptor const file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
    if (file.value >= 0) return temporary;
    if (errno != EEXIST) fail_errno(path, "cannot be written");
  }
}

void commit_file(std::string const& temporary, std::string const& path)
{
  {
    Descriptor const file{::open(temporary.c_str(), O_RDWR | O_CLOEXEC)};
    if (file.value < 0 || ::fsync(file.value) != 0) fail_errno(path, "cannot be written");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_errno(path, "cannot be replaced");
  // The new name is on disk once its folder is; file systems that cannot sync folders keep their own promises.
  Descriptor const folder{::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.value >= 0) ::fsync(folder.value);
}

AtomicFile::AtomicFile(std::string path) : m_path(std::move(path)), m_temporary(temporary_beside(m_path))
{
  m_descriptor = ::open(m_temporary.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (m_descriptor >= 0) return;
  int const cause = errno;
  ::unlink(m_temporary.c_str());
  errno = cause;
  fail_errno(m_path, "cannot be written");
}

AtomicFile::~AtomicFile()
{
  if (m_descriptor < 0) return;
  ::close(m_descriptor);
  ::unlink(m_temporary.c_str());
}

void AtomicFile::flush()
{
  write_all(m_descriptor, m_buffer.data(), m_buffer.size(), m_path);
  m_buffer.clear();
}

void AtomicFile::write(std::string_view text)
{
  require(m_descriptor >= 0, m_path, ": written to after commit");
  m_buffer += text;
  if (m_buffer.size() >= 1 << 18) flush();
}

void AtomicFile::write(std::span<std::uint8_t const> bytes)
{
  write(std::string_view(reinterpret_cast<char const*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit()
{
  require(m_descriptor >= 0, m_path, ": committed twice");
  flush();
  // Network file systems report a full disk as late as here.
  int const descriptor = m_descriptor;
  if (::fsync(descriptor) != 0) fail_errno(m_path, "cannot be written");
  m_descriptor = -1;
  try {
    if (::close(descriptor) != 0) fail_errno(m_path, "cannot be written");
    commit_file(m_temporary, m_path);
  } catch (...) {
    ::unlink(m_temporary.c_str());
    throw;
  }
}

void write_file(std::string const& path, std::string_view text)
{
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AppendFile::AppendFile(std::string path, std::string_view text) : m_path(std::move(path))
{
  write_file(m_path, text);
  m_descriptor = ::open(m_path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  require(m_descriptor >= 0, m_path, ": ", std::strerror(errno));
}

AppendFile::~AppendFile()
{
  if (m_descriptor >= 0) ::close(m_descriptor);
}

void AppendFile::append(std::string_view text)
{
  ssize_t const written = ::write(m_descriptor, text.data(), text.size());
  require(written >= 0, m_path, ": ", std::strerror(errno));
  require(static_cast<std::size_t>(written) == text.size(), m_path, ": could not be written whole (disk full?)");
}

struct InputFile::State
{
  int descriptor = -1;
  std::int64_t size = 0;    // of the file
  std::int64_t fetched = 0; // from the file
  std::vector<std::uint8_t> buffer;
  std::size_t begin = 0, end = 0; // unread part of the buffer
  bool compressed = false;
  bool within_member = false;
  z_stream stream{};
  Sha256* hash = nullptr;

  ~State()
  {
    if (compressed) inflateEnd(&stream);
    if (descriptor >= 0) ::close(descriptor);
  }

  bool fill(std::string const& path)
  {
    if (begin < end) return true;
    begin = 0;
    end = read_some(descriptor, buffer.data(), buffer.size(), path);
    fetched += static_cast<std::int64_t>(end);
    return end > 0;
  }

  std::size_t read_plain(std::uint8_t* destination, std::size_t count, std::string const& path)
  {
    std::size_t done = 0;
    while (done < count && fill(path)) {
      std::size_t const n = std::min(count - done, end - begin);
      std::memcpy(destination + done, buffer.data() + begin, n);
      begin += n;
      done += n;
    }
    return done;
  }

  std::size_t inflate_some(std::uint8_t* destination, std::size_t count, std::string const& path)
  {
    std::size_t done = 0;
    while (done < count) {
      if (!fill(path)) {
        require(!within_member, path, ": truncated gzip data");
        break;
      }
      if (!within_member) {
        require(inflateReset(&stream) == Z_OK, path, ": zlib cannot start");
        within_member = true;
      }
      std::size_t const most = std::min<std::size_t>(count - done, 1u << 30);
      stream.next_in = buffer.data() + begin;
      stream.avail_in = static_cast<uInt>(end - begin);
      stream.next_out = destination + done;
      stream.avail_out = static_cast<uInt>(most);
      int const status = inflate(&stream, Z_NO_FLUSH);
      begin = end - stream.avail_in;
      done += most - stream.avail_out;
      if (status == Z_STREAM_END)
        within_member = false;
      else if (status != Z_OK && status != Z_BUF_ERROR)
        fail(path, ": corrupt gzip data (", stream.msg ? stream.msg : "no cause given", ")");
    }
    return done;
  }
};

InputFile::InputFile(std::string path) : m_path(std::move(path)), m_state(std::make_unique<State>())
{
  m_state->descriptor = open_to_read(m_path);
  struct stat status;
  if (::fstat(m_state->descriptor, &status) != 0) fail_errno(m_path, "cannot be inspected");
  m_state->size = status.st_size;
  m_state->buffer.resize(1 << 18);
  m_state->fill(m_path);
  if (m_state->end >= 2 && m_state->buffer[0] == 0x1f && m_state->buffer[1] == 0x8b) {
    require(inflateInit2(&m_state->stream, 15 + 16) == Z_OK, m_path, ": zlib cannot start");
    m_state->compressed = true;
  }
}

InputFile::~InputFile() = default;

bool InputFile::compressed() const
{
  return m_state->compressed;
}

std::int64_t InputFile::most_remaining() const
{
  std::int64_t const left = std::max<std::int64_t>(0, m_state->size - m_state->fetched) +
                            static_cast<std::int64_t>(m_state->end - m_state->begin);
  // Deflate makes at most 1032 bytes of one; zlib may hold back a window of 32 KiB and a match.
  return m_state->compressed ? left * 1032 + 65536 : left;
}

std::size_t InputFile::read(void* destination, std::size_t size)
{
  auto* const bytes = static_cast<std::uint8_t*>(destination);
  std::size_t const n =
      m_state->compressed ? m_state->inflate_some(bytes, size, m_path) : m_state->read_plain(bytes, size, m_path);
  if (m_state->hash != nullptr) m_state->hash->update(bytes, n);
  return n;
}

void InputFile::read_exactly(void* destination, std::size_t size, std::string_view what)
{
  require(read(destination, size) == size, m_path, ": ends within ", what);
}

std::vector<std::uint8_t> InputFile::read_bytes(std::int64_t size, std::string_view what)
{
  require(size >= 0 && size <= most_remaining(), m_path, ": ", what, " would need ", size,
          " bytes, more than the file holds");
  std::vector<std::uint8_t> bytes;
  std::int64_t const step = compressed() ? std::int64_t{1} << 26 : size;
  bytes.reserve(static_cast<std::size_t>(std::min(size, step)));
  for (std::int64_t done = 0; done < size;) {
    std::int64_t const n = std::min(step, size - done);
    bytes.resize(static_cast<std::size_t>(done + n));
    read_exactly(bytes.data() + done, static_cast<std::size_t>(n), what);
    done += n;
  }
  return bytes;
}

void InputFile::expect_end(std::string_view what)
{
  std::uint8_t byte = 0;
  Sha256* const hash = m_state->hash;
  m_state->hash = nullptr;
  std::size_t const n = read(&byte, 1);
  m_state->hash = hash;
  require(n == 0, m_path, ": bytes after the end of ", what);
}

void InputFile::hash_into(Sha256* hash)
{
  m_state->hash = hash;
}

std::string read_content(std::string const& path, std::int64_t limit)
{
  InputFile file(path);
  std::string text;
  std::size_t size = 0;
  for (;;) {
    text.resize(std::max<std::size_t>(size + (1 << 16), size * 2));
    std::size_t const n = file.read(text.data() + size, text.size() - size);
    size += n;
    require(static_cast<std::int64_t>(size) <= limit, path, ": holds more than ",
            human_bytes(static_cast<double>(limit)));
    if (size < text.size()) break;
  }
  text.resize(size);
  return text;
}

} // namespace nasturtium
