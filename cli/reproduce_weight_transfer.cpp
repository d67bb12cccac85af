// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce weight-transfer: selective weight transfer (Liu et al. 2021).
#include "reproduce.hpp"
#include "weight_transfer.hpp"

#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium reproduce weight-transfer --scale smoke       # a minute, synthetic images\n"
    "  nasturtium reproduce weight-transfer --scale laptop --dry-run\n"
    "  nasturtium reproduce weight-transfer --scale laptop --tasks lenet11:fashion-mnist --out runs/transfer";

} // namespace

int reproduce_weight_transfer(Invocation const& call)
{
  TransferPlan asked;
  asked.seeds = asked.evaluations = asked.top = 0;
  asked.together_seeds = -1;
  asked.provider.clear();
  std::vector<std::string> tasks;
  double learning_rate = 0;
  ExperimentCall it("weight-transfer");
  VerbParser parser("reproduce weight-transfer", "Selective weight transfer in aging evolution (Liu et al. 2021).",
                    examples);
  CLI::App& app = parser.app();
  it.add_to(app);
  app.add_option("--tasks", tasks, "Of the scale's tasks; a data set may be named with its files, SPACE:cifar10:A:B")
      ->delimiter(',')
      ->option_text("SPACE:DATASET,...");
  app.add_option("--arms", asked.arms, "none and matchers (nasturtium search --help), also MATCHER-frozen, -permuted")
      ->delimiter(',')
      ->option_text("ARM,...");
  app.add_option("--provider", asked.provider, "Who gives its weights")->option_text("parent|nearest|random [parent]");
  app.add_option("--seeds", asked.seeds, "Paired searches of each arm; 0: as the scale has it")->type_name("N");
  app.add_option(
         "--first-seed", asked.first_seed,
         "The first of them: processes with seeds of their own may share --out, and a last call makes the tables")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--evaluations", asked.evaluations, "Candidates of a search; 0: as the scale has it")->type_name("N");
  app.add_option(
         "--together", asked.together_seeds,
         "Seeds of the searches with transfer and prediction together, on the first task; -1: as the scale has it")
      ->type_name("N");
  app.add_option("--top", asked.top, "Candidates that are trained fully; 0: as the scale has it")->type_name("N");
  app.add_option("--learning-rate", learning_rate, "Of evaluations and full training; 0: as the scale has it")
      ->type_name("X");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = transfer_plan(it.scale);
  require(asked.seeds >= 0 && asked.evaluations >= 0 && asked.top >= 0,
          "--seeds, --evaluations and --top must not be negative");
  require(asked.first_seed >= 1, "--first-seed must be at least 1, got ", asked.first_seed);
  plan.first_seed = asked.first_seed;
  if (asked.seeds > 0) plan.seeds = asked.seeds;
  if (asked.evaluations > 0) plan.evaluations = asked.evaluations;
  if (asked.top > 0) plan.top = asked.top;
  if (asked.together_seeds >= 0) plan.together_seeds = asked.together_seeds;
  if (!asked.arms.empty()) plan.arms = asked.arms;
  if (!asked.provider.empty()) plan.provider = asked.provider;
  if (!tasks.empty()) {
    std::vector<TransferTask> chosen;
    for (auto const& text : tasks) {
      auto const colon = text.find(':');
      require(colon != std::string::npos, "--tasks: ", quoted(text), " is not SPACE:DATASET");
      std::string const space = text.substr(0, colon), dataset = text.substr(colon + 1);
      auto const same = [&](TransferTask const& task) { return task.space == space; };
      auto const found = std::find_if(plan.tasks.begin(), plan.tasks.end(), same);
      chosen.push_back(found == plan.tasks.end() ? plan.tasks.front() : *found);
      chosen.back().space = space;
      chosen.back().dataset = dataset;
    }
    plan.tasks = std::move(chosen);
  }
  require(std::isfinite(learning_rate) && learning_rate >= 0, "--learning-rate must be >= 0, got ", learning_rate);
  if (learning_rate > 0)
    for (auto& task : plan.tasks)
      task.learning_rate = learning_rate;
  plan.data_dir = it.data_dir;
  plan.out = it.out();
  if (!it.begin(call, transfer_work(plan))) return exit_success;
  auto const cells = run_transfer(plan, it.trainer(), call);
  if (!cells) return it.interrupted();
  return it.finish(transfer_report(*cells, plan, provenance_of(call, 1, it.trainer().backend, {{"scale", plan.scale}})),
                   transfer_scores(*cells, plan).text() + '\n' + transfer_full(*cells).text());
}

} // namespace nasturtium::cli
