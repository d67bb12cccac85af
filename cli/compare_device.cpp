// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "compare_device.hpp"

#include "host_energy.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/nn/device_probe.hpp>
#include <nasturtium/nn/predictor.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <set>

extern char** environ;

namespace nasturtium::cli {

namespace {

/// One network, ready to be called.
class Call
{
public:
  virtual ~Call() = default;
  virtual void run(std::int64_t calls) = 0;
};

class StepCall final : public Call
{
public:
  explicit StepCall(nn::Stepper stepper) : m_stepper(std::move(stepper)) {}
  void run(std::int64_t calls) override { m_stepper.run(calls); }

private:
  nn::Stepper m_stepper;
};

class ForwardCall final : public Call
{
public:
  ForwardCall(nn::InferenceOptions const& options, nn::spec::Architecture const& architecture)
      : m_session(options, architecture, nn::initial_weights(architecture, 1), moments(architecture.input.channels)),
        m_bytes(static_cast<std::size_t>(options.batch * m_session.sample_size())),
        m_outputs(static_cast<std::size_t>(options.batch) * static_cast<std::size_t>(m_session.outputs()))
  {
    for (std::size_t i = 0; i < m_bytes.size(); ++i)
      m_bytes[i] = static_cast<std::uint8_t>(random_block(1, Purpose::synthetic, 0, i).word[0] >> 24);
  }
  void run(std::int64_t calls) override
  {
    for (std::int64_t i = 0; i < calls; ++i)
      m_session.run({m_bytes, {}}, m_outputs);
  }

private:
  /// Mean and deviation of uniform bytes.
  static nn::InputMoments moments(int channels)
  {
    auto const count = static_cast<std::size_t>(channels);
    return {std::vector<float>(count, 127.5F), std::vector<float>(count, 73.9F)};
  }

  nn::InferenceSession m_session;
  std::vector<std::uint8_t> m_bytes;
  std::vector<float> m_outputs;
};

std::unique_ptr<Call> make_call(Workload const& workload, nn::TrainerOptions const& trainer)
{
  // Hosts promise memory that they do not have, and kill who touches it.
  std::int64_t const limit = std::max<std::int64_t>(1, nn::device_memory(trainer.backend).free);
  if (workload.kind == CallKind::forward)
    return std::make_unique<ForwardCall>(nn::InferenceOptions{.backend = trainer.backend,
                                                              .threads = trainer.threads,
                                                              .batch = workload.batch,
                                                              .memory_limit_bytes = limit},
                                         workload.architecture);
  nn::TrainOptions options;
  options.batch_size = workload.batch;
  options.optimiser.learning_rate = 0.001;
  options.optimiser.momentum = 0.9;
  options.memory_limit_bytes = limit;
  auto made = nn::Stepper::make(trainer, workload.architecture, options);
  require(made.stepper.has_value(), made.reason);
  return std::make_unique<StepCall>(std::move(*made.stepper));
}

/// Answers one question after another.
class DeviceServer
{
public:
  DeviceServer(nn::TrainerOptions const& trainer, Invocation const& call) : m_trainer(trainer), m_invocation(call) {}

  json::Object answer(json::Value const& question)
  {
    json::Reader reader(question, "question");
    auto const what = reader.choice("do", {"describe", "probe", "prepare", "time"});
    if (what == 0) return describe();
    if (what == 1) return probe(reader.number("seconds", json::above(0)));
    if (what == 3) return time(reader.integer("calls", 1, std::int64_t{1} << 40));
    Workload workload;
    workload.kind = static_cast<CallKind>(reader.choice("kind", {"step", "forward"}));
    workload.batch = static_cast<int>(reader.integer("batch", 1, 1 << 30));
    workload.architecture = nn::spec::parse_architecture(json::compact(reader.value("architecture")), "question");
    return prepare(workload, reader.boolean("calibrate"));
  }

private:
  json::Object describe() const
  {
    auto const identity = nn::device_identity(m_trainer);
    auto const provenance = provenance_of(m_invocation, 0, m_trainer.backend);
    json::Object build{{"version", provenance.version},
                       {"git", provenance.git_hash + " (" + provenance.git_state + ")"},
                       {"compiler", provenance.compiler + ", " + provenance.build_type}};
    for (auto const& [key, value] : provenance.extra)
      build[key] = value;
    return {{"hardware", identity.hardware},
            {"driver", identity.driver},
            {"cores", identity.cores},
            {"clock_mhz", identity.clock_mhz},
            {"memory_bytes", nn::device_memory(m_trainer.backend).total},
            {"build", std::move(build)}};
  }

  json::Object probe(double seconds) const
  {
    auto const speed = nn::device_speed(m_trainer, seconds);
    return {{"flops", speed.flops}, {"bandwidth", speed.bandwidth}, {"launch_seconds", speed.launch_seconds}};
  }

