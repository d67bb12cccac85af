// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/halving.hpp>
#include <nasturtium/nas/pareto.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace nasturtium::nas {

namespace {

using Kind = HalvingEvent::Kind;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int most_trials = 10'000'000;
constexpr int most_epochs = 1'000'000'000;
constexpr double soft_gap = 0.025; // pasha: losses that are so near are equal

constexpr std::pair<HalvingPreset, char const*> presets[] = {{HalvingPreset::asha_promote, "asha-promote"},
                                                             {HalvingPreset::asha_stop, "asha-stop"},
                                                             {HalvingPreset::sha_sync, "sha-sync"},
                                                             {HalvingPreset::hyperband, "hyperband"},
                                                             {HalvingPreset::pasha, "pasha"},
                                                             {HalvingPreset::random_full, "random-full"}};
constexpr std::pair<RankRule, char const*> rules[] = {
    {RankRule::loss, "loss"}, {RankRule::nondominated, "nondominated"}, {RankRule::stratified, "stratified"}};

template <class Table>
std::vector<std::string> names_of(Table const& table)
{
  std::vector<std::string> names;
  for (auto const& [value, name] : table)
    names.emplace_back(name);
  return names;
}

template <class Value, class Table>
std::string name_in(Table const& table, Value value)
{
  for (auto const& [known, name] : table)
    if (known == value) return name;
  return "unknown";
}

template <class Table>
auto parse_in(Table const& table, std::string const& text, std::string const& what)
{
  std::string known;
  for (auto const& [value, name] : table) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  fail(what, ": unknown name ", quoted(text), " (known: ", known, ")");
}

bool synchronous(HalvingPreset preset)
{
  return preset == HalvingPreset::sha_sync || preset == HalvingPreset::hyperband;
}

std::string text(HalvingEvent const& event)
{
  constexpr char const* kinds[] = {"started", "result", "failed", "lost", "free"};
  std::string const kind = kinds[static_cast<std::size_t>(event.kind)];
  if (event.kind == Kind::free) return concat("event free of worker ", event.worker);
  return concat("event ", kind, " of trial ", event.trial, " at rung ", event.rung, " from worker ", event.worker);
}

/// Softmax weights on the number of rungs; the draw is a function of (seed, trial), apart from the stream that its
/// configuration is drawn from.
int draw_bracket(std::uint64_t seed, int trial, int brackets)
{
  PhiloxBlock const block = random_block(seed, Purpose::search, ~std::uint32_t{0}, static_cast<std::uint64_t>(trial));
  double const unit = static_cast<double>((std::uint64_t{block.word[0]} << 21) ^ (block.word[1] >> 11)) * 0x1p-53;
  std::vector<double> sums;
  double sum = 0;
  for (int s = 0; s < brackets; ++s)
    sums.push_back(sum += std::exp(static_cast<double>(-s))); // bracket s has s rungs less than the first
  for (int s = 0; s + 1 < brackets; ++s)
    if (unit * sum < sums[static_cast<std::size_t>(s)]) return s;
  return brackets - 1;
}

} // namespace

std::string name(HalvingPreset preset)
{
  return name_in(presets, preset);
}

std::string name(RankRule rule)
{
  return name_in(rules, rule);
}

HalvingPreset parse_halving_preset(std::string const& text, std::string const& what)
{
  return parse_in(presets, text, what);
}

RankRule parse_rank_rule(std::string const& text, std::string const& what)
{
  return parse_in(rules, text, what);
}

std::vector<std::string> halving_preset_names()
{
  return names_of(presets);
}

std::vector<std::string> rank_rule_names()
{
  return names_of(rules);
}

void check(HalvingSettings const& settings)
{
  auto const within = [](char const* field, int value, int low, int high) {
    require(value >= low && value <= high, "halving: '", field, "' must be in [", low, ", ", high, "], got ", value);
  };
  within("most_epochs", settings.most_epochs, 1, most_epochs);
  within("least_epochs", settings.least_epochs, 1, settings.most_epochs);
  within("eta", settings.eta, 2, most_epochs);
  within("trials", settings.trials, settings.preset == HalvingPreset::hyperband ? 0 : 1, most_trials);
  int const rungs = static_cast<int>(rung_table(settings.least_epochs, settings.most_epochs, settings.eta).size());
  bool const several = settings.preset == HalvingPreset::asha_promote || settings.preset == HalvingPreset::asha_stop;
  require(several || settings.brackets == 1, "halving: 'brackets' must be 1 with preset ", name(settings.preset),
          ", got ", settings.brackets);
  within("brackets", settings.brackets, 1, rungs);
  auto const [low, high] = settings.edges;
  require(std::isfinite(low) && std::isfinite(high) && low <= high,
          "halving: 'edges' must be two finite numbers in ascending order, got ", low, " and ", high);
}

