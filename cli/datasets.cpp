// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium datasets: what data there are, whether they are whole, and how to get them.
#include "program.hpp"
#include "run.hpp"

#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/datasets/registry.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <unistd.h>

namespace nasturtium::cli {

namespace {

constexpr char const* examples = "  nasturtium datasets list\n"
                                 "  nasturtium datasets info fashion-mnist\n"
                                 "  nasturtium datasets info csv:flowers.csv:label=species\n"
                                 "  nasturtium datasets verify fashion-mnist\n"
                                 "  nasturtium datasets convert fashion-mnist fashion-mnist.h5\n"
                                 "  nasturtium datasets download cifar10";

struct Options
{
  std::string data_dir, name, output;
  bool json = false;
};

std::string folder_of(datasets::Entry const& entry, std::string const& data_dir)
{
  auto const files = datasets::locate(entry, data_dir);
  return files.empty() ? std::string() : std::filesystem::path(files.front()).parent_path().string();
}

int list(Options const& options)
{
  json::Array array;
  Table table({{"name"}, {"found in"}, {"description"}});
  for (auto const& entry : datasets::entries()) {
    std::string const folder = folder_of(entry, options.data_dir);
    table.add_row({entry.name, folder.empty() ? "-" : folder, entry.description});
    array.push_back({{"name", entry.name},
                     {"description", entry.description},
                     {"licence", entry.licence},
                     {"folder", folder.empty() ? json::Value(nullptr) : json::Value(folder)}});
  }
  if (options.json)
    std::cout << json::pretty(array);
  else
    std::cout << table.text()
              << "\nBeside names, --dataset takes idx:DIR, cifar10:TRAIN[,...]:TEST, svhn:TRAIN.mat:TEST.mat,\n"
                 "csv:FILE:label=COLUMN, nt3:TRAIN.csv:TEST.csv, hdf5:FILE and synthetic[-nt3|-uno][:key=value...].\n";
  return exit_success;
}

// One line per field; nested objects indented below their name, arrays of plain values on the line.
void print_fields(json::Object const& object, std::string const& indent)
{
  std::size_t widest = 0;
  for (auto const& field : object)
    widest = std::max(widest, field.key().size());
  for (auto const& field : object) {
    std::string const key(field.key());
    std::cout << indent << key;
    auto const& value = field.value();
    if (value.is_object()) {
      std::cout << '\n';
      print_fields(value.as_object(), indent + "  ");
      continue;
    }
    std::cout << std::string(widest + 2 - key.size(), ' ');
    if (value.is_string())
      std::cout << std::string(value.as_string());
    else
      std::cout << json::compact(value);
    std::cout << '\n';
  }
}

int describe(Options const& options)
{
  json::Object object;
  for (auto const& entry : datasets::entries()) {
    if (entry.name != options.name) continue;
    object["description"] = entry.description;
    object["licence"] = entry.licence;
    object["folder"] = folder_of(entry, options.data_dir);
  }
  json::Object const described = datasets::describe(datasets::load(options.name, options.data_dir)).as_object();
  for (auto const& field : described)
    object[field.key()] = field.value();
  if (options.json)
    std::cout << json::pretty(object);
  else
    print_fields(object, "");
  return exit_success;
}

int verify(Options const& options)
{
  auto const checks = datasets::verify(datasets::find_entry(options.name), options.data_dir);
  bool good = !checks.empty();
  json::Array array;
  Table table({{"state"}, {"file"}, {"detail"}});
  std::string first;
  for (auto const& check : checks) {
    bool const fine = check.state == datasets::FileState::good || check.state == datasets::FileState::unchecked;
    if (!fine && first.empty())
      first = check.path + ": " + (check.detail.empty() ? datasets::name(check.state) : check.detail);
    good = good && fine;
    table.add_row({datasets::name(check.state), check.path, check.detail});
    array.push_back({{"state", datasets::name(check.state)}, {"file", check.path}, {"detail", check.detail}});
  }
  if (options.json)
    std::cout << json::pretty(array);
  else
    std::cout << table.text();
  if (!good) fail(options.name, " is not whole: ", first.empty() ? "no files" : first);
  return exit_success;
}

int convert(Options const& options)
{
  check_writable(options.output, "convert:");
  catch_interrupts();
  try {
    datasets::convert(options.name, options.output, options.data_dir);
  } catch (Error const& error) {
    if (!interrupted()) throw;
    std::cerr << "nasturtium: " << error.what() << std::endl;
    return exit_interrupted;
  }
  auto const size = static_cast<std::int64_t>(std::filesystem::file_size(options.output));
  if (options.json)
    std::cout << json::pretty(json::Object{{"file", options.output}, {"bytes", size}});
  else
    std::cout << options.output << ": " << grouped(size) << " bytes; use it with --dataset hdf5:" << options.output
              << '\n';
  return exit_success;
}

int download(Options const& options)
{
  auto const& entry = datasets::find_entry(options.name);
  std::string const folder = datasets::download(entry, options.data_dir, isatty(STDERR_FILENO) == 0);
  if (options.json)
    std::cout << json::pretty(json::Object{{"folder", folder}});
  else
    std::cout << options.name << " is in " << folder << '\n';
  return exit_success;
}

} // namespace

int data_sets(Invocation const& call)
{
  Options options;
  VerbParser parser("datasets", "Lists, inspects, verifies, converts and downloads data sets.", examples);
  CLI::App& app = parser.app();
  app.require_subcommand(1);
  app.fallthrough();
  app.add_flag("--json", options.json, "The answer as JSON on stdout");
  app.add_option("--data-dir", options.data_dir, "Folder to look for data sets first, and to download to")
      ->type_name("DIR");
  int (*action)(Options const&) = nullptr;
  auto const add = [&](char const* name, char const* description, int (*run)(Options const&)) {
    auto* const verb = app.add_subcommand(name, description);
    verb->callback([&action, run] { action = run; });
    return verb;
  };
  add("list", "All data sets known by name, and where they were found", list);
  add("info", "Shape, classes, counts, normalisation and checksum of a data set", describe)
      ->add_option("SPEC", options.name, "A name, or anything that --dataset takes")
      ->required();
  add("verify", "Every file of a known data set against its published hash", verify)
      ->add_option("NAME", options.name, "A known data set")
      ->required();
  auto* const converter = add("convert", "Write a data set as one HDF5 file", convert);
  converter->add_option("SPEC", options.name, "A name, or anything that --dataset takes")->required();
  converter->add_option("OUT", options.output, "The HDF5 file")->required();
  add("download", "Fetch the published files (needs the program curl)", download)
      ->add_option("NAME", options.name, "A known data set")
      ->required();
  if (!parser.parse(call)) return exit_success;
  return action(options);
}

} // namespace nasturtium::cli
