// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/evaluator.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <iterator>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

namespace nasturtium::nas {

namespace {

/// Passes the reports of one job on.
class Reporter : public nn::Listener
{
public:
  Reporter(int id, Evaluator::OnReport const& on_report) : m_id(id), m_on_report(on_report) {}
  nn::Decision on_report(nn::EpochReport const& report) override { return m_on_report(m_id, report); }

private:
  int m_id;
  Evaluator::OnReport const& m_on_report;
};

nn::Candidate candidate_of(Job job)
{
  nn::Candidate candidate;
  candidate.architecture = std::move(job.architecture);
  candidate.options = std::move(job.options);
  candidate.initial_weights = std::move(job.initial_weights);
  candidate.frozen = std::move(job.frozen);
  candidate.resume_from = std::move(job.resume_from);
  return candidate;
}

JobResult train_job(Job job, nn::TrainerOptions const& trainer, datasets::Dataset const& dataset,
                    Evaluator::OnReport const& on_report, std::function<bool()> const& interrupted)
{
  int const id = job.id;
  Reporter reporter(id, on_report);
  auto candidate = candidate_of(std::move(job));
  candidate.listeners = {&reporter};
  auto results = nn::train(trainer, std::span<nn::Candidate const>(&candidate, 1), dataset, interrupted);
  return {id, std::move(results.front())};
}

/// Trains in wait(), with all threads of the device.
class OneWorker : public Evaluator
{
public:
  OneWorker(nn::TrainerOptions const& trainer, datasets::Dataset const& dataset, OnReport on_report,
            std::function<bool()> interrupted)
      : m_trainer(trainer), m_dataset(dataset), m_on_report(std::move(on_report)), m_interrupted(std::move(interrupted))
  {
  }

  int capacity() const override { return 1; }

  void submit(std::vector<Job> jobs) override
  {
    m_jobs.insert(m_jobs.end(), std::make_move_iterator(jobs.begin()), std::make_move_iterator(jobs.end()));
  }

  std::optional<JobResult> wait() override
  {
    if (m_jobs.empty()) return std::nullopt;
    Job job = std::move(m_jobs.front());
    m_jobs.pop_front();
    return train_job(std::move(job), m_trainer, m_dataset, m_on_report, m_interrupted);
  }

private:
  nn::TrainerOptions m_trainer;
  datasets::Dataset const& m_dataset;
  OnReport m_on_report;
  std::function<bool()> m_interrupted;
  std::deque<Job> m_jobs;
};

/// Trains in wait(), several jobs in turns on one device.
class InterleavedWorkers : public Evaluator
{
public:
  InterleavedWorkers(nn::TrainerOptions const& trainer, datasets::Dataset const& dataset, OnReport on_report,
                     std::function<bool()> interrupted)
      : m_capacity(trainer.in_flight), m_on_report(std::move(on_report)),
        m_trainer(trainer, dataset, std::move(interrupted))
  {
  }

  int capacity() const override { return m_capacity; }

  void submit(std::vector<Job> jobs) override
  {
    for (auto& job : jobs) {
      int const id = job.id;
      auto candidate = candidate_of(std::move(job));
      auto& reporter = m_reporters[id] = std::make_unique<Reporter>(id, m_on_report);
      candidate.listeners = {reporter.get()};
      m_trainer.add(id, std::move(candidate));
    }
  }

  std::optional<JobResult> wait() override
  {
    if (m_error) std::rethrow_exception(m_error);
    std::optional<std::pair<int, nn::TrainResult>> ended;
    try {
      ended = m_trainer.next();
    } catch (...) {
      m_error = std::current_exception();
      throw;
    }
    if (!ended) return std::nullopt;
    m_reporters.erase(ended->first);
    return JobResult{ended->first, std::move(ended->second)};
  }

private:
  int m_capacity;
  OnReport m_on_report;
  std::exception_ptr m_error;
  std::map<int, std::unique_ptr<Reporter>> m_reporters; ///< of the jobs that are open
  nn::InterleavedTrainer m_trainer;                     // last: its trainings use the others
};

/// Threads that train; they hand their reports to the owner's thread, as other processes would.
class ManyWorkers : public Evaluator
{
public:
  ManyWorkers(nn::TrainerOptions const& trainer, datasets::Dataset const& dataset, int workers, OnReport on_report,
              std::function<bool()> interrupted)
      : m_trainer(trainer), m_dataset(dataset), m_on_report(std::move(on_report)), m_interrupted(std::move(interrupted))
  {
    m_trainer.policy = nn::PopulationPolicy::one_per_core;
    m_trainer.threads = 1;
    for (int i = 0; i < workers; ++i)
      m_threads.emplace_back([this] { work(); });
  }

