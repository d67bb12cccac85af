// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A front for people and programs: every ensemble with its members, its scores on all splits before and after
// calibration, and its cost on every axis. Files: docs/ensembles-selection.md.
#pragma once

#include <nasturtium/ensemble/score.hpp>
#include <nasturtium/ensemble/selection.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

/// One split; "calibrated" with the temperature that was fitted on `check` (accuracy does not change by it).
struct SplitScores
{
  double nll = 0, brier = 0, accuracy = 0, ece_width = 0, ece_mass = 0;
  double calibrated_nll = 0, calibrated_brier = 0, calibrated_ece_width = 0, calibrated_ece_mass = 0;
  friend bool operator==(SplitScores const&, SplitScores const&) = default;
};

struct ReportMember
{
  std::string id;
  int count = 1;
  double weight = 1; ///< count / sum of counts
  friend bool operator==(ReportMember const&, ReportMember const&) = default;
};

struct ReportEntry
{
  std::vector<ReportMember> members;
  std::string origin;                  ///< the rule that found it
  std::map<std::string, double> costs; ///< by axis; sums over distinct members
  double loss = 0;                     ///< what was selected by, on `select`
  double temperature = 1;
  SplitScores select, check;
  std::optional<SplitScores> test;
  friend bool operator==(ReportEntry const&, ReportEntry const&) = default;
};

struct FrontReport
{
  std::string preset, objective, pooling, cost_axis;
  int pool_models = 0;
  Diversity pool_diversity; ///< on `select`
  std::vector<ReportEntry> entries;
};

/// Scores, calibration and costs of every choice. O(choices * members * samples * classes), and the pool's diversity.
FrontReport make_report(PredictionPool const& pool, std::string const& preset, std::span<Choice const> choices,
                        SelectionOptions const& options);

/// JSON ("nasturtium-ensemble-front", version 1): the whole report. Atomic.
void write_front_json(std::string const& path, FrontReport const& report);
/// Throws Error naming file, entry, field and value for whatever is missing, unknown or out of range.
FrontReport read_front_json(std::string const& path);

/// CSV: one line per entry. Atomic.
void write_front_csv(std::string const& path, FrontReport const& report);
/// The entries; throws Error naming file, line, column and value.
std::vector<ReportEntry> read_front_csv(std::string const& path);

} // namespace nasturtium::ensemble
