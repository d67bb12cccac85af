// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "networks.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/estimator/archive.hpp>

#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>

using namespace nasturtium;
using namespace nasturtium::estimator;
using test::error_of;
using test::TemporaryFolder;

namespace {

TimingProvenance provenance(int threads = 2)
{
  Device const device{"openmp-2", 1.25e11, 1.9e10, 3.1e-6, 2, 2400, std::int64_t{16} << 30};
  return {"0.1.0", "abc", "openmp", "A Processor", "", device, threads, "OMP_PROC_BIND=close"};
}

Sample sample(std::uint64_t seed)
{
  Sample it;
  it.workload = test::random_workload(seed);
  it.genome = "header 8 16 1 \"sgd\"\nconv, " + std::to_string(seed);
  it.seed = 0xffffffffffffff00U + seed;
  it.strategy = "hard";
  it.lineage = static_cast<std::int64_t>(seed) - 3;
  it.generation = static_cast<std::int64_t>(seed / 4);
  it.measurement.median = 0.001 * static_cast<double>(seed + 1);
  it.measurement.min = 0.9 * it.measurement.median;
  it.measurement.sd = 1e-5;
  it.measurement.steps = 30;
  it.measurement.total_seconds = 1.5;
  it.measurement.bytes = 123456;
  return it;
}

Sample failed(std::uint64_t seed)
{
  auto it = sample(seed);
  it.measurement = {};
  it.measurement.status = MeasureStatus::over_cap;
  it.measurement.reason = "a step took 3 s, the cap is 1 s";
  it.measurement.total_seconds = 3;
  return it;
}

void check_equal(Sample const& left, Sample const& right)
{
  CHECK(json::Value(to_json(left)) == json::Value(to_json(right)));
  CHECK(left.workload.architecture == right.workload.architecture);
  CHECK(left.retimed == right.retimed);
  CHECK(left.provenance == right.provenance);
}

} // namespace

TEST_CASE("an archive gives back what was appended", "[archive]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "timings.jsonl";
  {
    ArchiveWriter writer(path, provenance());
    for (std::uint64_t i = 0; i < 5; ++i)
      writer.append(sample(i));
    writer.append(failed(5));
  }
  {
    ArchiveWriter writer(path, provenance()); // goes on
    CHECK(writer.archive().samples.size() == 6);
    writer.append(sample(6));
    Measurement again = sample(1).measurement;
    again.median = 0.003;
    writer.retime(1, again);
    CHECK_THROWS_AS(writer.retime(7, again), Error);
    CHECK_THROWS_AS(writer.retime(5, again), Error);
    again.status = MeasureStatus::invalid;
    CHECK_THROWS_AS(writer.retime(1, again), Error);
  }
  auto const archive = read_archive(path);
  REQUIRE(archive.samples.size() == 7);
  REQUIRE(archive.provenances.size() == 1);
  CHECK(archive.provenances.front() == provenance());
  for (std::size_t i = 0; i < 7; ++i) {
    auto expected = i == 5 ? failed(5) : sample(i);
    if (i == 1) {
      expected.retimed = 0.003;
      expected.measurement.total_seconds = 3;
    }
    check_equal(archive.samples[i], expected);
  }
  CHECK(archive.samples[1].seconds() == 0.0025);
  CHECK(archive.samples[1].barred());
  CHECK_FALSE(archive.samples[2].barred());

  auto const rows = examples(archive);
  REQUIRE(rows.size() == 6);
  CHECK(rows[1].seconds == 0.0025);
  CHECK(rows[5].seconds == sample(6).measurement.median);
  CHECK(rows[5].lineage == 3);
  CHECK(rows[0].device.peak_flops == 1.25e11);
  CHECK(rows[0].description.parameters == describe(sample(0).workload).parameters);
}

TEST_CASE("timings of another provenance are refused unless they are to be mixed", "[archive]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "timings.jsonl";
  {
    ArchiveWriter writer(path, provenance());
    writer.append(sample(0));
  }
  auto const before = read_file(path);
  auto const threads = error_of([&] { ArchiveWriter(path, provenance(1)); });
  CHECK(threads.starts_with(path + ": holds timings of another provenance: 'threads' is '1', was '2'"));
  auto other = provenance();
  other.device.bandwidth = 2e10;
  auto const bandwidth = error_of([&] { ArchiveWriter(path, other); });
  INFO(bandwidth);
  CHECK(bandwidth.find("'device.bandwidth' is '2e+10', was '1.9e+10'") != std::string::npos);
  CHECK(read_file(path) == before);
  {
    ArchiveWriter writer(path, provenance(1), true);
    writer.append(sample(1));
  }
  auto const mixed = read_archive(path);
  REQUIRE(mixed.provenances.size() == 2);
  CHECK(mixed.samples[0].provenance == 0);
  CHECK(mixed.samples[1].provenance == 1);

  Archive alone{{provenance(1)}, {sample(7)}};
  Archive into{{provenance()}, {sample(8)}};
  auto const refused = error_of([&] { merge(into, alone, "other.jsonl"); });
  CHECK(refused.starts_with("other.jsonl: "));
  CHECK(refused.find("'threads' is '1', was '2'") != std::string::npos);
  CHECK(into.samples.size() == 1);
  merge(into, alone, "other.jsonl", true);
  merge(into, alone, "other.jsonl", true);
  CHECK(into.provenances.size() == 2);
  REQUIRE(into.samples.size() == 3);
  CHECK(into.samples[2].provenance == 1);
  Archive empty;
  merge(empty, alone, "other.jsonl");
  CHECK(empty.samples.size() == 1);
}

