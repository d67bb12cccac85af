// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce ensembles: from searches to ensembles that are served (after Pochelu et al.).
#include "ensembles.hpp"
#include "reproduce.hpp"
#include "training_options.hpp"

#include <nasturtium/core/signal.hpp>

#include <algorithm>
#include <tuple>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium reproduce ensembles --scale smoke        # a minute, synthetic images\n"
    "  nasturtium reproduce ensembles --scale laptop --dry-run\n"
    "  nasturtium reproduce ensembles --scale laptop --datasets fashion-mnist --out runs/ensembles";

} // namespace

int reproduce_ensembles(Invocation const& call)
{
  EnsemblesPlan asked;
  asked.seeds = asked.trials = asked.random_trials = asked.most_epochs = 0;
  asked.served = asked.deep = -1;
  std::vector<std::string> datasets;
  ExperimentCall it("ensembles");
  VerbParser parser("reproduce ensembles",
                    "Searches that fill a library, ensembles of it, plans to serve them (Pochelu et al. 2022).",
                    examples);
  CLI::App& app = parser.app();
  it.add_to(app);
  app.add_option("--datasets", datasets, "Of the scale's data sets, or others")
      ->delimiter(',')
      ->option_text("NAME,...");
  app.add_option("--arms", asked.arms, "Searches: asha, asha-loss, asha-stop, sha-sync, hyperband, pasha, random")
      ->delimiter(',')
      ->option_text("ARM,...");
  app.add_option("--seeds", asked.seeds, "Of each search; 0: as the scale has it")->type_name("N");
  app.add_option("--trials", asked.trials, "Of the searches that halve; 0: as the scale has it")->type_name("N");
  app.add_option("--random-trials", asked.random_trials, "Of random search; 0: as the scale has it")->type_name("N");
  app.add_option("--epochs", asked.most_epochs, "Of a network that is trained to the end; 0: as the scale has it")
      ->type_name("N");
  app.add_option("--deep", asked.deep, "Members of the deep ensemble; -1: as the scale has it")->type_name("N");
  app.add_option("--served", asked.served, "Ensembles that are planned and served; -1: as the scale has it")
      ->type_name("N");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = ensembles_plan(it.scale);
  for (auto const& [text, value, target] : {std::tuple{"--seeds", asked.seeds, &plan.seeds},
                                            {"--trials", asked.trials, &plan.trials},
                                            {"--random-trials", asked.random_trials, &plan.random_trials},
                                            {"--epochs", asked.most_epochs, &plan.most_epochs}}) {
    require(value >= 0, text, " must not be negative, got ", value);
    if (value > 0) *target = value;
  }
  if (asked.deep >= 0) plan.deep = asked.deep;
  if (asked.served >= 0) plan.served = asked.served;
  if (!asked.arms.empty()) plan.arms = asked.arms;
  if (!datasets.empty()) {
    std::vector<EnsemblesTask> chosen;
    for (auto const& name : datasets) {
      auto const found = std::find_if(plan.tasks.begin(), plan.tasks.end(),
                                      [&](EnsemblesTask const& task) { return task.dataset == short_name(name); });
      chosen.push_back(found == plan.tasks.end() ? plan.tasks.front() : *found);
      chosen.back().dataset = name;
    }
    plan.tasks = std::move(chosen);
  }
  plan.data_dir = it.data_dir;
  plan.out = it.out();
  if (!it.begin(call, ensembles_work(plan))) return exit_success;
  auto const trainer = it.trainer();
  auto const cells = run_ensembles(plan, trainer, call);
  if (!cells) return it.interrupted();
  auto const report =
      ensembles_report(*cells, plan, trainer, provenance_of(call, 1, trainer.backend, {{"scale", plan.scale}}));
  return it.finish(report, report.find_table("search")->text() + '\n' + report.find_table("quality")->text());
}

} // namespace nasturtium::cli
