// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The training of one candidate on one execution space instance.
#pragma once

#include "step_queue.hpp"
#include "train_state.hpp"
#include "trainer_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/checkpoint.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace nasturtium::nn::impl {

/// The caller's wish to stop, asked from any thread; once true it stays so.
class Interrupt
{
public:
  explicit Interrupt(std::function<bool()> const& wanted) : m_wanted(wanted) {}

  bool poll()
  {
    if (m_latched.load(std::memory_order_relaxed)) return true;
    if (!m_wanted) return false;
    std::lock_guard const lock(m_mutex);
    if (m_wanted()) m_latched = true;
    return m_latched;
  }

  void latch() { m_latched = true; }

private:
  std::function<bool()> const& m_wanted;
  std::mutex m_mutex;
  std::atomic<bool> m_latched = false;
};

/// A data set and its splits on the device, shared by all candidates.
template <class ExecSpace>
struct ResidentDataset
{
  datasets::Dataset const& dataset;
  ResidentSamples<ExecSpace> train, validation;
  std::vector<std::int32_t> host_identity;
  Resident<ExecSpace, std::int32_t> identity;

  ResidentDataset(ExecSpace const& exec, datasets::Dataset const& set)
      : dataset(set), train(exec, set.train), validation(exec, set.validation),
        host_identity(identity_order(std::max(set.train.count, set.validation.count))),
        identity(exec, host_identity, "nasturtium::dataset::identity")
  {
  }
  ResidentDataset(ResidentDataset const&) = delete;
  ResidentDataset& operator=(ResidentDataset const&) = delete;
};

/// Seconds between looks at it.
class Clock
{
public:
  double lap()
  {
    auto const now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(m_last, now)).count();
  }

private:
  std::chrono::steady_clock::time_point m_last = std::chrono::steady_clock::now();
};

/// How a training ended, and why where it did not simply complete.
using Outcome = std::pair<Status, std::string>;

/// A training in pieces, so that several can share a device. prepare, launch steps, look where a look is due, report
/// where a report is due, and so on; an outcome is the end.
class Training
{
public:
  virtual ~Training() = default;

  /// What launch() launches: a step with a full batch, one with an epoch's shorter last batch, the validation. The
  /// launches of a kind are the same every time, so that they can be recorded.
  enum Kind { full_step, rest_step, validation };
  /// Parts that a kind is launched in, in their order: the batches of the validation.
  virtual int parts(Kind kind) const = 0;

  /// Sees to it that a step is ready to be launched.
  virtual std::optional<Outcome> prepare() = 0;
  /// After prepare(): the kind of the steps that are ready, and how many of it; at least one.
  virtual std::pair<Kind, std::int64_t> ready() const = 0;
  virtual void launch(Kind kind, int part) const = 0;
  /// So many steps have been launched.
  virtual void advance(std::int64_t steps) = 0;
  /// Launches some of the steps that are ready, by recordings of its own, and advances.
  virtual void replay() = 0;

  /// Whether the steps so far must be looked at before there are more.
  virtual bool look_due() const = 0;
  /// Waits for the steps so far and reads their losses.
  virtual std::optional<Outcome> look() = 0;

  /// After look().
  virtual bool report_due() const = 0;
  /// Before launch(validation); false where there is nothing to validate on.
  virtual bool begin_validation() = 0;
  /// Waits for the validation.
  virtual void read_validation() = 0;
  /// Tells the listeners.
  virtual std::optional<Outcome> report() = 0;

  /// Adds to the seconds of the training steps and of the validations.
  virtual void spend(double seconds) = 0;
  virtual void spend_validating(double seconds) = 0;

  /// After the end.
  virtual TrainResult result(Outcome const& outcome) = 0;
};

/// Launches the steps up to the next look.
inline std::optional<Outcome> launch_turn(Training& training)
{
  for (Clock clock;;) {
    auto const ended = training.prepare();
    if (!ended) training.replay();
    training.spend(clock.lap());
    if (ended || training.look_due()) return ended;
  }
}

/// All parts of the validation, one after another.
inline void launch_validation(Training const& training)
{
  for (int part = 0; part < training.parts(Training::validation); ++part)
    training.launch(Training::validation, part);
}

/// Looks at these steps, and reports where a report is due.
inline std::optional<Outcome> finish_turn(Training& training)
{
  Clock clock;
  auto const ended = training.look();
  training.spend(clock.lap());
  if (ended || !training.report_due()) return ended;
  if (training.begin_validation()) {
    launch_validation(training);
    training.read_validation();
    training.spend_validating(clock.lap());
  }
  return training.report();
}

/// From start to end.
inline TrainResult run(Training& training)
{
  for (;;) {
    if (auto const ended = launch_turn(training)) return training.result(*ended);
    if (auto const ended = finish_turn(training)) return training.result(*ended);
  }
}

