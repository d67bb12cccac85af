// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small data files in the published formats.
#pragma once

#include <nasturtium/core/error.hpp>

#include <support/temporary.hpp>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace nasturtium::test {

// Without AtomicFile's fsync, and as a new file (truncating an old one may flush as well): fuzz tests write thousands.
inline void put(std::string const& path, std::string const& bytes)
{
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string word(std::uint32_t value)
{
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text += static_cast<char>(value >> shift & 255);
  return text;
}

inline std::string idx_images(std::uint32_t count, std::uint32_t height, std::uint32_t width)
{
  std::string text = word(0x803) + word(count) + word(height) + word(width);
  for (std::uint32_t i = 0; i < count * height * width; ++i)
    text += static_cast<char>(i * 7 + i / 256);
  return text;
}

inline std::string idx_labels(std::vector<int> const& labels)
{
  std::string text = word(0x801) + word(static_cast<std::uint32_t>(labels.size()));
  for (int const label : labels)
    text += static_cast<char>(label);
  return text;
}

inline void write_idx(std::string const& folder)
{
  put(folder + "/train-images-idx3-ubyte", idx_images(6, 3, 2));
  put(folder + "/train-labels-idx1-ubyte", idx_labels({0, 1, 2, 0, 1, 2}));
  put(folder + "/t10k-images-idx3-ubyte", idx_images(2, 3, 2));
  put(folder + "/t10k-labels-idx1-ubyte", idx_labels({2, 0}));
}

inline void gzip(std::string const& path)
{
  std::string const command = "gzip -nf '" + path + "'";
  if (std::system(command.c_str()) != 0) fail(path, ": gzip failed");
}

// A pixel of record `n` of a CIFAR file: plane c, place p.
inline std::uint8_t cifar_pixel(int n, int c, int p)
{
  return static_cast<std::uint8_t>(n * 31 + c * 85 + p * 3 + p / 100);
}

inline std::string cifar_records(std::vector<std::vector<int>> const& labels)
{
  std::string text;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    for (int const label : labels[n])
      text += static_cast<char>(label);
    for (int c = 0; c < 3; ++c)
      for (int p = 0; p < 1024; ++p)
        text += static_cast<char>(cifar_pixel(static_cast<int>(n), c, p));
  }
  return text;
}

} // namespace nasturtium::test