json::Object to_json(HalvingSettings const& settings)
{
  json::Object object;
  object["preset"] = name(settings.preset);
  object["rank"] = name(settings.rank);
  object["least_epochs"] = settings.least_epochs;
  object["most_epochs"] = settings.most_epochs;
  object["eta"] = settings.eta;
  object["trials"] = settings.trials;
  object["brackets"] = settings.brackets;
  object["seed"] = settings.seed;
  object["edges"] = json::Array{settings.edges[0], settings.edges[1]};
  object["space_hash"] = settings.space_hash;
  return object;
}

HalvingSettings parse_halving_settings(json::Reader& reader)
{
  HalvingSettings settings;
  settings.preset = parse_halving_preset(reader.string("preset"), reader.what("preset"));
  settings.rank = parse_rank_rule(reader.string("rank"), reader.what("rank"));
  settings.least_epochs = static_cast<int>(reader.integer("least_epochs", 1, most_epochs));
  settings.most_epochs = static_cast<int>(reader.integer("most_epochs", 1, most_epochs));
  settings.eta = static_cast<int>(reader.integer("eta", 2, most_epochs));
  settings.trials = static_cast<int>(reader.integer("trials", 0, most_trials));
  settings.brackets = static_cast<int>(reader.integer("brackets", 1, most_trials));
  settings.seed = reader.seed("seed");
  auto const& edges = reader.array("edges");
  require(edges.size() == 2, reader.what("edges"), " must hold two numbers, got ", edges.size());
  for (std::size_t i = 0; i < 2; ++i)
    settings.edges[i] = json::to_number(edges[i], reader.what("edges"));
  settings.space_hash = reader.string("space_hash");
  try {
    check(settings);
  } catch (Error const& error) {
    fail(reader.where(), ": ", error.what());
  }
  return settings;
}

std::vector<int> rung_table(int least_epochs, int most_epochs, int eta)
{
  require(least_epochs >= 1 && least_epochs <= most_epochs, "rungs: 'least_epochs' must be in [1, ", most_epochs,
          "], got ", least_epochs);
  require(eta >= 2, "rungs: 'eta' must be at least 2, got ", eta);
  std::vector<int> rungs;
  for (std::int64_t epochs = least_epochs; epochs < most_epochs; epochs *= eta)
    rungs.push_back(static_cast<int>(epochs));
  rungs.push_back(most_epochs);
  return rungs;
}

double expected_epochs(std::vector<int> const& rungs, int eta)
{
  double sum = 0, share = 1;
  for (std::size_t k = 0; k < rungs.size(); ++k, share /= eta)
    sum += share * (rungs[k] - (k == 0 ? 0 : rungs[k - 1]));
  return sum;
}

std::vector<HalvingBracket> hyperband_brackets(int least_epochs, int most_epochs, int eta)
{
  rung_table(least_epochs, most_epochs, eta); // refuses what cannot be
  int s_max = 0;
  for (std::int64_t epochs = least_epochs; epochs * eta <= most_epochs; epochs *= eta)
    ++s_max;
  std::vector<HalvingBracket> brackets;
  for (int s = s_max; s >= 0; --s) {
    HalvingBracket bracket;
    bracket.first = s_max - s;
    std::int64_t power = 1;
    for (int k = s_max; k >= 0; --k, power *= eta) {
      bracket.epochs.insert(bracket.epochs.begin(), static_cast<int>(most_epochs / power));
      if (s_max - k != s) continue;
      std::int64_t const trials = ((s_max + 1) * power + s) / (s + 1);
      require(trials <= most_trials, "hyperband: bracket ", s, " would have ", trials, " trials, at most ", most_trials,
              " are possible");
      bracket.trials = static_cast<int>(trials);
    }
    brackets.push_back(std::move(bracket));
  }
  return brackets;
}

