// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of logits: 32 bytes of header ("NSTLOGIT", version, bits of a value, samples, classes), then the values, sample
// by sample, shifted so that the largest of a sample is 0. Little-endian.
#pragma once

#include <nasturtium/ensemble/model_library.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::ensemble::impl {

/// IEEE 754 binary16, rounded to nearest, ties to even; what is too large becomes infinite.
std::uint16_t to_half(float value);
float from_half(std::uint16_t bits);

/// Bytes of such a file.
std::int64_t logits_bytes(std::int64_t samples, int classes, LogitPrecision precision);

/// The logits as a reader will see them: shifted, rounded, in float16 not below -65504. Throws Error, starting with
/// `what`, for NaN and for a sample without a finite largest logit.
std::vector<float> stored_logits(std::span<float const> logits, int classes, LogitPrecision precision,
                                 std::string const& what);

/// Writes what stored_logits made; atomically.
void write_logits(std::string const& path, std::span<float const> stored, int classes, LogitPrecision precision);
/// Throws Error naming file and field for a header that does not say `samples` and `classes`, for a file that is too
/// short or too long, and for values that are not in [-infinity, 0].
std::vector<float> read_logits(std::string const& path, std::int64_t samples, int classes);

} // namespace nasturtium::ensemble::impl
