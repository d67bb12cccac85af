// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Seeded mutations of good files: a reader may accept them or throw Error, nothing else.
#include "files.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/datasets/readers.hpp>
#include <nasturtium/datasets/synthetic.hpp>

#include <catch2/catch_test_macros.hpp>

#include <sys/resource.h>
#include <sys/wait.h>

using namespace nasturtium;
using namespace nasturtium::datasets;
using test::put;
using test::TemporaryFolder;

namespace {

void check_consistent(Dataset const& dataset)
{
  for (Samples const* const samples : {&dataset.train, &dataset.validation, &dataset.test}) {
    auto const size = static_cast<std::size_t>(samples->count * dataset.sample_size());
    REQUIRE((samples->bytes.size() == size || samples->values.size() == size));
    if (dataset.classes > 0) REQUIRE(samples->labels.size() == static_cast<std::size_t>(samples->count));
    for (auto const label : samples->labels)
      REQUIRE((label >= 0 && label < dataset.classes));
    REQUIRE(samples->targets.size() == static_cast<std::size_t>(samples->count * dataset.target_width));
  }
}

template <class Read>
int count_errors(int rounds, std::string const& good, std::string const& path, std::uint64_t seed, Read&& read)
{
  test::Random random(seed);
  int errors = 0;
  for (int i = 0; i < rounds; ++i) {
    put(path, test::mutated(good, random));
    try {
      check_consistent(read());
    } catch (Error const&) {
      ++errors;
    }
  }
  return errors;
}

} // namespace

TEST_CASE("Fuzz: IDX")
{
  TemporaryFolder const folder;
  test::write_idx(folder.path());
  auto const read = [&] { return read_idx(folder.path()); };
  for (std::string const name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"}) {
    std::string const good = read_file(folder / name);
    CHECK(count_errors(1000, good, folder / name, 1, read) > 300);
    put(folder / name, good);
  }
  // Damage behind the compression, and damage of the compression.
  std::string const plain = folder / "train-images-idx3-ubyte";
  test::gzip(plain);
  CHECK(count_errors(1000, read_file(plain + ".gz"), plain + ".gz", 2, read) > 500);
}

TEST_CASE("Fuzz: CIFAR")
{
  TemporaryFolder const folder;
  std::string const path = folder / "a.bin";
  std::string const good = test::cifar_records({{3, 4}, {9, 5}});
  auto const read = [&] { return read_cifar100({path}, {}, Cifar100Labels::fine); };
  CHECK(count_errors(1000, good, path, 3, read) > 500);
  put(path, good);
  test::gzip(path);
  std::string const packed = read_file(path + ".gz");
  CHECK(count_errors(1000, packed, path, 4, read) > 500);
}

TEST_CASE("Fuzz: CSV")
{
  TemporaryFolder const folder;
  std::string const path = folder / "t.csv";
  std::string const good = "x,\"y\",label\r\n1,2.5,a\r\n-3e2,4,\"b,c\"\n5,6,a\n";
  CHECK(count_errors(2000, good, path, 5, [&] { return read_csv(path); }) > 500);
  CHECK(count_errors(2000, "a,b,target\n1,2,3\n4,5,6\n", path, 6, [&] { return read_csv(path); }) > 500);
}

TEST_CASE("Fuzz: synthetic options")
{
  test::Random random(7);
  int errors = 0;
  for (int i = 0; i < 5000; ++i) {
    try {
      parse_synthetic(test::mutated("count=50:test=2:classes=3:noise=1.5:flip=0.25:seed=18", random));
    } catch (Error const&) {
      ++errors;
    }
  }
  CHECK(errors > 2000);
}

TEST_CASE("Fuzz: HDF5")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  Dataset dataset = make_synthetic({.count = 20, .test = 4, .height = 3, .width = 3, .classes = 2});
  dataset.class_names = {"a", "b"};
  save_hdf5(dataset, path);
  std::string const good = read_file(path);
  CHECK(count_errors(600, good, path, 8, [&] { return read_hdf5(path); }) > 100);
}

TEST_CASE("Fuzz: SVHN")
{
  if (!has_matio()) SKIP("built without libmatio");
  // A level 5 MATLAB file by hand, uncompressed: a header of 128 bytes, then X and y.
  auto const number = [](std::uint32_t n) {
    std::string text;
    for (int shift = 0; shift < 32; shift += 8)
      text += static_cast<char>(n >> shift & 255);
    return text;
  };
  auto const variable = [&](char name, std::vector<std::uint32_t> const& extent) {
    std::string dimensions;
    std::uint32_t count = 1;
    for (auto const n : extent) {
      dimensions += number(n);
      count *= n;
    }
    std::uint32_t const dimension_bytes = static_cast<std::uint32_t>(dimensions.size());
    dimensions.resize((dimensions.size() + 7) / 8 * 8, '\0');
    std::string data(count, '\x01');
    data.resize((data.size() + 7) / 8 * 8, '\0');
    std::string const body = number(6) + number(8) + number(9) + number(0) + number(5) + number(dimension_bytes) +
                             dimensions + number(1 | 1 << 16) + std::string(1, name) + std::string(3, '\0') +
                             number(2) + number(count) + data;
    return number(14) + number(static_cast<std::uint32_t>(body.size())) + body;
  };
  std::string header = "MATLAB 5.0 MAT-file";
  header.resize(124, ' ');
  std::string const good = header + std::string("\0\1IM", 4) + variable('X', {32, 32, 3, 2}) + variable('y', {2, 1});
  TemporaryFolder const folder;
  std::string const path = folder / "x.mat";
  put(path, good);
  CHECK(read_svhn({path}, {}).train.labels == std::vector<std::int32_t>{1, 1});
  CHECK(count_errors(600, good, path, 9, [&] { return read_svhn({path}, {}); }) > 100);
}
