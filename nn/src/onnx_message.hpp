// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding): all that an ONNX file needs, and no
// dependency on the libraries of either.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace nasturtium::nn::impl {

/// The bytes of one message; fields by their numbers, in any order.
class Message
{
public:
  Message& integer(int field, std::int64_t value)
  {
    varint(tag(field, 0));
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& real(int field, float value)
  {
    varint(tag(field, 5));
    std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8)
      m_bytes.push_back(static_cast<char>(bits >> shift & 0xff));
    return *this;
  }
  Message& text(int field, std::string_view value)
  {
    varint(tag(field, 2));
    varint(value.size());
    m_bytes.append(value);
    return *this;
  }
  Message& message(int field, Message const& value) { return text(field, value.m_bytes); }

  std::string const& bytes() const { return m_bytes; }

private:
  static std::uint64_t tag(int field, int wire_type)
  {
    return static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type);
  }
  void varint(std::uint64_t value)
  {
    for (; value > 0x7f; value >>= 7)
      m_bytes.push_back(static_cast<char>(value | 0x80));
    m_bytes.push_back(static_cast<char>(value));
  }

  std::string m_bytes;
};

} // namespace nasturtium::nn::impl
