// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Co-evolution of an estimator and the networks that it is trained on (reference sections 2.1, 2.3 and 4; a
// reconstruction). It asks which networks to time and is told their seconds; it measures nothing and writes nothing.
#pragma once

#include <nasturtium/estimator/estimator.hpp>
#include <nasturtium/estimator/genome.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace nasturtium::estimator {

/// Which networks are timed:
///   random         draws of the generator, the baseline
///   random-skewed  the same from the skewed generator
///   hard           children of networks with a large cross-fitted error; a parent is timed again before it becomes one
///   hard-half      half of each generation hard, half draws of the generator
///   easy           children of networks with a small error
///   contribution   children of networks whose joining lowered the probe error
///   disagreement   of 8 x population untimed candidates (half mutants of the archive, half draws) those on which 5
///                  estimators, of other seeds and bootstraps, differ most (sd of log time)
///   spread         of the same candidates those in the least filled of 20 bins of predicted log time; a candidate that
///                  is taken counts as filled
std::vector<std::string> strategy_names();

struct CoevolutionOptions
{
  std::string strategy = "random";
  std::string generator = "uniform"; ///< or "skewed"
  std::string operators = "dynamic"; ///< or "static", "inverse"
  int population = 64;               ///< children of a generation, and the largest pool of parents
  int founders = 64;                 ///< random networks of the first generation
  int networks = 500;                ///< timed ones in all, 0: no limit
  int tournament = 3;                ///< with replacement
  double seconds = 0;                ///< of device time in all, 0: no limit
  std::uint64_t seed = 1;
  GeneratorOptions ranges;
};
/// Throws Error naming the option, its value and, where it is a name, the known ones.
void check(CoevolutionOptions const& options);

/// Time this network.
struct Question
{
  std::int64_t id = 0; ///< 0, 1, ... in the order of asking
  Genome genome;
  Workload workload;
  int generation = 0;
  std::int64_t again = -1;  ///< id of the first question where the network is timed a second time
  std::int64_t lineage = 0; ///< id of the founder, along first parents
};

struct Answer
{
  bool timed = true;       ///< false: it failed (over a cap, out of memory), and counts for its seconds alone
  double seconds = 0;      ///< median of a step, > 0 where timed
  double cost_seconds = 0; ///< what it cost the device, build and warm-up included, >= 0
};

/// A network that was timed: one row of the training set.
struct Timed
{
  std::int64_t id = 0; ///< of its question
  Genome genome;
  Description description;
  std::int64_t lineage = 0;                    ///< id of the founder, along first parents
  std::int64_t parent = -1, other_parent = -1; ///< ids; -1: none
  int generation = 0;
  double seconds = 0;      ///< the label: the mean of both medians where it was timed twice
  double cost_seconds = 0; ///< of both
  bool retimed = false;
  bool barred = false; ///< both medians are more than 10 % apart (of the smaller), or the second one failed: no parent
  double fitness = std::numeric_limits<double>::quiet_NaN(); ///< as last computed, larger is fitter; NaN: never
};

/// After each generation.
struct GenerationLog
{
  int generation = 0;
  int networks = 0; ///< timed so far
  int failures = 0; ///< questions answered by a failure so far
  double device_seconds = 0;
  double error = 0;    ///< MAPE of the estimator on the probes, as a fraction
  Operators operators; ///< what follows from it, for the next generation
};

using EstimatorFactory = std::function<std::unique_ptr<Estimator>()>;

/// Ask and tell. A function of the options, the factory's estimators and the answers: the order in which the questions
/// of one asking are answered does not matter (unless the seconds run out among them).
///   while (!evolution.finished())
///     for (auto const& question : evolution.ask())
///       if (!evolution.finished()) evolution.tell(question.id, time(question));
class Coevolution
{
public:
  /// `probes` are never trained on. `newcomer_factory` makes the estimators that score contributions, one fit per timed
  /// network (the reference trains them for 30 epochs alone); where it is empty `factory` makes them. Throws Error for
  /// bad options, no probes, and probes without a positive time.
  Coevolution(CoevolutionOptions options, EstimatorFactory factory, std::vector<Example> probes, Device device,
              EstimatorFactory newcomer_factory = {});

