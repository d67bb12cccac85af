// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The archive of timed networks: a file of JSON lines that grows sample by sample and survives a kill at any moment.
// (HDF5 cannot be appended to that way: a kill between two of its writes leaves a file that nothing opens. The lines
// are the truth; HDF5 and CSV are exports of them.) Format: docs/estimator-measuring.md. Reference section 2.4.
#pragma once

#include <nasturtium/core/file_lock.hpp>
#include <nasturtium/core/journal.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/estimator/device.hpp>
#include <nasturtium/estimator/estimator.hpp>
#include <nasturtium/estimator/measure.hpp>
#include <nasturtium/estimator/workload.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// What timings must have in common to be compared.
struct TimingProvenance
{
  std::string version, git_hash; ///< the latter ends with "-modified" where the sources were
  std::string backend;           ///< "openmp"
  std::string hardware, driver;  ///< names of the processor or card, and of its driver
  Device device;                 ///< constants as probed once, when the archive began
  int threads = 1;               ///< that trained
  std::string binding;           ///< OMP_PROC_BIND and OMP_PLACES as set, "" for none
  friend bool operator==(TimingProvenance const&, TimingProvenance const&);
};
/// Of this build, this process and its environment. Throws Error where the backend is not up.
TimingProvenance timing_provenance(nn::TrainerOptions const& trainer, Device const& device);

/// One timed network and where it comes from.
struct Sample
{
  Workload workload;
  std::string genome; ///< as text; "" for a network that was not bred
  std::uint64_t seed = 0;
  std::string strategy;     ///< "random", "hard", ...; "" for none
  std::int64_t lineage = 0; ///< samples of one lineage never stand on both sides of a split
  std::int64_t generation = 0;
  Measurement measurement;
  double retimed = 0; ///< median of a second timing; 0: there was none
  int provenance = 0; ///< position in Archive::provenances; set by whoever stores the sample
  /// The label: the median, or the mean of both medians. Only for timed samples.
  double seconds() const { return retimed > 0 ? 0.5 * (measurement.median + retimed) : measurement.median; }
  /// Both medians are more than 10 % (of the smaller) apart: no parent on error grounds.
  bool barred() const;
};

struct Archive
{
  std::vector<TimingProvenance> provenances; ///< one, unless timings were mixed on purpose
  std::vector<Sample> samples;
};

/// Timed samples as the estimators take them, in their order. Throws Error for an architecture that does not infer.
std::vector<Example> examples(Archive const& archive);

/// Reads a file of an ArchiveWriter; a last line that was not finished is left out, and a file whose first line was not
/// is an empty archive. Throws Error naming file, line, field and value.
Archive read_archive(std::string const& path);

/// Appends the samples of `from` to `into`. Unless `mix`, a provenance that differs is refused, naming `source`, the
/// field and both values; nothing is changed then.
void merge(Archive& into, Archive const& from, std::string const& source, bool mix = false);

/// Exports, each complete or not at all. CSV has a line per sample with the architecture's hash; HDF5 has
/// /samples/COLUMN for numbers, and /texts/COLUMN/{bytes, ends} for texts (architectures as JSON among them).
void write_csv(std::string const& path, Archive const& archive);
void write_hdf5(std::string const& path, Archive const& archive);

/// Appends to an archive, one line per event, each on the disk when the call returns. One writer at a time: a second
/// one is refused.
class ArchiveWriter
{
public:
  /// Opens or makes the file. An existing one must be an archive; unless `mix`, its last provenance must be this one
  /// (Error names file, field and both values).
  ArchiveWriter(std::string path, TimingProvenance const& provenance, bool mix = false);
  ~ArchiveWriter();
  ArchiveWriter(ArchiveWriter const&) = delete;
  ArchiveWriter& operator=(ArchiveWriter const&) = delete;

  /// What the file holds by now.
  Archive const& archive() const { return m_archive; }
  /// Its position is archive().samples.size() - 1 afterwards. `sample.provenance` is ignored.
  void append(Sample sample);
  /// The second timing of a sample. Throws Error for a position that is not there and for timings that failed.
  void retime(std::size_t sample, Measurement const& again);

private:
  std::string m_path;
  FileLock m_lock;
  Archive m_archive;
  JournalWriter m_journal;
};

json::Object to_json(TimingProvenance const& provenance);
json::Object to_json(Measurement const& measurement);
json::Object to_json(Sample const& sample);

} // namespace nasturtium::estimator
