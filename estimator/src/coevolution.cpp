// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/coevolution.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>

namespace nasturtium::estimator {
namespace {

constexpr int folds = 5;
constexpr int committee = 5;
constexpr int bins = 20;
constexpr int candidates_per_child = 8; ///< 512 for a population of 64
constexpr int max_tries = 1000;
constexpr int max_fruitless = 10;
constexpr double repeats_within = 0.10;

std::string listed(std::vector<std::string> const& names)
{
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return text;
}

void check_name(char const* option, std::string const& value, std::vector<std::string> const& names)
{
  require(std::find(names.begin(), names.end(), value) != names.end(), option, " must be ", listed(names), ", got ",
          quoted(value));
}

/// Positions of the `count` largest values, ties to the first.
std::vector<std::size_t> largest(std::vector<double> const& values, std::size_t count)
{
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  order.resize(std::min(count, order.size()));
  return order;
}

} // namespace

std::vector<std::string> strategy_names()
{
  return {"random", "random-skewed", "hard", "hard-half", "easy", "contribution", "disagreement", "spread"};
}

void check(CoevolutionOptions const& options)
{
  check_name("strategy", options.strategy, strategy_names());
  check_name("generator", options.generator, generator_names());
  parse_schedule(options.operators, "co-evolution");
  auto const integer = [](char const* option, int value, int least) {
    require(value >= least && value <= 1'000'000, option, " must be in [", least, ", 1000000], got ", value);
  };
  integer("population", options.population, 1);
  integer("founders", options.founders, 1);
  integer("networks", options.networks, 0);
  integer("tournament", options.tournament, 1);
  require(options.seconds >= 0 && std::isfinite(options.seconds), "seconds must be finite and not negative, got ",
          options.seconds);
  require(options.networks > 0 || options.seconds > 0, "networks and seconds must not both be without a limit");
  check(options.ranges);
}

Coevolution::Coevolution(CoevolutionOptions options, EstimatorFactory factory, std::vector<Example> probes,
                         Device device, EstimatorFactory newcomer_factory)
    : m_options(std::move(options)), m_factory(std::move(factory)), m_newcomer_factory(std::move(newcomer_factory)),
      m_probes(std::move(probes)), m_device(std::move(device)),
      m_schedule(parse_schedule(m_options.operators, "co-evolution")), m_random(m_options.seed)
{
  check(m_options);
  if (m_options.strategy == "random-skewed") {
    m_options.strategy = "random";
    m_options.generator = "skewed";
  }
  if (!m_newcomer_factory) m_newcomer_factory = m_factory;
  require(!m_probes.empty(), "co-evolution needs at least one probe network");
  for (auto const& probe : m_probes)
    require(probe.seconds > 0 && std::isfinite(probe.seconds), "seconds of a probe network must be positive, got ",
            probe.seconds);
}

// ---- making questions

int Coevolution::generation_size() const
{
  int const size = m_archive.empty() ? m_options.founders : m_options.population;
  if (m_options.networks == 0) return size;
  return std::min(size, m_options.networks - static_cast<int>(m_archive.size()));
}

std::vector<Question> Coevolution::ask()
{
  if (m_open.empty() && !m_finished) propose();
  std::vector<Question> questions;
  for (auto const& [id, open] : m_open)
    questions.push_back(open.question);
  return questions;
}

void Coevolution::propose()
{
  int const count = generation_size();
  auto const& strategy = m_options.strategy;
  if (m_archive.empty() || strategy == "random") return open(draws(count, m_asked));
  if (strategy == "disagreement" || strategy == "spread") return open(select(count));
  if (!m_couples) begin_breeding(count);
  if (hunts() && open_parents()) return; // the generation is made when they are timed again
  open(breed(count));
}

void Coevolution::open(std::vector<Child> children)
{
  for (auto& child : children) {
    auto const id = m_next_id++;
    if (child.lineage < 0) child.lineage = id; // nobody's child is a founder
    m_asked.insert(child.network);
    Question question{id,           child.individual.genome, std::move(child.individual.workload), m_generation, -1,
                      child.lineage};
    m_open.emplace(id, Open{std::move(question), std::move(child)});
  }
}

void Coevolution::open_again(std::size_t member)
{
  auto const& timed = m_archive[member];
  auto const id = m_next_id++;
  auto workload = decode(timed.genome, m_options.ranges.caps, m_options.ranges.classes);
  m_open.emplace(id, Open{{id, timed.genome, std::move(*workload), m_generation, timed.id, timed.lineage}, {}});
}

std::optional<Coevolution::Child> Coevolution::child_of(Individual individual, Networks& taken) const
{
  auto network = network_hash(individual.workload);
  if (!taken.insert(network).second) return std::nullopt;
  auto description = describe(individual.workload);
  return Child{std::move(individual), std::move(description), std::move(network)};
}

std::optional<Coevolution::Child> Coevolution::child_of(Genome genome, Networks& taken) const
{
  auto workload = decode(genome, m_options.ranges.caps, m_options.ranges.classes);
  if (!workload) return std::nullopt;
  return child_of(Individual{std::move(genome), std::move(*workload)}, taken);
}

std::vector<Coevolution::Child> Coevolution::draws(int count, Networks& taken)
{
  std::vector<Child> children;
  int tries = 0;
  while (static_cast<int>(children.size()) < count) {
    int const missing = count - static_cast<int>(children.size());
    for (auto& individual : draw(m_options.generator, missing, m_options.ranges, m_random)) {
      auto child = child_of(std::move(individual), taken);
      tries = child ? 0 : tries + 1;
      require(tries < max_tries, "the ranges of the generator hold too few networks: ", max_tries,
              " draws in a row were networks asked for before, after ", m_asked.size(), " different ones");
      if (child) children.push_back(std::move(*child));
    }
  }
  return children;
}

// ---- breeding

std::vector<std::size_t> Coevolution::parent_pool() const
{
  std::vector<std::size_t> members;
  std::vector<double> fitness;
  for (std::size_t i = 0; i < m_archive.size(); ++i) {
    if (m_archive[i].barred) continue;
    members.push_back(i);
    fitness.push_back(m_archive[i].fitness);
  }
  std::vector<std::size_t> pool;
  for (std::size_t const i : largest(fitness, static_cast<std::size_t>(m_options.population)))
    pool.push_back(members[i]);
  return pool;
}

std::size_t Coevolution::tournament(std::vector<std::size_t> const& pool)
{
  // The pool is sorted by fitness: the first position wins.
  int best = m_random.below(static_cast<int>(pool.size()));
  for (int i = 1; i < m_options.tournament; ++i)
    best = std::min(best, m_random.below(static_cast<int>(pool.size())));
  return pool[static_cast<std::size_t>(best)];
}

void Coevolution::begin_breeding(int count)
{
  if (m_options.strategy != "contribution") update_errors();
  int const bred = m_options.strategy == "hard-half" ? (count + 1) / 2 : count;
  auto const pool = parent_pool();
  m_couples.emplace();
  if (pool.empty()) return;
  for (int i = m_operators.immigrants_of(bred); i < bred; ++i) {
    auto const first = tournament(pool);
    m_couples->emplace_back(first, tournament(pool));
  }
}

bool Coevolution::open_parents()
{
  // Who was barred since is replaced, and the replacement may have to be timed again itself: an end is reached, since
  // every round times parents that were timed once.
  auto const pool = parent_pool();
  if (pool.empty()) m_couples->clear();
  std::set<std::size_t> once;
  for (auto& [first, second] : *m_couples) {
    for (auto* const parent : {&first, &second}) {
      if (m_archive[*parent].barred) *parent = tournament(pool);
      if (!m_archive[*parent].retimed) once.insert(*parent);
    }
  }
  for (std::size_t const parent : once)
    open_again(parent);
  return !once.empty();
}

Coevolution::Child Coevolution::bred(Pair const& parents, Networks& taken)
{
  auto const& first = m_archive[parents.first];
  auto const& second = m_archive[parents.second];
  for (int tries = 0; tries < max_tries; ++tries) {
    bool const crossed = m_random.chance(m_operators.p_cross);
    auto genome = crossed ? crossover(first.genome, second.genome, m_options.ranges, m_random) : first.genome;
    auto child = child_of(mutate(std::move(genome), m_operators, m_options.ranges, m_random), taken);
    if (!child) continue;
    child->lineage = first.lineage;
    child->parent = first.id;
    if (crossed) child->other_parent = second.id;
    return std::move(*child);
  }
  return std::move(draws(1, taken).front());
}

std::vector<Coevolution::Child> Coevolution::breed(int count)
{
  std::vector<Child> children;
  for (auto const& couple : *m_couples)
    children.push_back(bred(couple, m_asked));
  m_couples.reset();
  auto immigrants = draws(count - static_cast<int>(children.size()), m_asked);
  std::move(immigrants.begin(), immigrants.end(), std::back_inserter(children));
  return children;
}

// ---- choosing among candidates

Coevolution::Child Coevolution::mutant(Networks& taken)
{
  for (int tries = 0; tries < max_tries; ++tries) {
    auto const& parent = m_archive[static_cast<std::size_t>(m_random.below(static_cast<int>(m_archive.size())))];
    auto child = child_of(mutate(parent.genome, m_operators, m_options.ranges, m_random), taken);
    if (!child) continue;
    child->lineage = parent.lineage;
    child->parent = parent.id;
    return std::move(*child);
  }
  return std::move(draws(1, taken).front());
}

std::vector<Coevolution::Child> Coevolution::candidates(int count)
{
  auto taken = m_asked; // who is not chosen may come again
  auto children = draws(count / 2, taken);
  while (static_cast<int>(children.size()) < count)
    children.push_back(mutant(taken));
  return children;
}

std::vector<Coevolution::Child> Coevolution::select(int count)
{
  auto children = candidates(candidates_per_child * m_options.population);
  auto const wanted = static_cast<std::size_t>(count);
  auto chosen = m_options.strategy == "spread" ? spread(children, wanted) : largest(disagreement(children), wanted);
  std::vector<Child> selected;
  for (std::size_t const i : chosen)
    selected.push_back(std::move(children[i]));
  return selected;
}

std::vector<double> Coevolution::disagreement(std::vector<Child> const& children) const
{
  auto const all = examples();
  std::vector<double> sum(children.size()), squares(children.size());
  for (std::uint32_t k = 0; k < committee; ++k) {
    // The bootstrap depends on the generation and the estimator alone, so that it takes nothing from the main stream.
    Random random(m_options.seed, 1 + static_cast<std::uint32_t>(m_generation) * committee + k);
    std::vector<Example> sample;
    for (std::size_t i = 0; i < all.size(); ++i)
      sample.push_back(random.pick(all));
    auto const estimator = fitted(m_factory, sample, m_options.seed + 1 + k);
    for (std::size_t i = 0; i < children.size(); ++i) {
      double const value = std::log(estimator->predict(children[i].description, m_device).seconds);
      sum[i] += value;
      squares[i] += value * value;
    }
  }
  std::vector<double> deviation(children.size());
  for (std::size_t i = 0; i < children.size(); ++i) {
    double const mean = sum[i] / committee;
    deviation[i] = std::sqrt(std::max(0.0, (squares[i] / committee - mean * mean) * committee / (committee - 1)));
  }
  return deviation;
}

std::vector<std::size_t> Coevolution::spread(std::vector<Child> const& children, std::size_t count) const
{
  auto const predict = [&](Description const& description) {
    return std::log(m_estimator->predict(description, m_device).seconds);
  };
  std::vector<double> here, there;
  for (auto const& child : children)
    here.push_back(predict(child.description));
  for (auto const& timed : m_archive)
    there.push_back(predict(timed.description));
  auto const [low_here, high_here] = std::minmax_element(here.begin(), here.end());
  auto const [low_there, high_there] = std::minmax_element(there.begin(), there.end());
  double const low = std::min(*low_here, *low_there), high = std::max(*high_here, *high_there);
  auto const bin = [&](double value) {
    double const place = high > low ? (value - low) / (high - low) * bins : 0;
    return static_cast<std::size_t>(std::clamp(static_cast<int>(place), 0, bins - 1));
  };
  std::array<int, bins> members{};
  for (double const value : there)
    ++members[bin(value)];
  std::vector<bool> chosen(children.size());
  std::vector<std::size_t> order;
  while (order.size() < std::min(count, children.size())) {
    std::size_t best = children.size();
    for (std::size_t i = 0; i < children.size(); ++i)
      if (!chosen[i] && (best == children.size() || members[bin(here[i])] < members[bin(here[best])])) best = i;
    chosen[best] = true;
    ++members[bin(here[best])];
    order.push_back(best);
  }
  return order;
}

// ---- fitness and errors

std::vector<Example> Coevolution::examples() const
{
  return examples(m_archive.size());
}

std::vector<Example> Coevolution::examples(std::size_t count) const
{
  std::vector<Example> examples;
  for (std::size_t i = 0; i < count; ++i)
    examples.push_back({m_archive[i].description, m_device, m_archive[i].seconds, m_archive[i].lineage});
  return examples;
}

std::unique_ptr<Estimator> Coevolution::fitted(EstimatorFactory const& factory, std::vector<Example> const& examples,
                                               std::uint64_t seed) const
{
  auto estimator = factory();
  estimator->fit(examples, seed);
  return estimator;
}

double Coevolution::probe_error(Estimator const& estimator) const
{
  double sum = 0;
  for (auto const& probe : m_probes)
    sum += std::abs(estimator.predict(probe.description, probe.device).seconds - probe.seconds) / probe.seconds;
  double const error = sum / static_cast<double>(m_probes.size());
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

/// Fitness of all by their error under a model that saw none of their lineage.
void Coevolution::update_errors()
{
  std::map<std::int64_t, int> fold; // of a lineage
  for (auto const& timed : m_archive)
    fold.emplace(timed.lineage, 0);
  int next = 0;
  for (auto& [lineage, number] : fold)
    number = next++ % folds;
  double const sign = m_options.strategy == "easy" ? -1 : 1;
  auto const all = examples();
  for (int k = 0; k < std::min(folds, next); ++k) {
    std::vector<Example> others;
    for (auto const& example : all)
      if (fold.at(example.lineage) != k) others.push_back(example);
    // A single lineage leaves nothing to fit on; then the estimator in the loop has to do.
    auto const held_out = others.empty() ? nullptr : fitted(m_factory, others, m_options.seed);
    auto const& estimator = held_out ? *held_out : *m_estimator;
    for (auto& timed : m_archive) {
      if (fold.at(timed.lineage) != k) continue;
      double const predicted = estimator.predict(timed.description, m_device).seconds;
      double const error = std::abs(std::log(predicted / timed.seconds));
      timed.fitness = sign * (std::isnan(error) ? std::numeric_limits<double>::infinity() : error);
    }
  }
}

/// Fitness of those who joined with this generation: how much lower the probe error is with them.
void Coevolution::score_newcomers()
{
  auto const before = examples(m_closed);
  auto const all = examples();
  // Founders join together: each is left out of all of them. Later ones join the closed archive one by one.
  bool const founders = before.empty();
  if (founders && all.size() == 1) m_archive.front().fitness = 0; // without it there is nothing to fit
  if (all.size() == before.size() || all.size() == 1) return;
  double const common = probe_error(*fitted(m_newcomer_factory, founders ? all : before, m_options.seed));
  for (std::size_t i = m_closed; i < all.size(); ++i) {
    auto rows = founders ? all : before;
    if (founders)
      rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(i));
    else
      rows.push_back(all[i]);
    double const other = probe_error(*fitted(m_newcomer_factory, rows, m_options.seed));
    double const gain = founders ? other - common : common - other;
    m_archive[i].fitness = std::isnan(gain) ? -std::numeric_limits<double>::infinity() : gain;
  }
}

// ---- answers

void Coevolution::tell(std::int64_t id, Answer const& answer)
{
  auto const found = m_open.find(id);
  require(found != m_open.end(), "co-evolution was told the time of network ", id, ", which is not open");
  require(!answer.timed || (answer.seconds > 0 && std::isfinite(answer.seconds)), "seconds of network ", id,
          " must be positive and finite, got ", answer.seconds);
  require(answer.cost_seconds >= 0 && std::isfinite(answer.cost_seconds), "device seconds of network ", id,
          " must be finite and not negative, got ", answer.cost_seconds);
  auto open = std::move(found->second);
  m_open.erase(found);
  m_device_seconds += answer.cost_seconds;
  if (!answer.timed) ++m_failures;
  bool const again = open.question.again >= 0;
  if (again) {
    auto const timed =
        std::find_if(m_archive.begin(), m_archive.end(), [&](Timed const& it) { return it.id == open.question.again; });
    timed->retimed = true;
    timed->cost_seconds += answer.cost_seconds;
    double const other = answer.timed ? answer.seconds : std::numeric_limits<double>::infinity();
    double const smaller = std::min(timed->seconds, other), larger = std::max(timed->seconds, other);
    timed->barred = larger - smaller > repeats_within * smaller;
    if (answer.timed) timed->seconds = (timed->seconds + answer.seconds) / 2;
  } else if (answer.timed) {
    auto& child = open.child;
    m_archive.push_back({id, std::move(open.question.genome), std::move(child.description), child.lineage, child.parent,
                         child.other_parent, m_generation, answer.seconds, answer.cost_seconds});
  }
  bool const spent = (m_options.networks > 0 && static_cast<int>(m_archive.size()) >= m_options.networks) ||
                     (m_options.seconds > 0 && m_device_seconds >= m_options.seconds);
  if (spent) {
    m_open.clear();
    m_finished = true;
  }
  if (m_finished || (m_open.empty() && !again)) close_generation();
}

void Coevolution::close_generation()
{
  auto const newcomers = m_archive.begin() + static_cast<std::ptrdiff_t>(m_closed);
  std::sort(newcomers, m_archive.end(), [](Timed const& a, Timed const& b) { return a.id < b.id; });
  m_fruitless = m_archive.size() > m_closed ? 0 : m_fruitless + 1;
  require(m_finished || m_fruitless < max_fruitless, "no network could be timed in ", max_fruitless,
          " generations in a row; the last question was ", m_next_id - 1);
  if (!m_archive.empty()) {
    bool const warm = m_estimator != nullptr;
    if (!warm) m_estimator = m_factory();
    m_estimator->fit(examples(), m_options.seed, warm);
    double const error = probe_error(*m_estimator);
    m_operators = operators_at(error, m_schedule);
    if (m_options.strategy == "contribution") score_newcomers();
    m_log.push_back(
        {m_generation, static_cast<int>(m_archive.size()), m_failures, m_device_seconds, error, m_operators});
  }
  m_closed = m_archive.size();
  ++m_generation;
}

} // namespace nasturtium::estimator
