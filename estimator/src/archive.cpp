// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/archive.hpp>

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/nn/device_probe.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace nasturtium::estimator {
namespace {

constexpr char const* format = "nasturtium-timings";
constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

json::Value header()
{
  return json::Object{{"format", format}, {"version", 1}};
}

void add_fields(json::Object& object, json::Object const& fields)
{
  for (auto const& field : fields)
    object[field.key()] = field.value();
}

json::Object event(char const* kind, json::Object const& fields)
{
  json::Object line{{"event", kind}};
  add_fields(line, fields);
  return line;
}

TimingProvenance parse_provenance(json::Reader& reader)
{
  TimingProvenance provenance;
  provenance.version = reader.string("version");
  provenance.git_hash = reader.string("git_hash");
  provenance.backend = reader.string("backend");
  provenance.hardware = reader.string("hardware");
  provenance.driver = reader.string("driver");
  provenance.device = parse_device(json::compact(reader.value("device")), reader.what("device"));
  provenance.threads = static_cast<int>(reader.integer("threads", 1, 1 << 20));
  provenance.binding = reader.string("binding");
  return provenance;
}

Measurement parse_measurement(json::Reader& reader)
{
  Measurement measurement;
  measurement.status = parse_measure_status(reader.string("status"), reader.where());
  bool const timed = measurement.status == MeasureStatus::timed;
  auto const positive = timed ? json::above(0) : json::at_least(0);
  measurement.reason = reader.string("reason");
  measurement.median = reader.number("median", positive);
  measurement.min = reader.number("min", positive);
  measurement.sd = reader.number("sd", json::at_least(0));
  measurement.steps = reader.integer("steps", timed ? 1 : 0, most);
  measurement.total_seconds = reader.number("total_seconds", json::at_least(0));
  measurement.bytes = reader.integer("bytes", 0, most);
  return measurement;
}

Sample parse_sample(json::Reader& reader)
{
  Sample sample;
  sample.workload.architecture =
      nn::spec::parse_architecture(json::compact(reader.value("architecture")), reader.what("architecture"));
  sample.workload.batch = static_cast<int>(reader.integer("batch", 1, std::numeric_limits<int>::max()));
  sample.workload.optimiser = parse_optimiser(reader.string("optimiser"), reader.where());
  sample.genome = reader.string("genome");
  sample.seed = reader.seed("seed");
  sample.strategy = reader.string("strategy");
  sample.lineage = reader.integer("lineage", std::numeric_limits<std::int64_t>::min(), most);
  sample.generation = reader.integer("generation", 0, most);
  sample.measurement = parse_measurement(reader);
  return sample;
}

/// Adds what one line says.
void apply(json::Value const& line, std::string const& where, Archive& archive)
{
  json::Reader reader(line, where);
  std::string const kind = reader.string("event");
  if (kind == "provenance") {
    archive.provenances.push_back(parse_provenance(reader));
  } else if (kind == "sample") {
    require(!archive.provenances.empty(), where, ": a sample before any provenance");
    archive.samples.push_back(parse_sample(reader));
    archive.samples.back().provenance = static_cast<int>(archive.provenances.size()) - 1;
  } else if (kind == "retimed") {
    auto const last = static_cast<std::int64_t>(archive.samples.size()) - 1;
    auto const position = static_cast<std::size_t>(reader.integer("sample", 0, std::max<std::int64_t>(last, 0)));
    require(position < archive.samples.size(), where, ": field 'sample': there is no sample ", position);
    auto& sample = archive.samples[position];
    require(sample.measurement.status == MeasureStatus::timed, where, ": field 'sample': sample ", position,
            " was not timed");
    sample.retimed = reader.number("median", json::above(0));
    sample.measurement.total_seconds += reader.number("total_seconds", json::at_least(0));
  } else {
    fail(where, ": field 'event' must be provenance, sample or retimed, got ", quoted(kind));
  }
  reader.finish();
}

/// A file that was made and whose writer was killed before its first line was complete.
bool is_unborn(std::string const& path)
{
  std::string const first = json::compact(header()) + "\n";
  return file_size(path) < static_cast<std::int64_t>(first.size()) && first.starts_with(read_file(path));
}

/// Where two provenances differ first, for a message.
std::string difference(TimingProvenance const& now, TimingProvenance const& before)
{
  return json::first_difference(to_json(now), to_json(before));
}

void write_text(hdf5::Writer& file, std::string const& name, std::vector<std::string> const& texts)
{
  std::vector<std::uint8_t> bytes;
  std::vector<std::int64_t> ends;
  for (auto const& text : texts) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    ends.push_back(static_cast<std::int64_t>(bytes.size()));
  }
  file.write("/texts/" + name + "/bytes", {static_cast<std::int64_t>(bytes.size())}, bytes);
  file.write("/texts/" + name + "/ends", {static_cast<std::int64_t>(ends.size())}, ends);
}

} // namespace

bool operator==(TimingProvenance const& left, TimingProvenance const& right)
{
  return json::Value(to_json(left)) == json::Value(to_json(right));
}

