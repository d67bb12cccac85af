// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Successive halving: many trials are trained a little, the best of them more. The decisions are a pure state machine:
// events go in, actions come out, without clock, thread or random numbers of its own, so a journal of the events
// replays it. Asynchronous promotion and stopping after Li et al., "A system for massively parallel hyperparameter
// tuning", MLSys 2020; synchronous brackets after Li et al., "Hyperband", JMLR 18, 2018; PASHA after Bohdal et al.,
// ICLR 2023. Rules: docs/halving.md.
#pragma once

#include <nasturtium/core/json.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::nas {

/// When a trial goes on to the next rung.
enum class HalvingPreset {
  asha_promote, ///< every trial pauses at every rung; the best third (eta = 3) is resumed when a worker is free
  asha_stop,    ///< a trial goes on at once, or never
  sha_sync,     ///< a rung is complete before anyone leaves it
  hyperband,    ///< synchronous brackets that begin at different rungs
  pasha,        ///< asha_promote over the two lowest rungs; one more whenever their rankings disagree
  random_full   ///< every trial to the end: random search
};
/// How the results of a rung are ordered; equal ones by the number of the trial.
enum class RankRule {
  loss,         ///< by loss
  nondominated, ///< by the front in (loss, cost), then by loss
  stratified    ///< by loss, apart in each third of the costs, so that cheap networks survive
};

/// Names as in configurations: "asha-promote", ...; "loss", ... The parsers throw Error that begins with `what`.
std::string name(HalvingPreset preset);
std::string name(RankRule rule);
HalvingPreset parse_halving_preset(std::string const& text, std::string const& what);
RankRule parse_rank_rule(std::string const& text, std::string const& what);
std::vector<std::string> halving_preset_names();
std::vector<std::string> rank_rule_names();

/// All that decides what a halving does.
struct HalvingSettings
{
  HalvingPreset preset = HalvingPreset::asha_promote;
  RankRule rank = RankRule::loss;
  int least_epochs = 1; ///< r: of the lowest rung, >= 1
  int most_epochs = 27; ///< R: of the top rung, >= r
  int eta = 3;          ///< >= 2; one of eta is promoted
  int trials = 0;       ///< N; 0 with hyperband alone: one pass over its brackets. More than a pass goes round again
  /// asha-promote, asha-stop: bracket s begins at rung s, and a trial draws its bracket by (seed, number of the trial).
  int brackets = 1;
  std::uint64_t seed = 1;
  std::array<double, 2> edges{}; ///< stratified: costs below the first are cheap, from the second on dear
  std::string space_hash{};      ///< what the configurations are drawn from; the caller's, kept in the journal
};
/// Throws Error naming the setting and its value for what cannot be.
void check(HalvingSettings const& settings);
json::Object to_json(HalvingSettings const& settings);
HalvingSettings parse_halving_settings(json::Reader& reader);

/// Epochs of every rung: r, r*eta, ... below R, and R, which may be clipped. Integers alone: a floating-point logarithm
/// loses a rung (R = 243, eta = 3).
std::vector<int> rung_table(int least_epochs, int most_epochs, int eta);

/// Epochs that a trial trains in the mean, where exactly one of eta leaves every rung for the next.
double expected_epochs(std::vector<int> const& rungs, int eta);

/// A bracket: trials that compete with each other.
struct HalvingBracket
{
  std::vector<int> epochs; ///< total epochs at every rung; the last is R
  int first = 0;           ///< the rung where its trials begin; nobody stops at a lower one
  int trials = 0;          ///< that are to begin in it
  int top() const { return static_cast<int>(epochs.size()) - 1; }
};
/// Hyperband's brackets, s_max first: n = ceil((s_max + 1) * eta^s / (s + 1)) trials begin with R div eta^s epochs.
std::vector<HalvingBracket> hyperband_brackets(int least_epochs, int most_epochs, int eta);
/// The brackets of these settings. O(trials).
std::vector<HalvingBracket> brackets_of(HalvingSettings const& settings);
/// Where trial t begins: a function of the settings and t. O(1), but with hyperband O(brackets).
int bracket_of(HalvingSettings const& settings, std::vector<HalvingBracket> const& brackets, int trial);

/// The edges between cheap, middle and dear: the values at 1/3 and 2/3 of the sorted costs of configurations that were
/// drawn for this (3,000, with a seed of their own). Throws Error for fewer than 3 and for what is not finite.
std::array<double, 2> cost_edges(std::vector<double> costs);

/// What to expect of a halving, for people to read before it begins.
struct HalvingPlan
{
  struct Level
  {
    int bracket = 0, rung = 0;
    int epochs = 0;           ///< total at this rung
    std::int64_t trials = 0;  ///< that reach it: n, n div eta, ...
    std::int64_t trained = 0; ///< epochs that they train for it, in all
  };
  std::vector<Level> levels;
  std::int64_t trials = 0;
  std::int64_t epochs = 0;      ///< in all
  std::int64_t full_epochs = 0; ///< had every trial trained to R
  std::int64_t checkpoints = 0; ///< that are kept: one a trial and rung
  bool at_most = false;         ///< pasha: it may never open the higher rungs

  double epochs_per_trial() const { return static_cast<double>(epochs) / static_cast<double>(trials); }
  /// A table and a line of totals; with the bytes of a checkpoint also the space on disk.
  std::string text(double checkpoint_bytes = 0) const;
};
HalvingPlan plan(HalvingSettings const& settings);