template <class ExecSpace, class Real>
class CandidateTraining final : public Training
{
public:
  /// Allocates all that the training needs. Throws Error for whatever does not fit and OutOfMemory.
  CandidateTraining(ExecSpace const& exec, ResidentDataset<ExecSpace> const& data, Candidate const& candidate,
                    int index, Interrupt& interrupt)
      : m_exec(exec), m_data(data), m_candidate(candidate), m_options(candidate.options), m_index(index),
        m_interrupt(interrupt), m_batch_size(batch_size(candidate.options, data)),
        m_steps_per_epoch((data.train.count + m_batch_size - 1) / m_batch_size), m_total(total_steps()),
        m_classification(candidate.architecture.classes > 0),
        m_top_k(std::max(1, std::min(candidate.options.top_k, candidate.architecture.classes))),
        m_network(exec, candidate.architecture, all_batch_sizes(), true,
                  static_cast<int>(slot_names(m_options.optimiser.kind).size()), m_options.memory_limit_bytes,
                  candidate.frozen),
        m_maker(exec, data.dataset, m_batch_size), m_queue(exec, queue_capacity), m_validation_log(exec, 1)
  {
    tune_tiles(m_network, m_batch_size);
    m_rows.reserve(queue_capacity);
    if (candidate.resume_from) {
      restore(*candidate.resume_from);
    } else {
      m_network.initialise(m_options.initialiser, m_options.seed);
      if (candidate.initial_weights) m_network.load(*candidate.initial_weights);
    }
    if (m_step < m_total) take_order(static_cast<int>(m_step / m_steps_per_epoch)); // the last that takes memory
  }

  std::optional<Outcome> prepare() override
  {
    // Leaves between two reports: all steps so far are done and accounted for.
    auto const leave = [&](Status status, std::string const& reason) {
      auto const bad = look();
      return bad ? *bad : Outcome{status, reason};
    };
    bool const first = !std::exchange(m_begun, true);
    if (first && m_options.early_stopping_patience > 0 && m_stale_validations >= m_options.early_stopping_patience) {
      return Outcome{Status::early_stopped, "the training had stopped early before it was resumed"};
    }
    if (m_step >= m_total) return Outcome{Status::completed, {}};
    if (m_interrupt.poll()) return leave(Status::interrupted, concat("interrupted after step ", m_step));
    if (double const limit = m_options.time_limit_seconds; limit > 0 && m_seconds + m_validation_seconds >= limit) {
      return leave(Status::time_limit, concat("the time limit of ", limit, " s was reached after step ", m_step));
    }
    if (m_step == m_queue_end) begin_queue();
    return std::nullopt;
  }

  std::pair<Kind, std::int64_t> ready() const override
  {
    auto const within = m_step % m_steps_per_epoch;
    auto const full = m_data.train.count / m_batch_size; // full batches of an epoch
    if (within < full) return {full_step, std::min(m_queue_end - m_step, full - within)};
    return {rest_step, 1};
  }

  int parts(Kind kind) const override
  {
    return kind == validation ? static_cast<int>((m_data.validation.count + m_batch_size - 1) / m_batch_size) : 1;
  }

  void launch(Kind kind, int part) const override
  {
    if (kind == validation) {
      std::int64_t const first = std::int64_t{part} * m_batch_size;
      int const batch = static_cast<int>(std::min<std::int64_t>(m_batch_size, m_data.validation.count - first));
      infer_batch(m_network, m_maker, m_data.validation, m_data.identity.buffer(), first, batch, m_top_k,
                  m_validation_sums);
      return;
    }
    int const batch = kind == full_step ? m_batch_size : static_cast<int>(m_data.train.count % m_batch_size);
    auto const order = m_options.order == Order::sequential ? m_data.identity.buffer() : m_order.buffer();
    launch_step(m_network, m_maker, m_data.train, order, m_options, batch, m_top_k, m_queue);
  }

  void advance(std::int64_t steps) override { m_step += steps; }

  void replay() override
  {
    auto const [kind, most] = ready();
    advance(m_replays[kind].run(m_exec, most, [&, kind = kind] { launch(kind, 0); }));
  }

  bool look_due() const override { return m_step == m_queue_end; }

  std::optional<Outcome> look() override
  {
    auto const known = m_pending.size();
    m_queue.read(m_step - m_queue_begin, m_pending);
    m_queue_begin = m_step;
    auto step = m_step - static_cast<std::int64_t>(m_pending.size() - known);
    for (std::size_t i = known; i < m_pending.size(); ++i) {
      ++step;
      double const loss = m_pending[i][0] / m_pending[i][3];
      if (m_candidate.log_steps) {
        for (auto* const listener : m_candidate.listeners)
          listener->on_step(m_index, step, loss);
      }
      if (!std::isfinite(loss)) return Outcome{Status::diverged, concat("the loss of step ", step, " is not finite")};
    }
    return std::nullopt;
  }