  ~ManyWorkers() override
  {
    stop();
    for (auto& thread : m_threads)
      thread.join();
  }

  int capacity() const override { return static_cast<int>(m_threads.size()); }

  void submit(std::vector<Job> jobs) override
  {
    std::scoped_lock const lock(m_mutex);
    m_open += jobs.size();
    m_jobs.insert(m_jobs.end(), std::make_move_iterator(jobs.begin()), std::make_move_iterator(jobs.end()));
    m_changed.notify_all();
  }

  std::optional<JobResult> wait() override
  {
    std::unique_lock lock(m_mutex);
    for (;;) {
      if (m_error) std::rethrow_exception(m_error);
      if (!m_questions.empty()) {
        Question& question = *m_questions.front();
        m_questions.pop_front();
        lock.unlock();
        nn::Decision decision = nn::Decision::stop;
        try {
          decision = m_on_report(question.id, question.report);
        } catch (...) {
          stop();
          lock.lock();
          m_error = std::current_exception();
          throw;
        }
        lock.lock();
        question.answer = decision;
        m_changed.notify_all();
      } else if (!m_results.empty()) {
        JobResult result = std::move(m_results.front());
        m_results.pop_front();
        --m_open;
        return result;
      } else if (m_open == 0) {
        return std::nullopt;
      } else {
        m_changed.wait(lock);
      }
    }
  }

private:
  struct Question
  {
    int id;
    nn::EpochReport report;
    std::optional<nn::Decision> answer;
  };

  nn::TrainerOptions m_trainer;
  datasets::Dataset const& m_dataset;
  OnReport m_on_report;
  std::function<bool()> m_interrupted;
  std::mutex m_mutex;
  std::condition_variable m_changed;
  std::deque<Job> m_jobs;
  std::deque<JobResult> m_results;
  std::deque<Question*> m_questions; ///< each lives in the thread that waits for its answer
  std::size_t m_open = 0;            ///< jobs whose results have not been taken
  std::exception_ptr m_error;
  std::atomic<bool> m_stopping = false;
  std::vector<std::thread> m_threads;

  void stop()
  {
    std::scoped_lock const lock(m_mutex);
    m_stopping = true;
    m_changed.notify_all();
  }

  nn::Decision ask(int id, nn::EpochReport const& report)
  {
    Question question{id, report, std::nullopt};
    std::unique_lock lock(m_mutex);
    m_questions.push_back(&question);
    m_changed.notify_all();
    m_changed.wait(lock, [&] { return question.answer || m_stopping; });
    return question.answer.value_or(nn::Decision::stop);
  }

  void work()
  {
    OnReport const on_report = [this](int id, nn::EpochReport const& report) { return ask(id, report); };
    std::function<bool()> const interrupted = [this] { return m_stopping || (m_interrupted && m_interrupted()); };
    std::unique_lock lock(m_mutex);
    for (;;) {
      m_changed.wait(lock, [this] { return m_stopping || !m_jobs.empty(); });
      if (m_stopping) return;
      Job job = std::move(m_jobs.front());
      m_jobs.pop_front();
      lock.unlock();
      std::optional<JobResult> result;
      std::exception_ptr error;
      try {
        result = train_job(std::move(job), m_trainer, m_dataset, on_report, interrupted);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !m_error) m_error = error;
      if (result) m_results.push_back(std::move(*result));
      m_changed.notify_all();
    }
  }
};

} // namespace

std::unique_ptr<Evaluator> make_local_evaluator(nn::TrainerOptions const& trainer, datasets::Dataset const& dataset,
                                                int workers, Evaluator::OnReport on_report,
                                                std::function<bool()> interrupted)
{
  require(workers >= 1, "evaluator: 'workers' must be at least 1, got ", workers);
  // On a GPU one thread of the host feeds all streams.
  if (trainer.policy == nn::PopulationPolicy::interleaved || trainer.policy == nn::PopulationPolicy::fused ||
      (workers > 1 && trainer.backend == nn::BackendKind::cuda)) {
    auto interleaved = trainer;
    interleaved.in_flight = workers;
    return std::make_unique<InterleavedWorkers>(interleaved, dataset, std::move(on_report), std::move(interrupted));
  }
  if (workers == 1) return std::make_unique<OneWorker>(trainer, dataset, std::move(on_report), std::move(interrupted));
  return std::make_unique<ManyWorkers>(trainer, dataset, workers, std::move(on_report), std::move(interrupted));
}

} // namespace nasturtium::nas
