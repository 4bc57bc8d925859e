// Line: the newest object large, those before it, counts.
import { announce, get, h, moment, number, on, percent, put, query, rate, t } from "./core.js";
import { badge, bar, evidence, heading, mapSlider, partly, thumbnail, word } from "./object.js";
import { choice, classNames, loadModels, modelChoice } from "./models.js";

const page = 12, kept = 300;
const filter = { model: "", class: "", decision: "" };
let show = () => {};

// go is told of #/line/ID.
export const go = id => show(id);

const fits = r => Object.entries(filter).every(([k, v]) => !v || v === (k === "model" ? r.model.name : r[k]));

// Alarms: of an object that comes in while somebody listens, only what is not good is said.
let unsaid = [];
function say(record) {
  if (record.decision === "good") return;
  unsaid.push(record);
  announce(unsaid.length > 1 ? t("line.said.many", { n: unsaid.length }) : t("line.said", { object: record.object, decision: word(record.decision) }));
  setTimeout(() => { unsaid = []; }, 3000);
}

export async function mount(root, parameter, signal) {
  let objects = [], next = "", chosen = parameter, summary = null, listed = 0, limit = kept;
  const filters = h("form", { class: "filters", on: { submit: e => e.preventDefault() } });
  const first = h("div"), slider = mapSlider("line-map"), second = h("div");
  slider.hidden = true;
  const newest = h("section", { class: "newest", ariaLabel: t("line.newest") }, first, slider, second);
  const counts = h("section", { class: "counts", hidden: true, "aria-labelledby": "counts-h" });
  const list = h("ol", { class: "objects", id: "objects" }), more = h("button", { type: "button", on: { click: older } }, t("line.older"));
  more.hidden = true;
  const note = h("p", { class: "caption" });
  root.append(h("div", { class: "columns" }, h("div", {}, newest, counts), h("div", { class: "side" },
    h("section", { "aria-labelledby": "filter-h" }, h("h2", { id: "filter-h" }, t("filter.label")), filters),
    h("section", { "aria-labelledby": "objects-h" }, h("h2", { id: "objects-h" }, t("line.before")), list, note, more))));

  const controls = models => {
    const classes = [...new Set(models.filter(m => !filter.model || m.name === filter.model).flatMap(classNames))];
    const set = key => value => { filter[key] = value; if (key === "model") { filter.class = ""; controls(models); root.querySelector("#filter-model")?.focus(); } load(); };
    put(filters, models.length > 1 && modelChoice("filter-model", models, filter.model, set("model"), true),
      choice("filter-class", t("filter.class"), [["", t("filter.all")], ...classes.map(c => [c, c])], filter.class, set("class")),
      choice("filter-decision", t("filter.decision"), [["", t("filter.all")], ...["good", "defective", "failed"].map(d => [d, word(d)])], filter.decision, set("decision")));
  };

  // item is an object of the list; it leads to #/line/ID.
  const item = r => h("li", {}, h("a", { href: "#/line/" + r.id },
    thumbnail(r), h("span", { class: "name" }, r.object || r.id), badge(r.decision, partly(r)),
    r.verdict ? bar(r.verdict.calibrated, r.decision) : h("span"),
    h("span", { class: "about" }, [r.class, r.verdict && number(r.verdict.calibrated, 2), moment(r.time)].filter(Boolean).join(" · "))));

  // drawList keeps the items that are there: their images are not asked for again, and the focus stays.
  const items = new Map();
  const drawList = () => {
    for (const [id, li] of items) if (!objects.some(o => o.id === id)) { li.remove(); items.delete(id); }
    objects.forEach((o, i) => {
      const li = items.get(o.id) ?? item(o);
      items.set(o.id, li);
      if (list.children[i] !== li) list.insertBefore(li, list.children[i] ?? null);
      if (o.id === chosen) li.firstChild.setAttribute("aria-current", "true");
      else li.firstChild.removeAttribute("aria-current");
    });
    more.hidden = !next;
    note.textContent = objects.length ? "" : t("line.none.filter");
  };

  const drawNewest = async focus => {
    const id = chosen, r = id ? objects.find(o => o.id === id) ?? await get("v1/objects/" + encodeURIComponent(id)).catch(e => e) : objects[0];
    if (signal.aborted || id !== chosen) return;
    const filtered = !id && Object.values(filter).some(Boolean) && h("p", { class: "held" }, t("line.filtered"), " ",
      h("button", { type: "button", on: { click: () => { Object.assign(filter, { model: "", class: "", decision: "" }); loadModels().then(controls); load(); newest.querySelector("h2")?.focus(); } } }, t("line.all")));
    const held = id && h("p", { class: "held" }, t("line.held"), " ", h("a", { href: "#/line" }, t("line.back")));
    const at = [...newest.querySelectorAll("button")].indexOf(document.activeElement);
    slider.hidden = !r?.pictures;
    if (r instanceof Error) put(first, held, h("p", { class: "error", role: "alert" }, r.message));
    else if (!r) put(first, filtered, h("h2", { tabIndex: -1 }, t(filtered ? "line.none.filter" : "line.none")), !filtered && h("p", {}, t("line.none.about")));
    else put(first, held, filtered, heading(r, "newest"), toReview(r));
    put(second, r?.images && evidence(r, "newest"));
    if (focus) newest.querySelector("h2")?.focus();
    else if (at >= 0) newest.querySelectorAll("button")[at]?.focus({ preventScroll: true });
  };

  show = id => { chosen = id; drawList(); drawNewest(true); };
  signal.addEventListener("abort", () => { show = () => {}; });

  async function load() {
    const mine = ++listed;
    try {
      const [answer, s] = await Promise.all([get(query("v1/objects", { limit: page, ...filter })), get("v1/summary?hours=24")]);
      if (signal.aborted || mine !== listed) return;
      objects = answer.objects ?? [];
      next = answer.next;
      summary = s;
      drawList();
      drawNewest();
      drawCounts(counts, summary);
    } catch (e) {
      if (!signal.aborted) put(newest, h("p", { class: "error", role: "alert" }, e.message));
    }
  }

  async function older() {
    more.disabled = true;
    try {
      const answer = await get(query("v1/objects", { limit: page, before: next, ...filter }));
      const first = objects.length;
      objects = [...objects, ...(answer.objects ?? [])];
      next = answer.next;
      limit = Math.max(limit, objects.length);
      drawList();
      list.children[first]?.firstChild.focus();
    } catch (e) {
      note.textContent = e.message;
    }
    more.disabled = false;
  }

  // Of many objects in short time only some are shown large: five a second.
  let drawing = null;
  const redraw = () => {
    drawing ??= setTimeout(() => {
      drawing = null;
      if (signal.aborted) return;
      drawList();
      if (!chosen) drawNewest();
      drawCounts(counts, summary);
    }, 200);
  };

  on("object", r => {
    if (!fits(r) || objects.some(o => o.id === r.id)) return;
    objects = [r, ...objects];
    if (objects.length > limit) { objects.length = limit; next = objects.at(-1).id; }
    say(r);
    count(summary, r);
    redraw();
  }, signal);
  for (const kind of ["refresh", "review", "token"]) on(kind, () => load(), signal);
  on("known", controls, signal);
  controls([]);
  loadModels().then(m => { if (!signal.aborted) controls(m); }, () => {});
  load();
  const again = setInterval(async () => {
    try { summary = await get("v1/summary?hours=24"); if (!signal.aborted) drawCounts(counts, summary); } catch { /* the state of the connection says so */ }
  }, 30000);
  signal.addEventListener("abort", () => clearInterval(again));
}

