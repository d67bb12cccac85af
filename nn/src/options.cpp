// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/options.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <limits>
#include <string_view>
#include <vector>

namespace nasturtium::nn {

namespace {

// Names in the order of the enumerators.
std::vector<std::string> const optimiser_names{"sgd", "adam", "adamw", "rmsprop"};
std::vector<std::string> const schedule_names{"constant", "step", "cosine", "one_cycle"};
std::vector<std::string> const order_names{"shuffled", "sequential"};
std::vector<std::string> const precision_names{"float32", "float64"};
std::vector<std::string> const initialiser_names{"he_normal",    "he_uniform",    "glorot_normal", "glorot_uniform",
                                                 "lecun_normal", "lecun_uniform", "orthogonal"};

constexpr int max_epochs = 1000000;
constexpr int max_batch_size = 1 << 20;
constexpr double max_pixels = 4096;

// Every option once, with its range: the visitors below (Check, Write, Read) cannot disagree about them.
template <class Visitor, class Options>
void each_optimiser_option(Visitor& visit, Options& optimiser)
{
  visit.choice("kind", optimiser.kind, optimiser_names);
  visit.number("learning_rate", optimiser.learning_rate, json::above(0));
  visit.number("momentum", optimiser.momentum, json::half_open(0, 1));
  visit.boolean("nesterov", optimiser.nesterov);
  visit.number("weight_decay", optimiser.weight_decay, json::at_least(0));
  visit.boolean("decoupled", optimiser.decoupled);
  visit.number("beta1", optimiser.beta1, json::half_open(0, 1));
  visit.number("beta2", optimiser.beta2, json::half_open(0, 1));
  visit.number("rho", optimiser.rho, json::half_open(0, 1));
  visit.number("epsilon", optimiser.epsilon, json::above(0));
  visit.number("clip_norm", optimiser.clip_norm, json::at_least(0));
}

template <class Visitor, class Options>
void each_schedule_option(Visitor& visit, Options& schedule)
{
  visit.choice("kind", schedule.kind, schedule_names);
  visit.number("warmup_epochs", schedule.warmup_epochs, json::at_least(0));
  visit.number("step_epochs", schedule.step_epochs, json::above(0));
  visit.number("gamma", schedule.gamma, json::Range{0, 1, true, false});
  visit.number("final_fraction", schedule.final_fraction, json::between(0, 1));
  visit.number("peak_fraction", schedule.peak_fraction, json::between(0, 1));
  visit.number("initial_fraction", schedule.initial_fraction, json::between(0, 1));
}

template <class Visitor, class Options>
void each_augment_option(Visitor& visit, Options& augment)
{
  visit.integer("crop_padding", augment.crop_padding, 0, max_pixels);
  visit.boolean("flip", augment.flip);
  visit.integer("cutout", augment.cutout, 0, max_pixels);
}

template <class Visitor, class Options>
void each_option(Visitor& visit, Options& options)
{
  visit.integer("epochs", options.epochs, 1, max_epochs);
  visit.integer("batch_size", options.batch_size, 1, max_batch_size);
  visit.group("optimiser", options.optimiser, [](auto& v, auto& o) { each_optimiser_option(v, o); });
  visit.group("schedule", options.schedule, [](auto& v, auto& o) { each_schedule_option(v, o); });
  visit.group("augment", options.augment, [](auto& v, auto& o) { each_augment_option(v, o); });
  visit.number("label_smoothing", options.label_smoothing, json::half_open(0, 1));
  visit.name("initialiser", options.initialiser, initialiser_names);
  visit.seed("seed", options.seed);
  visit.choice("order", options.order, order_names);
  visit.choice("precision", options.precision, precision_names);
  visit.integer("top_k", options.top_k, 1, max_batch_size);
  visit.integer("validations_per_epoch", options.validations_per_epoch, 1, 2);
  visit.integer("early_stopping_patience", options.early_stopping_patience, 0, max_epochs);
  visit.integer("max_steps", options.max_steps, 0, 1e15);
  visit.number("time_limit_seconds", options.time_limit_seconds, json::at_least(0));
  visit.integer("memory_limit_bytes", options.memory_limit_bytes, 0, 1e15);
}

/// Throws for the first option out of range.
class Check
{
public:
  explicit Check(std::string prefix) : m_prefix(std::move(prefix)) {}

