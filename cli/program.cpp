// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "program.hpp"

#include <nasturtium/core/number.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

namespace nasturtium::cli {

namespace {

std::size_t terminal_width()
{
  std::size_t width = 80;
  winsize size{};
  if (char const* const columns = std::getenv("COLUMNS"); columns && parse_integer(columns))
    width = static_cast<std::size_t>(std::max<std::int64_t>(*parse_integer(columns), 0));
  else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    width = size.ws_col;
  return std::clamp<std::size_t>(width, 60, 120);
}

// Options in one column, descriptions broken at words in another: fits the terminal.
class HelpFormatter : public CLI::Formatter
{
public:
  std::string make_option(CLI::Option const* option, bool positional) const override
  {
    return entry(make_option_name(option, positional) + make_option_opts(option), make_option_desc(option));
  }

  std::string make_subcommand(CLI::App const* verb) const override
  {
    return entry(verb->get_name(), verb->get_description());
  }

  // CLI11 shows what a flag like --no-x sets; that is of no use to anybody.
  std::string make_option_name(CLI::Option const* option, bool positional) const override
  {
    std::string name = CLI::Formatter::make_option_name(option, positional);
    for (std::size_t at; (at = name.find("{false}")) != std::string::npos;)
      name.erase(at, 7);
    return name;
  }

  // No blank at the end of a line and no two empty lines.
  std::string make_help(CLI::App const* app, std::string name, CLI::AppFormatMode mode) const override
  {
    std::string const text = CLI::Formatter::make_help(app, std::move(name), mode);
    std::string out;
    for (char const c : text) {
      if (c == '\n') {
        while (!out.empty() && out.back() == ' ')
          out.pop_back();
        if (out.ends_with("\n\n")) continue;
      }
      out += c;
    }
    return out;
  }

  std::string make_usage(CLI::App const* app, std::string name) const override
  {
    return "\n" + CLI::Formatter::make_usage(app, std::move(name));
  }

private:
  static std::string entry(std::string const& left, std::string const& description)
  {
    std::size_t const column = 34, width = terminal_width();
    std::string out = "  " + left;
    std::size_t position = out.size();
    if (position + 2 > column) {
      out += "\n";
      position = 0;
    }
    out += std::string(column - position, ' ');
    position = column;
    std::istringstream words(description);
    for (std::string word; words >> word;) {
      if (position > column && position + 1 + word.size() > width) {
        out += "\n" + std::string(column, ' ');
        position = column;
      }
      if (position > column) {
        out += ' ';
        ++position;
      }
      out += word;
      position += word.size();
    }
    return out + "\n";
  }
};

// A config file may serve several verbs: a verb takes the fields before the first section and those of its own section.
class VerbConfig : public CLI::ConfigTOML
{
public:
  explicit VerbConfig(std::string verb) : m_verb(std::move(verb)) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override
  {
    std::vector<CLI::ConfigItem> items;
    for (auto& item : CLI::ConfigTOML::from_config(input)) {
      if (item.name == "++" || item.name == "--") continue; // begin and end of a section
      if (!item.parents.empty() && item.parents.front() != m_verb) continue;
      item.parents.clear();
      std::replace(item.name.begin(), item.name.end(), '_', '-');
      items.push_back(std::move(item));
    }
    return items;
  }

private:
  std::string m_verb;
};

} // namespace

VerbParser::VerbParser(std::string name, std::string description, std::string examples)
    : m_app(std::move(description), "nasturtium " + name)
{
  m_app.formatter(std::make_shared<HelpFormatter>());
  m_app.allow_config_extras(CLI::config_extras_mode::error);
  m_app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast); // given twice: the later wins
  m_app.config_formatter(std::make_shared<VerbConfig>(std::move(name)));
  m_app
      .set_config("--config", "",
                  "TOML or INI file with any of these options (without the dashes); the command line wins")
      ->type_name("FILE")
      ->option_text("FILE");
  m_app.footer("Examples:\n" + std::move(examples));
  m_app.get_formatter()->label("OPTIONS", "options");
}

bool VerbParser::parse(Invocation const& call)
{
  auto arguments = call.arguments;
  std::reverse(arguments.begin(), arguments.end());
  try {
    m_app.parse(arguments);
    return true;
  } catch (CLI::CallForHelp const&) {
    auto const chosen = m_app.get_subcommands();
    std::cout << (chosen.empty() ? m_app.help() : chosen.front()->help());
    return false;
  } catch (CLI::ConfigError const& error) {
    std::string const message = error.what(), prefix = "INI was not able to parse ";
    std::string const file = m_app.get_config_ptr()->as<std::string>();
    if (message.starts_with(prefix))
      fail(file, ": unknown field ", quoted(message.substr(prefix.size())), " (", m_app.get_name(),
           " --help lists the options)");
    fail(file, ": ", message);
  } catch (CLI::FileError const&) {
    fail(m_app.get_config_ptr()->as<std::string>(), ": cannot read the config file");
  } catch (CLI::ParseError const& error) {
    fail(error.what(), " (", m_app.get_name(), " --help lists the options)");
  }
}

void DeviceOptions::add_to(CLI::App& app)
{
  app.add_option("--backend", backend, "Where to compute: openmp, serial or cuda, as far as this build has them")
      ->type_name("NAME")
      ->group("Device");
  app.add_option("--threads", threads, "Threads of the host; 0: all")
      ->capture_default_str()
      ->type_name("N")
      ->group("Device");
}

nn::TrainerOptions DeviceOptions::trainer() const
{
  require(threads >= 0, "--threads must be >= 0, got ", threads);
  nn::TrainerOptions options;
  if (!backend.empty()) options.backend = nn::parse_backend(backend);
  options.threads = threads;
  return options;
}

std::unique_ptr<nn::Runtime> DeviceOptions::start(Invocation const& call) const
{
  auto flags = call.kokkos_flags;
  flags.insert(flags.begin(), "nasturtium");
  std::vector<char*> argv;
  for (auto& flag : flags)
    argv.push_back(flag.data());
  argv.push_back(nullptr);
  int argc = static_cast<int>(flags.size());
  auto runtime = std::make_unique<nn::Runtime>(argc, argv.data(), threads);
  require(argc == 1, "unknown option ", quoted(argv[argc - 1]));
  return runtime;
}

Provenance provenance_of(Invocation const& call, std::uint64_t seed, nn::BackendKind backend,
                         std::vector<std::pair<std::string, std::string>> const& extra)
{
  std::vector<char const*> argv;
  for (auto const& argument : call.command_line)
    argv.push_back(argument.c_str());
  auto provenance = make_provenance(static_cast<int>(argv.size()), argv.data(), seed, nn::name(backend));
  for (auto& pair : nn::runtime_description())
    provenance.extra.push_back(std::move(pair));
  provenance.extra.insert(provenance.extra.end(), extra.begin(), extra.end());
  return provenance;
}

std::string grouped(std::int64_t value)
{
  std::string text = std::to_string(value);
  for (auto position = static_cast<std::ptrdiff_t>(text.size()) - 3; position > (value < 0 ? 1 : 0); position -= 3)
    text.insert(static_cast<std::size_t>(position), ",");
  return text;
}

} // namespace nasturtium::cli
