// Drift: do the scores of good objects still fit the calibration?
import { get, h, known, number, on, put, query, rate, significant, t, moment } from "./core.js";
import { loadModels, modelChoice, unscored } from "./models.js";
import { band, chart, probability } from "./chart.js";

let chosen = "";

export async function mount(root, _, signal) {
  const filters = h("div", { class: "filters" }), about = h("section", { hidden: true, "aria-labelledby": "test-h" }), classes = h("div");
  const notice = h("div"), warn = () => put(notice, unscored(chosen, "samples.drift"));
  root.append(filters, notice, classes, about);
  let asked = 0, timer = null;

  async function load() {
    const mine = ++asked;
    try {
      const answer = await get(query("v1/drift", { model: chosen }));
      if (signal.aborted || mine !== asked) return;
      const open = new Set([...classes.querySelectorAll("details[open]")].map(d => d.dataset.class));
      put(classes, answer.classes?.length ? answer.classes.map((c, i) => section(c, i, answer.test, open.has(c.class))) :
        h("section", { ariaLabel: t("nav.drift") }, h("p", {}, t("drift.none"))));
      warn();
      drawTest(about, answer.test);
    } catch (e) {
      if (!signal.aborted) put(classes, h("section", { ariaLabel: t("nav.drift") }, h("p", { class: "error", role: "alert" }, e.message)));
    }
  }

  const soon = () => { timer ??= setTimeout(() => { timer = null; load(); }, 3000); };
  on("object", soon, signal);
  on("drift", load, signal);
  on("known", warn, signal);
  for (const kind of ["refresh", "review", "models"]) on(kind, soon, signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  try {
    const models = await loadModels();
    if (signal.aborted) return;
    if (!models.some(m => m.name === chosen)) chosen = models[0]?.name ?? "";
    if (models.length > 1) put(filters, modelChoice("drift-model", models, chosen, v => { chosen = v; load(); }));
  } catch { /* load says why */ }
  load();
}

// status says in words how a class stands.
function status(c, test) {
  const last = c.windows.at(-1);
  if (c.untested) return ["unknown", t("drift.untested", { reason: known("drift.untested." + c.untested_code) ? t("drift.untested." + c.untested_code) : c.untested })];
  if (!last) return ["unknown", t("drift.few", { n: c.waiting ?? c.points.length, window: test.window })];
  if (last.drift) return ["drift", t(last.higher === false ? "drift.lower" : "drift.yes", { time: moment(c.windows[c.windows.findLastIndex(w => !w.drift) + 1].from) })];
  return ["fits", c.windows.some(w => w.drift) ? t("drift.again") : t("drift.no")];
}

function section(c, i, test, open) {
  const [kind, words] = status(c, test), id = "drift-" + i, limits = band(c.calibration), name = c.class || t("drift.anyclass");
  const defective = c.points.filter(p => p.decision === "defective").length;
  const label = t("drift.alt", { class: name, n: c.points.length, defective: number(defective), threshold: significant(c.threshold), status: words });
  return h("section", { "aria-labelledby": id, class: "class" }, h("h2", { id }, name),
    h("p", { class: "verdict " + kind }, h("strong", {}, t("drift.state." + kind)), " ", words),
    c.points.length > 0 && [chart({ ...c, class: "c" + i }, label), legend(c, limits)],
    c.windows.length > 0 && c.waiting !== undefined && h("p", { class: "caption" }, t("drift.waiting", { n: c.waiting, window: test.window })),
    c.windows.length > 0 && h("details", { open, data: { class: c.class } }, h("summary", {}, t("drift.windows")), table(c, id + "-table")));
}

const legend = (c, limits) => h("ul", { class: "legend" },
  h("li", {}, h("span", { class: "key good", "aria-hidden": "true" }), t("drift.key.good")),
  h("li", {}, h("span", { class: "key defective", "aria-hidden": "true" }), t("drift.key.defective")),
  limits && h("li", {}, h("span", { class: "key band", "aria-hidden": "true" }), t("drift.key.band", { low: significant(limits[0]), high: significant(limits[1]), n: c.calibration.length })),
  h("li", {}, h("span", { class: "key limit", "aria-hidden": "true" }), t("drift.key.limit", { value: significant(c.threshold) })),
  c.windows.some(w => w.drift) && h("li", {}, h("span", { class: "key hatch", "aria-hidden": "true" }), t("drift.key.drift")));

const table = (c, id) => h("div", { class: "scroll", role: "region", tabIndex: 0, "aria-labelledby": id }, h("table", { "aria-labelledby": id },
  h("caption", { id }, t("drift.table", { class: c.class || t("drift.anyclass") })),
  h("thead", {}, h("tr", {}, ["from", "to", "objects", "p", "state"].map((k, i) => h("th", { scope: "col", class: i > 1 && i < 4 ? "" : "text" }, t("drift.col." + k))))),
  h("tbody", {}, [...c.windows].reverse().map(w => h("tr", {}, h("th", { scope: "row" }, moment(w.from)), h("td", { class: "text" }, moment(w.to)), h("td", {}, number(w.objects)),
    h("td", {}, probability(w.p)), h("td", { class: "text" }, w.drift ? h("strong", {}, t("drift.state.drift")) : t("drift.state.fits")))))));

function drawTest(at, test) {
  at.hidden = !test;
  put(at, h("h2", { id: "test-h" }, t("drift.test")), test && [h("p", {}, t("drift.test.about", { window: test.window, rate: rate(test.false_alarm), n: Math.round(1 / test.false_alarm) })),
    h("p", { class: "caption" }, t("drift.test.do")),
    h("details", {}, h("summary", {}, t("drift.test.exact")), h("p", { lang: "en" }, h("b", {}, test.name), ". ", test.statement))]);
}