std::vector<HalvingBracket> brackets_of(HalvingSettings const& settings)
{
  check(settings);
  if (settings.preset == HalvingPreset::random_full) return {{{settings.most_epochs}, 0, settings.trials}};
  if (settings.preset == HalvingPreset::hyperband) {
    auto pass = hyperband_brackets(settings.least_epochs, settings.most_epochs, settings.eta);
    if (settings.trials == 0) return pass;
    std::vector<HalvingBracket> brackets;
    for (int left = settings.trials; left > 0; left -= brackets.back().trials) {
      brackets.push_back(pass[brackets.size() % pass.size()]);
      brackets.back().trials = std::min(brackets.back().trials, left);
    }
    return brackets;
  }
  auto const rungs = rung_table(settings.least_epochs, settings.most_epochs, settings.eta);
  std::vector<HalvingBracket> brackets;
  for (int s = 0; s < settings.brackets; ++s)
    brackets.push_back({rungs, s, settings.brackets == 1 ? settings.trials : 0});
  if (settings.brackets > 1)
    for (int trial = 0; trial < settings.trials; ++trial)
      ++brackets[static_cast<std::size_t>(bracket_of(settings, brackets, trial))].trials;
  return brackets;
}

int bracket_of(HalvingSettings const& settings, std::vector<HalvingBracket> const& brackets, int trial)
{
  int const count = static_cast<int>(brackets.size());
  if (settings.preset != HalvingPreset::hyperband) return count == 1 ? 0 : draw_bracket(settings.seed, trial, count);
  int bracket = 0;
  for (int before = 0; bracket + 1 < count; ++bracket) {
    before += brackets[static_cast<std::size_t>(bracket)].trials;
    if (trial < before) break;
  }
  return bracket;
}

std::array<double, 2> cost_edges(std::vector<double> costs)
{
  require(costs.size() >= 3, "cost edges: at least 3 costs are needed, got ", costs.size());
  for (double const cost : costs)
    require(std::isfinite(cost), "cost edges: a cost must be finite, got ", cost);
  std::sort(costs.begin(), costs.end());
  return {costs[costs.size() / 3], costs[2 * costs.size() / 3]};
}

HalvingPlan plan(HalvingSettings const& settings)
{
  HalvingPlan plan;
  plan.at_most = settings.preset == HalvingPreset::pasha;
  auto const brackets = brackets_of(settings);
  for (std::size_t b = 0; b < brackets.size(); ++b) {
    auto const& bracket = brackets[b];
    std::int64_t trials = bracket.trials;
    plan.trials += trials;
    plan.full_epochs += trials * settings.most_epochs;
    int before = 0;
    for (int rung = bracket.first; rung <= bracket.top(); ++rung, trials /= settings.eta) {
      int const epochs = bracket.epochs[static_cast<std::size_t>(rung)];
      plan.levels.push_back({static_cast<int>(b), rung, epochs, trials, trials * (epochs - before)});
      plan.epochs += plan.levels.back().trained;
      plan.checkpoints += trials;
      before = epochs;
    }
  }
  return plan;
}

std::string HalvingPlan::text(double checkpoint_bytes) const
{
  Table table({{"bracket"}, {"rung"}, {"epochs"}, {"trials"}, {"epochs trained"}});
  for (auto const& level : levels)
    table.add_row({std::int64_t{level.bracket}, std::int64_t{level.rung}, std::int64_t{level.epochs}, level.trials,
                   level.trained});
  std::string text = concat(table.text(), at_most ? "at most " : "", trials, " trials, ", epochs, " epochs (",
                            fixed(epochs_per_trial(), 2), " a trial; ",
                            fixed(static_cast<double>(full_epochs) / static_cast<double>(epochs), 1),
                            " times fewer than all to the end), ", checkpoints, " checkpoints");
  if (checkpoint_bytes > 0) text += concat(", ", human_bytes(checkpoint_bytes * static_cast<double>(checkpoints)));
  return text + "\n";
}

Halving::Halving(HalvingSettings settings) : m_settings(std::move(settings)), m_brackets(brackets_of(m_settings))
{
  for (auto const& bracket : m_brackets) {
    m_rungs.emplace_back(bracket.epochs.size());
    m_open_rung.push_back(bracket.first);
    m_trials_in_all += bracket.trials;
  }
  m_cap = m_brackets[0].top();
  if (m_settings.preset == HalvingPreset::pasha) m_cap = std::min(m_cap, 1);
}

