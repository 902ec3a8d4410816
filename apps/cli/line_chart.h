// Line charts as SVG: readable on light and dark pages, no script, no font of its own.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cli {

struct Line {
  std::string label;
  std::vector<std::pair<double, double>> points;  // x ascending
  bool dots = false;                              // a mark at each point, for few of them
};

struct Chart {
  std::string title;
  std::string x_label;
  std::vector<Line> lines;
};

// One chart below the other. Points that are not finite are left out; a chart without points is
// drawn empty.
std::string draw_charts(const std::string& title, const std::vector<Chart>& charts);

// Round values that divide [low, high], three to seven of them: 0.5, 1, 1.5.
std::vector<double> axis_ticks(double low, double high);

}  // namespace cli