  bool report_due() const override { return report_due(m_step); }

  bool begin_validation() override
  {
    m_validated = {};
    if (m_data.validation.count == 0) return false;
    m_validation_sums = m_validation_log.next();
    return true;
  }

  void read_validation() override
  {
    std::vector<MetricSums> sums;
    m_validation_log.read(sums);
    m_validated = to_metrics(sums[0], m_classification);
  }

  std::optional<Outcome> report() override
  {
    auto const outcome = tell();
    if (outcome.first != Status::completed && m_step < m_total) return outcome;
    return std::nullopt;
  }

  void spend(double seconds) override { m_seconds += seconds; }
  void spend_validating(double seconds) override { m_validation_seconds += seconds; }

  TrainResult result(Outcome const& outcome) override
  {
    TrainResult result;
    result.status = outcome.first;
    result.reason = outcome.second;
    auto const state = capture();
    result.reports = m_reports;
    result.weights = std::shared_ptr<Weights const>(state, &state->weights);
    result.state = state;
    result.seconds = m_seconds + m_validation_seconds;
    return result;
  }

private:
  /// Steps between two looks at the losses; bounds the delay after which a divergence is noticed.
  static constexpr int queue_capacity = 256;

  ExecSpace m_exec;
  ResidentDataset<ExecSpace> const& m_data;
  Candidate const& m_candidate;
  TrainOptions const& m_options;
  int m_index;
  Interrupt& m_interrupt;
  int m_batch_size;
  std::int64_t m_steps_per_epoch, m_total;
  bool m_classification;
  int m_top_k;
  Network<ExecSpace, Real> m_network;
  BatchMaker<ExecSpace, Real> m_maker;
  StepQueue<ExecSpace> m_queue;
  std::array<Replay<ExecSpace>, 2> m_replays; ///< of full_step and rest_step
  MetricLog<ExecSpace> m_validation_log;
  kernels::Buffer<ExecSpace, double> m_validation_sums; ///< of the validation that was begun; always the same place
  Metrics m_validated;
  std::vector<kernels::StepState> m_rows;
  std::vector<MetricSums> m_pending;               ///< of the steps since the last report
  std::int64_t m_step = 0;                         ///< steps done
  std::int64_t m_queue_begin = 0, m_queue_end = 0; ///< steps that the queue was begun with
  int m_order_epoch = -1;                          ///< that m_order belongs to
  std::vector<std::int32_t> m_host_order;
  Resident<ExecSpace, std::int32_t> m_order;
  double m_best_loss = std::numeric_limits<double>::infinity();
  int m_stale_validations = 0;
  bool m_begun = false; ///< a turn was launched
  double m_seconds = 0, m_validation_seconds = 0;
  std::vector<EpochReport> m_reports;

  static int batch_size(TrainOptions const& options, ResidentDataset<ExecSpace> const& data)
  {
    return static_cast<int>(std::min<std::int64_t>(options.batch_size, data.train.count));
  }

  std::int64_t total_steps() const
  {
    auto const steps = m_steps_per_epoch * m_options.epochs;
    return m_options.max_steps > 0 ? std::min(steps, m_options.max_steps) : steps;
  }

  std::vector<int> all_batch_sizes() const
  {
    auto sizes = batch_sizes(m_data.train.count, m_batch_size);
    auto const more = batch_sizes(m_data.validation.count, m_batch_size);
    sizes.insert(sizes.end(), more.begin(), more.end());
    return sizes;
  }

  void restore(TrainState const& state)
  {
    check_resumable(state, m_candidate.architecture, m_options, m_candidate.frozen, "resume_from");
    require(state.samples == m_data.train.count && state.dataset_checksum == m_data.dataset.checksum,
            "resume_from: the state belongs to another data set (", state.samples, " training samples, checksum '",
            state.dataset_checksum, "')");
    m_network.load(state.weights);
    for (std::size_t slot = 0; slot < state.slots.size(); ++slot) {
      m_network.load_slot(static_cast<int>(slot), state.slots[slot]);
    }
    m_step = m_queue_begin = m_queue_end = state.step;
    m_pending = state.pending;
    m_best_loss = state.best_loss;
    m_stale_validations = state.stale_validations;
    m_seconds = state.seconds;
    m_validation_seconds = state.validation_seconds;
    m_reports = state.reports;
    for (auto& report : m_reports)
      report.candidate = m_index;
  }

