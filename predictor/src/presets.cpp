// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "watched.hpp"

#include <functional>
#include <utility>

namespace nasturtium::predictor {

namespace {

struct Preset
{
  char const* name;
  std::function<void(Settings&)> fill;
};

std::vector<Preset> const& presets()
{
  static std::vector<Preset> const all{
      {"penguin",
       [](Settings& s) {
         s.kind = Kind::engine;
         s.rules = Rules::penguin;
         s.e_pred = 20;
         s.spacing = 0.5;
       }},
      {"penguin-modular",
       [](Settings& s) {
         s.kind = Kind::engine;
         s.rules = Rules::penguin_modular;
         s.e_pred = 20;
         s.spacing = 0.5;
       }},
      {"a4nn",
       [](Settings& s) {
         s.kind = Kind::engine;
         s.rules = Rules::a4nn;
         s.e_pred = 25;
       }},
      {"nasturtium",
       [](Settings& s) {
         s.kind = Kind::nasturtium;
         s.stop_fraction = 0.24;
         s.min_finished = 8;
         s.keep_above = 0.35;
         s.stop_below = 0;
       }},
      {"constant", [](Settings& s) { s.kind = Kind::constant; }},
      {"last-value", [](Settings& s) { s.kind = Kind::last_value; }},
      {"best-so-far", [](Settings& s) { s.kind = Kind::best_so_far; }},
      {"i-epoch",
       [](Settings& s) {
         s.kind = Kind::i_epoch;
         s.stop_epoch = 5;
       }},
      {"median", [](Settings& s) { s.kind = Kind::median; }},
      {"halving",
       [](Settings& s) {
         s.kind = Kind::halving;
         s.eta = 2;
         s.grace = 2;
       }},
      {"asha",
       [](Settings& s) {
         s.kind = Kind::asha;
         s.eta = 4;
         s.grace = 1;
       }},
      {"domhan", [](Settings& s) { s.kind = Kind::domhan; }},
      {"ridge",
       [](Settings& s) {
         s.kind = Kind::ridge;
         s.stop_epoch = 8;
         s.min_finished = 20;
       }},
      {"svr",
       [](Settings& s) {
         s.kind = Kind::svr;
         s.stop_epoch = 8;
         s.min_finished = 20;
       }},
      {"train-loss-sum",
       [](Settings& s) {
         s.kind = Kind::train_loss_sum;
         s.stop_epoch = 8;
         s.min_finished = 20;
       }},
      {"none", [](Settings& s) { s.kind = Kind::none; }},
  };
  return all;
}

void check_range(Settings const& settings, bool good, char const* field, double value, char const* range)
{
  require(good, "predictor ", quoted(settings.name), ": ", field, " must be ", range, ", got ", shortest(value));
}

} // namespace

std::vector<std::string> preset_names()
{
  std::vector<std::string> names;
  for (auto const& preset : presets())
    names.emplace_back(preset.name);
  return names;
}

Settings preset(std::string const& name)
{
  std::string names;
  for (auto const& preset : presets()) {
    if (name == preset.name) {
      Settings settings;
      settings.name = name;
      preset.fill(settings);
      return settings;
    }
    names += (names.empty() ? "" : ", ") + std::string(preset.name);
  }
  fail("unknown predictor ", quoted(name), " (", names, ")");
}

void check(Settings const& s)
{
  auto const finite = [](double value) { return std::isfinite(value); };
  check_range(s, finite(s.e_pred) && s.e_pred > 0, "e_pred", s.e_pred, "> 0");
  check_range(s, finite(s.spacing) && s.spacing > 0, "spacing", s.spacing, "> 0");
  check_range(s, s.e_pred / s.spacing <= 1e6, "e_pred / spacing", s.e_pred / s.spacing, "<= 1e6");
  check_range(s, !std::isinf(s.incumbent), "incumbent", s.incumbent, "finite or unset");
  check_range(s, finite(s.value_min) && finite(s.value_max) && s.value_min < s.value_max, "value_min", s.value_min,
              "less than value_max");
  check_range(s, s.window >= 1 && s.window <= 10000, "window", s.window, "in [1, 10000]");
  check_range(s, finite(s.tolerance) && s.tolerance >= 0, "tolerance", s.tolerance, ">= 0");
  check_range(s, s.c_min >= 0, "c_min", s.c_min, ">= 0");
  check_range(s, s.max_evaluations >= 1, "max_evaluations", s.max_evaluations, ">= 1");
  check_range(s, finite(s.loss_floor), "loss_floor", s.loss_floor, "finite");
  check_range(s, finite(s.loss_patience) && s.loss_patience >= 0, "loss_patience", s.loss_patience, ">= 0");
  check_range(s, finite(s.stop_epoch) && s.stop_epoch >= 0, "stop_epoch", s.stop_epoch, ">= 0");
  check_range(s, s.stop_fraction >= 0 && s.stop_fraction <= 1, "stop_fraction", s.stop_fraction, "in [0, 1]");
  check_range(s, s.keep_above >= 0 && s.keep_above <= 1, "keep_above", s.keep_above, "in [0, 1]");
  check_range(s, s.min_finished >= 0, "min_finished", s.min_finished, ">= 0");
  check_range(s, finite(s.eta) && s.eta > 1, "eta", s.eta, "> 1");
  check_range(s, finite(s.grace) && s.grace > 0, "grace", s.grace, "> 0");
  for (std::size_t i = 0; i < s.rungs.size(); ++i)
    check_range(s, finite(s.rungs[i]) && s.rungs[i] > (i == 0 ? 0 : s.rungs[i - 1]), "rungs", s.rungs[i],
                "positive and rising");
  check_range(s, s.cohort >= 0, "cohort", s.cohort, ">= 0");
  check_range(s, s.startup_curves >= 0, "startup_curves", s.startup_curves, ">= 0");
  check_range(s, finite(s.warmup_epochs) && s.warmup_epochs >= 0, "warmup_epochs", s.warmup_epochs, ">= 0");
  check_range(s, s.stop_below >= 0 && s.stop_below <= 1, "stop_below", s.stop_below, "in [0, 1]");
  check_range(s, finite(s.first_epoch) && s.first_epoch >= 0, "first_epoch", s.first_epoch, ">= 0");
  check_range(s, finite(s.lambda) && s.lambda >= 0, "lambda", s.lambda, ">= 0");
  check_range(s, finite(s.svr_c) && s.svr_c > 0, "svr_c", s.svr_c, "> 0");
  check_range(s, finite(s.svr_epsilon) && s.svr_epsilon >= 0, "svr_epsilon", s.svr_epsilon, ">= 0");
  check_range(s, s.history >= 1, "history", s.history, ">= 1");
  check_range(s, s.samples >= 1 && s.samples <= 100000, "samples", s.samples, "in [1, 100000]");
}

std::unique_ptr<Method> make_method(Settings const& settings)
{
  check(settings);
  switch (settings.kind) {
  case Kind::engine:
    return impl::make_engine(settings);
  case Kind::ridge:
  case Kind::svr:
    return impl::make_regression(settings);
  case Kind::domhan:
    return impl::make_domhan(settings);
  case Kind::nasturtium:
    return impl::make_nasturtium(settings);
  default:
    return impl::make_baseline(settings);
  }
}

} // namespace nasturtium::predictor
