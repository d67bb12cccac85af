// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>

#include <support/temporary.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

using namespace nasturtium;
using test::error_of;
using test::TemporaryFolder;

namespace {

void write_example(std::string const& path)
{
  hdf5::Writer writer(path);
  writer.write("/weights/c1/kernel", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 0.5f});
  writer.write("weights/c1/bias", {3}, std::vector<double>{0.1, 0.2, 0.3});
  writer.write("images", {2, 2, 2, 1}, std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5, 6, 255}, {.deflate = 4});
  writer.write("labels", {3}, std::vector<std::int64_t>{-1, 7, 300});
  writer.write("scalar", {}, std::vector<std::int32_t>{42});
  writer.write("none", {0, 5}, std::vector<float>{});
  writer.create_group("a/b");
  writer.set_attribute("/", "format", "nasturtium-example");
  writer.set_attribute("/", "version", 1);
  writer.set_attribute("weights/c1", "rate", 0.1);
  writer.set_attribute("weights", "architecture", std::string(200000, 'j'));
  writer.commit();
}

} // namespace

TEST_CASE("HDF5 reads back what was written")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  write_example(path);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()) == 1);
  hdf5::Reader const reader(path);
  CHECK(reader.children("/") == std::vector<std::string>{"a", "images", "labels", "none", "scalar", "weights"});
  CHECK(reader.children("/weights/c1") == std::vector<std::string>{"bias", "kernel"});
  CHECK(reader.has("weights/c1/kernel"));
  CHECK_FALSE(reader.has("weights/c2/kernel"));
  CHECK(reader.is_group("a/b"));
  CHECK_FALSE(reader.is_group("images"));
  CHECK(reader.info("images").type == hdf5::ElementType::uint8);
  CHECK(reader.info("images").extent == std::vector<std::int64_t>{2, 2, 2, 1});
  CHECK(reader.read<float>("weights/c1/kernel").values == std::vector<float>{1, 2, 3, 4, 5, 0.5f});
  CHECK(reader.read<double>("weights/c1/kernel").values == std::vector<double>{1, 2, 3, 4, 5, 0.5});
  CHECK(reader.read<double>("/weights/c1/bias").values == std::vector<double>{0.1, 0.2, 0.3});
  CHECK(reader.read<std::uint8_t>("images").values == std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5, 6, 255});
  CHECK(reader.read<float>("images").values.back() == 255);
  CHECK(reader.read<std::int32_t>("labels").values == std::vector<std::int32_t>{-1, 7, 300});
  CHECK(reader.read<std::int64_t>("scalar").extent.empty());
  CHECK(reader.read<std::int64_t>("scalar").values == std::vector<std::int64_t>{42});
  CHECK(reader.read<float>("none").extent == std::vector<std::int64_t>{0, 5});
  CHECK(reader.has_attribute("/", "format"));
  CHECK_FALSE(reader.has_attribute("/", "other"));
  CHECK(reader.string_attribute("/", "format") == "nasturtium-example");
  CHECK(reader.integer_attribute("/", "version") == 1);
  CHECK(reader.number_attribute("weights/c1", "rate") == 0.1);
  CHECK(reader.number_attribute("/", "version") == 1);
  CHECK(reader.string_attribute("weights", "architecture") == std::string(200000, 'j'));
}

TEST_CASE("HDF5 errors name file and object")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  write_example(path);
  hdf5::Reader const reader(path);
  CHECK(error_of([&] { reader.read<float>("weights/c9/kernel"); }) == path + ": no data set 'weights/c9/kernel'");
  CHECK(error_of([&] { reader.read<float>("weights"); }).starts_with(path + ": 'weights': is not a data set"));
  CHECK(error_of([&] { reader.read<std::int64_t>("weights/c1/bias"); }) ==
        path + ": 'weights/c1/bias': holds float64 where integers are needed");
  CHECK(error_of([&] { reader.read<std::uint8_t>("labels"); }) == path + ": 'labels': value -1 is out of range");
  CHECK(error_of([&] { reader.string_attribute("/", "other"); }) == path + ": '/': no attribute 'other'");
  CHECK(error_of([&] { reader.integer_attribute("/", "format"); }) ==
        path + ": '/': attribute 'format' must be one integer");
  CHECK(error_of([&] { reader.string_attribute("/", "version"); }) ==
        path + ": '/': attribute 'version' must be one string");
  CHECK(error_of([&] { reader.children("nothing"); }) == path + ": no group 'nothing'");
  CHECK(error_of([&] { hdf5::Reader(folder / "y.h5"); }) == folder / "y.h5" + ": no such file");
  write_file(folder / "y.h5", "");
  CHECK(error_of([&] { hdf5::Reader(folder / "y.h5"); }) == folder / "y.h5" + ": is empty");
  write_file(folder / "y.h5", std::string(5000, 'x'));
  CHECK(
      error_of([&] { hdf5::Reader(folder / "y.h5"); }).starts_with(folder / "y.h5" + ": is not a readable HDF5 file"));
  write_file(folder / "y.h5", read_file(path).substr(0, 3000));
  CHECK(
      error_of([&] { hdf5::Reader(folder / "y.h5"); }).starts_with(folder / "y.h5" + ": is not a readable HDF5 file"));
  CHECK(error_of([&] { hdf5::Writer(folder / "no/y.h5"); }).starts_with(folder / "no/y.h5" + ": cannot be written"));
  hdf5::Writer writer(folder / "z.h5");
  CHECK(error_of([&] { writer.write("a", {2, 2}, std::vector<float>(3)); }) ==
        folder / "z.h5" + ": 'a': 3 values for an extent of 4");
  writer.write("a", {1}, std::vector<float>(1));
  CHECK(error_of([&] {
          writer.write("a", {1}, std::vector<float>(1));
        }).starts_with(folder / "z.h5" + ": 'a': cannot be made"));
}

TEST_CASE("an HDF5 file that finds no room leaves no temporary")
{
  TemporaryFolder const folder;
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // No file may hold a byte: a full disk.
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit const limit{0, 0};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::string const error = error_of([&] {
      hdf5::Writer writer(folder / "x.h5");
      writer.write("a", {1}, std::vector<float>(1));
      writer.commit();
    });
    bool const brief = error.find("buf = ") == std::string::npos && error.find("too large") != std::string::npos;
    ::_exit(error.starts_with(folder / "x.h5" + ": cannot be written") && brief ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("HDF5 files appear complete or not at all, and the same each time")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  write_example(path);
  std::string const first = read_file(path);
  {
    hdf5::Writer writer(path);
    writer.write("a", {1}, std::vector<float>(1));
  }
  CHECK(read_file(path) == first);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()) == 1);
  write_example(path);
  CHECK(read_file(path) == first);
}