  template <class Integer>
  void integer(char const* name, Integer value, double low, double high)
  {
    double const v = static_cast<double>(value);
    require(v >= low && v <= high, "option '", m_prefix, name, "' must be an integer in [",
            static_cast<std::int64_t>(low), ", ", static_cast<std::int64_t>(high), "], got ", value);
  }
  void number(char const* name, double value, json::Range const& range)
  {
    require(range.contains(value), "option '", m_prefix, name, "' must be ", range.text(), ", got ", shortest(value));
  }
  void name(char const* field, std::string const& value, std::vector<std::string> const& names)
  {
    std::string known;
    for (std::string const& candidate : names)
      known += (known.empty() ? "" : ", ") + candidate;
    require(std::find(names.begin(), names.end(), value) != names.end(), "option '", m_prefix, field,
            "' must be one of: ", known, "; got ", quoted(value));
  }
  template <class Group, class Each>
  void group(char const* name, Group const& group, Each const& each)
  {
    Check inner(concat(m_prefix, name, "."));
    each(inner, group);
  }
  template <class Enum>
  void choice(char const* name, Enum value, std::vector<std::string> const& names)
  {
    int const number = static_cast<int>(value);
    require(number >= 0 && number < static_cast<int>(names.size()), "option '", m_prefix, name, "' has no value ",
            number);
  }
  void boolean(char const*, bool) {}
  void seed(char const*, std::uint64_t) {}

private:
  std::string m_prefix;
};

class Write
{
public:
  template <class Integer>
  void integer(char const* name, Integer value, double, double)
  {
    m_object[name] = value;
  }
  void number(char const* name, double value, json::Range const&) { m_object[name] = value; }
  void name(char const* name, std::string const& value, std::vector<std::string> const&) { m_object[name] = value; }
  template <class Group, class Each>
  void group(char const* name, Group const& group, Each const& each)
  {
    Write inner;
    each(inner, group);
    m_object[name] = inner.take();
  }
  template <class Enum>
  void choice(char const* name, Enum value, std::vector<std::string> const& names)
  {
    m_object[name] = names.at(static_cast<std::size_t>(value));
  }
  void boolean(char const* name, bool value) { m_object[name] = value; }
  void seed(char const* name, std::uint64_t value) { m_object[name] = value; }

  json::Object take() { return std::move(m_object); }

private:
  json::Object m_object;
};

/// Reads the fields that are there; the others keep the value they have.
class Read
{
public:
  explicit Read(json::Reader& reader) : m_reader(reader) {}

  template <class Integer>
  void integer(char const* name, Integer& value, double low, double high)
  {
    value = static_cast<Integer>(
        m_reader.integer(name, static_cast<std::int64_t>(low), static_cast<std::int64_t>(high), value));
  }
  void number(char const* name, double& value, json::Range const& range)
  {
    value = m_reader.number(name, range, value);
  }
  void name(char const* name, std::string& value, std::vector<std::string> const& names)
  {
    if (m_reader.has(name)) value = names[m_reader.choice(name, names)];
  }
  template <class Group, class Each>
  void group(char const* name, Group& group, Each const& each)
  {
    if (!m_reader.has(name)) return;
    json::Reader object = m_reader.object(name);
    Read inner(object);
    each(inner, group);
    object.finish();
  }
  template <class Enum>
  void choice(char const* name, Enum& value, std::vector<std::string> const& names)
  {
    value = static_cast<Enum>(m_reader.choice(name, names, static_cast<std::size_t>(value)));
  }
  void boolean(char const* name, bool& value) { value = m_reader.boolean(name, value); }
  void seed(char const* name, std::uint64_t& value) { value = m_reader.seed(name, value); }

private:
  json::Reader& m_reader;
};

/// What no single option can be blamed for; `where` opens the message.
void check_together(TrainOptions const& options, std::string const& where)
{
  require(!options.optimiser.nesterov || options.optimiser.kind == OptimiserKind::sgd, where,
          "option 'optimiser.nesterov' is for sgd alone, got ",
          optimiser_names[static_cast<std::size_t>(options.optimiser.kind)]);
  require(!options.optimiser.nesterov || options.optimiser.momentum > 0, where,
          "option 'optimiser.nesterov' needs a momentum above 0, got 0");
  require(options.schedule.kind != ScheduleKind::one_cycle || options.schedule.warmup_epochs == 0, where,
          "option 'schedule.warmup_epochs' must be 0 with one_cycle, which rises by itself, got ",
          shortest(options.schedule.warmup_epochs));
}

} // namespace

void check(TrainOptions const& options)
{
  Check visitor("");
  each_option(visitor, options);
  check_together(options, "");
}

std::string to_json(TrainOptions const& options)
{
  Write visitor;
  each_option(visitor, options);
  return json::pretty(visitor.take());
}

TrainOptions parse_options(std::string const& text, std::string const& source)
{
  json::Value const value = json::parse(text, source);
  json::Reader reader(value, source);
  TrainOptions options;
  Read visitor(reader);
  each_option(visitor, options);
  reader.finish();
  check_together(options, source + ": ");
  return options;
}

} // namespace nasturtium::nn