int Halving::epochs(int trial, int rung) const
{
  auto const& bracket = m_brackets[static_cast<std::size_t>(m_trials.at(static_cast<std::size_t>(trial)).bracket)];
  return bracket.epochs.at(static_cast<std::size_t>(rung));
}

std::vector<std::int64_t> Halving::records() const
{
  std::vector<std::int64_t> records(m_brackets[0].epochs.size());
  for (std::size_t b = 0; b < m_brackets.size(); ++b)
    for (std::size_t rung = 0; rung < records.size(); ++rung)
      records[rung] += entries(static_cast<int>(b), static_cast<int>(rung));
  return records;
}

bool Halving::finished() const
{
  return m_flights.empty() && next().kind == HalvingAction::Kind::idle;
}

std::int64_t Halving::entries(int bracket, int rung) const
{
  std::int64_t count = 0;
  for (Group const& group : m_rungs[static_cast<std::size_t>(bracket)][static_cast<std::size_t>(rung)])
    count += static_cast<std::int64_t>(group.entries.size());
  return count;
}

std::int64_t Halving::promotions(int bracket, int rung) const
{
  std::int64_t count = 0;
  for (Group const& group : m_rungs[static_cast<std::size_t>(bracket)][static_cast<std::size_t>(rung)])
    count += group.promoted;
  return count;
}

std::size_t Halving::group_of(int trial) const
{
  if (m_settings.rank != RankRule::stratified) return 0;
  double const cost = m_trials[static_cast<std::size_t>(trial)].cost;
  return cost < m_settings.edges[0] ? 0 : cost < m_settings.edges[1] ? 1 : 2;
}

/// Synchronous: counts the rungs up to which everyone who comes there has a result.
void Halving::close_rungs(int bracket)
{
  auto const& it = m_brackets[static_cast<std::size_t>(bracket)];
  int& open = m_open_rung[static_cast<std::size_t>(bracket)];
  auto const complete = [&](int rung) {
    if (rung == it.first) return entries(bracket, rung) == it.trials;
    return !promotable(bracket, rung - 1) && entries(bracket, rung) == promotions(bracket, rung - 1);
  };
  while (open <= it.top() && complete(open))
    ++open;
  while (m_oldest < m_brackets.size() && m_open_rung[m_oldest] > m_brackets[m_oldest].top())
    ++m_oldest;
}

/// How many of a group may leave a rung for the next one: m.
std::int64_t Halving::places(int bracket, int rung, std::size_t group) const
{
  auto const& rungs = m_rungs[static_cast<std::size_t>(bracket)];
  auto const count = [&](int at) {
    return static_cast<std::int64_t>(rungs[static_cast<std::size_t>(at)][group].entries.size());
  };
  if (!synchronous(m_settings.preset)) return count(rung) / m_settings.eta;
  if (rung >= m_open_rung[static_cast<std::size_t>(bracket)]) return 0;
  int const first = m_brackets[static_cast<std::size_t>(bracket)].first;
  std::int64_t left = count(first); // of the trials that began, so that failures open no places: floor(n / eta^i)
  for (int k = first; k <= rung; ++k)
    left /= m_settings.eta;
  return left;
}

/// Positions in `entries`, the best first; for the rank rule `nondominated` made when it is needed.
std::vector<int> const& Halving::order(Group const& group) const
{
  if (group.order.size() == group.entries.size()) return group.order;
  group.order.resize(group.entries.size());
  std::iota(group.order.begin(), group.order.end(), 0);
  if (m_settings.rank != RankRule::nondominated) return group.order;
  Objectives objectives;
  for (Entry const& entry : group.entries)
    if (entry.loss < infinity) // which stand at the end
      objectives.push_back({entry.loss, m_trials[static_cast<std::size_t>(entry.trial)].cost});
  auto const fronts = non_dominated_sort(objectives);
  std::stable_sort(
      group.order.begin(), group.order.begin() + static_cast<std::ptrdiff_t>(fronts.size()),
      [&](int a, int b) { return fronts[static_cast<std::size_t>(a)] < fronts[static_cast<std::size_t>(b)]; });
  return group.order;
}

