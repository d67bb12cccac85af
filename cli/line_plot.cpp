// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "line_plot.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>

namespace nasturtium::cli {

namespace {

// Okabe and Ito's palette, told apart with every kind of colour blindness; the second of a pair is for dark
// backgrounds.
constexpr std::array<std::pair<char const*, char const*>, 6> palette{{
    {"#0072b2", "#56b4e9"},
    {"#d55e00", "#ff8c3b"},
    {"#007a5a", "#2fc79c"},
    {"#a2407c", "#e59fc8"},
    {"#7a5f00", "#e6c229"},
    {"#333333", "#dddddd"},
}};

struct Box
{
  double left, right, top, bottom;
};

struct Label
{
  double x, y;
  std::string text;
  int group;
};

std::string fixed(double value, int decimals)
{
  std::ostringstream text;
  text << std::fixed << std::setprecision(decimals) << value;
  return text.str();
}

// Pixels: a tenth is finer than any screen.
std::string px(double value)
{
  return fixed(value, 1);
}

int decimals_of(double step)
{
  return std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
}

// Width of a text of sans-serif letters; close enough to reserve room.
double text_width(std::string const& text, double size)
{
  return 0.58 * size * static_cast<double>(text.size());
}

std::string style()
{
  std::ostringstream css;
  css << ".np{background:#ffffff;font-family:system-ui,-apple-system,'Segoe UI','DejaVu "
         "Sans',sans-serif;font-size:13px}"
         ".np .back{fill:#ffffff}.np text{fill:#444}.np .title{font-size:17px;font-weight:600;fill:#1a1a1a}"
         ".np .grid{stroke:#e3e3e3;stroke-width:1}.np .axis{stroke:#777;stroke-width:1}"
         ".np .line{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}"
         ".np .thin{stroke-width:1.5;stroke-dasharray:5 4;opacity:.8}"
         ".np .mark{stroke:#ffffff;stroke-width:1.2}"
         ".np .label{font-weight:600;stroke:#ffffff;stroke-width:4px;paint-order:stroke;stroke-linejoin:round}";
  for (std::size_t group = 0; group < palette.size(); ++group)
    css << ".np .g" << group << "{stroke:" << palette[group].first << "}.np .m" << group << ",.np text.m" << group
        << "{fill:" << palette[group].first << "}";
  css << "@media screen and (prefers-color-scheme:dark){.np{background:#15181c}.np .back{fill:#15181c}.np "
         "text{fill:#b8bec6}"
         ".np .title{fill:#f0f2f4}.np .grid{stroke:#2c3138}.np .axis{stroke:#7d858f}.np .mark,.np "
         ".label{stroke:#15181c}";
  for (std::size_t group = 0; group < palette.size(); ++group)
    css << ".np .g" << group << "{stroke:" << palette[group].second << "}.np .m" << group << ",.np text.m" << group
        << "{fill:" << palette[group].second << "}";
  css << "}";
  return css.str();
}

// A marker of its own shape for every group, so that grey print tells the lines apart.
std::string marker(double x, double y, std::size_t group)
{
  std::ostringstream out;
  out << "<path class=\"mark m" << group << "\" d=\"";
  switch (group % 4) {
  case 0:
    out << "M" << px(x - 4.5) << ' ' << px(y) << "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z";
    break;
  case 1:
    out << "M" << px(x - 4) << ' ' << px(y - 4) << "h8v8h-8z";
    break;
  case 2:
    out << "M" << px(x) << ' ' << px(y - 5) << "l5 8.6h-10z";
    break;
  default:
    out << "M" << px(x) << ' ' << px(y - 5.5) << "l5.5 5.5l-5.5 5.5l-5.5 -5.5z";
    break;
  }
  out << "\"/>";
  return out.str();
}

// Labels that would cover one another move apart, the upper one up and the lower one down.
void move_apart(std::vector<Label>& labels, Box const& box)
{
  double const gap = 17;
  std::sort(labels.begin(), labels.end(), [](Label const& a, Label const& b) { return a.y < b.y; });
  for (int round = 0; round < 50; ++round) {
    bool moved = false;
    for (std::size_t i = 0; i + 1 < labels.size(); ++i)
      for (std::size_t j = i + 1; j < labels.size(); ++j) {
        Label& upper = labels[i];
        Label& lower = labels[j];
        bool const beside =
            upper.x + text_width(upper.text, 14) < lower.x || lower.x + text_width(lower.text, 14) < upper.x;
        double const missing = gap - (lower.y - upper.y);
        if (beside || missing <= 0.01) continue;
        upper.y = std::max(upper.y - missing / 2, box.top);
        lower.y = std::min(lower.y + missing / 2, box.bottom);
        moved = true;
      }
    if (!moved) return;
  }
}

} // namespace

std::string escape_markup(std::string const& text)
{
  std::string out;
  for (char const c : text) {
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&quot;";
      break;
    default:
      out += c;
    }
  }
  return out;
}

