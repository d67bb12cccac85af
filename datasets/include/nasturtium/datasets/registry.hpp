// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Data sets by name or by specification: what --dataset takes.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/datasets/dataset.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::datasets {

/// A file of a published data set.
struct PublishedFile
{
  std::string name;   ///< file name as published
  std::string url;    ///< where it is published
  std::string sha256; ///< empty where the publisher gives none that we could check
};

/// A file that loading needs: what a published file is, or what is in it.
struct DataFile
{
  std::string name;           ///< without .gz; found with it, too
  std::string content_sha256; ///< of the content, after decompression; empty where unknown
};

/// A data set that the registry knows.
struct Entry
{
  std::string name;        ///< e.g. "fashion-mnist"
  std::string description; ///< one line
  std::string licence;
  std::vector<PublishedFile> files; ///< .tar.gz files are unpacked by download()
  std::vector<DataFile> data;       ///< in the order read
  std::string hint;                 ///< another way to get the files; may be empty
};

/// All known data sets, in the order that `datasets list` prints.
std::vector<Entry> const& entries();

/// Loads what `specification` names; throws Error with file, field and value for whatever is wrong:
///   NAME                     a registry entry, searched in `data_dir`, then $NASTURTIUM_DATA, then
///                            ~/.cache/nasturtium/data/NAME, then system folders (/usr/share/datasets/NAME)
///   idx:DIR[:classes=N]      a folder with the four IDX files of the MNIST family (plain or gz)
///   cifar10:TRAIN[,...]:TEST and cifar100:TRAIN[,...]:TEST, cifar100-coarse:...  standard binary files (plain or gz)
///   svhn:TRAIN.mat[,...]:TEST.mat
///   csv:FILE[:label=COLUMN][:target=COLUMN[,COLUMN...]][:test=FILE][:shape=HxWxC]
///   hdf5:FILE
///   nt3:TRAIN.csv:TEST.csv
///   synthetic[:key=value...], synthetic-nt3[:...], synthetic-uno[:...] see synthetic.hpp
/// Paths must not hold "," (lists) nor ":" (options).
Dataset load(std::string const& specification, std::string const& data_dir = {});

/// The entry of that name; throws naming those that exist.
Entry const& find_entry(std::string_view name);

/// Where files of an entry are looked for, in this order.
std::vector<std::string> search_folders(Entry const& entry, std::string const& data_dir = {});
/// Where download puts them: `data_dir`/NAME, else ${XDG_CACHE_HOME:-~/.cache}/nasturtium/data/NAME.
std::string download_folder(Entry const& entry, std::string const& data_dir = {});

/// Paths of the entry's data files, all from one folder, in their order; empty where no folder has them all.
std::vector<std::string> locate(Entry const& entry, std::string const& data_dir = {});

enum class FileState {
  good,      ///< content as published
  unchecked, ///< no hash known; the reader accepts it
  bad,       ///< another content, or unreadable
  missing
};
std::string name(FileState state); ///< "good", "unchecked", "bad", "missing"
struct FileCheck
{
  std::string path;
  FileState state = FileState::missing;
  std::string detail; ///< one line for bad and missing
};
/// `datasets verify`: every data file against its hash; then, where all are there, the reader itself. Throws only for a
/// name that is unknown.
std::vector<FileCheck> verify(Entry const& entry, std::string const& data_dir = {});

/// `datasets download`: fetches what is published with the `curl` program, checks hashes, unpacks archives, and returns
/// the folder. Files that are there already are kept. A failure throws with the URL and the folder for a copy by hand.
/// `quiet`: no progress of curl on stderr.
std::string download(Entry const& entry, std::string const& data_dir = {}, bool quiet = true);

/// `datasets convert`: loads and writes the HDF5 layout of docs/formats.md. Throws Error, leaving nothing behind, after
/// a signal that catch_interrupts() caught.
void convert(std::string const& specification, std::string const& output, std::string const& data_dir = {});

/// `datasets info`: what a loaded data set is: name, shape, classes, counts per split and class, normalisation,
/// checksum.
json::Value describe(Dataset const& dataset);

} // namespace nasturtium::datasets
