// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium transfer: what a new network can take over from a trained one, and the stores of trained ones.
#include "program.hpp"
#include "transfer_store.hpp"

#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/matching.hpp>

#include <functional>
#include <iostream>

namespace nasturtium::cli {

namespace {

constexpr char const* examples = "  nasturtium transfer match vgg32 resnet20\n"
                                 "  nasturtium transfer match donor.json child.json --policy lp\n"
                                 "  nasturtium transfer match a.json b.json --batch-norm fused --json\n"
                                 "  nasturtium transfer store ls --store runs/search/store\n"
                                 "  nasturtium transfer store export 17 --store runs/search/store --out net-17 --onnx";

struct Options
{
  std::string donor, child;
  nas::MatchPolicy policy;
  bool json = false;
};

template <class Rule>
std::vector<std::pair<std::string, Rule>> choices(std::initializer_list<Rule> rules)
{
  std::vector<std::pair<std::string, Rule>> result;
  for (Rule const rule : rules)
    result.emplace_back(nas::name(rule), rule);
  return result;
}

std::vector<nas::WeightedLayer> layers_of(std::string const& source, nas::MatchPolicy const& policy)
{
  auto const architecture = nn::spec::load_architecture(source);
  nn::spec::infer(architecture, source);
  return nas::weighted_layers(architecture, policy);
}

/// Ids are up to 128 characters long, a line of the table is 80.
std::string short_id(std::string const& id)
{
  constexpr std::size_t widest = 24;
  return id.size() <= widest ? id : id.substr(0, widest - 3) + "...";
}

std::string shape_of(nas::WeightedLayer const& layer)
{
  std::string text;
  for (std::int64_t const extent : layer.tensors.front().extent)
    text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

std::string share(std::int64_t part, std::int64_t whole)
{
  double const percent = whole == 0 ? 0 : 100. * static_cast<double>(part) / static_cast<double>(whole);
  return concat(grouped(part), " of ", grouped(whole), " (", fixed(percent, 1), " %)");
}

/// Every layer of the child, with the donor's where it has one.
void print_alignment(std::vector<nas::WeightedLayer> const& donor, std::vector<nas::WeightedLayer> const& child,
                     nas::Match const& match)
{
  Table table({{"donor layer"}, {"child layer"}, {"shape"}, {"bytes"}});
  auto next = match.layers.begin();
  for (std::size_t j = 0; j < child.size(); ++j) {
    bool const filled = next != match.layers.end() && next->second == static_cast<int>(j);
    std::string const from = filled ? short_id(donor[static_cast<std::size_t>(next++->first)].id) : "-";
    table.add_row({from, short_id(child[j].id), shape_of(child[j]), child[j].bytes()});
  }
  std::cout << table.text() << "\nlayers filled      " << share(match.matched, match.weighted_layers)
            << "\nbytes filled       " << share(match.bytes, match.bytes_of_child) << "\nparameters filled  "
            << share(match.parameters, match.parameters_of_child) << '\n';
}

json::Object described(Options const& options, nas::Match const& match)
{
  json::Array pairs;
  for (auto const& [donor, child] : match.pairs)
    pairs.push_back(json::Array{json::Value(donor), json::Value(child)});
  return {{"matched", match.matched},
          {"weighted_layers", match.weighted_layers},
          {"bytes", match.bytes},
          {"pairs", std::move(pairs)},
          {"coverage", match.coverage()},
          {"bytes_of_child", match.bytes_of_child},
          {"parameters", match.parameters},
          {"parameters_of_child", match.parameters_of_child},
          {"donor", options.donor},
          {"child", options.child},
          {"policy", nas::name(options.policy.matcher)},
          {"element", nas::name(options.policy.element)},
          {"batch_norm", nas::name(options.policy.batch_norm)}};
}

int match(Options const& options)
{
  auto const donor = layers_of(options.donor, options.policy);
  auto const child = layers_of(options.child, options.policy);
  nas::Match const match = nas::match(donor, child, options.policy.matcher);
  if (options.json)
    std::cout << json::pretty(described(options, match));
  else
    print_alignment(donor, child, match);
  return exit_success;
}

} // namespace

int transfer(Invocation const& call)
{
  Options options;
  VerbParser parser("transfer", "Weights of trained networks as beginnings of others.", examples);
  CLI::App& app = parser.app();
  app.require_subcommand(1);
  std::function<int()> action;
  auto* const matcher = app.add_subcommand("match", "Which layers of a new network match those of a trained one");
  matcher->callback([&] { action = [&options] { return match(options); }; });
  matcher->add_option("DONOR", options.donor, "Architecture of the trained network: a JSON file or a name of the zoo")
      ->required();
  matcher->add_option("CHILD", options.child, "Architecture of the new network")->required();
  add_choice(*matcher, "--policy", options.policy.matcher,
             choices({nas::Matcher::lp, nas::Matcher::lcs, nas::Matcher::exact_prefix, nas::Matcher::lcs_bytes}),
             "Prefix, subsequence, equal function, or the subsequence of most bytes");
  add_choice(*matcher, "--element", options.policy.element,
             choices({nas::ElementRule::tuple, nas::ElementRule::kernel}),
             "Layers are equal by op and all shapes, or by the kernel's shape");
  add_choice(*matcher, "--batch-norm", options.policy.batch_norm,
             choices({nas::BatchNormRule::element, nas::BatchNormRule::fused, nas::BatchNormRule::ignore}),
             "A layer, part of the one before it, or nothing");
  matcher->add_flag("--json", options.json, "The answer as JSON on stdout");
  add_transfer_store(app, action);
  if (!parser.parse(call)) return exit_success;
  return action();
}

} // namespace nasturtium::cli
