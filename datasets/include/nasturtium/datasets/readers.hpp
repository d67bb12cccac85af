// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Readers of data files, one function per format. Each throws Error naming file and value for: a missing or empty file,
// truncated or corrupt gzip data, a wrong magic number, counts that disagree, bytes after the end, a label out of
// range, a missing variable, a value that is not finite. Sizes in headers are checked against the file before memory is
// taken. All set Dataset::checksum (over the content, after decompression, in the order read; HDF5 and .mat: over the
// files) and the normalisation.
#pragma once

#include <nasturtium/datasets/dataset.hpp>

#include <array>
#include <string>
#include <vector>

namespace nasturtium::datasets {

/// The MNIST family: train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k files of a folder, plain or with
/// .gz. Images: unsigned bytes of rank 3 (count, height, width) or 4 (with channels). `classes` 0: one more than the
/// largest training label.
Dataset read_idx(std::string const& folder, int classes = 0);

/// CIFAR-10 binary: records of 1 label byte and 3 x 32 x 32 planar RGB bytes; files plain or gzip'ed.
Dataset read_cifar10(std::vector<std::string> const& train, std::vector<std::string> const& test);

enum class Cifar100Labels { fine, coarse };
/// CIFAR-100 binary: records of a coarse label (20), a fine label (100) and the image.
Dataset read_cifar100(std::vector<std::string> const& train, std::vector<std::string> const& test,
                      Cifar100Labels labels);

/// SVHN, cropped digits: MATLAB files with X (32, 32, 3, count) in bytes and y (count) in 1 to 10, where 10 is the
/// digit 0. Throws where the build has no libmatio.
Dataset read_svhn(std::vector<std::string> const& train, std::vector<std::string> const& test);
bool has_matio();

struct CsvOptions
{
  std::string label{};                ///< column of class labels, or
  std::vector<std::string> targets{}; ///< columns of regression targets; both empty: a column "label" or "target"
  std::string test{};                 ///< file with the test split, same columns; empty: none
  std::array<int, 3> shape{};         ///< height, width, channels of the features; zeros: 1 x 1 x features
};
/// A table (plain or gzip'ed): every other column is a feature. Classes are the sorted distinct labels, by value where
/// all are integers, else by text; class_names tells them.
Dataset read_csv(std::string const& path, CsvOptions const& options = {});

/// CANDLE's NT3: tables without a header, plain or gzip'ed, the first column the class (0 or 1, normal or tumour
/// tissue), the others the expression of a gene each (60,483 there), as 1 x genes x 1. Every gene is divided by its
/// largest absolute value over the training rows alone. `test` may be empty: no test split.
Dataset read_nt3(std::string const& train, std::string const& test = {});

/// HDF5 in the layout of docs/formats.md.
Dataset read_hdf5(std::string const& path);
/// Writes that layout, atomically; read_hdf5 gives the same splits back. Throws Error, leaving nothing
/// behind, after a signal that catch_interrupts() caught.
void save_hdf5(Dataset const& dataset, std::string const& path);

} // namespace nasturtium::datasets
