// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/predictor/configure.hpp>

#include <array>
#include <cmath>
#include <variant>

namespace nasturtium::predictor {

namespace {

using Member = std::variant<double Settings::*, int Settings::*, bool Settings::*, std::uint64_t Settings::*,
                            std::vector<double> Settings::*, Rules Settings::*, Solver Settings::*, Family Settings::*>;

struct Field
{
  char const* name;
  Member member;
};

constexpr std::array rules_names{"penguin", "penguin-modular", "a4nn"};
constexpr std::array solver_names{"trf", "exact"};

std::vector<Field> const& fields()
{
  static std::vector<Field> const all{{"e_pred", &Settings::e_pred},
                                      {"spacing", &Settings::spacing},
                                      {"incumbent", &Settings::incumbent},
                                      {"value_min", &Settings::value_min},
                                      {"value_max", &Settings::value_max},
                                      {"rules", &Settings::rules},
                                      {"solver", &Settings::solver},
                                      {"family", &Settings::family},
                                      {"window", &Settings::window},
                                      {"tolerance", &Settings::tolerance},
                                      {"c_min", &Settings::c_min},
                                      {"max_evaluations", &Settings::max_evaluations},
                                      {"loss_check", &Settings::loss_check},
                                      {"loss_floor", &Settings::loss_floor},
                                      {"loss_patience", &Settings::loss_patience},
                                      {"stop_epoch", &Settings::stop_epoch},
                                      {"stop_fraction", &Settings::stop_fraction},
                                      {"min_finished", &Settings::min_finished},
                                      {"pause", &Settings::pause},
                                      {"eta", &Settings::eta},
                                      {"grace", &Settings::grace},
                                      {"rungs", &Settings::rungs},
                                      {"cohort", &Settings::cohort},
                                      {"startup_curves", &Settings::startup_curves},
                                      {"warmup_epochs", &Settings::warmup_epochs},
                                      {"stop_below", &Settings::stop_below},
                                      {"keep_above", &Settings::keep_above},
                                      {"first_epoch", &Settings::first_epoch},
                                      {"lambda", &Settings::lambda},
                                      {"svr_c", &Settings::svr_c},
                                      {"svr_epsilon", &Settings::svr_epsilon},
                                      {"history", &Settings::history},
                                      {"samples", &Settings::samples},
                                      {"seed", &Settings::seed}};
  return all;
}

template <class Names>
std::size_t position(Names const& names, std::string const& word, std::string const& what)
{
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (word == names[i]) return i;
    all += (i > 0 ? ", " : "") + std::string(names[i]);
  }
  fail(what, ": must be one of ", all, ", got ", quoted(word));
}

template <class... Cases>
struct Overloaded : Cases...
{
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

} // namespace

std::vector<std::string> setting_names()
{
  std::vector<std::string> names;
  for (auto const& field : fields())
    names.emplace_back(field.name);
  return names;
}

void configure(Settings& settings, std::string const& name, json::Value const& value, std::string const& where)
{
  std::string names;
  for (auto const& field : fields()) {
    names += (names.empty() ? "" : ", ") + std::string(field.name);
    if (name != field.name) continue;
    std::string const what = concat(where, ": setting '", name, "'");
    auto changed = settings;
    std::visit(
        Overloaded{[&](double Settings::* member) {
                     changed.*member = value.is_null() && member == &Settings::incumbent
                                           ? std::numeric_limits<double>::quiet_NaN()
                                           : json::to_number(value, what);
                   },
                   [&](int Settings::* member) {
                     changed.*member = static_cast<int>(json::to_integer(value, what, 0, 1'000'000'000));
                   },
                   [&](bool Settings::* member) { changed.*member = json::to_boolean(value, what); },
                   [&](std::uint64_t Settings::* member) {
                     changed.*member = value.is_uint64() ? value.get_uint64()
                                                         : static_cast<std::uint64_t>(json::to_integer(value, what, 0));
                   },
                   [&](std::vector<double> Settings::* member) {
                     (changed.*member).clear();
                     for (auto const& entry : json::to_array(value, what))
                       (changed.*member).push_back(json::to_number(entry, what));
                   },
                   [&](Rules Settings::* member) {
                     changed.*member = static_cast<Rules>(position(rules_names, json::to_string(value, what), what));
                   },
                   [&](Solver Settings::* member) {
                     changed.*member = static_cast<Solver>(position(solver_names, json::to_string(value, what), what));
                   },
                   [&](Family Settings::* member) { changed.*member = family(json::to_string(value, what)); }},
        field.member);
    try {
      check(changed);
    } catch (Error const& error) {
      fail(where, ": ", error.what());
    }
    settings = std::move(changed);
    return;
  }
  fail(where, ": unknown setting ", quoted(name), " (", names, ")");
}

json::Object to_json(Settings const& settings)
{
  json::Object object;
  object["preset"] = settings.name;
  for (auto const& field : fields())
    std::visit(Overloaded{[&](double Settings::* member) {
                            if (std::isfinite(settings.*member))
                              object[field.name] = settings.*member;
                            else
                              object[field.name] = nullptr;
                          },
                          [&](int Settings::* member) { object[field.name] = settings.*member; },
                          [&](bool Settings::* member) { object[field.name] = settings.*member; },
                          [&](std::uint64_t Settings::* member) { object[field.name] = settings.*member; },
                          [&](std::vector<double> Settings::* member) {
                            json::Array values;
                            for (double const entry : settings.*member)
                              values.emplace_back(entry);
                            object[field.name] = std::move(values);
                          },
                          [&](Rules Settings::* member) {
                            object[field.name] = rules_names[static_cast<std::size_t>(settings.*member)];
                          },
                          [&](Solver Settings::* member) {
                            object[field.name] = solver_names[static_cast<std::size_t>(settings.*member)];
                          },
                          [&](Family Settings::* member) { object[field.name] = std::string(name(settings.*member)); }},
               field.member);
  return object;
}

} // namespace nasturtium::predictor