  std::shared_ptr<TrainState const> capture() const
  {
    auto const state = std::make_shared<TrainState>();
    state->architecture = m_candidate.architecture;
    state->options = m_options;
    state->frozen = m_candidate.frozen;
    state->dataset_checksum = m_data.dataset.checksum;
    state->samples = m_data.train.count;
    state->step = m_step;
    state->weights = m_network.weights();
    for (std::size_t slot = 0; slot < slot_names(m_options.optimiser.kind).size(); ++slot) {
      state->slots.push_back(m_network.slot(static_cast<int>(slot)));
    }
    state->pending = m_pending;
    state->best_loss = m_best_loss;
    state->stale_validations = m_stale_validations;
    state->seconds = m_seconds;
    state->validation_seconds = m_validation_seconds;
    state->reports = m_reports;
    return state;
  }

  /// Whether a report is due after so many steps, and its epoch.
  bool report_due(std::int64_t step) const
  {
    auto const within = step % m_steps_per_epoch;
    bool const half = m_options.validations_per_epoch == 2 && within == (m_steps_per_epoch + 1) / 2;
    return within == 0 || half || step == m_total;
  }

  double report_epoch(std::int64_t step) const
  {
    auto const within = step % m_steps_per_epoch;
    auto const epoch = static_cast<double>(step / m_steps_per_epoch);
    if (m_options.validations_per_epoch == 2 && within == (m_steps_per_epoch + 1) / 2 && within > 0) return epoch + 0.5;
    return epoch + static_cast<double>(within) / static_cast<double>(m_steps_per_epoch);
  }

  double rate(std::int64_t step) const
  {
    return learning_rate_at(m_options.schedule, m_options.optimiser.learning_rate, step, m_steps_per_epoch, m_total);
  }

  void take_order(int epoch)
  {
    if (m_options.order == Order::sequential || m_order_epoch == epoch) return;
    m_exec.fence("nasturtium::trainer: last epoch's order is free");
    // In its place: recorded launches read it there.
    auto const order = shuffled_order(m_data.train.count, m_options.seed, epoch);
    m_host_order.assign(order.begin(), order.end());
    m_order.assign(m_exec, m_host_order, "nasturtium::trainer::order");
    m_order_epoch = epoch;
  }

  /// Queues the steps up to the next report, as far as there is room. Reports lie at the ends of epochs, so that these
  /// steps are of one epoch.
  void begin_queue()
  {
    auto const epoch = m_step / m_steps_per_epoch;
    take_order(static_cast<int>(epoch));
    m_rows.clear();
    std::int64_t step = m_step;
    do {
      m_rows.push_back({step % m_steps_per_epoch * m_batch_size, step, epoch,
                        m_network.rates(m_options.optimiser, rate(step), step + 1)});
      ++step;
    } while (!report_due(step) && m_rows.size() < std::size_t{queue_capacity});
    m_queue.begin(m_rows);
    m_queue_begin = m_step;
    m_queue_end = step;
  }

  /// Tells the listeners; completed means that nobody wants to stop.
  Outcome tell()
  {
    EpochReport report;
    report.candidate = m_index;
    report.epoch = report_epoch(m_step);
    report.step = m_step;
    report.learning_rate = rate(m_step - 1);
    MetricSums sums{};
    for (auto const& step : m_pending) {
      for (std::size_t i = 0; i < sums.size(); ++i)
        sums[i] += step[i];
    }
    m_pending.clear();
    auto const trained = to_metrics(sums, m_classification);
    report.train_loss = trained.loss;
    report.train_accuracy = trained.accuracy;
    report.train_top_k = trained.top_k;
    report.validation_loss = m_validated.loss;
    report.validation_accuracy = m_validated.accuracy;
    report.validation_top_k = m_validated.top_k;
    report.seconds = m_seconds;
    report.validation_seconds = m_validation_seconds;
    m_reports.push_back(report);

    Outcome outcome{Status::completed, {}};
    if (m_options.early_stopping_patience > 0) {
      bool const better = report.validation_loss < m_best_loss;
      m_stale_validations = better ? 0 : m_stale_validations + 1;
      if (better) m_best_loss = report.validation_loss;
      if (m_stale_validations >= m_options.early_stopping_patience) {
        outcome = {Status::early_stopped, concat("no better validation loss than ", m_best_loss, " in ",
                                                 m_stale_validations, " validations, at epoch ", report.epoch)};
      }
    }
    bool stop = false, pause = false;
    for (auto* const listener : m_candidate.listeners) {
      auto const decision = listener->on_report(report);
      stop = stop || decision == Decision::stop;
      pause = pause || decision == Decision::pause;
    }
    if (m_candidate.share_state && !m_candidate.listeners.empty()) {
      auto const state = capture();
      for (auto* const listener : m_candidate.listeners)
        listener->on_state(m_index, state);
    }
    if (stop) return {Status::stopped, concat("a listener stopped it at epoch ", report.epoch)};
    if (outcome.first == Status::completed && pause) {
      return {Status::paused, concat("a listener paused it at epoch ", report.epoch)};
    }
    return outcome;
  }
};

} // namespace nasturtium::nn::impl
