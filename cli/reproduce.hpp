// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the experiments of `nasturtium reproduce` share: options, the plan that is told before anything starts, the
// record of what was asked for, and how they end. An experiment is a file of its own and a line in reproduce.cpp.
#pragma once

#include "plan_estimate.hpp"
#include "program.hpp"
#include "report_document.hpp"

#include <nasturtium/core/clock.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

int reproduce_penguin(Invocation const& call);
int reproduce_weight_transfer(Invocation const& call);
int reproduce_time_estimator(Invocation const& call);
int reproduce_ensembles(Invocation const& call);

/// Options and course of one experiment.
class ExperimentCall
{
public:
  explicit ExperimentCall(std::string name) : m_name(std::move(name)) {}

  void add_to(CLI::App& app);
  /// --out, or runs/NAME-SCALE.
  std::string out() const;
  std::string scale = "smoke", data_dir;
  DeviceOptions device;

  /// Tells the plan; brings the backend up; with --dry-run that is all, and false comes back. Else what was asked for
  /// is kept in the folder.
  bool begin(Invocation const& call, std::vector<PlannedTraining> const& work);
  nn::TrainerOptions trainer() const { return device.trainer(); }

  /// Says how to go on; gives back the exit status.
  int interrupted() const;
  /// Writes the report, prints `text` (or, with --json, the report) and where to look.
  int finish(ReportDocument const& report, std::string const& text) const;

private:
  std::string m_name, m_out, m_resume, m_estimator;
  bool m_dry_run = false, m_json = false;
  std::unique_ptr<nn::Runtime> m_runtime;
  double m_expected = 0;
  Stopwatch m_clock;
};

/// The arguments that a folder's experiment was called with last, and its name. Throws Error naming file and field.
struct KeptCall
{
  std::string experiment;
  std::vector<std::string> arguments;
};
void keep_call(std::string const& folder, std::string const& experiment, std::vector<std::string> const& arguments);
KeptCall kept_call(std::string const& folder);

} // namespace nasturtium::cli
