// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/crc32.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nas/halving_journal.hpp>

#include <bit>
#include <charconv>
#include <utility>

namespace nasturtium::nas {

namespace {

constexpr auto most_int = std::numeric_limits<int>::max();
// The kinds of events, then those of actions, in the order of their enumerations.
std::vector<std::string> const types{"started", "result", "failed", "lost", "free", "start", "resume", "idle"};
constexpr std::size_t event_types = 5;

std::string hexadecimal(std::uint64_t value, std::size_t digits)
{
  std::string text(digits, '0');
  for (std::size_t i = digits; i-- > 0; value >>= 4)
    text[i] = "0123456789abcdef"[value & 15];
  return text;
}

double parse_bits(std::string const& text, std::string const& what)
{
  std::uint64_t bits = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 16);
  require(error == std::errc() && end == text.data() + text.size() && text.size() == 16, what,
          " must be 16 hexadecimal digits, got ", quoted(text));
  return std::bit_cast<double>(bits);
}

/// The checksum is that of the line as it would be without it.
void seal(json::Object& object)
{
  object["crc"] = hexadecimal(crc32(json::compact(object)), 8);
}

void check_seal(json::Value const& line, std::string const& where)
{
  json::Object object = json::to_object(line, where);
  auto const* const crc = object.if_contains("crc");
  require(crc && crc->is_string(), where, ": field 'crc' is missing");
  std::string const found(crc->get_string());
  object.erase("crc");
  std::string const expected = hexadecimal(crc32(json::compact(object)), 8);
  require(found == expected, where, ": is damaged: field 'crc' is ", quoted(found), ", its content has ", expected);
}

json::Object header_of(HalvingSettings const& settings)
{
  json::Object object;
  object["format"] = "nasturtium-halving-journal";
  object["version"] = 1;
  object["settings"] = to_json(settings);
  seal(object);
  return object;
}

std::string text(HalvingAction const& action)
{
  auto const kind = event_types + static_cast<std::size_t>(action.kind);
  return action.kind == HalvingAction::Kind::idle
             ? types[kind]
             : concat(types[kind], " of trial ", action.trial, " to rung ", action.rung);
}

} // namespace

HalvingJournal::HalvingJournal(std::string path, HalvingSettings const& settings, Sync sync)
    : m_path(std::move(path)), m_halving(settings)
{
  auto const lines = is_file(m_path) ? read_journal(m_path) : std::vector<json::Value>();
  auto const header = header_of(settings);
  if (!lines.empty()) {
    std::string const where = m_path + ": header";
    check_seal(lines[0], where);
    auto const difference = json::first_difference(header, lines[0]);
    require(difference.empty(), where, ": ", difference, "; the journal belongs to another halving");
    replay(lines);
  }
  m_writer = std::make_unique<JournalWriter>(m_path, sync);
  if (lines.empty()) m_writer->append(header);
  // A kill came between an event and its action, which nobody has seen.
  if (m_unrecorded) append(*m_unrecorded, m_replayed.back().worker);
  m_unrecorded.reset();
}

void HalvingJournal::replay(std::vector<json::Value> const& lines)
{
  for (std::size_t i = 1; i < lines.size(); ++i) {
    std::string const where = concat(m_path, ": record ", i);
    check_seal(lines[i], where);
    json::Reader reader(lines[i], where);
    m_sequence = reader.integer("sequence", 1, std::numeric_limits<std::int64_t>::max());
    require(m_sequence == static_cast<std::int64_t>(i), where, ": field 'sequence' must be ", i, ", got ", m_sequence);
    std::size_t const type = reader.choice("type", types);
    int const trial = static_cast<int>(reader.integer("trial", -1, most_int));
    int const rung = static_cast<int>(reader.integer("rung", -1, most_int));
    double const value = parse_bits(reader.string("value"), reader.what("value"));
    int const worker = static_cast<int>(reader.integer("worker", 0, most_int));
    reader.string("crc");
    reader.finish();
    if (type < event_types) {
      require(!m_unrecorded, where, ": the action of the record before it is missing");
      HalvingEvent const event{static_cast<HalvingEvent::Kind>(type), trial, rung, value, worker};
      try {
        m_unrecorded = m_halving.apply(event);
      } catch (Error const& error) {
        fail(where, ": ", error.what());
      }
      m_replayed.push_back(event);
    } else {
      HalvingAction const action{static_cast<HalvingAction::Kind>(type - event_types), trial, rung};
      require(m_unrecorded.has_value(), where, ": ", text(action), ", but no worker was free");
      require(action == *m_unrecorded && worker == m_replayed.back().worker, where, ": ", text(action), " by worker ",
              worker, ", but these events lead to ", text(*m_unrecorded), " by worker ", m_replayed.back().worker,
              " (another version, or an edited journal)");
      m_unrecorded.reset();
    }
  }
}

void HalvingJournal::append(std::string_view type, HalvingEvent const& event)
{
  json::Object object;
  object["sequence"] = ++m_sequence;
  object["type"] = type;
  object["trial"] = event.trial;
  object["rung"] = event.rung;
  object["value"] = hexadecimal(std::bit_cast<std::uint64_t>(event.value), 16);
  object["worker"] = event.worker;
  seal(object);
  m_writer->append(object);
}

void HalvingJournal::append(HalvingAction const& action, int worker)
{
  append(types[event_types + static_cast<std::size_t>(action.kind)],
         {HalvingEvent::Kind::free, action.trial, action.rung, 0, worker});
}

std::optional<HalvingAction> HalvingJournal::apply(HalvingEvent const& event)
{
  auto const action = m_halving.apply(event); // first: an event that cannot be is not recorded
  append(types[static_cast<std::size_t>(event.kind)], event);
  if (action) append(*action, event.worker);
  return action;
}

} // namespace nasturtium::nas