std::vector<double> round_ticks(double low, double high, int count, bool whole)
{
  if (!(high > low)) { // a single value gets room around it
    double const room = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= room;
    high += room;
  }
  double const wanted = (high - low) / std::max(count, 1);
  double const power = std::pow(10.0, std::floor(std::log10(wanted)));
  double step = 10 * power;
  for (double const factor : {1.0, 2.0, 5.0})
    if (factor * power >= wanted * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  if (whole) step = std::max(1.0, step);
  std::vector<double> ticks;
  auto const first = static_cast<long long>(std::floor(low / step + 1e-9));
  auto const last = static_cast<long long>(std::ceil(high / step - 1e-9));
  for (long long i = first; i <= last; ++i)
    ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high)
{
  double const first = std::floor(std::log10(low) + 1e-9), last = std::ceil(std::log10(high) - 1e-9);
  bool const few = last - first <= 2;
  std::vector<double> ticks;
  for (double power = first; power <= std::max(last, first + 1); ++power)
    for (double const factor : {1.0, 2.0, 5.0})
      if (double const tick = factor * std::pow(10.0, power); (factor == 1 || few) && tick > 0 && std::isfinite(tick))
        ticks.push_back(tick);
  // The range with one tick below and one above.
  while (ticks.size() > 2 && ticks[1] <= low * (1 + 1e-9))
    ticks.erase(ticks.begin());
  while (ticks.size() > 2 && ticks[ticks.size() - 2] >= high * (1 - 1e-9))
    ticks.pop_back();
  return ticks;
}

std::string to_svg(LinePlot const& plot, bool standalone)
{
  bool const in_rows = !plot.rows.empty();
  double const infinity = std::numeric_limits<double>::infinity();
  double x_low = infinity, x_high = -infinity, y_low = infinity, y_high = -infinity;
  auto const drawn = [&](std::pair<double, double> const& point) {
    return std::isfinite(point.first) && std::isfinite(point.second) && (!plot.log_x || point.first > 0) &&
           (!plot.log_y || point.second > 0);
  };
  double widest_label = 0;
  for (auto const& series : plot.series) {
    for (auto const& point : series.points)
      if (drawn(point)) {
        x_low = std::min(x_low, point.first);
        x_high = std::max(x_high, point.first);
        y_low = std::min(y_low, point.second);
        y_high = std::max(y_high, point.second);
      }
    if (!series.secondary && !series.scatter && !series.bars)
      widest_label = std::max(widest_label, text_width(series.name, 14));
  }
  bool const empty = !(x_low <= x_high);
  if (empty) {
    x_low = plot.log_x ? 0.1 : 0;
    y_low = plot.log_y ? 0.1 : 0;
    x_high = y_high = 1;
  }

  auto const x_ticks =
      plot.log_x ? log_ticks(x_low, x_high) : round_ticks(x_low, x_high, plot.width / 90, plot.whole_x);
  auto const y_ticks = plot.log_y ? log_ticks(y_low, y_high) : round_ticks(y_low, y_high, 6);
  // The x axis ends where the data do: their last point is what the eye looks for.
  double const x_first = plot.log_x && x_high > x_low ? x_low : x_ticks.front();
  double const x_last = x_high > x_low ? x_high : x_ticks.back();

  double widest_row = 0;
  for (auto const& row : plot.rows)
    widest_row = std::max(widest_row, text_width(row, 13));
  Box const box{in_rows ? 25 + widest_row : 66, plot.width - 22 - widest_label, 74, plot.height - 54.0};
  double const row_height = in_rows ? (box.bottom - box.top) / static_cast<double>(plot.rows.size()) : 0;
  auto const share = [](double value, double first, double last, bool log) {
    return log ? std::log(value / first) / std::log(last / first) : (value - first) / (last - first);
  };
  auto const to_x = [&](double x) { return box.left + share(x, x_first, x_last, plot.log_x) * (box.right - box.left); };
  auto const to_y = [&](double y) {
    if (in_rows) return box.top + (y + 0.5) * row_height;
    return box.bottom - share(y, y_ticks.front(), y_ticks.back(), plot.log_y) * (box.bottom - box.top);
  };

  // Unique on a page: its plots differ in title or in width.
  std::string id = "np" + std::to_string(plot.width) + "-";
  for (char const c : plot.title)
    id += std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
  std::ostringstream out;
  if (standalone) out << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"np\" role=\"img\" aria-labelledby=\"" << id << "-title "
      << id
      << "-desc\" "
         "viewBox=\"0 0 "
      << plot.width << ' ' << plot.height << "\"";
  if (standalone) out << " width=\"" << plot.width << "\" height=\"" << plot.height << "\"";
  out << ">\n<title id=\"" << id << "-title\">" << escape_markup(plot.title) << "</title>\n<desc id=\"" << id
      << "-desc\">" << escape_markup(plot.description) << "</desc>\n<style>" << style() << "</style>\n";
  if (standalone) out << "<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n";
  out << "<text class=\"title\" x=\"16\" y=\"28\">" << escape_markup(plot.title) << "</text>\n"
      << "<text x=\"16\" y=\"49\">" << escape_markup(plot.subtitle) << "</text>\n";

  for (std::size_t row = 0; row < plot.rows.size(); ++row) {
    double const y = to_y(static_cast<double>(row));
    out << "<path class=\"grid\" d=\"M" << px(box.left) << ' ' << px(y - row_height / 2) << 'H' << px(box.right)
        << "\"/><text x=\"" << px(box.left - 9) << "\" y=\"" << px(y + 4.5) << "\" text-anchor=\"end\">"
        << escape_markup(plot.rows[row]) << "</text>\n";
  }
  int const y_decimals = decimals_of(y_ticks[1] - y_ticks[0]);
  for (double const tick : y_ticks) {
    if (in_rows) break;
    out << "<path class=\"grid\" d=\"M" << px(box.left) << ' ' << px(to_y(tick)) << 'H' << px(box.right) << "\"/>"
        << "<text x=\"" << px(box.left - 9) << "\" y=\"" << px(to_y(tick) + 4.5) << "\" text-anchor=\"end\">"
        << fixed(tick, plot.log_y ? decimals_of(tick) : y_decimals) << "</text>\n";
  }
  int const x_decimals = decimals_of(x_ticks[1] - x_ticks[0]);
  out << "<path class=\"axis\" d=\"M" << px(box.left) << ' ' << px(box.bottom) << 'H' << px(box.right) << "\"/>\n";
  for (double const tick : x_ticks) {
    double const slack = plot.log_x ? 1e-9 * tick : 1e-9;
    if (tick < x_first - slack || tick > x_last + slack) continue;
    out << "<path class=\"axis\" d=\"M" << px(to_x(tick)) << ' ' << px(box.bottom) << "v5\"/><text x=\""
        << px(to_x(tick)) << "\" y=\"" << px(box.bottom + 20) << "\" text-anchor=\"middle\">"
        << fixed(tick, plot.log_x ? decimals_of(tick) : x_decimals) << "</text>\n";
  }
  out << "<text x=\"" << px((box.left + box.right) / 2) << "\" y=\"" << px(plot.height - 12.0)
      << "\" text-anchor=\"middle\">" << escape_markup(plot.x_label) << "</text>\n";
  if (!in_rows)
    out << "<text transform=\"translate(18 " << px((box.top + box.bottom) / 2)
        << ") rotate(-90)\" text-anchor=\"middle\">" << escape_markup(plot.y_label) << "</text>\n";

  // Thin lines first, so that the main ones lie on top.
  std::vector<Label> labels;
  for (bool const secondary : {true, false})
    for (auto const& series : plot.series) {
      if (series.secondary != secondary) continue;
      auto const group = static_cast<std::size_t>(series.group) % palette.size();
      std::vector<std::pair<double, double>> points;
      for (auto const& point : series.points)
        if (drawn(point)) points.emplace_back(to_x(point.first), to_y(point.second));
      if (points.empty()) continue;
      if (series.bars) {
        double const height = std::min(0.7 * row_height, 26.0);
        for (std::size_t i = 0; i + 1 < points.size(); i += 2)
          out << "<rect class=\"mark m" << group << "\" x=\"" << px(points[i].first) << "\" y=\""
              << px(points[i].second - height / 2) << "\" width=\""
              << px(std::max(0.5, points[i + 1].first - points[i].first)) << "\" height=\"" << px(height)
              << (secondary ? "\" opacity=\".45\"/>\n" : "\"/>\n");
        continue;
      }
      if (points.size() > 1 && !series.scatter) {
        out << "<path class=\"line g" << group << (secondary ? " thin" : "") << "\" d=\"";
        for (std::size_t i = 0; i < points.size(); ++i)
          out << (i ? 'L' : 'M') << px(points[i].first) << ' ' << px(points[i].second);
        out << "\"/>\n";
      }
      if (series.scatter || (!secondary && points.size() <= 25))
        for (auto const& [x, y] : points)
          out << marker(x, y, group) << '\n';
      if (!secondary && !series.scatter) {
        labels.push_back({points.back().first + 11, points.back().second + 5, series.name, static_cast<int>(group)});
      }
    }
  move_apart(labels, box);
  for (auto const& label : labels)
    out << "<text class=\"label m" << label.group << "\" font-size=\"14\" x=\"" << px(label.x) << "\" y=\""
        << px(label.y) << "\">" << escape_markup(label.text) << "</text>\n";
  if (empty)
    out << "<text x=\"" << px((box.left + box.right) / 2) << "\" y=\"" << px((box.top + box.bottom) / 2)
        << "\" text-anchor=\"middle\">no values</text>\n";
  out << "</svg>\n";
  return out.str();
}

} // namespace nasturtium::cli
