// The explorer's chart in Vega-Lite: lines with bands, or dots with bars. Classes are numbers here, never names.
// Parameters: `low` to `high` on the y axis and `first` to `last` on the x axis; data: `curves`, `marks`, `points`.
"use strict";
function chartSpecification(domain, colour, dashed, dots) {
  const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dash = domain.map((group) => (dashed(group) ? [5, 3] : [1, 0]));
  const byGroup = (range) => ({ field: "group", type: "nominal", legend: null, scale: { domain, range } });
  const [color, strokeDash] = [byGroup(domain.map(colour)), byGroup(dash)];
  const y = (field) => ({
    field, type: "quantitative", title: "mean gate", scale: { domain: [0, 1], domainMin: { expr: "low" }, domainMax: { expr: "high" }, zero: false, nice: false },
  });
  const x = {
    field: "place", type: "quantitative", title: null, axis: { grid: false, tickMinStep: 1 },
    scale: { domain: [0, 1], domainMin: { expr: "first" }, domainMax: { expr: "last" }, zero: false, nice: false },
  };
  return {
    width: "container", height: "container", background: null, padding: { left: 2, top: 4, right: 14, bottom: 2 },
    params: ["low", "high", "first", "last"].map((name) => ({ name, value: 0 })),
    data: { name: "curves", values: [] },
    encoding: { x },
    layer: [
      { mark: { type: dots ? "rule" : "area", opacity: dots ? 0.5 : 0.2, clip: true }, encoding: { y: y("bottom"), y2: { field: "top" }, color } },
      dots
        ? { mark: { type: "point", filled: true, size: 22, opacity: 0.9, clip: true }, encoding: { y: y("mean"), color } }
        : { mark: { type: "line", strokeWidth: 1.5, clip: true, strokeJoin: "round" }, encoding: { y: y("mean"), color, strokeDash } },
      { data: { name: "marks", values: [] }, mark: { type: "rule", color: paint("--quiet") }, encoding: { x } },
      { data: { name: "points", values: [] }, mark: { type: "point", filled: true, size: 45, opacity: 1, clip: true }, encoding: { x, y: y("mean"), color } },
    ],
    config: {
      view: { stroke: null },
      axis: {
        labelColor: paint("--ink"), titleColor: paint("--ink"), domainColor: paint("--quiet"), tickColor: paint("--quiet"),
        gridColor: paint("--rule"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
      },
    },
  };
}