/// The trial that leaves this rung next, if there is one.
std::optional<int> Halving::promotable(int bracket, int rung) const
{
  auto const& groups = m_rungs[static_cast<std::size_t>(bracket)][static_cast<std::size_t>(rung)];
  std::array<std::size_t, 3> by_promotions{0, 1, 2};
  std::stable_sort(by_promotions.begin(), by_promotions.end(),
                   [&](std::size_t a, std::size_t b) { return groups[a].promoted < groups[b].promoted; });
  for (std::size_t const g : by_promotions) {
    auto const& group = groups[g];
    std::int64_t const most = places(bracket, rung, g);
    if (most == 0) continue;
    auto const& positions = order(group);
    for (std::size_t i = 0; i < std::min(static_cast<std::size_t>(most), positions.size()); ++i) {
      Entry const& entry = group.entries[static_cast<std::size_t>(positions[i])];
      bool const here = m_trials[static_cast<std::size_t>(entry.trial)].assigned == rung;
      if (here && entry.loss < infinity) return entry.trial;
    }
  }
  return std::nullopt;
}

/// asha-stop: whether a trial whose result was recorded just now goes on.
bool Halving::goes_on(int trial, int rung) const
{
  auto const& it = m_trials[static_cast<std::size_t>(trial)];
  if (it.failed || rung == m_brackets[static_cast<std::size_t>(it.bracket)].top()) return false;
  std::size_t const g = group_of(trial);
  auto const& group = m_rungs[static_cast<std::size_t>(it.bracket)][static_cast<std::size_t>(rung)][g];
  if (static_cast<int>(group.entries.size()) < m_settings.eta) return true;
  auto const& positions = order(group);
  auto const place = std::find_if(positions.begin(), positions.end(), [&](int position) {
    return group.entries[static_cast<std::size_t>(position)].trial == trial;
  });
  return place - positions.begin() < places(it.bracket, rung, g);
}

HalvingAction Halving::next() const
{
  if (!m_lost.empty()) return m_lost.front();
  if (!m_continued.empty()) return m_continued.front();
  auto const resume = [](int trial, int rung) { return HalvingAction{HalvingAction::Kind::resume, trial, rung + 1}; };
  int const brackets = static_cast<int>(m_brackets.size());
  int const fresh = static_cast<int>(m_trials.size());
  if (synchronous(m_settings.preset)) {
    // Brackets do not wait for each other: while one waits for its last results, the next one begins.
    for (int b = static_cast<int>(m_oldest); b < brackets; ++b) {
      auto const& bracket = m_brackets[static_cast<std::size_t>(b)];
      if (entries(b, bracket.first) == 0) break; // not begun, so none behind it either
      for (int rung = bracket.top() - 1; rung >= bracket.first; --rung)
        if (auto const trial = promotable(b, rung)) return resume(*trial, rung);
    }
  } else if (m_settings.preset != HalvingPreset::asha_stop) {
    for (int rung = m_cap - 1; rung >= 0; --rung)
      for (int b = 0; b < brackets; ++b)
        if (auto const trial = promotable(b, rung)) return resume(*trial, rung);
  }
  if (fresh == m_trials_in_all) return {};
  auto const b = static_cast<std::size_t>(bracket_of(m_settings, m_brackets, fresh));
  return {HalvingAction::Kind::start, fresh, m_brackets[b].first};
}

void Halving::send(HalvingAction const& action, int worker)
{
  auto const number = static_cast<std::size_t>(action.trial);
  if (!m_lost.empty()) {
    m_lost.pop_front();
  } else if (action.kind == HalvingAction::Kind::start) {
    HalvingTrial trial;
    trial.bracket = bracket_of(m_settings, m_brackets, action.trial);
    m_trials.push_back(trial);
  } else {
    if (!m_continued.empty()) m_continued.pop_front();
    auto& rungs = m_rungs[static_cast<std::size_t>(m_trials[number].bracket)];
    ++rungs[static_cast<std::size_t>(action.rung - 1)][group_of(action.trial)].promoted;
  }
  m_trials[number].assigned = action.rung;
  m_flights.push_back({action.trial, action.rung, worker});
}

std::vector<HalvingFlight>::iterator Halving::flight_of(HalvingEvent const& event)
{
  auto const flight = std::find_if(m_flights.begin(), m_flights.end(),
                                   [&](HalvingFlight const& it) { return it.trial == event.trial; });
  require(flight != m_flights.end(), text(event), ": no worker has this trial");
  require(flight->rung == event.rung && flight->worker == event.worker, text(event), ": it was sent to rung ",
          flight->rung, " with worker ", flight->worker);
  return flight;
}