  /// The first call pays for first touches; the fastest of the next ones, up to four or a fifth of a second, counts.
  json::Object prepare(Workload const& workload, bool calibrate)
  {
    m_call.reset(); // its memory first
    try {
      m_call = make_call(workload, m_trainer);
      m_call->run(1);
    } catch (Error const& error) {
      m_call.reset();
      return {{"failure", error.what()}};
    }
    if (!calibrate) return {};
    double fastest = std::numeric_limits<double>::infinity();
    Stopwatch const all;
    for (int i = 0; i < 4 && (i == 0 || all.seconds() < 0.2); ++i) {
      Stopwatch const one;
      m_call->run(1);
      fastest = std::min(fastest, one.seconds());
    }
    return {{"call_seconds", std::max(fastest, 1e-9)}};
  }

  json::Object time(std::int64_t calls)
  {
    require(m_call != nullptr, "nothing is prepared");
    m_call->run(1);
    bool const energy = m_energy.available() && m_trainer.backend != nn::BackendKind::cuda;
    if (energy) m_energy.start();
    Stopwatch const watch;
    m_call->run(calls);
    double const seconds = std::max(watch.seconds(), 1e-9), count = static_cast<double>(calls);
    json::Object reply{{"seconds", seconds / count}};
    if (energy) reply["joules"] = m_energy.joules() / count;
    return reply;
  }

