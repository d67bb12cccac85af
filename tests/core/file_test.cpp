// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/file_lock.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/journal.hpp>
#include <nasturtium/core/run_folder.hpp>
#include <nasturtium/core/sha256.hpp>

#include <support/temporary.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace nasturtium;
using test::error_of;
using test::TemporaryFolder;

namespace {

std::string gzip(TemporaryFolder const& folder, std::string const& text)
{
  write_file(folder / "plain", text);
  std::string const command = "gzip -nc '" + folder / "plain" + "' > '" + folder / "packed" + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  return read_file(folder / "packed");
}

std::string read_all(std::string const& path)
{
  return read_content(path);
}

// Forks a child that runs `forever`, kills it after a random time, and waits for it.
template <class Action>
void run_and_kill(Action&& forever, std::uint32_t microseconds)
{
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      for (;;)
        forever();
    } catch (...) {
    }
    ::_exit(1);
  }
  ::usleep(microseconds);
  REQUIRE(::kill(child, SIGKILL) == 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status)); // it did not end with an error of its own
}

std::size_t entries_in(std::string const& folder)
{
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

} // namespace

TEST_CASE("file lock: one holds it, others do not or wait, and it goes with the object and the process")
{
  TemporaryFolder const folder;
  std::string const path = folder / "lock";
  using On = FileLock::On;
  using Wait = FileLock::Wait;
  {
    FileLock const none(path, On::existing_file, Wait::no);
    CHECK_FALSE(none.opened());
    CHECK_FALSE(none.held());
    CHECK_FALSE(is_file(path));
  }
  {
    FileLock first(path, On::file, Wait::no);
    CHECK(first.held());
    FileLock const second(path, On::existing_file, Wait::no);
    CHECK(second.opened());
    CHECK_FALSE(second.held());
    FileLock const moved(std::move(first));
    CHECK(moved.held());
    CHECK_FALSE(FileLock(path, On::file, Wait::no).held());
  }
  CHECK(FileLock(path, On::file, Wait::no).held());
  CHECK(FileLock(folder.path(), On::folder, Wait::no).held());
  CHECK(error_of([&] { FileLock(path, On::folder, Wait::no); }).starts_with(path + ": cannot be opened"));
  CHECK(error_of([&] { FileLock(folder / "no/lock", On::file, Wait::yes); }).find("no/lock: cannot be opened") !=
        std::string::npos);

  // A process that is killed holds nothing any more; who waits gets it then.
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  pid_t const child = ::fork();
  if (child == 0) {
    FileLock const lock(path, On::file, Wait::yes);
    char const byte = lock.held() ? 1 : 0;
    (void)!::write(ready[1], &byte, 1);
    for (;;)
      ::pause();
  }
  char held = 0;
  REQUIRE(::read(ready[0], &held, 1) == 1);
  CHECK(held == 1);
  CHECK_FALSE(FileLock(path, On::file, Wait::no).held());
  ::kill(child, SIGKILL);
  CHECK(FileLock(path, On::file, Wait::yes).held());
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("temporary files of a killed process with the same number are no obstacle")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x";
  std::string const taken = temporary_beside(path);
  CHECK(is_file(taken));
  // The names that would come next.
  std::size_t const end = taken.rfind(".tmp"), begin = taken.rfind('.', end - 1) + 1;
  int const number = std::stoi(taken.substr(begin, end - begin));
  for (int i = 1; i <= 3; ++i)
    std::ofstream(concat(taken.substr(0, begin), number + i, ".tmp")) << "stale";
  write_file(path, "text");
  CHECK(read_file(path) == "text");
  CHECK(entries_in(folder.path()) == 5);
  CHECK(error_of([&] { temporary_beside(folder / "no/x"); }) ==
        folder / "no/x" + ": cannot be written: No such file or directory");
}

TEST_CASE("an opened run folder loses the temporary files of a killed process")
{
  TemporaryFolder const folder;
  std::string const run = folder / "run";
  {
    auto const made = RunFolder::create(run, {.files = {{"config.json", "{}"}}, .folders = {"inner"}}, "resume");
  }
  for (std::string const name : {"/.checkpoint.h5.7.0.tmp", "/inner/.a.7.1.tmp", "/kept.tmp", "/.kept"})
    std::ofstream(run + name) << "x";
  auto const opened = RunFolder::open(run);
  CHECK(entries_in(run) == 4);
  CHECK(entries_in(run + "/inner") == 0);
  CHECK(is_file(run + "/kept.tmp"));
  CHECK(is_file(run + "/.kept"));
}

