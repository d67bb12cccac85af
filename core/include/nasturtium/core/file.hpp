// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files: whole, atomic, and plain or gzip'ed as a stream. Every failure is an Error naming the file and the cause.
#pragma once

#include <nasturtium/core/sha256.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium {

/// The bytes of a regular file.
std::string read_file(std::string const& path);

/// Creates a folder and its parents; an existing folder is fine.
void create_directories(std::string const& path);

/// True for an existing regular file (or a link to one).
bool is_file(std::string const& path);
/// Size of a regular file in bytes.
std::int64_t file_size(std::string const& path);
/// Makes an empty temporary file beside `path`, under a name (.NAME.PROCESS.NUMBER.tmp) that nobody had taken, and
/// returns its path. Throws Error, naming `path`, where no file can be made.
std::string temporary_beside(std::string const& path);
/// Gives a finished temporary file its name: fsync, rename, fsync of the folder.
void commit_file(std::string const& temporary, std::string const& path);

/// A file that appears under its name complete or not at all: written beside the target, synced and renamed by
/// commit(). Without commit (an exception, a kill) an old file stays as it was; the destructor removes the temporary
/// file.
class AtomicFile
{
public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(AtomicFile const&) = delete;
  AtomicFile& operator=(AtomicFile const&) = delete;

  void write(std::string_view text);
  void write(std::span<std::uint8_t const> bytes);
  void commit();

private:
  void flush();

  std::string m_path;
  std::string m_temporary;
  std::string m_buffer;
  int m_descriptor = -1;
};

/// Writes a whole file atomically.
void write_file(std::string const& path, std::string_view text);

/// A file that grows: every text goes on its way to the disk with one write.
class AppendFile
{
public:
  /// Replaces what is at `path` by `text` (atomically) and goes on behind it. Throws Error naming the file.
  AppendFile(std::string path, std::string_view text);
  ~AppendFile();
  AppendFile(AppendFile const&) = delete;
  AppendFile& operator=(AppendFile const&) = delete;

  void append(std::string_view text);

private:
  std::string m_path;
  int m_descriptor = -1;
};

/// Reads a plain file or, told by its first two bytes, a gzip'ed one (several members too) as a stream of bytes.
class InputFile
{
public:
  explicit InputFile(std::string path);
  ~InputFile();
  InputFile(InputFile const&) = delete;
  InputFile& operator=(InputFile const&) = delete;

  std::string const& path() const { return m_path; }
  bool compressed() const;
  /// An upper bound of the bytes still to come, from the file's size and deflate's best ratio (1032): what a reader
  /// checks a size in a header against before it allocates.
  std::int64_t most_remaining() const;
  /// Up to `size` bytes; fewer only at the end. Truncated or corrupt gzip data throw.
  std::size_t read(void* destination, std::size_t size);
  /// Exactly `size` bytes; "FILE: ends within WHAT" otherwise.
  void read_exactly(void* destination, std::size_t size, std::string_view what);
  /// Throws "FILE: bytes after the end of WHAT" unless everything was read.
  void expect_end(std::string_view what);
  /// The next `size` bytes. Refuses a size that the file cannot hold and grows as data come, so that a lie in a header
  /// costs no memory.
  std::vector<std::uint8_t> read_bytes(std::int64_t size, std::string_view what);
  /// Also adds everything that is read (decompressed) to `hash`, which must outlive the reading; null ends it.
  void hash_into(Sha256* hash);

private:
  struct State;
  std::string m_path;
  std::unique_ptr<State> m_state;
};

/// The content of a plain or gzip'ed file; more than `limit` bytes throw.
std::string read_content(std::string const& path, std::int64_t limit = std::int64_t{1} << 32);

} // namespace nasturtium
