// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Has it become slower? Two files of timings, benchmark by benchmark, with an error rate for the answer as a whole
// (docs/guide/compare.md).
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/core/table.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::cli {

/// One benchmark of a file.
struct Timing
{
  std::string name;
  std::vector<double> seconds; ///< of every repetition
  std::string failure;         ///< why it has none
};

/// From a document of nasturtium compare run ("DEVICE MEASUREMENT"), or of Google Benchmark's --benchmark_out, where
/// aggregates are passed over and the repetitions of a name belong together. With a `device` only what that one did,
/// without its name: two of them can be compared then. Throws Error naming `source`, field and value.
std::vector<Timing> parse_timings(json::Value const& document, std::string const& source,
                                  std::string const& device = "");

struct GateOptions
{
  double threshold = 0.05;  ///< what is called no change: ratios from 1 / (1 + threshold) to 1 + threshold
  double confidence = 0.95; ///< 1 - this: most probability of any regression being found where there is none
};

enum class Verdict {
  slower,  ///< more than the threshold: a regression
  faster,  ///< more than the threshold
  same,    ///< the interval lies within the threshold
  unclear, ///< the data are too few or too noisy for any of these
  failed   ///< timed in the base, not in the new file: a regression too
};
std::string name(Verdict verdict);

/// The comparison of one benchmark.
struct GateRow
{
  std::string name;
  std::int64_t base_count = 0, new_count = 0; ///< repetitions
  double base_median = 0, new_median = 0;     ///< seconds
  double ratio = 0;                           ///< of the medians, new / base; > 1 is slower
  double low = 0,
         high = 0; ///< its bootstrap interval at the confidence, two-sided; NaN where a side has one repetition
  double p_slower = 1, p_faster = 1; ///< of "not more than the threshold slower (faster)", adjusted over all benchmarks
  Verdict verdict = Verdict::unclear;
  std::string note; ///< one line, or ""
};

struct GateResult
{
  std::vector<GateRow> rows; ///< of what both files have, in the order of the base
  std::vector<std::string> only_in_base, only_in_new;

  /// Whether anything is slower or failed.
  bool regression() const;
};

/// Compares. The p value of a benchmark is the larger of two: the bootstrap probability that the ratio of the medians
/// is not beyond the threshold, and Mann and Whitney's for the new times, scaled by the threshold, against the base's,
/// which is valid for few repetitions too. Holm's adjustment, for slower and for faster apart, keeps the probability of
/// any false "slower" within 1 - confidence. Throws Error for options out of range.
GateResult compare_timings(std::span<Timing const> base, std::span<Timing const> now, GateOptions const& options);

Table to_table(GateResult const& result);
json::Value to_json(GateResult const& result);

} // namespace nasturtium::cli