TEST_CASE("SHA-256 of the standard's examples")
{
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  // In pieces of every size around the block's.
  std::string const text(300, 'q');
  for (std::size_t piece = 1; piece <= 130; ++piece) {
    Sha256 hash;
    for (std::size_t i = 0; i < text.size(); i += piece)
      hash.update(std::string_view(text).substr(i, piece));
    REQUIRE(hash.hex() == sha256(text));
  }
  TemporaryFolder const folder;
  write_file(folder / "a", "abc");
  CHECK(sha256_file(folder / "a") == sha256("abc"));
  CHECK(error_of([&] { sha256_file(folder / "b"); }) == folder / "b" + ": no such file");
}

TEST_CASE("Whole files and folders")
{
  TemporaryFolder const folder;
  std::string const text("a\0b\n", 4);
  write_file(folder / "a", text);
  CHECK(read_file(folder / "a") == text);
  CHECK(file_size(folder / "a") == 4);
  CHECK(entries_in(folder.path()) == 1); // nothing temporary is left
  write_file(folder / "a", "");
  CHECK(read_file(folder / "a").empty());
  CHECK(error_of([&] { read_file(folder.path()); }) == folder.path() + ": is not a regular file");
  CHECK(error_of([&] { write_file(folder / "no/x", "x"); }) ==
        folder / "no/x" + ": cannot be written: No such file or directory");
  create_directories(folder / "no/such/folder");
  create_directories(folder / "no/such/folder");
  write_file(folder / "no/such/folder/x", "x");
  CHECK(error_of([&] { create_directories(folder / "a/b"); }) ==
        folder / "a/b" + ": the folder cannot be made: Not a directory");
  CHECK(error_of([&] { create_directories(folder / "a"); }) ==
        folder / "a" + ": the folder cannot be made: Not a directory");
}

TEST_CASE("An atomic file that is not committed changes nothing")
{
  TemporaryFolder const folder;
  write_file(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write(std::string(1 << 20, 'x'));
  }
  CHECK(read_file(folder / "a") == "old");
  CHECK(entries_in(folder.path()) == 1);
  AtomicFile file(folder / "a");
  file.commit();
  CHECK(error_of([&] { file.commit(); }) == folder / "a" + ": committed twice");
  CHECK(error_of([&] { file.write("x"); }) == folder / "a" + ": written to after commit");
}

TEST_CASE("A full disk is an error that names file and cause")
{
  if (!std::filesystem::exists("/dev/full")) SKIP("no /dev/full here");
  TemporaryFolder const folder;
  std::filesystem::create_symlink("/dev/full", folder / "journal");
  JournalWriter journal(folder / "journal");
  CHECK(error_of([&] { journal.append(1); }) == folder / "journal" + ": cannot be written: No space left on device");
}

TEST_CASE("A file that cannot be finished leaves the old one")
{
  TemporaryFolder const folder;
  write_file(folder / "a", "old");
  hdf5::Writer first(folder / "a.h5");
  first.write("x", {1}, std::vector<float>(1));
  first.commit();
  std::string const old_bytes = read_file(folder / "a.h5");
  // A limit of the file size stands in for a full disk: writes fail half-way.
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit const limit{1 << 19, 1 << 19};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::string const text = error_of([&] { write_file(folder / "a", std::string(1 << 20, 'n')); });
    if (text != folder / "a" + ": cannot be written: File too large") ::_exit(1);
    std::string const values = error_of([&] {
      hdf5::Writer writer(folder / "a.h5");
      writer.write("x", {1 << 20}, std::vector<float>(1 << 20, 1.0f));
      writer.commit();
    });
    if (!values.starts_with(folder / "a.h5" + ": ") || values.find("cannot be written") == std::string::npos)
      ::_exit(2);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(read_file(folder / "a") == "old");
  CHECK(read_file(folder / "a.h5") == old_bytes);
  CHECK(entries_in(folder.path()) == 2);
}

TEST_CASE("A writer killed at any moment leaves the old or the new file")
{
  TemporaryFolder const folder;
  std::string const old_text(300000, 'o'), new_text(500000, 'n');
  write_file(folder / "a", old_text);
  test::Random random(5);
  for (int round = 0; round < 30; ++round) {
    run_and_kill(
        [&] {
          write_file(folder / "a", new_text);
          write_file(folder / "a", old_text);
        },
        random.below(8000));
    std::string const found = read_file(folder / "a");
    REQUIRE((found == old_text || found == new_text));
  }
}