  nn::TrainerOptions m_trainer;
  Invocation const& m_invocation;
  HostEnergy m_energy;
  std::unique_ptr<Call> m_call;
};

void reply(json::Object const& object)
{
  std::cout << json::compact(object) << '\n' << std::flush;
}

int parse_threads(std::string const& text, std::string const& word)
{
  auto const threads = parse_integer(text);
  require(threads && *threads >= 1 && *threads <= 1 << 20, "--devices: ", quoted(word),
          ": the threads must be a number from 1 on, got ", quoted(text));
  return static_cast<int>(*threads);
}

DeviceSpec parse_spec(std::string const& word, int cores)
{
  DeviceSpec spec;
  std::string rest = word;
  if (auto const at = rest.find('@'); at != std::string::npos) {
    spec.program = rest.substr(at + 1);
    rest.resize(at);
    require(!spec.program.empty(), "--devices: ", quoted(word), ": no program behind '@'");
  }
  std::string label;
  if (auto const equals = rest.find('='); equals != std::string::npos) {
    label = rest.substr(0, equals);
    rest.erase(0, equals + 1);
    require(!label.empty(), "--devices: ", quoted(word), ": no name before '='");
  }
  auto const colon = rest.find(':');
  spec.backend = rest.substr(0, colon);
  require(spec.backend == "serial" || spec.backend == "openmp" || spec.backend == "cuda", "--devices: ", quoted(word),
          ": the backend must be serial, openmp or cuda, got ", quoted(spec.backend));
  if (spec.program.empty()) nn::parse_backend(spec.backend);
  require(colon == std::string::npos || spec.backend == "openmp", "--devices: ", quoted(word),
          ": openmp alone has a number of threads");
  if (spec.backend == "openmp") {
    spec.threads = colon == std::string::npos ? cores : parse_threads(rest.substr(colon + 1), word);
    spec.label = concat("openmp:", spec.threads);
  } else {
    spec.label = spec.backend;
  }
  if (!label.empty()) spec.label = label;
  return spec;
}

} // namespace

std::vector<DeviceSpec> parse_devices(std::vector<std::string> const& words, int cores)
{
  std::vector<DeviceSpec> specs;
  std::set<std::string> labels;
  for (auto const& word : words) {
    specs.push_back(parse_spec(word, cores));
    require(labels.insert(specs.back().label).second, "--devices: ", quoted(specs.back().label),
            " stands twice (NAME=DEVICE gives one another name)");
  }
  return specs;
}

std::vector<DeviceSpec> default_devices(int cores)
{
  auto const available = nn::available_backends();
  auto const has = [&](nn::BackendKind kind) {
    return std::find(available.begin(), available.end(), kind) != available.end();
  };
  std::vector<std::string> words;
  if (has(nn::BackendKind::serial)) words.emplace_back("serial");
  if (has(nn::BackendKind::openmp)) {
    for (int threads = 1; threads < cores; threads *= 2)
      words.push_back(concat("openmp:", threads));
    words.push_back(concat("openmp:", cores));
  }
  if (has(nn::BackendKind::cuda)) words.emplace_back("cuda");
  return parse_devices(words, cores);
}

DeviceProcess::DeviceProcess(DeviceSpec spec, std::vector<std::string> const& kokkos_flags) : m_spec(std::move(spec))
{
  int ends[2];
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "device ", m_spec.label,
          ": no socket: ", std::strerror(errno));
  std::string const program = m_spec.program.empty() ? "/proc/self/exe" : m_spec.program;
  std::vector<std::string> words{program, "compare", "device", "--backend", m_spec.backend};
  if (m_spec.threads > 0) words.insert(words.end(), {"--threads", std::to_string(m_spec.threads)});
  words.insert(words.end(), kokkos_flags.begin(), kokkos_flags.end());
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  int const error = ::posix_spawn(&m_pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  m_socket = ends[0];
  if (error != 0) {
    m_pid = -1;
    ::close(m_socket);
    fail("device ", m_spec.label, ": cannot start ", program, ": ", std::strerror(error));
  }
}

DeviceProcess::~DeviceProcess()
{
  ::close(m_socket);
  if (m_pid <= 0) return;
  ::kill(m_pid, SIGKILL); // it holds nothing that is to be saved
  ::waitpid(m_pid, nullptr, 0);
}

void DeviceProcess::ended()
{
  int status = 0;
  ::waitpid(m_pid, &status, 0);
  m_pid = -1;
  if (interrupted()) throw Interrupted{};
  fail("device ", m_spec.label, ": its process ended early (",
       WIFSIGNALED(status) ? concat("signal ", WTERMSIG(status)) : concat("status ", WEXITSTATUS(status)), ")");
}

json::Value DeviceProcess::ask(json::Object const& question)
{
  std::string const text = json::compact(question) + "\n";
  for (std::size_t sent = 0; sent < text.size();) {
    auto const count = ::send(m_socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break; // its last words may still be there
    sent += static_cast<std::size_t>(count);
  }
  std::size_t end = 0;
  while ((end = m_received.find('\n')) == std::string::npos) {
    if (interrupted()) throw Interrupted{};
    pollfd waiting{m_socket, POLLIN, 0};
    if (::poll(&waiting, 1, 100) <= 0) continue;
    char buffer[4096];
    auto const count = ::recv(m_socket, buffer, sizeof buffer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) ended();
    m_received.append(buffer, static_cast<std::size_t>(count));
  }
  std::string const where = concat("device ", m_spec.label);
  auto answer = json::parse(m_received.substr(0, end), where);
  m_received.erase(0, end + 1);
  if (auto const* const object = answer.if_object(); object && object->contains("error"))
    fail(where, ": ", json::to_string(object->at("error"), where));
  return answer;
}

ComparedDevice DeviceProcess::describe()
{
  auto const answer = ask({{"do", "describe"}});
  json::Reader reader(answer, concat("device ", m_spec.label));
  ComparedDevice device;
  device.name = m_spec.label;
  device.backend = m_spec.backend;
  device.hardware = reader.string("hardware");
  device.driver = reader.string("driver");
  device.cores = static_cast<int>(reader.integer("cores", 1, 1 << 20));
  device.clock_mhz = reader.number("clock_mhz", json::at_least(0));
  device.memory_bytes = reader.integer("memory_bytes", 0, std::int64_t{1} << 60);
  std::string const where = reader.what("build");
  for (auto const& [key, text] : json::to_object(reader.value("build"), where))
    device.build.emplace_back(key, json::to_string(text, where));
  return device;
}

void DeviceProcess::probe(double seconds, ComparedDevice& device)
{
  auto const answer = ask({{"do", "probe"}, {"seconds", seconds}});
  json::Reader reader(answer, concat("device ", m_spec.label));
  device.peak_flops = std::max(device.peak_flops, reader.number("flops", json::above(0)));
  device.bandwidth = std::max(device.bandwidth, reader.number("bandwidth", json::above(0)));
  double const launch = reader.number("launch_seconds", json::at_least(0));
  device.launch_seconds = device.launch_seconds > 0 ? std::min(device.launch_seconds, launch) : launch;
}

DeviceProcess::Prepared DeviceProcess::prepare(Workload const& workload, bool calibrate)
{
  auto const answer = ask({{"do", "prepare"},
                           {"kind", name(workload.kind)},
                           {"batch", workload.batch},
                           {"calibrate", calibrate},
                           {"architecture", json::parse(nn::spec::to_json(workload.architecture), "architecture")}});
  json::Reader reader(answer, concat("device ", m_spec.label));
  Prepared prepared;
  prepared.failure = reader.string("failure", "");
  if (prepared.failure.empty() && calibrate) prepared.call_seconds = reader.number("call_seconds", json::above(0));
  return prepared;
}

DeviceProcess::Timed DeviceProcess::time(std::int64_t calls)
{
  auto const answer = ask({{"do", "time"}, {"calls", calls}});
  json::Reader reader(answer, concat("device ", m_spec.label));
  Timed timed;
  timed.seconds = reader.number("seconds", json::above(0));
  timed.has_joules = reader.has("joules");
  if (timed.has_joules) timed.joules = reader.number("joules", json::at_least(0));
  return timed;
}

int serve_device(DeviceOptions const& options, Invocation const& call)
{
  try {
    auto const trainer = options.trainer();
    auto const runtime = options.start(call);
    DeviceServer server(trainer, call);
    for (std::string line; std::getline(std::cin, line);)
      reply(server.answer(json::parse(line, "question")));
    return exit_success;
  } catch (Error const& error) {
    reply({{"error", error.what()}}); // whoever asked says it
    return exit_error;
  }
}

} // namespace nasturtium::cli
