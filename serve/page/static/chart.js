// The chart of scores over time.
import { clock, day, h, number, significant, svg, t } from "./core.js";

const left = 56, right = 12, top = 12, foot = 62, height = 280;

// ticks are 1, 2 and 5 times powers of ten from lo to hi; only powers where these are many.
function ticks(lo, hi) {
  const all = [];
  for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) for (const m of [1, 2, 5]) all.push(m * 10 ** e);
  const inside = all.filter(v => v >= lo && v <= hi);
  return inside.length > 7 ? inside.filter(v => Math.abs(Math.log10(v) % 1) < 1e-9) : inside;
}

// band is the range of the middle 90 % of the calibration.
export function band(scores) {
  const s = [...(scores ?? [])].sort((a, b) => a - b);
  return s.length ? [s[Math.floor(0.05 * (s.length - 1))], s[Math.ceil(0.95 * (s.length - 1))]] : null;
}

// chart draws the scores of a class, on a logarithmic scale as calibration takes them, so wide as its place.
export function chart(c, label) {
  const place = h("div", { class: "chart", role: "img", ariaLabel: label });
  let width = 0;
  const draw = () => {
    const next = Math.max(240, Math.floor(place.clientWidth));
    if (next === width || !place.clientWidth) return;
    width = next;
    place.replaceChildren(drawing(c, width));
  };
  new ResizeObserver(draw).observe(place);
  return place;
}

function drawing(c, width) {
  const floor = v => Math.max(v, 1e-12), when = v => new Date(v).getTime();
  const limits = band(c.calibration), values = [...c.points.map(p => p.score), c.threshold, ...(limits ?? [])].filter(v => v > 0);
  const lo = Math.min(...values) / 1.15, hi = Math.max(...values) * 1.15;
  const first = Math.min(...c.points.map(p => when(p.time))), windows = c.windows.filter(w => when(w.to) > first); // earlier ones are in the table
  const times = [...c.points.map(p => when(p.time)), ...windows.map(w => when(w.to))];
  const start = Math.min(...times), end = Math.max(...times, start + 1000), bottom = height - foot;
  const x = v => left + (v - start) / (end - start) * (width - left - right);
  const y = v => top + (Math.log(hi) - Math.log(floor(v))) / (Math.log(hi) - Math.log(lo)) * (bottom - top);
  const text = (at, up, anchor, words, kind = "") => svg("text", { x: at, y: up, "text-anchor": anchor, class: kind }, words);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  root.append(svg("defs", {}, svg("pattern", { id: "hatch-" + c.class, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 8, height: 8, class: "hatch-back" }), svg("path", { d: "M0 0v8", class: "hatch" }))));
  for (const w of windows.filter(w => w.drift)) {
    root.append(svg("rect", { class: "drifting", x: x(Math.max(start, when(w.from))), y: top, width: Math.max(3, x(when(w.to)) - x(Math.max(start, when(w.from)))), height: bottom - top }));
  }
  if (limits) root.append(svg("rect", { class: "band", x: left, y: y(limits[1]), width: width - left - right, height: Math.max(2, y(limits[0]) - y(limits[1])) }));
  for (const v of ticks(lo, hi)) root.append(svg("path", { class: "grid", d: `M${left} ${y(v)}H${width - right}` }), text(left - 6, y(v) + 4, "end", significant(v)));
  root.append(svg("path", { class: "limit", d: `M${left} ${y(c.threshold)}H${width - right}` }), text(left + 6, y(c.threshold) - 5, "start", t("drift.threshold"), "strong"));
  for (const p of c.points) {
    const [px, py] = [x(when(p.time)), y(p.score)];
    root.append(p.decision === "defective" ? svg("path", { class: "point defective", d: `M${px} ${py - 5}l5 5l-5 5l-5-5z` }) : svg("circle", { class: "point good", cx: px, cy: py, r: 3.5 }));
  }
  for (const w of windows) {
    const from = x(Math.max(start, when(w.from))), wide = Math.max(4, x(when(w.to)) - from - 2);
    root.append(svg("rect", { class: w.drift ? "window drift" : "window", x: from, y: bottom + 7, width: wide, height: 12, rx: 3, fill: w.drift ? `url(#hatch-${CSS.escape(c.class)})` : undefined }));
    if (wide > 60) root.append(text(from + wide / 2, bottom + 33, "middle", "p " + probability(w.p), w.drift ? "strong" : ""));
  }
  const long = end - start > 20 * 3600e3, write = long ? day : clock;
  root.append(svg("path", { class: "axis", d: `M${left} ${top}V${bottom}H${width - right}` }), text(left, height - 8, "start", write(start)), text(width - right, height - 8, "end", write(end)));
  if (width > 640) root.append(text((left + width - right) / 2, height - 8, "middle", write((start + end) / 2)));
  return root;
}

// probability writes a p value.
export const probability = p => p < 0.001 ? "< " + number(0.001, 3) : number(p, 3);