  /// The questions that are open; where none is, the next ones are made (breeding, and the fits that the strategy's
  /// fitness takes). Empty only when finished. Throws Error where 1,000 genomes in a row decode to networks that were
  /// asked for before or do not decode: the ranges are used up.
  std::vector<Question> ask();
  /// With the last open answer, or as soon as a budget is spent, the generation is closed: the estimator is fitted on
  /// the archive and the probe error taken. Throws Error for an id that is not open, for seconds that are not positive
  /// and finite, and where ten generations in a row had failures alone.
  void tell(std::int64_t id, Answer const& answer);
  /// As many networks were timed, or seconds spent, as the options say.
  bool finished() const { return m_finished; }

  std::vector<Timed> const& archive() const { return m_archive; } ///< by generation and id
  std::vector<Example> examples() const;                          ///< the archive as a training set
  std::vector<GenerationLog> const& log() const { return m_log; }
  double device_seconds() const { return m_device_seconds; }
  int failures() const { return m_failures; }
  /// The estimator in the loop; null before the first generation is closed.
  Estimator const* estimator() const { return m_estimator.get(); }

private:
  /// A network that may be asked for.
  struct Child
  {
    Individual individual;
    Description description;
    std::string network; ///< its hash
    std::int64_t lineage = -1, parent = -1, other_parent = -1;
  };
  struct Open
  {
    Question question;
    Child child;
  };
  using Networks = std::unordered_set<std::string>;
  using Pair = std::pair<std::size_t, std::size_t>; ///< positions of parents in the archive

  CoevolutionOptions m_options;
  EstimatorFactory m_factory, m_newcomer_factory;
  std::vector<Example> m_probes;
  Device m_device;
  OperatorSchedule m_schedule;
  Random m_random;

  std::unique_ptr<Estimator> m_estimator;
  std::vector<Timed> m_archive;
  std::vector<GenerationLog> m_log;
  std::map<std::int64_t, Open> m_open;
  Networks m_asked;                           ///< all that were ever asked for
  std::optional<std::vector<Pair>> m_couples; ///< of the generation in the making, while parents are timed again
  Operators m_operators;
  std::size_t m_closed = 0; ///< members of the archive from closed generations
  std::int64_t m_next_id = 0;
  int m_generation = 0, m_failures = 0, m_fruitless = 0;
  double m_device_seconds = 0;
  bool m_finished = false;

  bool hunts() const { return m_options.strategy == "hard" || m_options.strategy == "hard-half"; }

  // Making questions.
  int generation_size() const;
  void propose();
  void open(std::vector<Child> children);
  void open_again(std::size_t member);
  std::optional<Child> child_of(Individual individual, Networks& taken) const;
  std::optional<Child> child_of(Genome genome, Networks& taken) const;
  std::vector<Child> draws(int count, Networks& taken);
  Child mutant(Networks& taken);
  std::vector<Child> candidates(int count);
  std::vector<Child> select(int count);

  // Breeding.
  void begin_breeding(int count);
  std::size_t tournament(std::vector<std::size_t> const& pool);
  std::vector<std::size_t> parent_pool() const;
  bool open_parents();
  Child bred(Pair const& parents, Networks& taken);
  std::vector<Child> breed(int count);

  // Fitness and errors.
  std::vector<Example> examples(std::size_t count) const;
  std::unique_ptr<Estimator> fitted(EstimatorFactory const& factory, std::vector<Example> const& examples,
                                    std::uint64_t seed) const;
  double probe_error(Estimator const& estimator) const;
  void update_errors();
  void score_newcomers();
  std::vector<double> disagreement(std::vector<Child> const& children) const;
  std::vector<std::size_t> spread(std::vector<Child> const& children, std::size_t count) const;

  void close_generation();
};

} // namespace nasturtium::estimator
