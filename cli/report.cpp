// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium report: tables, figures and one page of experiments that are done, from their folders alone.
#include "program.hpp"
#include "report_document.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <set>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples = "  nasturtium report runs/penguin-smoke runs/weight-transfer-smoke --out report\n"
                                 "  nasturtium report results        # everything below a folder";

/// The folder itself, or those below it, that hold a report.json; sorted.
std::vector<std::string> report_folders(std::string const& path)
{
  require(fs::is_directory(path), path, ": no such folder");
  if (is_file((fs::path(path) / "report.json").string())) return {path};
  std::vector<std::string> folders;
  for (auto const& entry : fs::recursive_directory_iterator(path))
    if (entry.path().filename() == "report.json") folders.push_back(entry.path().parent_path().string());
  require(!folders.empty(), path, ": no report.json in it or below; nasturtium reproduce writes one when it ends");
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// EXPERIMENT-FOLDER, which tells runs of one experiment apart.
std::string name_of(ReportDocument const& document, std::string const& folder)
{
  std::string const last = fs::path(fs::absolute(folder).lexically_normal() / "").parent_path().filename().string();
  return last.starts_with(document.experiment()) ? last : concat(document.experiment(), "-", last);
}

} // namespace

int report(Invocation const& call)
{
  std::vector<std::string> runs;
  std::string out = "report";
  bool as_json = false;
  VerbParser parser("report", "Tables, figures and a page of finished experiments, written again.", examples);
  parser->add_option("RUN", runs, "Folders of nasturtium reproduce, or one above them")->required()->type_name("DIR");
  parser->add_option("--out", out, "Folder to write: index.html, and a folder for each run")
      ->capture_default_str()
      ->type_name("DIR");
  parser->add_flag("--json", as_json, "What was written, as JSON on stdout");
  if (!parser.parse(call)) return exit_success;
  // All is read before anything is written: a bad file leaves nothing half.
  std::vector<std::pair<std::string, ReportDocument>> documents;
  std::set<std::string> names;
  for (auto const& run : runs)
    for (auto const& folder : report_folders(run)) {
      std::string const file = (fs::path(folder) / "report.json").string();
      auto document = ReportDocument::parse(json::parse_file(file), file);
      std::string name = name_of(document, folder);
      for (int copy = 2; !names.insert(name).second; ++copy)
        name = concat(name_of(document, folder), "-", copy);
      documents.emplace_back(std::move(name), std::move(document));
    }
  Page page("nasturtium: results");
  json::Array written;
  for (auto const& [name, document] : documents) {
    document.write((fs::path(out) / name).string());
    page.heading(concat(name, ": ", document.title()));
    document.add_to(page, 3);
    written.emplace_back(name);
  }
  std::string const index = (fs::path(out) / "index.html").string();
  write_file(index, page.html());
  if (as_json) {
    std::cout << json::pretty(json::Object{{"out", out}, {"runs", std::move(written)}});
  } else {
    for (auto const& [name, document] : documents)
      std::cout << (fs::path(out) / name).string() << "  " << document.title() << '\n';
    std::cout << "To look at: " << index << '\n';
  }
  return exit_success;
}

} // namespace nasturtium::cli
