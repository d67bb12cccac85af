// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A search algorithm asks and is told; it never trains and never waits. Its decisions are a function of its settings,
// its seed and the order of the answers, so a journal replays it.
#pragma once

#include <nasturtium/nas/search_space.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::nas {

/// One question: train this and tell how good it is.
struct Trial
{
  int id = 0; ///< 0, 1, ... in the order of asking
  Genome genome;
  int generation = 0;
  int parent = -1;       ///< id of the trial that it was made from; -1: none
  int other_parent = -1; ///< of a crossover
};

/// The answer.
struct Fitness
{
  bool failed = false;   ///< invalid, diverged, out of memory, ...: ranks behind everything
  double accuracy = 0;   ///< percent, larger is better; R2 in percent where the task is a regression
  double flops = 0;      ///< forward, per image; smaller is better
  double parameters = 0; ///< smaller is better
  double deviation = 0;  ///< of the accuracy (over repeated measurements or half epochs), smaller is better
};

class SearchAlgorithm
{
public:
  virtual ~SearchAlgorithm() = default;
  virtual std::string_view name() const = 0;
  /// The next trial; nothing while answers are needed first (a generation is not complete), or when finished().
  virtual std::optional<Trial> ask() = 0;
  /// The answer to a trial that was asked and not yet told, in any order. Throws Error for any other id.
  virtual void tell(int id, Fitness const& fitness) = 0;
  /// No further question will come: as many answers as evaluations were asked for.
  virtual bool finished() const = 0;
  /// Whether a question knows no less when it is asked long before it can be worked on: a generation is asked for as a
  /// whole, and a random search learns nothing.
  virtual bool asks_ahead() const { return false; }
  /// Trials that were answered and may still become parents; empty where none ever does (random search).
  virtual std::vector<int> living() const { return {}; }
};

/// Most questions that may be open at the same time.
inline constexpr int most_open = 65536;

struct SearchSettings
{
  std::string algorithm = "aging"; ///< random, aging, nsga-net, evocnn, menndl
  int evaluations = 100;           ///< answers in all, >= 1
  int population = 0;              ///< 0: the algorithm's own
  int sample = 0;                  ///< aging: tournament size S; 0: its own
  double mutation = -1;            ///< probability per gene; negative: the algorithm's own
  double crossover = -1;           ///< probability; negative: the algorithm's own
  int workers = 1;                 ///< questions that may be open at the same time
  std::uint64_t seed = 1;
  bool allow_repeats = false; ///< else a network that was asked before is replaced, where another can be found
};

std::vector<std::string> algorithm_names();
/// Throws Error for an unknown name or a setting out of range. `space` must outlive the algorithm.
std::unique_ptr<SearchAlgorithm> make_algorithm(SearchSettings const& settings, SearchSpace const& space);

} // namespace nasturtium::nas
