// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium info: this build, this machine, the zoo.
#include "program.hpp"

#include <nasturtium/core/table.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <iostream>

namespace nasturtium::cli {

namespace {

constexpr char const* examples = "  nasturtium info\n"
                                 "  nasturtium info --arch resnet20\n"
                                 "  nasturtium info --json";

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs describe(Invocation const& call, nn::TrainerOptions const& trainer)
{
  auto const provenance = provenance_of(call, 0, trainer.backend);
  Pairs pairs{{"version", provenance.version},
              {"git", provenance.git_hash + " (" + provenance.git_state + ")"},
              {"compiler", provenance.compiler + ", " + provenance.build_type},
              {"processor", provenance.cpu},
              {"cores", std::to_string(provenance.host_cores)}};
  pairs.insert(pairs.end(), provenance.extra.begin(), provenance.extra.end());
  pairs.insert(pairs.end(), provenance.environment.begin(), provenance.environment.end());
  return pairs;
}

void print_text(Pairs const& all)
{
  // What Kokkos says of its own build in full is for programs.
  Pairs pairs;
  for (auto const& pair : all)
    if (!pair.first.starts_with("kokkos ") || pair.first == "kokkos version") pairs.push_back(pair);
  std::size_t widest = 0;
  for (auto const& [key, value] : pairs)
    widest = std::max(widest, key.size());
  for (auto const& [key, value] : pairs)
    std::cout << key << std::string(widest + 2 - key.size(), ' ') << value << '\n';
  Table table(
      {{"network"}, {"input"}, {"output"}, {"nodes"}, {"parameters"}, {"MFLOP/image", 2}, {"training MFLOP/image", 2}});
  for (auto const& name : nn::spec::zoo_names()) {
    auto const architecture = nn::spec::load_architecture(name);
    auto const inferred = nn::spec::infer(architecture, name);
    auto const& input = architecture.input;
    table.add_row({name, concat(input.height, "x", input.width, "x", input.channels),
                   architecture.classes > 0 ? concat(architecture.classes, " classes")
                                            : concat(architecture.regression, " values"),
                   static_cast<std::int64_t>(architecture.nodes.size()), inferred.parameter_count,
                   inferred.forward_flops * 1e-6, inferred.training_flops * 1e-6});
  }
  std::cout << "\nThe zoo (--arch NAME):\n" << table.text();
}

void print_json(Pairs const& pairs)
{
  json::Object object;
  for (auto const& [key, value] : pairs)
    object[key] = value;
  json::Array zoo;
  for (auto const& name : nn::spec::zoo_names()) {
    auto const architecture = nn::spec::load_architecture(name);
    auto const inferred = nn::spec::infer(architecture, name);
    zoo.push_back({{"name", name},
                   {"hash", nn::spec::hash(architecture)},
                   {"parameters", inferred.parameter_count},
                   {"forward_flops", inferred.forward_flops},
                   {"training_flops", inferred.training_flops}});
  }
  object["zoo"] = std::move(zoo);
  std::cout << json::pretty(object);
}

} // namespace

int info(Invocation const& call)
{
  DeviceOptions device;
  std::string source;
  bool as_json = false;
  VerbParser parser("info", "This build, this machine, and the networks that come with it.", examples);
  parser->add_option("--arch", source, "The layers of one architecture: a JSON file or a network of the zoo")
      ->type_name("FILE|NAME");
  parser->add_flag("--json", as_json, "As JSON on stdout; with --arch the architecture in canonical form");
  device.add_to(parser.app());
  if (!parser.parse(call)) return exit_success;

  if (!source.empty()) {
    auto const architecture = nn::spec::load_architecture(source);
    nn::spec::infer(architecture, source);
    std::cout << (as_json ? nn::spec::to_json(architecture) : nn::spec::summary(architecture));
    return exit_success;
  }
  auto const runtime = device.start(call);
  auto const pairs = describe(call, device.trainer());
  if (as_json)
    print_json(pairs);
  else
    print_text(pairs);
  return exit_success;
}

} // namespace nasturtium::cli
