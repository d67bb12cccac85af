// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/readers.hpp>

#ifdef NASTURTIUM_HAS_MATIO
#include <matio.h>
#endif

#include <memory>
#include <mutex>

namespace nasturtium::datasets {

#ifdef NASTURTIUM_HAS_MATIO

namespace {

void silent(int, char const*)
{
}

struct CloseFile
{
  void operator()(mat_t* file) const { Mat_Close(file); }
};
struct FreeVariable
{
  void operator()(matvar_t* variable) const { Mat_VarFree(variable); }
};
using File = std::unique_ptr<mat_t, CloseFile>;
using Variable = std::unique_ptr<matvar_t, FreeVariable>;

// A numeric variable with its data.
Variable read_variable(mat_t* file, char const* name, std::string const& path)
{
  // First the header alone: what it claims is checked before memory is taken.
  Mat_Rewind(file);
  Variable const info(Mat_VarReadInfo(file, name));
  require(info != nullptr, path, ": no variable '", name, "'");
  bool const numeric =
      info->class_type == MAT_C_UINT8 || info->class_type == MAT_C_DOUBLE || info->class_type == MAT_C_INT32;
  require(numeric && !info->isComplex && info->rank >= 2 && info->rank <= 8, path, ": variable '", name,
          "' must be an array of bytes, integers or doubles");
  double bytes = static_cast<double>(info->class_type == MAT_C_UINT8 ? 1 : info->class_type == MAT_C_INT32 ? 4 : 8);
  for (int i = 0; i < info->rank; ++i)
    bytes *= static_cast<double>(info->dims[i]);
  // MATLAB may store doubles as bytes, and deflate packs 1032 to one.
  require(bytes <= static_cast<double>(file_size(path)) * 8 * 1032, path, ": variable '", name, "' claims ",
          human_bytes(bytes), ", more than the file can hold");
  Mat_Rewind(file);
  Variable variable(Mat_VarRead(file, name));
  require(variable != nullptr && variable->data != nullptr && variable->rank == info->rank &&
              variable->class_type == info->class_type && static_cast<double>(variable->nbytes) == bytes,
          path, ": variable '", name, "' cannot be read; the file is truncated or corrupt");
  return variable;
}

std::int64_t element(matvar_t const& variable, std::size_t i)
{
  if (variable.class_type == MAT_C_UINT8) return static_cast<std::uint8_t const*>(variable.data)[i];
  if (variable.class_type == MAT_C_INT32) return static_cast<std::int32_t const*>(variable.data)[i];
  double const value = static_cast<double const*>(variable.data)[i];
  return value >= -1e9 && value <= 1e9 && std::trunc(value) == value ? static_cast<std::int64_t>(value) : -1;
}

void read_file_into(Samples& samples, std::string const& path)
{
  require(file_size(path) > 0, path, ": is empty");
  File const file(Mat_Open(path.c_str(), MAT_ACC_RDONLY));
  require(file != nullptr, path, ": is not a MATLAB file");
  Variable const images = read_variable(file.get(), "X", path);
  require(images->class_type == MAT_C_UINT8 && (images->rank == 4 || images->rank == 3) && images->dims[0] == 32 &&
              images->dims[1] == 32 && images->dims[2] == 3,
          path, ": variable 'X' must be bytes of 32 x 32 x 3 x count");
  std::size_t const count = images->rank == 4 ? images->dims[3] : 1;
  require(count > 0, path, ": holds no images");
  Variable const labels = read_variable(file.get(), "y", path);
  std::size_t label_count = 1;
  for (int i = 0; i < labels->rank; ++i)
    label_count *= labels->dims[i];
  require(label_count == count, path, ": ", label_count, " labels in 'y', but ", count, " images in 'X'");

  // MATLAB's arrays run fastest in the first index: (row, column, channel, sample) to NHWC.
  auto const* const from = static_cast<std::uint8_t const*>(images->data);
  std::size_t const start = samples.bytes.size();
  samples.bytes.resize(start + count * 3072);
  std::uint8_t* to = samples.bytes.data() + start;
  for (std::size_t n = 0; n < count; ++n)
    for (std::size_t h = 0; h < 32; ++h)
      for (std::size_t w = 0; w < 32; ++w)
        for (std::size_t c = 0; c < 3; ++c)
          *to++ = from[h + 32 * w + 1024 * c + 3072 * n];
  for (std::size_t n = 0; n < count; ++n) {
    auto const label = element(*labels, n);
    require(label >= 1 && label <= 10, path, ": label ", label, " of sample ", n, " is out of range [1, 10]");
    samples.labels.push_back(static_cast<std::int32_t>(label % 10));
  }
  samples.count += static_cast<std::int64_t>(count);
}

} // namespace

bool has_matio()
{
  return true;
}

Dataset read_svhn(std::vector<std::string> const& train, std::vector<std::string> const& test)
{
  static std::mutex mutex; // the library has a global log
  std::lock_guard const lock(mutex);
  Mat_LogInitFunc("nasturtium", &silent);
  require(!train.empty(), "svhn: no training file given");
  Dataset dataset;
  dataset.name = "svhn";
  dataset.height = dataset.width = 32;
  dataset.channels = 3;
  dataset.classes = 10;
  std::string hashes;
  for (auto const& path : train) {
    read_file_into(dataset.train, path);
    hashes += sha256_file(path);
  }
  for (auto const& path : test) {
    read_file_into(dataset.test, path);
    hashes += sha256_file(path);
  }
  dataset.checksum = sha256(hashes);
  measure_normalisation(dataset);
  return dataset;
}

#else

bool has_matio()
{
  return false;
}

Dataset read_svhn(std::vector<std::string> const& train, std::vector<std::string> const&)
{
  fail(train.empty() ? "svhn" : train.front(),
       ": this build has no libmatio, which reads MATLAB files; install libmatio-dev and build again");
}

#endif

} // namespace nasturtium::datasets