TimingProvenance timing_provenance(nn::TrainerOptions const& trainer, Device const& device)
{
  auto const process = make_provenance(0, nullptr, 0, nn::name(trainer.backend));
  auto const identity = nn::device_identity(trainer);
  TimingProvenance provenance;
  provenance.version = process.version;
  provenance.git_hash = process.git_hash + (process.git_state == "modified" ? "-modified" : "");
  provenance.backend = process.backend;
  provenance.hardware = identity.hardware;
  provenance.driver = identity.driver;
  provenance.device = device;
  provenance.threads = trainer.backend == nn::BackendKind::cuda ? 1 : identity.cores;
  if (trainer.backend == nn::BackendKind::openmp)
    for (auto const& [name, value] : process.environment)
      if (name == "OMP_PROC_BIND" || name == "OMP_PLACES")
        provenance.binding += (provenance.binding.empty() ? "" : " ") + name + "=" + value;
  return provenance;
}

bool Sample::barred() const
{
  return retimed > 0 && std::abs(retimed - measurement.median) > 0.1 * std::min(retimed, measurement.median);
}

std::vector<Example> examples(Archive const& archive)
{
  std::vector<Example> result;
  for (auto const& sample : archive.samples) {
    if (sample.measurement.status != MeasureStatus::timed) continue;
    result.push_back({describe(sample.workload),
                      archive.provenances.at(static_cast<std::size_t>(sample.provenance)).device, sample.seconds(),
                      sample.lineage});
  }
  return result;
}

Archive read_archive(std::string const& path)
{
  if (is_unborn(path)) return {};
  auto const lines = read_journal(path);
  require(!lines.empty(), path, ": is no archive of timings (it has no complete line)");
  json::Reader first(lines.front(), concat(path, ":1"));
  json::check_format(first, format, 1);
  first.finish();
  Archive archive;
  for (std::size_t i = 1; i < lines.size(); ++i)
    apply(lines[i], concat(path, ":", i + 1), archive);
  return archive;
}

void merge(Archive& into, Archive const& from, std::string const& source, bool mix)
{
  if (!mix && !into.provenances.empty())
    for (auto const& provenance : from.provenances)
      require(provenance == into.provenances.back(), source,
              ": its timings are of another provenance: ", difference(provenance, into.provenances.back()),
              " (ask for mixing to merge them all the same)");
  std::vector<int> positions;
  for (auto const& provenance : from.provenances) {
    auto const known = std::find(into.provenances.begin(), into.provenances.end(), provenance);
    positions.push_back(static_cast<int>(known - into.provenances.begin()));
    if (known == into.provenances.end()) into.provenances.push_back(provenance);
  }
  for (auto sample : from.samples) {
    sample.provenance = positions.at(static_cast<std::size_t>(sample.provenance));
    into.samples.push_back(std::move(sample));
  }
}

void write_csv(std::string const& path, Archive const& archive)
{
  std::string text = csv_line({"sample",
                               "device",
                               "network",
                               "architecture_sha256",
                               "batch",
                               "optimiser",
                               "seed",
                               "strategy",
                               "lineage",
                               "generation",
                               "status",
                               "reason",
                               "median_seconds",
                               "min_seconds",
                               "sd_seconds",
                               "steps",
                               "total_seconds",
                               "bytes",
                               "retimed_seconds",
                               "genome"});
  for (std::size_t i = 0; i < archive.samples.size(); ++i) {
    auto const& sample = archive.samples[i];
    auto const& measured = sample.measurement;
    bool const timed = measured.status == MeasureStatus::timed;
    auto const seconds = [&](double value) { return timed ? shortest(value) : std::string(); };
    text += csv_line({std::to_string(i),
                      archive.provenances.at(static_cast<std::size_t>(sample.provenance)).device.name,
                      sample.workload.architecture.name,
                      nn::spec::hash(sample.workload.architecture),
                      std::to_string(sample.workload.batch),
                      name(sample.workload.optimiser),
                      std::to_string(sample.seed),
                      sample.strategy,
                      std::to_string(sample.lineage),
                      std::to_string(sample.generation),
                      name(measured.status),
                      measured.reason,
                      seconds(measured.median),
                      seconds(measured.min),
                      seconds(measured.sd),
                      std::to_string(measured.steps),
                      shortest(measured.total_seconds),
                      std::to_string(measured.bytes),
                      sample.retimed > 0 ? shortest(sample.retimed) : std::string(),
                      sample.genome});
  }
  write_file(path, text);
}

