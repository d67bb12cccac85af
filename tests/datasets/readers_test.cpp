// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "files.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/datasets/readers.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/datasets/synthetic.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <filesystem>

#ifdef NASTURTIUM_HAS_MATIO
#include <matio.h>
#endif

#include <limits>

using namespace nasturtium;
using namespace nasturtium::datasets;
using test::error_of;
using test::put;
using test::TemporaryFolder;

namespace {

std::string idx_error(TemporaryFolder const& folder, std::string const& name, std::string const& bytes)
{
  test::write_idx(folder.path());
  put(folder / name, bytes);
  std::string const message = error_of([&] { read_idx(folder.path()); });
  std::string const prefix = folder.path() + "/";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

std::string csv_error(std::string const& text, CsvOptions const& options = {})
{
  TemporaryFolder const folder;
  put(folder / "t.csv", text);
  std::string const message = error_of([&] { read_csv(folder / "t.csv", options); });
  std::string const prefix = folder.path() + "/";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

} // namespace

TEST_CASE("IDX: plain and gzip'ed files give the same data set")
{
  TemporaryFolder const folder;
  test::write_idx(folder.path());
  Dataset const plain = read_idx(folder.path());
  CHECK(plain.height == 3);
  CHECK(plain.width == 2);
  CHECK(plain.channels == 1);
  CHECK(plain.classes == 3);
  CHECK(plain.train.count == 6);
  CHECK(plain.test.count == 2);
  CHECK(plain.train.labels == std::vector<std::int32_t>{0, 1, 2, 0, 1, 2});
  CHECK(plain.train.bytes.size() == 36);
  CHECK(plain.train.bytes[5] == 35);
  CHECK(plain.validation.count == 0);
  CHECK(plain.mean[0] == 122.5f); // 0, 7, ..., 245
  for (char const* name :
       {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"})
    test::gzip(folder / name);
  Dataset const packed = read_idx(folder.path());
  CHECK(packed.train.bytes == plain.train.bytes);
  CHECK(packed.test.labels == plain.test.labels);
  CHECK(packed.checksum == plain.checksum);
}

TEST_CASE("IDX: each bad file is one clear error")
{
  TemporaryFolder const folder;
  std::string const images = test::idx_images(6, 3, 2), labels = test::idx_labels({0, 1, 2, 0, 1, 2});
  CHECK(idx_error(folder, "train-images-idx3-ubyte", "") == "train-images-idx3-ubyte: is empty");
  CHECK(idx_error(folder, "train-images-idx3-ubyte", "ab") == "train-images-idx3-ubyte: ends within the magic number");
  CHECK(idx_error(folder, "train-images-idx3-ubyte", labels) ==
        "train-images-idx3-ubyte: wrong magic number of IDX images: 0x00000801, expected 0x00000803");
  CHECK(idx_error(folder, "train-labels-idx1-ubyte", images) ==
        "train-labels-idx1-ubyte: wrong magic number of IDX labels: 0x00000803, expected 0x00000801");
  CHECK(idx_error(folder, "train-images-idx3-ubyte", images.substr(0, 10)) ==
        "train-images-idx3-ubyte: ends within the header");
  CHECK(idx_error(folder, "train-images-idx3-ubyte", images.substr(0, 40)) ==
        "train-images-idx3-ubyte: the images would need 36 bytes, more than the file holds");
  CHECK(idx_error(folder, "train-images-idx3-ubyte", images + "x") ==
        "train-images-idx3-ubyte: bytes after the end of the images");
  CHECK(idx_error(folder, "train-labels-idx1-ubyte", labels + "x") ==
        "train-labels-idx1-ubyte: bytes after the end of the labels");
  CHECK(idx_error(folder, "train-labels-idx1-ubyte", test::idx_labels({0, 1})) ==
        "train-labels-idx1-ubyte: 2 labels, but 6 images in " + folder / "train-images-idx3-ubyte");
  CHECK(idx_error(folder, "t10k-labels-idx1-ubyte", test::idx_labels({2, 9})) ==
        "t10k-labels-idx1-ubyte: label 9 of sample 1 is out of range [0, 2]");
  CHECK(idx_error(folder, "t10k-images-idx3-ubyte", test::idx_images(2, 2, 2)) ==
        "t10k-images-idx3-ubyte: images of 2 x 2 x 1, but the training images are 3 x 2 x 1");
  // 4 billion images of 65536 x 65536 in 16 bytes.
  CHECK(idx_error(folder, "train-images-idx3-ubyte",
                  test::word(0x803) + test::word(~0u) + test::word(65536) + test::word(65536)) ==
        "train-images-idx3-ubyte: extents of the images are out of range");
  CHECK(idx_error(folder, "train-images-idx3-ubyte",
                  test::word(0x803) + test::word(1 << 30) + test::word(28) + test::word(28)) ==
        "train-images-idx3-ubyte: the images would need 841813590016 bytes, more than the file holds");
  CHECK(idx_error(folder, "train-images-idx3-ubyte",
                  test::word(0x803) + test::word(0) + test::word(28) + test::word(28)) ==
        "train-images-idx3-ubyte: extent 0 of the images is 0");

  test::write_idx(folder.path());
  test::gzip(folder / "train-images-idx3-ubyte");
  std::string const packed = read_file(folder / "train-images-idx3-ubyte.gz");
  put(folder / "train-images-idx3-ubyte.gz", packed.substr(0, packed.size() - 5));
  CHECK(error_of([&] { read_idx(folder.path()); }) == folder / "train-images-idx3-ubyte.gz" + ": truncated gzip data");
  std::filesystem::remove(folder / "train-images-idx3-ubyte.gz");
  CHECK(error_of([&] { read_idx(folder.path()); }) ==
        folder / "train-images-idx3-ubyte" + ": no such file, nor with .gz");
  test::write_idx(folder.path());
  CHECK(error_of([&] { read_idx(folder.path(), 2); }) ==
        folder / "train-labels-idx1-ubyte" + ": label 2 of sample 2 is out of range [0, 1]");
}

TEST_CASE("CIFAR: records become NHWC images with fine or coarse labels")
{
  TemporaryFolder const folder;
  put(folder / "a.bin", test::cifar_records({{3}, {9}}));
  put(folder / "b.bin", test::cifar_records({{0}}));
  test::gzip(folder / "b.bin");
  Dataset const ten = read_cifar10({folder / "a.bin", folder / "b.bin.gz"}, {folder / "a.bin"});
  CHECK(ten.height == 32);
  CHECK(ten.channels == 3);
  CHECK(ten.classes == 10);
  CHECK(ten.class_names[9] == "truck");
  CHECK(ten.train.labels == std::vector<std::int32_t>{3, 9, 0});
  CHECK(ten.test.count == 2);
  bool same = true;
  for (int n = 0; n < 2; ++n)
    for (int p = 0; p < 1024; ++p)
      for (int c = 0; c < 3; ++c)
        same = same && ten.train.bytes[static_cast<std::size_t>((n * 1024 + p) * 3 + c)] == test::cifar_pixel(n, c, p);
  CHECK(same);

  put(folder / "c.bin", test::cifar_records({{19, 99}, {0, 5}}));
  CHECK(read_cifar100({folder / "c.bin"}, {}, Cifar100Labels::fine).train.labels == std::vector<std::int32_t>{99, 5});
  CHECK(read_cifar100({folder / "c.bin"}, {}, Cifar100Labels::coarse).train.labels == std::vector<std::int32_t>{19, 0});
  CHECK(read_cifar100({folder / "c.bin"}, {}, Cifar100Labels::coarse).classes == 20);
}

TEST_CASE("CIFAR: each bad file is one clear error")
{
  TemporaryFolder const folder;
  std::string const path = folder / "a.bin";
  auto const error = [&](std::string const& bytes) {
    put(path, bytes);
    return error_of([&] { read_cifar10({path}, {}); });
  };
  CHECK(error("") == path + ": is empty");
  CHECK(error(test::cifar_records({{3}, {10}})) == path + ": label 10 of record 1 is out of range [0, 9]");
  CHECK(error(test::cifar_records({{3}, {1}}).substr(0, 4000)) == path + ": ends within record 1 (927 of 3073 bytes)");
  put(path, test::cifar_records({{20, 3}}));
  CHECK(error_of([&] { read_cifar100({path}, {}, Cifar100Labels::fine); }) ==
        path + ": coarse label 20 of record 0 is out of range [0, 19]");
  put(path, test::cifar_records({{2, 100}}));
  CHECK(error_of([&] { read_cifar100({path}, {}, Cifar100Labels::coarse); }) ==
        path + ": fine label 100 of record 0 is out of range [0, 99]");
  CHECK(error_of([&] { read_cifar10({folder / "none.bin"}, {}); }) == folder / "none.bin" + ": no such file");
  put(path, test::cifar_records({{3}}));
  test::gzip(path);
  std::string const packed = read_file(path + ".gz");
  put(path, packed.substr(0, packed.size() / 2));
  CHECK(error_of([&] { read_cifar10({path}, {}); }) == path + ": truncated gzip data");
}

TEST_CASE("CSV: labels, targets, shapes and a test table")
{
  TemporaryFolder const folder;
  put(folder / "train.csv", "x,label,y\n1,10,2\n3,9,4\n5,10,6\n");
  put(folder / "test.csv", "label,y,x\n9,8,7\n");
  Dataset const table = read_csv(folder / "train.csv", {.test = folder / "test.csv"});
  CHECK(table.channels == 2);
  CHECK(table.classes == 2);
  CHECK(table.class_names == std::vector<std::string>{"9", "10"}); // by value, not by text
  CHECK(table.train.values == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(table.train.labels == std::vector<std::int32_t>{1, 0, 1});
  CHECK(table.test.values == std::vector<float>{7, 8});
  CHECK(table.test.labels == std::vector<std::int32_t>{0});
  CHECK(table.mean == std::vector<float>{3, 4});

  Dataset const shaped = read_csv(folder / "train.csv", {.shape = {1, 2, 1}});
  CHECK(shaped.width == 2);
  CHECK(shaped.channels == 1);
  CHECK(shaped.mean == std::vector<float>{3.5f});

  Dataset const targets = read_csv(folder / "train.csv", {.targets = {"label", "y"}});
  CHECK(targets.classes == 0);
  CHECK(targets.target_width == 2);
  CHECK(targets.train.targets == std::vector<float>{10, 2, 9, 4, 10, 6});
  CHECK(targets.train.values == std::vector<float>{1, 3, 5});

  put(folder / "words.csv", "kind,x\nrose,1\nlily,2\n");
  CHECK(read_csv(folder / "words.csv", {.label = "kind"}).class_names == std::vector<std::string>{"lily", "rose"});

  put(folder / "test.csv", "label,y,x\n11,8,7\n");
  CHECK(error_of([&] { read_csv(folder / "train.csv", {.test = folder / "test.csv"}); }) ==
        folder / "test.csv" + ":2: column 'label' holds a label that the training table lacks, '11'");
  CHECK(csv_error("x,y\n1,2\n") == "t.csv: no column 'label' (columns: x, y)");
  CHECK(csv_error("x,y\n1,2\n", {.label = "z"}) == "t.csv: no column 'z' (columns: x, y)");
  CHECK(csv_error("x,label\n1,2\n") == "t.csv: column 'label' has one class only, '2'");
  CHECK(csv_error("x,label\n1,a\n2,\n") == "t.csv:3: column 'label' is empty");
  CHECK(csv_error("x,label\nnan,a\n2,b\n") == "t.csv:2: column 'x' must be a finite number, got 'nan'");
  CHECK(csv_error("x,label\n1e39,a\n2,b\n") == "t.csv:2: column 'x' is beyond float32, got '1e39'");
  CHECK(csv_error("x,label\n") == "t.csv: holds no rows");
  CHECK(csv_error("label\n1\n") == "t.csv: no column is left for features");
  CHECK(csv_error("x,label\n1,a\n2,b\n", {.shape = {2, 2, 1}}) == "t.csv: shape 2x2x1 does not fit 1 feature columns");
  CHECK(csv_error("x,label\n1,a\n2,b\n", {.label = "x", .targets = {"x"}}) ==
        "t.csv: a table has a label column or target columns, not both");
}

TEST_CASE("HDF5: what is saved reads back the same")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  Dataset images = make_synthetic({.count = 60, .test = 12, .height = 5, .width = 4, .channels = 2, .classes = 3});
  split_validation(images, 0.25, 3);
  images.class_names = {"a", "b", "c"};
  save_hdf5(images, path);
  Dataset const back = read_hdf5(path);
  CHECK(back.name == "synthetic");
  CHECK(back.height == 5);
  CHECK(back.width == 4);
  CHECK(back.channels == 2);
  CHECK(back.classes == 3);
  CHECK(back.class_names == images.class_names);
  CHECK(back.train.bytes == images.train.bytes);
  CHECK(back.validation.labels == images.validation.labels);
  CHECK(back.test.bytes == images.test.bytes);
  CHECK(back.mean == images.mean);
  CHECK(back.deviation == images.deviation);
  CHECK(back.checksum == sha256_file(path));

  Dataset const values = make_synthetic({.regression = true, .count = 20, .test = 5, .height = 1, .width = 3});
  save_hdf5(values, path);
  Dataset const again = read_hdf5(path);
  CHECK(again.classes == 0);
  CHECK(again.target_width == 1);
  CHECK(again.train.values == values.train.values);
  CHECK(again.test.targets == values.test.targets);
}

TEST_CASE("HDF5: files of others, and each bad file is one clear error")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  using Bytes = std::vector<std::uint8_t>;
  using Floats = std::vector<float>;
  using Ints = std::vector<std::int64_t>;
  auto const error = [&](auto&& fill) {
    hdf5::Writer writer(path);
    fill(writer);
    writer.commit();
    std::string const message = error_of([&] { read_hdf5(path); });
    return message.starts_with(path) ? message.substr(path.size()) : message;
  };
  CHECK(error([](hdf5::Writer& w) {
          w.write("images", {2, 2, 2}, Bytes(8));
          w.write("labels", {2, 1}, Ints{0, 4});
        }) == "no error");
  CHECK(read_hdf5(path).classes == 5);
  CHECK(read_hdf5(path).channels == 1);
  CHECK(error([](hdf5::Writer& w) {
          w.write("train/data", {2, 3}, Floats(6));
          w.write("train/target", {2}, std::vector<double>{0.5, 1});
        }) == "no error");
  CHECK(read_hdf5(path).channels == 3);
  CHECK(read_hdf5(path).target_width == 1);

  CHECK(error([](hdf5::Writer&) {}) == ": no data set 'images' or 'data'");
  CHECK(error([](hdf5::Writer& w) { w.write("train/images", {2, 4}, Bytes(8)); }) ==
        ": 'train': no data set 'labels' or 'target'");
  CHECK(error([](hdf5::Writer& w) {
          w.write("images", {2, 4}, Bytes(8));
          w.write("data", {2, 4}, Bytes(8));
        }) == ": holds both 'images' and 'data'");
  CHECK(error([](hdf5::Writer& w) { w.write("images", {8}, Bytes(8)); }) ==
        ": 'images': must have the extents (N, F), (N, H, W) or (N, H, W, C), has rank 1");
  CHECK(error([](hdf5::Writer& w) { w.write("images", {0, 8}, Bytes{}); }) == ": 'images': has an extent of 0");
  CHECK(error([](hdf5::Writer& w) {
          w.write("images", {2, 4}, Bytes(8));
          w.write("labels", {3}, Ints{0, 1, 0});
        }) == ": 'labels': 3 labels, but 2 samples in 'images'");
  CHECK(error([](hdf5::Writer& w) {
          w.write("images", {2, 4}, Bytes(8));
          w.write("labels", {2}, Ints{0, -1});
        }) == ": label -1 of sample 1 is out of range [0, 1]");
  CHECK(error([](hdf5::Writer& w) {
          w.write("images", {2, 4}, Bytes(8));
          w.write("labels", {2}, Floats{0, 1});
        }) == ": 'labels': must hold integers, holds float32");
  CHECK(error([](hdf5::Writer& w) {
          w.write("images", {2, 4}, Bytes(8));
          w.write("labels", {2}, Ints{0, 1ll << 40});
        }) == ": 'labels': value 1099511627776 is out of range");
  CHECK(error([](hdf5::Writer& w) {
          w.write("train/images", {2, 4}, Bytes(8));
          w.write("train/labels", {2}, Ints{0, 1});
          w.write("test/images", {1, 4}, Bytes(4));
          w.write("test/labels", {1}, Ints{2});
        }) == ": 'test': label 2 of sample 0 is out of range [0, 1]");
  CHECK(error([](hdf5::Writer& w) {
          w.write("train/images", {2, 4}, Bytes(8));
          w.write("train/labels", {2}, Ints{0, 1});
          w.write("test/images", {1, 5}, Bytes(5));
          w.write("test/labels", {1}, Ints{1});
        }) == ": 'test/images': samples of 1 x 1 x 5, but the training samples are 1 x 1 x 4");
  CHECK(error([](hdf5::Writer& w) {
          w.write("data", {2, 2}, Floats{0, 1, std::numeric_limits<float>::quiet_NaN(), 0});
          w.write("target", {2}, Floats{0, 1});
        }) == ": 'data': a value of sample 1 is not finite, got nan");
  CHECK(error([](hdf5::Writer& w) {
          w.write("data", {2, 2}, Floats(4));
          w.write("target", {2}, Floats{0, std::numeric_limits<float>::infinity()});
        }) == ": 'target': a target of sample 1 is not finite, got inf");
  CHECK(error([](hdf5::Writer& w) { w.set_attribute("/", "format", "other"); }) ==
        ": attribute 'format' must be 'nasturtium-dataset', got 'other'");
  CHECK(error_of([&] { read_hdf5(folder / "none.h5"); }) == folder / "none.h5" + ": no such file");
  put(path, "");
  CHECK(error_of([&] { read_hdf5(path); }) == path + ": is empty");
}

TEST_CASE("SVHN: without a file or with another one an error")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.mat";
  if (!has_matio()) {
    CHECK(error_of([&] { read_svhn({path}, {}); }).starts_with(path + ": this build has no libmatio"));
    SKIP("built without libmatio");
  }
  CHECK(error_of([&] { read_svhn({path}, {}); }) == path + ": no such file");
  put(path, "");
  CHECK(error_of([&] { read_svhn({path}, {}); }) == path + ": is empty");
  put(path, std::string(2000, 'x'));
  CHECK(error_of([&] { read_svhn({path}, {}); }).starts_with(path + ": "));
}

#ifdef NASTURTIUM_HAS_MATIO

namespace {

// (row, column, channel, sample) with the first index fastest, as MATLAB stores it.
std::uint8_t svhn_pixel(std::size_t h, std::size_t w, std::size_t c, std::size_t n)
{
  return static_cast<std::uint8_t>(h + 7 * w + 80 * c + 13 * n);
}

template <class T>
void write_variable(mat_t* file, char const* name, matio_classes kind, matio_types type, std::vector<std::size_t> dims,
                    std::vector<T> values)
{
  matvar_t* const variable =
      Mat_VarCreate(name, kind, type, static_cast<int>(dims.size()), dims.data(), values.data(), 0);
  REQUIRE(variable != nullptr);
  REQUIRE(Mat_VarWrite(file, variable, MAT_COMPRESSION_ZLIB) == 0);
  Mat_VarFree(variable);
}

void write_svhn(std::string const& path, std::vector<std::uint8_t> labels, std::size_t images, bool with_labels = true,
                std::size_t side = 32)
{
  mat_t* const file = Mat_CreateVer(path.c_str(), nullptr, MAT_FT_MAT5);
  REQUIRE(file != nullptr);
  std::vector<std::uint8_t> x;
  for (std::size_t n = 0; n < images; ++n)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t w = 0; w < side; ++w)
        for (std::size_t h = 0; h < side; ++h)
          x.push_back(svhn_pixel(h, w, c, n));
  write_variable(file, "X", MAT_C_UINT8, MAT_T_UINT8, {side, side, 3, images}, x);
  if (with_labels) write_variable(file, "y", MAT_C_UINT8, MAT_T_UINT8, {labels.size(), 1}, labels);
  Mat_Close(file);
}

} // namespace

TEST_CASE("SVHN: MATLAB's order becomes NHWC and label 10 the digit 0")
{
  TemporaryFolder const folder;
  write_svhn(folder / "train.mat", {1, 10, 9}, 3);
  write_svhn(folder / "test.mat", {10, 2}, 2);
  Dataset const dataset = read_svhn({folder / "train.mat"}, {folder / "test.mat"});
  CHECK(dataset.train.labels == std::vector<std::int32_t>{1, 0, 9});
  CHECK(dataset.test.labels == std::vector<std::int32_t>{0, 2});
  bool same = true;
  for (std::size_t n = 0; n < 3; ++n)
    for (std::size_t h = 0; h < 32; ++h)
      for (std::size_t w = 0; w < 32; ++w)
        for (std::size_t c = 0; c < 3; ++c)
          same = same && dataset.train.bytes[((n * 32 + h) * 32 + w) * 3 + c] == svhn_pixel(h, w, c, n);
  CHECK(same);
}

TEST_CASE("SVHN: each bad file is one clear error")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.mat";
  auto const error = [&] { return error_of([&] { read_svhn({path}, {}); }); };
  write_svhn(path, {}, 2, false);
  CHECK(error() == path + ": no variable 'y'");
  write_svhn(path, {1, 2, 3}, 2);
  CHECK(error() == path + ": 3 labels in 'y', but 2 images in 'X'");
  write_svhn(path, {1, 0}, 2);
  CHECK(error() == path + ": label 0 of sample 1 is out of range [1, 10]");
  write_svhn(path, {1, 11}, 2);
  CHECK(error() == path + ": label 11 of sample 1 is out of range [1, 10]");
  write_svhn(path, {1, 2}, 2, true, 16);
  CHECK(error() == path + ": variable 'X' must be bytes of 32 x 32 x 3 x count");
  write_svhn(path, {1, 2}, 2);
  std::string const good = read_file(path);
  for (std::size_t const cut : {good.size() - 40, good.size() / 2, std::size_t{200}, std::size_t{100}}) {
    put(path, good.substr(0, cut));
    CAPTURE(cut, error());
    CHECK(error().starts_with(path + ": "));
  }
}

#endif

TEST_CASE("an interrupted conversion leaves nothing behind")
{
  TemporaryFolder const folder;
  std::string const path = folder / "x.h5";
  reset_interrupts();
  std::raise(SIGTERM);
  std::string const error = error_of([&] { convert("synthetic:count=20", path, ""); });
  reset_interrupts();
  CHECK(error == path + ": interrupted, not written");
  CHECK(std::filesystem::is_empty(folder.path()));
  convert("synthetic:count=20", path, "");
  CHECK(std::filesystem::is_regular_file(path));
}