TEST_CASE("A journal killed at any moment is read and continued")
{
  TemporaryFolder const folder;
  std::string const path = folder / "journal.jsonl";
  test::Random random(6);
  std::int64_t next = 0;
  for (int round = 0; round < 30; ++round) {
    run_and_kill(
        [&] {
          JournalWriter journal(path);
          for (std::int64_t i = next;; ++i)
            journal.append(json::Object{{"event", i}, {"text", std::string(200, 'x')}});
        },
        500 + random.below(4000));
    if (!is_file(path)) continue;
    auto const events = read_journal(path);
    REQUIRE(static_cast<std::int64_t>(events.size()) >= next);
    for (std::size_t i = 0; i < events.size(); ++i)
      REQUIRE(events[i].at("event").as_int64() == static_cast<std::int64_t>(i));
    next = static_cast<std::int64_t>(events.size());
  }
  CHECK(next > 0);
}

TEST_CASE("A torn last line is left out and cut off; other bad lines are errors")
{
  TemporaryFolder const folder;
  std::string const path = folder / "journal.jsonl";
  write_file(path, "{\"a\":1}\n{\"a\":2}\n{\"a\":");
  CHECK(read_journal(path).size() == 2);
  {
    JournalWriter journal(path, Sync::yes);
    journal.append(json::Object{{"a", 3}});
  }
  CHECK(read_file(path) == "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
  // Even a last line that happens to be complete JSON was not finished.
  write_file(path, "1\n12");
  CHECK(read_journal(path).size() == 1);
  write_file(path, "{\"a\":1}\n{\"a\":\n{\"a\":3}\n");
  CHECK(error_of([&] { read_journal(path); }).starts_with(path + ":2:1:6: not JSON: "));
  write_file(path, "");
  CHECK(read_journal(path).empty());
}

TEST_CASE("Input files: plain and gzip'ed are the same")
{
  TemporaryFolder const folder;
  std::string text;
  test::Random random(7);
  for (int i = 0; i < 700000; ++i)
    text += static_cast<char>('a' + random.below(i % 7 + 1));
  write_file(folder / "a", text);
  write_file(folder / "a.gz", gzip(folder, text));
  write_file(folder / "two.gz", gzip(folder, text.substr(0, 1000)) + gzip(folder, text.substr(1000)));
  for (std::string const name : {"a", "a.gz", "two.gz"}) {
    CAPTURE(name);
    CHECK(read_all(folder / name) == text);
    InputFile file(folder / name);
    CHECK(file.compressed() == (name != "a"));
    Sha256 hash;
    file.hash_into(&hash);
    std::string start(123456, ' ');
    file.read_exactly(start.data(), start.size(), "start");
    CHECK(start == text.substr(0, start.size()));
    auto const rest = file.read_bytes(static_cast<std::int64_t>(text.size() - start.size()), "rest");
    CHECK(std::string(rest.begin(), rest.end()) == text.substr(start.size()));
    file.expect_end("rest");
    CHECK(hash.hex() == sha256(text));
    CHECK(error_of([&] { file.read_exactly(start.data(), 1, "more"); }) == folder / name + ": ends within more");
    CHECK(error_of([&] { file.read_bytes(std::int64_t{1} << 40, "images"); }) ==
          folder / name + ": images would need 1099511627776 bytes, more than the file holds");
  }
  CHECK(error_of([&] { read_content(folder / "a", 1000); }) == folder / "a" + ": holds more than 1000 B");
}

TEST_CASE("Broken gzip data are errors")
{
  TemporaryFolder const folder;
  std::string const packed = gzip(folder, std::string(100000, 'x') + "some end");
  for (std::size_t cut = 2; cut < packed.size(); cut += 7) {
    std::ofstream(folder / "a", std::ios::binary) << packed.substr(0, cut);
    REQUIRE(error_of([&] { read_all(folder / "a"); }) == folder / "a" + ": truncated gzip data");
  }
  std::string bad = packed;
  bad[bad.size() - 6] ^= 1; // of the checksum
  write_file(folder / "a", bad);
  CHECK(error_of([&] { read_all(folder / "a"); }) == folder / "a" + ": corrupt gzip data (incorrect data check)");
  write_file(folder / "a", packed + "tail");
  CHECK(error_of([&] { read_all(folder / "a"); }).starts_with(folder / "a" + ": corrupt gzip data ("));
  test::Random random(8);
  for (int i = 0; i < 2000; ++i) {
    std::filesystem::remove(folder / "b");
    std::ofstream(folder / "b", std::ios::binary) << test::mutated(packed, random);
    error_of([&] { read_all(folder / "b"); });
  }
}