TEST_CASE("one writer at a time", "[archive]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "timings.jsonl";
  std::optional<ArchiveWriter> writer(std::in_place, path, provenance());
  CHECK(error_of([&] { ArchiveWriter(path, provenance()); }) == path + ": another process appends to it");
  writer.reset();
  CHECK(error_of([&] { ArchiveWriter(path, provenance()); }) == "no error");
}

TEST_CASE("an archive killed at any moment is read and continued", "[archive]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "timings.jsonl";
  test::Random random(11);
  std::size_t known = 0;
  for (int round = 0; round < 25; ++round) {
    pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      try {
        ArchiveWriter writer(path, provenance());
        for (std::uint64_t i = writer.archive().samples.size();; ++i)
          writer.append(sample(i % 50));
      } catch (...) {
      }
      ::_exit(1);
    }
    ::usleep(300 + random.below(12000));
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status)); // it did not end with an error of its own
    if (!is_file(path) || file_size(path) == 0) continue;
    auto const archive = read_archive(path);
    REQUIRE(archive.samples.size() >= known);
    for (std::size_t i = 0; i < archive.samples.size(); ++i)
      REQUIRE(archive.samples[i].seed == sample(i % 50).seed);
    known = archive.samples.size();
  }
  CHECK(known > 0);
}

TEST_CASE("an archive that was only begun is begun again, anything else is left alone", "[archive]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "timings.jsonl";
  for (auto const* begun : {"", "{\"form", "{\"format\":\"nasturtium-timings\",\"version\":1}\n"}) {
    write_file(path, begun);
    ArchiveWriter(path, provenance()).append(sample(3));
    CHECK(read_archive(path).samples.size() == 1);
  }
  for (auto const* foreign : {"notes", "one line\n", "{\"format\":\"nasturtium-memory-model\",\"version\":1}\n"}) {
    write_file(path, foreign);
    CHECK(error_of([&] { ArchiveWriter(path, provenance()); }).starts_with(path));
    CHECK(read_file(path) == foreign);
  }
}

TEST_CASE("a damaged archive is refused with its line, or read", "[archive]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "timings.jsonl";
  {
    ArchiveWriter writer(path, provenance());
    writer.append(sample(0));
    writer.append(failed(1));
    writer.retime(0, sample(0).measurement);
  }
  std::string const whole = read_file(path);
  test::Random random(12);
  int refused = 0, read = 0;
  for (int i = 0; i < 300; ++i) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << test::mutated(whole, random); // no fsync
    try {
      auto const archive = read_archive(path);
      for (auto const& it : archive.samples)
        REQUIRE((it.measurement.status != MeasureStatus::timed || it.seconds() > 0));
      ++read;
    } catch (Error const& error) {
      REQUIRE(std::string(error.what()).starts_with(path));
      ++refused;
    }
  }
  CHECK(refused > 100);
  CHECK(read > 0);
  auto line = [&](std::string const& text) {
    write_file(path, whole + text + "\n");
    return error_of([&] { read_archive(path); });
  };
  CHECK(line(R"({"event":"retimed","sample":9,"median":1,"total_seconds":1})").find(":6: field 'sample'") !=
        std::string::npos);
  CHECK(line(R"({"event":"retimed","sample":1,"median":1,"total_seconds":1})").find("was not timed") !=
        std::string::npos);
  CHECK(line(R"({"event":"danced"})").find("'danced'") != std::string::npos);
}

TEST_CASE("exports hold what the archive holds", "[archive]")
{
  TemporaryFolder const folder;
  Archive archive{{provenance()}, {sample(0), failed(1), sample(2)}};
  archive.samples[2].retimed = 0.0031;
  write_csv(folder / "timings.csv", archive);
  auto csv = CsvReader::open(folder / "timings.csv");
  std::size_t row = 0;
  for (; csv.next(); ++row) {
    auto const& it = archive.samples[row];
    CHECK(csv.integer(csv.column("batch")) == it.workload.batch);
    CHECK(csv.fields()[csv.column("seed")] == std::to_string(it.seed));
    CHECK(csv.fields()[csv.column("genome")] == it.genome);
    CHECK(csv.fields()[csv.column("architecture_sha256")] == nn::spec::hash(it.workload.architecture));
    CHECK(csv.fields()[csv.column("status")] == name(it.measurement.status));
    if (row == 1)
      CHECK(csv.fields()[csv.column("median_seconds")].empty());
    else
      CHECK(csv.number(csv.column("median_seconds")) == it.measurement.median);
  }
  CHECK(row == 3);

  write_hdf5(folder / "timings.h5", archive);
  hdf5::Reader const file(folder / "timings.h5");
  CHECK(file.string_attribute("/", "format") == "nasturtium-timings");
  CHECK(file.read<double>("/samples/median_seconds").values ==
        std::vector{archive.samples[0].measurement.median, 0.0, archive.samples[2].measurement.median});
  CHECK(file.read<double>("/samples/retimed_seconds").values == std::vector{0.0, 0.0, 0.0031});
  CHECK(file.read<std::int64_t>("/samples/lineage").values == std::vector<std::int64_t>{-3, -2, -1});
  auto const bytes = file.read<std::uint8_t>("/texts/architecture/bytes").values;
  auto const ends = file.read<std::int64_t>("/texts/architecture/ends").values;
  REQUIRE(ends.size() == 3);
  std::string const last(bytes.begin() + ends[1], bytes.begin() + ends[2]);
  CHECK(nn::spec::parse_architecture(last, "export") == archive.samples[2].workload.architecture);

  write_csv(folder / "none.csv", {});
  write_hdf5(folder / "none.h5", {});
  CHECK(hdf5::Reader(folder / "none.h5").read<double>("/samples/sd_seconds").values.empty());
}
