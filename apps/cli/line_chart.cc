#include "cli/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace cli {
namespace {

constexpr double kWidth = 760;
constexpr double kLeft = 64;
constexpr double kRight = 150;  // for the labels of lines
constexpr double kTop = 34;
constexpr double kPlotHeight = 190;
constexpr double kChartHeight = 274;
constexpr double kHeader = 30;
constexpr size_t kMaxPoints = 600;  // of a line: more than there are pixels

// Told apart by people who do not see all colours, on white and on black.
constexpr const char* kColours[] = {"#4477aa", "#ee6677", "#228833", "#aa3377",
                                    "#ccbb44", "#66ccee", "#999999"};

constexpr const char* kStyle =
    "<style>text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:14px;font-weight:600}"
    ".g{stroke:#8888;stroke-width:.5}.l{fill:none;stroke-width:1.6;stroke-linejoin:round}"
    ".b{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.b{fill:#16181d}}</style>";

struct Range {
  double low = 0;
  double high = 1;

  double place(double value, double size) const { return (value - low) / (high - low) * size; }
};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<' || c == '>' || c == '&') {
      out += c == '<' ? "&lt;" : (c == '>' ? "&gt;" : "&amp;");
    } else {
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::vector<std::pair<double, double>> finite(const Line& line) {
  std::vector<std::pair<double, double>> points;
  for (const auto& point : line.points) {
    if (std::isfinite(point.first) && std::isfinite(point.second)) points.push_back(point);
  }
  return points;
}

// The mean of neighbours where there are more points than the picture can show.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& all) {
  const size_t step = all.size() / kMaxPoints + 1;
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < all.size(); i += step) {
    const size_t n = std::min(step, all.size() - i);
    std::pair<double, double> mean;
    for (size_t j = i; j < i + n; ++j) {
      mean.first += all[j].first / static_cast<double>(n);
      mean.second += all[j].second / static_cast<double>(n);
    }
    points.push_back(mean);
  }
  return points;
}

template <class Get>
Range range_of(const std::vector<std::vector<std::pair<double, double>>>& lines, const Get& get) {
  bool any = false;
  Range range;
  for (const auto& line : lines) {
    for (const auto& point : line) {
      const double value = get(point);
      range.low = any ? std::min(range.low, value) : value;
      range.high = any ? std::max(range.high, value) : value;
      any = true;
    }
  }
  if (!any) return Range();
  const double margin = range.high > range.low ? 0 : std::max(std::fabs(range.low) * 0.1, 0.5);
  return {range.low - margin, range.high + margin};
}

std::string number(double value) {
  return std::fabs(value) >= 1e5 ? fmt::format("{:.3g}", value) : fmt::format("{:.6g}", value);
}

// Rounded to the next ticks, so that lines do not touch the frame.
Range widened(const Range& range) {
  const std::vector<double> ticks = axis_ticks(range.low, range.high);
  if (ticks.size() < 2) return range;
  const double step = ticks[1] - ticks[0];
  if (!(step > 0)) return range;  // less than the distance of the numbers there
  const Range wide{std::floor(range.low / step) * step, std::ceil(range.high / step) * step};
  return wide.high > wide.low ? wide : range;
}

void draw_axes(const Chart& chart, const Range& x, const Range& y, double top, std::string* out) {
  const double width = kWidth - kLeft - kRight;
  for (const double tick : axis_ticks(y.low, y.high)) {
    const double at = top + kPlotHeight - y.place(tick, kPlotHeight);
    *out += fmt::format(
        "<path class=\"g\" d=\"M{:.1f} {:.1f}h{:.1f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
        kLeft, at, width, kLeft - 6, at + 4, number(tick));
  }
  for (const double tick : axis_ticks(x.low, x.high)) {
    const double at = kLeft + x.place(tick, width);
    *out += fmt::format(
        "<path class=\"g\" d=\"M{:.1f} {:.1f}v{:.1f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
        at, top, kPlotHeight, at, top + kPlotHeight + 16, number(tick));
  }
  *out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                      kLeft + width / 2, top + kPlotHeight + 32, escaped(chart.x_label));
}

struct Label {
  double y;
  std::string text;
  const char* colour;
};

// At the ends of the lines, moved apart where they would cover each other, and up again where the
// last ones would leave the chart.
void draw_labels(std::vector<Label> labels, double top, std::string* out) {
  constexpr double kLineHeight = 14;
  std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
  double next = top;
  for (Label& label : labels) {
    label.y = std::max(label.y, next);
    next = label.y + kLineHeight;
  }
  double last = top + kPlotHeight;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    label->y = std::min(label->y, last);
    last = label->y - kLineHeight;
    *out += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
        kWidth - kRight + 14, label->y, label->colour, kWidth - kRight + 22, label->y + 4,
        escaped(label->text));
  }
}

void draw_chart(const Chart& chart, double top, std::string* out) {
  std::vector<std::vector<std::pair<double, double>>> lines;
  for (const Line& line : chart.lines)
    lines.push_back(thinned(finite(line)));
  const Range x = range_of(lines, [](const auto& point) { return point.first; });
  const Range y = widened(range_of(lines, [](const auto& point) { return point.second; }));
  *out += fmt::format("<text class=\"t\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", kLeft, top - 12,
                      escaped(chart.title));
  draw_axes(chart, x, y, top, out);
  const double width = kWidth - kLeft - kRight;
  std::vector<Label> labels;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const char* const colour = kColours[i % std::size(kColours)];
    std::string path;
    double at_y = 0;
    for (const auto& point : lines[i]) {
      const double at_x = kLeft + x.place(point.first, width);
      at_y = top + kPlotHeight - y.place(point.second, kPlotHeight);
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", at_x, at_y);
      if (chart.lines[i].dots) {
        *out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>", at_x,
                            at_y, colour);
      }
    }
    *out += fmt::format("<path class=\"l\" stroke=\"{}\" d=\"{}\"/>", colour, path);
    labels.push_back({at_y, chart.lines[i].label, colour});
  }
  draw_labels(std::move(labels), top, out);
}

}  // namespace

std::vector<double> axis_ticks(double low, double high) {
  if (!(high > low) || !std::isfinite(high - low)) return {low};
  const double rough = (high - low) / 6;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (rough <= factor * power) step = factor * power;
  }
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (double i = first; i * step <= high + step * 1e-9 && ticks.size() < 20; ++i)
    ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

std::string draw_charts(const std::string& title, const std::vector<Chart>& charts) {
  const double height = kHeader + kChartHeight * static_cast<double>(charts.size());
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\">{2}<rect class=\"b\" width=\"100%\" height=\"100%\"/>"
      "<text class=\"t\" x=\"{3}\" y=\"22\">{4}</text>",
      kWidth, height, kStyle, kLeft, escaped(title));
  double top = kHeader + kTop;
  for (const Chart& chart : charts) {
    draw_chart(chart, top, &out);
    top += kChartHeight;
  }
  return out + "</svg>\n";
}

}  // namespace cli