/// pasha: whether the two highest open rungs put the trials of the upper one in the same order, where losses nearer
/// than the gap may stand in any.
bool Halving::rankings_agree(int rung) const
{
  std::vector<int> upper;
  for (Group const& group : m_rungs[0][static_cast<std::size_t>(rung)])
    for (Entry const& entry : group.entries)
      if (entry.loss < infinity) upper.push_back(entry.trial);
  std::vector<double> lower; // losses of the same trials
  auto const loss = [&](int trial, int at) {
    return m_trials[static_cast<std::size_t>(trial)].losses[static_cast<std::size_t>(at)];
  };
  for (int const trial : upper)
    lower.push_back(loss(trial, rung - 1));
  std::stable_sort(upper.begin(), upper.end(),
                   [&](int a, int b) { return std::pair(loss(a, rung), a) < std::pair(loss(b, rung), b); });
  std::sort(lower.begin(), lower.end());
  for (std::size_t i = 0; i < upper.size(); ++i)
    if (std::abs(loss(upper[i], rung - 1) - lower[i]) > soft_gap) return false;
  return true;
}

void Halving::record(int trial, int rung, double loss)
{
  auto& it = m_trials[static_cast<std::size_t>(trial)];
  it.reached = rung;
  it.failed = !std::isfinite(loss);
  if (it.failed) loss = infinity;
  it.losses.push_back(loss);
  auto& group = m_rungs[static_cast<std::size_t>(it.bracket)][static_cast<std::size_t>(rung)][group_of(trial)];
  auto const behind = std::upper_bound(
      group.entries.begin(), group.entries.end(), Entry{loss, trial},
      [](Entry const& a, Entry const& b) { return std::pair(a.loss, a.trial) < std::pair(b.loss, b.trial); });
  group.entries.insert(behind, {loss, trial});
  group.order.clear();
  if (m_settings.preset == HalvingPreset::asha_stop && goes_on(trial, rung))
    m_continued.push_back({HalvingAction::Kind::resume, trial, rung + 1});
  if (m_settings.preset == HalvingPreset::pasha && rung == m_cap && m_cap < m_brackets[0].top() &&
      !rankings_agree(rung))
    ++m_cap;
  if (synchronous(m_settings.preset)) close_rungs(it.bracket);
}

std::optional<HalvingAction> Halving::apply(HalvingEvent const& event)
{
  require(event.worker >= 0, text(event), ": the worker must not be negative");
  if (event.kind == Kind::free) {
    for (HalvingFlight const& flight : m_flights)
      require(flight.worker != event.worker, text(event), ": it has trial ", flight.trial);
    HalvingAction const action = next();
    if (action.kind != HalvingAction::Kind::idle) send(action, event.worker);
    return action;
  }
  auto const flight = flight_of(event);
  auto& trial = m_trials[static_cast<std::size_t>(event.trial)];
  if (event.kind == Kind::started) {
    require(trial.reached < 0, text(event), ": it is resumed, not started");
    require(std::isfinite(event.value) && event.value >= 0, text(event), ": the cost must be >= 0, got ", event.value);
    require(std::isnan(trial.cost) || trial.cost == event.value, text(event), ": the cost was ", trial.cost,
            ", now is ", event.value);
    trial.cost = event.value;
    return std::nullopt;
  }
  if (event.kind == Kind::lost) {
    auto const kind = trial.reached < 0 ? HalvingAction::Kind::start : HalvingAction::Kind::resume;
    m_lost.push_back({kind, event.trial, event.rung});
    m_flights.erase(flight);
    return std::nullopt;
  }
  require(!std::isnan(trial.cost), text(event), ": it was not started");
  m_flights.erase(flight);
  if (event.kind == Kind::result) {
    auto const& epochs = m_brackets[static_cast<std::size_t>(trial.bracket)].epochs;
    m_epochs += epochs[static_cast<std::size_t>(event.rung)];
    if (trial.reached >= 0) m_epochs -= epochs[static_cast<std::size_t>(trial.reached)];
  }
  record(event.trial, event.rung, event.kind == Kind::result ? event.value : infinity);
  return std::nullopt;
}

} // namespace nasturtium::nas
