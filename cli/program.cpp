// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "program.hpp"

#include <nasturtium/core/number.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
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

std::string trimmed(std::string const& text)
{
  auto const begin = text.find_first_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// CLI11 makes the best of any text; here every line must be what it seems to be.
class ConfigCheck
{
public:
  explicit ConfigCheck(std::vector<std::string> const& verbs) : m_verbs(verbs) {}

  /// Throws CLI::ConfigError for a line that is neither empty, a comment, a verb's section nor `key = value`.
  void check(std::string const& text)
  {
    std::istringstream lines(text);
    bool within_array = false;
    for (std::string line; std::getline(lines, line);) {
      ++m_number;
      line = trimmed(line);
      if (within_array) {
        within_array = !line.ends_with(']');
        continue;
      }
      if (line.empty() || line.front() == '#' || line.front() == ';') continue;
      if (line.front() == '[')
        check_section(line);
      else
        within_array = check_field(line);
    }
    if (within_array) refuse("an array has no end");
  }

private:
  [[noreturn]] void refuse(std::string const& what) const
  {
    throw CLI::ConfigError(concat("line ", m_number, ": ", what), CLI::ExitCodes::ConfigError);
  }

  void check_section(std::string const& line) const
  {
    std::string const name = line.ends_with(']') ? trimmed(line.substr(1, line.size() - 2)) : line.substr(1);
    if (line.ends_with(']') && std::find(m_verbs.begin(), m_verbs.end(), name) != m_verbs.end()) return;
    std::string all;
    for (auto const& verb : m_verbs)
      all += (all.empty() ? "" : ", ") + verb;
    refuse(concat("unknown section ", nasturtium::quoted(name), " (known: ", all, ")"));
  }

  // True where an array goes on in the next line.
  bool check_field(std::string const& line) const
  {
    auto const equals = line.find('=');
    std::string const key = trimmed(line.substr(0, equals));
    std::string const value = equals == std::string::npos ? "" : trimmed(line.substr(equals + 1));
    bool good = !key.empty() && !value.empty() && value.front() != '=' && value.front() != '#' &&
                std::all_of(key.begin(), key.end(),
                            [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
    if (good && (value.front() == '"' || value.front() == '\'')) {
      std::size_t end = 1;
      while (end < value.size() && value[end] != value.front())
        end += value.front() == '"' && value[end] == '\\' ? 2 : 1;
      std::string const rest = end < value.size() ? trimmed(value.substr(end + 1)) : "";
      good = end < value.size() && (rest.empty() || rest.front() == '#');
    }
    if (!good) refuse(concat("must be key = value, got ", nasturtium::quoted(line)));
    return value.front() == '[' && !value.ends_with(']') && value.find("] ") == std::string::npos;
  }

  std::vector<std::string> const& m_verbs;
  int m_number = 0;
};

// A config file may serve several verbs: a verb takes the fields before the first section and those of its own section.
class VerbConfig : public CLI::ConfigTOML
{
public:
  VerbConfig(std::string verb, std::vector<std::string> verbs) : m_verb(std::move(verb)), m_verbs(std::move(verbs)) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override
  {
    std::ostringstream text;
    text << input.rdbuf();
    ConfigCheck(m_verbs).check(text.str());
    std::istringstream checked(text.str());
    std::vector<CLI::ConfigItem> items;
    for (auto& item : CLI::ConfigTOML::from_config(checked)) {
      if (item.name == "++" || item.name == "--") continue; // begin and end of a section
      if (!item.parents.empty() && item.parents.front() != m_verb) continue;
      item.parents.clear();
      std::replace(item.name.begin(), item.name.end(), '_', '-');
      m_fields.push_back("--" + item.name);
      items.push_back(std::move(item));
    }
    return items;
  }

  /// True where `message` is about an option that the file gave, and not the command line, which wins.
  bool caused(std::string const& message, std::vector<std::string> const& arguments) const
  {
    for (auto const& field : m_fields) {
      auto const at = message.find(field);
      if (at == std::string::npos) continue;
      char const next = at + field.size() < message.size() ? message[at + field.size()] : ' ';
      if (std::isalnum(static_cast<unsigned char>(next)) != 0 || next == '-') continue; // a longer name
      if (std::none_of(arguments.begin(), arguments.end(), [&](std::string const& argument) {
            return argument == field || argument.starts_with(field + "=");
          }))
        return true;
    }
    return false;
  }

private:
  std::string m_verb;
  std::vector<std::string> m_verbs;
  mutable std::vector<std::string> m_fields; // what from_config found
};

} // namespace

VerbParser::VerbParser(std::string const& name, std::string description, std::string examples)
    : m_app(std::move(description), "nasturtium " + name), m_verb(name.substr(0, name.find(' ')))
{
  m_app.formatter(std::make_shared<HelpFormatter>());
  m_app.allow_config_extras(CLI::config_extras_mode::error);
  m_app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast); // given twice: the later wins
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
  auto const config = std::make_shared<VerbConfig>(m_verb, call.verbs);
  m_app.config_formatter(config);
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
      fail(file, ": unknown field ", nasturtium::quoted(message.substr(prefix.size())), " (", m_app.get_name(),
           " --help lists the options)");
    fail(file, ": ", message);
  } catch (CLI::FileError const&) {
    fail(m_app.get_config_ptr()->as<std::string>(), ": cannot read the config file");
  } catch (CLI::ParseError const& error) {
    std::string const file =
        config->caused(error.what(), call.arguments) ? m_app.get_config_ptr()->as<std::string>() + ": " : std::string();
    bool const wants_subcommand = m_app.get_require_subcommand_min() > 0 && m_app.get_subcommands().empty();
    if (auto const unknown = m_app.remaining(); wants_subcommand && !unknown.empty())
      fail("unknown subcommand ", nasturtium::quoted(unknown.front()), " (", m_app.get_name(), " --help lists them)");
    fail(file, error.what(), " (", m_app.get_name(), " --help lists the options)");
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
  require(argc == 1, "unknown option ", nasturtium::quoted(argv[argc - 1]));
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

void refuse_beside_resume(CLI::App& app, std::set<std::string> harmless)
{
  harmless.insert({"help", "config", "resume", "backend", "threads", "json", "data-dir"});
  for (CLI::Option const* option : app.get_options()) {
    std::string const word = option->get_name().substr(std::min<std::size_t>(2, option->get_name().size()));
    require(option->count() == 0 || harmless.contains(word), "--resume takes ", option->get_name(),
            " from the run's config.json; leave it out");
  }
}

std::string grouped(std::int64_t value)
{
  std::string text = std::to_string(value);
  for (auto position = static_cast<std::ptrdiff_t>(text.size()) - 3; position > (value < 0 ? 1 : 0); position -= 3)
    text.insert(static_cast<std::size_t>(position), ",");
  return text;
}

} // namespace nasturtium::cli
