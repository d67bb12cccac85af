// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/splitmix.hpp>
#include <nasturtium/nas/halving_simulation.hpp>

#include <cmath>
#include <set>
#include <tuple>

namespace nasturtium::nas {

namespace {

/// Workers at their trials.
class Simulator
{
public:
  Simulator(Halving const& halving, ApplyHalving const& apply, SimulatedLoss const& loss,
            SimulationOptions const& options)
      : m_halving(halving), m_apply(apply), m_loss(loss), m_options(options)
  {
    require(options.workers >= 1, "simulation: 'workers' must be at least 1, got ", options.workers);
    require(halving.flights().empty(), "simulation: trials are in flight already");
    for (int worker = 0; worker < options.workers; ++worker)
      m_idle.insert(worker);
  }

  HalvingSimulation run()
  {
    ask_idle();
    while (!m_busy.empty()) {
      auto const [time, trial, rung, worker] = *m_busy.begin();
      m_busy.erase(m_busy.begin());
      m_simulation.time = time;
      HalvingEvent const result{HalvingEvent::Kind::result, trial, rung, m_loss(trial, m_halving.epochs(trial, rung)),
                                worker};
      m_apply(result);
      if (m_options.stop && m_options.stop(result, m_halving.epochs_trained())) break;
      if (!ask(worker)) m_idle.insert(worker);
      ask_idle();
    }
    return m_simulation;
  }

private:
  Halving const& m_halving;
  ApplyHalving const& m_apply;
  SimulatedLoss const& m_loss;
  SimulationOptions const& m_options;
  HalvingSimulation m_simulation;
  std::set<int> m_idle;
  std::set<std::tuple<std::int64_t, int, int, int>> m_busy; ///< finish time, trial, rung, worker

  void ask_idle()
  {
    for (auto worker = m_idle.begin(); worker != m_idle.end();)
      worker = ask(*worker) ? m_idle.erase(worker) : std::next(worker);
  }

  /// False where there is nothing to do.
  bool ask(int worker)
  {
    auto const action = m_apply({.kind = HalvingEvent::Kind::free, .worker = worker});
    auto const [kind, trial, rung] = action.value();
    if (kind == HalvingAction::Kind::idle) return false;
    m_simulation.decisions.push_back(*action);
    int trained = 0;
    if (kind == HalvingAction::Kind::start) {
      double const cost = m_options.cost ? m_options.cost(trial) : 1;
      m_apply({HalvingEvent::Kind::started, trial, rung, cost, worker});
    } else {
      trained = m_halving.epochs(trial, m_halving.trials()[static_cast<std::size_t>(trial)].reached);
    }
    m_busy.emplace(m_simulation.time + m_halving.epochs(trial, rung) - trained, trial, rung, worker);
    return true;
  }
};

} // namespace

double simulated_loss(std::uint64_t seed, int trial, int epochs)
{
  std::uint64_t const key = seed * 1000003 + static_cast<std::uint64_t>(trial);
  SplitMix curve(key), noise(key * 1000 + static_cast<std::uint64_t>(epochs));
  double const floor = 0.2 + curve.unit();
  double const rate = 0.3 + 0.9 * curve.unit();
  return floor + (2.3 - floor) * std::pow(1.0 + epochs, -rate) + 0.02 * noise.normal();
}

HalvingSimulation simulate(Halving const& halving, ApplyHalving const& apply, SimulatedLoss const& loss,
                           SimulationOptions const& options)
{
  return Simulator(halving, apply, loss, options).run();
}

HalvingSimulation simulate(Halving& halving, SimulatedLoss const& loss, SimulationOptions const& options)
{
  ApplyHalving const apply = [&](HalvingEvent const& event) { return halving.apply(event); };
  return simulate(halving, apply, loss, options);
}

std::string trace(std::vector<HalvingAction> const& decisions)
{
  std::string text;
  for (auto const& [kind, trial, rung] : decisions) {
    if (!text.empty()) text += ' ';
    text += kind == HalvingAction::Kind::start ? concat('S', trial) : concat(trial, '>', rung);
  }
  return text;
}

} // namespace nasturtium::nas