// toReview leads to the review of an object, where there is one.
const toReview = r => r.verdict && r.decision !== "failed" && !r.review && h("p", { class: "buttons" }, h("a", { href: "#/review/" + r.id }, t("line.review")));

// nameOf is what a row of the counts is called.
const nameOf = (r, models) => [r.class || t("inspect.anyclass"), models > 1 && r.model].filter(Boolean).join(" · ");

// count enters an object in the summary until the service is asked again.
function count(summary, r) {
  const row = summary?.rows?.find(x => x.model === r.model.name && x.class === (r.class ?? ""));
  if (row) row[r.decision]++;
}

// drawCounts draws the counts of what the filter leaves of models and classes.
function drawCounts(at, summary) {
  if (!summary) return;
  const rows = (summary.rows ?? []).filter(r => (!filter.model || r.model === filter.model) && (!filter.class || r.class === filter.class));
  const sum = key => rows.reduce((n, r) => n + (r[key] ?? 0), 0);
  const good = sum("good"), defective = sum("defective"), failed = sum("failed"), judged = good + defective;
  const tile = (key, value, kind, about) => h("li", { class: kind }, h("span", { class: "name" }, t("count." + key)), " ",
    h("span", { class: "value" }, value), about && [" ", h("span", { class: "about" }, about)]);
  const table = h("table", { "aria-labelledby": "alarms-h" }, h("caption", { id: "alarms-h" }, t("alarms.caption")),
    h("thead", {}, h("tr", {}, ["class", "judged", "promised", "expected"].map((k, i) => h("th", { scope: "col", class: i ? "" : "text" }, t("alarms." + k))))),
    h("tbody", {}, rows.map(r => h("tr", {}, h("th", { scope: "row" }, nameOf(r, new Set(rows.map(r => r.model)).size)), h("td", {}, number((r.good ?? 0) + (r.defective ?? 0))),
      h("td", {}, r.rate ? rate(r.rate) : "–"), h("td", {}, r.alarms ? t("alarms.range", { low: r.alarms[0], high: r.alarms[1] }) : "–")))));
  at.hidden = false;
  put(at, h("h2", { id: "counts-h" }, t("count.title", { n: summary.hours ?? 24 })),
    h("ul", { class: "tiles" }, tile("yield", judged ? percent(good / judged) : "–", "main", t("count.of", { n: judged })),
      tile("good", number(good), "good"), tile("defective", number(defective), "defective"), tile("failed", number(failed), "failed")),
    rows.length > 0 && h("details", { open: at.querySelector("details")?.open ?? true }, h("summary", {}, t("alarms.title")),
      h("p", {}, t("alarms.about")), h("div", { class: "scroll", role: "region", tabIndex: 0, "aria-labelledby": "alarms-h" }, table)));
}
