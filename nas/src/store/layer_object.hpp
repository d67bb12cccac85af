// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tensors of one layer as bytes with a name of their own. Format: docs/formats.md.
#pragma once

#include <nasturtium/nn/weights.hpp>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace nasturtium::nas::impl {

/// Bytes that nobody wrote zeros to first.
struct Bytes
{
  std::unique_ptr<char[]> data;
  std::size_t size = 0;
  std::string_view view() const { return {data.get(), size}; }
};
Bytes allocate(std::size_t size);

/// Parameter name -> tensor.
using LayerTensors = std::map<std::string, nn::Tensor const*>;

struct LayerObject
{
  Bytes bytes;
  bool float64 = false;
};

/// float32 where that loses nothing, else float64.
LayerObject encode_layer(std::string const& type, LayerTensors const& tensors);

/// XXH3, 128 bits, as `xxh128sum` prints it.
std::string object_name(std::string_view bytes);
bool is_object_name(std::string_view name);

/// Throws Error naming `path` unless the bytes have this hash.
void check_object(std::string_view bytes, std::string const& name, std::string const& path);

/// Adds the tensors of a checked object to `weights` as those of `node`. Throws Error naming `path` for what is no
/// layer of this type.
void decode_layer(std::string_view bytes, std::string const& node, std::string const& type, std::string const& path,
                  nn::Weights& weights);

} // namespace nasturtium::nas::impl