/// Something that happened.
struct HalvingEvent
{
  enum class Kind {
    started, ///< the trial that was to start has a configuration; value: its cost, >= 0
    result,  ///< the trial reached the rung; value: its loss. Not finite: as failed
    failed,  ///< it never will
    lost,    ///< the worker died with it; it goes out again, before all else
    free     ///< the worker asks what to do
  };
  Kind kind = Kind::free;
  int trial = -1, rung = -1; ///< -1 with free
  double value = 0;
  int worker = 0; ///< >= 0
};
/// What a worker that is free shall do.
struct HalvingAction
{
  enum class Kind {
    start,  ///< train the trial from its first weights to the rung
    resume, ///< train it on from the rung below
    idle    ///< nothing, until something happens
  };
  Kind kind = Kind::idle;
  int trial = -1, rung = -1;
  friend bool operator==(HalvingAction const&, HalvingAction const&) = default;
};

/// A trial that a worker has.
struct HalvingFlight
{
  int trial = 0, rung = 0, worker = 0;
  friend bool operator==(HalvingFlight const&, HalvingFlight const&) = default;
};

/// What is known of a trial.
struct HalvingTrial
{
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN();

  int bracket = 0;
  double cost = nan; ///< NaN: not started yet
  int reached = -1;  ///< the highest rung with a result; -1: none
  int assigned = -1; ///< the rung that it was sent to last
  bool failed = false;
  std::vector<double> losses; ///< at the rungs first .. reached; the last is infinite where it failed
};

/// The decisions. The same events give the same actions, whatever runs them.
class Halving
{
public:
  explicit Halving(HalvingSettings settings);

  /// Takes an event; gives back an action for `free` alone. Throws Error, and changes nothing, for an event that cannot
  /// be: of a trial that no worker has, at another rung, from another worker, from a worker that is not free. O(results
  /// of a rung); nondominated: O(n log n) of them.
  std::optional<HalvingAction> apply(HalvingEvent const& event);
  /// What the next free worker will be told.
  HalvingAction next() const;

  HalvingSettings const& settings() const { return m_settings; }
  std::vector<HalvingBracket> const& brackets() const { return m_brackets; }
  /// Trials that were sent out and not answered, in the order of sending.
  std::vector<HalvingFlight> const& flights() const { return m_flights; }
  /// By number; started or not yet. Those that were never sent out are not there.
  std::vector<HalvingTrial> const& trials() const { return m_trials; }
  /// Total epochs of a trial at a rung.
  int epochs(int trial, int rung) const;
  /// Results recorded at every rung, failures included, over all brackets.
  std::vector<std::int64_t> records() const;
  /// Epochs of all results: what was trained, increments alone.
  std::int64_t epochs_trained() const { return m_epochs; }
  /// Nothing is out and nothing will go out.
  bool finished() const;

private:
  struct Entry
  {
    double loss; ///< infinite for a failure
    int trial;
  };
  /// Results that compete: of a rung, or of one third of the costs there.
  struct Group
  {
    std::vector<Entry> entries;       ///< by (loss, trial)
    int promoted = 0;                 ///< went on from here
    mutable std::vector<int> order{}; ///< nondominated: positions in `entries`; empty: to be made
  };
  using Rung = std::array<Group, 3>; ///< the first alone, unless stratified

  std::optional<int> promotable(int bracket, int rung) const;
  std::int64_t places(int bracket, int rung, std::size_t group) const;
  void close_rungs(int bracket);
  std::vector<int> const& order(Group const& group) const;
  std::size_t group_of(int trial) const;
  bool goes_on(int trial, int rung) const;
  void record(int trial, int rung, double loss);
  void send(HalvingAction const& action, int worker);
  bool rankings_agree(int rung) const;
  std::vector<HalvingFlight>::iterator flight_of(HalvingEvent const& event);
  std::int64_t entries(int bracket, int rung) const;
  std::int64_t promotions(int bracket, int rung) const;

  HalvingSettings m_settings;
  std::vector<HalvingBracket> m_brackets;
  std::vector<std::vector<Rung>> m_rungs; ///< by bracket and rung
  std::vector<HalvingTrial> m_trials;
  std::vector<HalvingFlight> m_flights;
  std::deque<HalvingAction> m_lost;      ///< to go out again
  std::deque<HalvingAction> m_continued; ///< asha-stop: those that go on
  int m_trials_in_all = 0;
  int m_cap = 0;                ///< the highest rung that is open: pasha raises it
  std::vector<int> m_open_rung; ///< synchronous: by bracket the lowest rung that is not complete
  std::size_t m_oldest = 0;     ///< synchronous: brackets before it are done
  std::int64_t m_epochs = 0;
};

/// For a halving that was cut off: what became of the trials that were out. `checkpoint` tells the loss of the
/// checkpoint of a trial at a rung, nothing where there is none. A trial with a checkpoint at the rung it was sent to
/// is a result that was not told; every other one is lost, and so is one whose cost was not told. In the order of
/// sending.
template <class Checkpoint>
std::vector<HalvingEvent> recovery(Halving const& halving, Checkpoint const& checkpoint)
{
  std::vector<HalvingEvent> events;
  for (HalvingFlight const& flight : halving.flights()) {
    double const cost = halving.trials()[static_cast<std::size_t>(flight.trial)].cost;
    std::optional<double> loss;
    if (cost >= 0) loss = checkpoint(flight.trial, flight.rung);
    events.push_back({loss ? HalvingEvent::Kind::result : HalvingEvent::Kind::lost, flight.trial, flight.rung,
                      loss.value_or(0), flight.worker});
  }
  return events;
}

} // namespace nasturtium::nas