void write_hdf5(std::string const& path, Archive const& archive)
{
  hdf5::Writer file(path);
  file.set_attribute("/", "format", format);
  file.set_attribute("/", "version", 1);
  json::Array provenances;
  for (auto const& provenance : archive.provenances)
    provenances.emplace_back(to_json(provenance));
  write_text(file, "provenances", {json::compact(provenances)});
  auto const count = static_cast<std::int64_t>(archive.samples.size());
  auto const integers = [&](char const* name, auto const& value) {
    std::vector<std::int64_t> column;
    for (auto const& sample : archive.samples)
      column.push_back(static_cast<std::int64_t>(value(sample)));
    file.write(concat("/samples/", name), {count}, column);
  };
  auto const numbers = [&](char const* name, auto const& value) {
    std::vector<double> column;
    for (auto const& sample : archive.samples)
      column.push_back(value(sample));
    file.write(concat("/samples/", name), {count}, column);
  };
  auto const texts = [&](char const* name, auto const& value) {
    std::vector<std::string> column;
    for (auto const& sample : archive.samples)
      column.push_back(value(sample));
    write_text(file, name, column);
  };
  integers("provenance", [](Sample const& it) { return it.provenance; });
  integers("batch", [](Sample const& it) { return it.workload.batch; });
  integers("lineage", [](Sample const& it) { return it.lineage; });
  integers("generation", [](Sample const& it) { return it.generation; });
  integers("steps", [](Sample const& it) { return it.measurement.steps; });
  integers("bytes", [](Sample const& it) { return it.measurement.bytes; });
  numbers("median_seconds", [](Sample const& it) { return it.measurement.median; });
  numbers("min_seconds", [](Sample const& it) { return it.measurement.min; });
  numbers("sd_seconds", [](Sample const& it) { return it.measurement.sd; });
  numbers("total_seconds", [](Sample const& it) { return it.measurement.total_seconds; });
  numbers("retimed_seconds", [](Sample const& it) { return it.retimed; });
  texts("architecture", [](Sample const& it) { return nn::spec::to_json(it.workload.architecture); });
  texts("optimiser", [](Sample const& it) { return name(it.workload.optimiser); });
  texts("genome", [](Sample const& it) { return it.genome; });
  texts("seed", [](Sample const& it) { return std::to_string(it.seed); }); // 64 bits without a sign
  texts("strategy", [](Sample const& it) { return it.strategy; });
  texts("status", [](Sample const& it) { return name(it.measurement.status); });
  texts("reason", [](Sample const& it) { return it.measurement.reason; });
  file.commit();
}

namespace {

FileLock locked(std::string const& path)
{
  FileLock lock(path, FileLock::On::file, FileLock::Wait::no);
  require(lock.held(), path, ": another process appends to it");
  return lock;
}

} // namespace

ArchiveWriter::ArchiveWriter(std::string path, TimingProvenance const& provenance, bool mix)
    : m_path(std::move(path)), m_lock(locked(m_path)), m_archive(read_archive(m_path)), m_journal(m_path, Sync::yes)
{
  auto& known = m_archive.provenances;
  if (!known.empty() && provenance == known.back()) return;
  require(known.empty() || mix, m_path, ": holds timings of another provenance: ",
          known.empty() ? std::string() : difference(provenance, known.back()),
          " (--mix appends all the same; new archives are better)");
  if (file_size(m_path) == 0) m_journal.append(header());
  m_journal.append(event("provenance", to_json(provenance)));
  known.push_back(provenance);
}

ArchiveWriter::~ArchiveWriter() = default;

void ArchiveWriter::append(Sample sample)
{
  sample.provenance = static_cast<int>(m_archive.provenances.size()) - 1;
  sample.retimed = 0;
  m_journal.append(event("sample", to_json(sample)));
  m_archive.samples.push_back(std::move(sample));
}

void ArchiveWriter::retime(std::size_t sample, Measurement const& again)
{
  require(sample < m_archive.samples.size(), m_path, ": there is no sample ", sample, " to be timed again");
  auto& known = m_archive.samples[sample];
  require(known.measurement.status == MeasureStatus::timed && again.status == MeasureStatus::timed, m_path, ": sample ",
          sample, " was not timed twice: ", name(known.measurement.status), ", then ", name(again.status));
  m_journal.append(
      event("retimed", {{"sample", sample}, {"median", again.median}, {"total_seconds", again.total_seconds}}));
  known.retimed = again.median;
  known.measurement.total_seconds += again.total_seconds;
}

json::Object to_json(TimingProvenance const& provenance)
{
  return {{"version", provenance.version}, {"git_hash", provenance.git_hash},
          {"backend", provenance.backend}, {"hardware", provenance.hardware},
          {"driver", provenance.driver},   {"device", json::parse(to_json(provenance.device), "device")},
          {"threads", provenance.threads}, {"binding", provenance.binding}};
}

json::Object to_json(Measurement const& measurement)
{
  return {{"status", name(measurement.status)},
          {"reason", measurement.reason},
          {"median", measurement.median},
          {"min", measurement.min},
          {"sd", measurement.sd},
          {"steps", measurement.steps},
          {"total_seconds", measurement.total_seconds},
          {"bytes", measurement.bytes}};
}

json::Object to_json(Sample const& sample)
{
  json::Object object{{"architecture", json::parse(nn::spec::to_json(sample.workload.architecture), "architecture")},
                      {"batch", sample.workload.batch},
                      {"optimiser", name(sample.workload.optimiser)},
                      {"genome", sample.genome},
                      {"seed", sample.seed},
                      {"strategy", sample.strategy},
                      {"lineage", sample.lineage},
                      {"generation", sample.generation}};
  add_fields(object, to_json(sample.measurement));
  return object;
}

} // namespace nasturtium::estimator
