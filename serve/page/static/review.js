// Review: a person decides what the model is not sure of; what was good after all widens the calibration.
import { announce, get, h, moment, number, on, percent, post, put, query, rate, remembered, significant, t } from "./core.js";
import { badge, heading, images, mapSlider, scores } from "./object.js";
import { loadModels, modelChoice, unscored } from "./models.js";

let chosen = "";
let show = () => {};

// go is told of #/review/ID.
export const go = id => show(id);

export async function mount(root, parameter, signal) {
  let opened = null; // an object that was asked for, whether or not it is one of those to look at
  let objects = [], at = 0, busy = false, changed = null, history = [], failed = "";
  let shortcuts = remembered("shortcuts") !== "off";
  const filters = h("div", { class: "filters" }), panel = h("section", { hidden: true, "aria-labelledby": "review-at" }), past = h("section", { hidden: true, "aria-labelledby": "history-h" });
  const outcome = h("div", { class: "outcome", role: "status" }), slip = h("p", { class: "error", role: "alert" });
  const notice = h("div"), warn = () => put(notice, unscored(chosen, "samples.review"));
  root.append(filters, notice, h("div", { class: "columns" }, h("div", {}, outcome, slip, panel), past));

  // load asks for everything anew. keep: what was refused is still shown.
  async function load(keep = false) {
    try {
      const [r, c] = await Promise.all([get(query("v1/review", { model: chosen })), get(query("v1/calibration", { model: chosen }))]);
      if (signal.aborted) return;
      const id = objects[at]?.id;
      objects = r.objects ?? [];
      if (opened && !objects.some(o => o.id === opened.id)) objects.unshift(opened);
      history = c.history ?? [];
      at = Math.max(0, objects.findIndex(o => o.id === id));
      if (!keep) failed = "";
    } catch (e) {
      if (signal.aborted) return;
      failed = e.message;
    }
    warn();
    panel.hidden = past.hidden = false;
    draw();
    drawHistory();
  }

  function draw() {
    const focused = document.activeElement?.id;
    put(slip, failed);
    const r = objects[at];
    if (!r) {
      put(panel, h("h2", { id: "review-at", tabIndex: -1 }, t("review.none")), h("p", {}, t("review.none.about")));
    } else {
      const button = (id, kind, key, does, extra = {}) => h("button", { type: "button", id, class: kind, disabled: busy, on: { click: does }, ...extra }, t("review." + id.split("-")[1]), shortcuts && key && h("kbd", { "aria-hidden": "true" }, key));
      const keys = k => shortcuts ? { ariaKeyShortcuts: k } : {};
      put(panel, h("p", { class: "counter", id: "review-at" }, t("review.at", { at: at + 1, n: objects.length }), " · ", h("span", {}, t("review.why." + (r.why ?? "opened")))),
        heading(r, "review"), r.why === "contested" && says(r), r.pictures && mapSlider("review-map"), images(r),
        h("div", { class: "verdicts" }, button("review-good", "good", "G", () => decide("good"), keys("g")), button("review-defective", "defective", "D", () => decide("defective"), keys("d")),
          h("div", { class: "field note" }, h("label", { htmlFor: "review-note" }, t("review.note")), h("input", { id: "review-note", type: "text", maxLength: 200, autocomplete: "off" }))),
        h("p", { class: "buttons turn" }, button("review-previous", "", "←", () => turn(-1), { disabled: objects.length < 2, ...keys("ArrowLeft") }), button("review-next", "", "→", () => turn(1), { disabled: objects.length < 2, ...keys("ArrowRight") }),
          h("span", { class: "field-line" }, h("input", { id: "review-keys", type: "checkbox", checked: shortcuts, on: { change: e => { shortcuts = e.target.checked; remembered("shortcuts", shortcuts ? "on" : "off"); draw(); } } }), " ",
            h("label", { htmlFor: "review-keys" }, t("review.keys")))), scores(r, "review-scores"));
    }
    if (focused && panel.querySelector("#" + CSS.escape(focused))) document.getElementById(focused).focus({ preventScroll: true });
  }

  function turn(by) {
    if (objects.length < 2) return;
    at = (at + by + objects.length) % objects.length;
    draw();
    panel.querySelector("h2").focus({ preventScroll: true });
  }

  // decide says what the object is and shows what it changed.
  async function decide(verdict) {
    const r = objects[at];
    if (busy || !r) return;
    busy = true;
    const note = root.querySelector("#review-note")?.value.trim();
    failed = "";
    draw();
    try {
      const answer = await post(`v1/objects/${encodeURIComponent(r.id)}/review`, { verdict, note });
      changed = { object: r.object, verdict, ...answer.calibration };
      objects = objects.filter(o => o.id !== r.id);
      if (opened?.id === r.id) {
        opened = null;
        window.history.replaceState(null, "", "#/review");
      }
      at = Math.min(at, Math.max(0, objects.length - 1));
    } catch (e) {
      failed = e.message;
    }
    busy = false;
    if (signal.aborted) return;
    drawOutcome();
    draw();
    if (!failed) panel.querySelector("h2")?.focus({ preventScroll: true });
    load(failed !== "");
  }

  function drawOutcome() {
    put(outcome, changed && [h("p", {}, h("strong", {}, t("review.done." + changed.verdict, { object: changed.object }))),
      changed.before && changed.after ? [change(changed), changed.searched > 0 && h("p", { class: "caption" }, t("review.changed", { n: changed.changed, searched: changed.searched }))] : h("p", {}, t("review.unchanged"))]);
  }

  const change = c => h("dl", { class: "facts change" }, ["threshold", "rate", "objects"].filter(k => c.before[k] !== undefined).map(k => {
    const write = k === "rate" ? rate : k === "objects" ? number : significant;
    return h("div", {}, h("dt", {}, t("change." + k)), h("dd", {}, t("change.to", { before: write(c.before[k]), after: write(c.after[k]) })));
  }));

  // says is what each head says of an object.
  const says = r => (r.heads ?? []).length > 0 && h("div", { class: "scores heads" }, h("table", { "aria-labelledby": "heads-h" }, h("caption", { id: "heads-h" }, t("heads.caption")),
    h("thead", {}, h("tr", {}, [["head", "text"], ["over"], ["score", "raw"], ["limit", "raw"], ["decision", "text"]].map(([k, c]) => h("th", { scope: "col", class: c }, t("heads." + k))))),
    h("tbody", {}, r.heads.map(x => h("tr", {}, h("th", { scope: "row" }, t("head." + x.head)), h("td", {}, percent(x.score / x.threshold, 0)),
      h("td", { class: "raw" }, significant(x.score)), h("td", { class: "raw" }, significant(x.threshold)), h("td", { class: "text" }, badge(x.decision)))))));

  function drawHistory() {
    const last = history.findIndex(e => !e.undone);
    put(past, h("h2", { id: "history-h", tabIndex: -1 }, t("history.title")), h("p", { class: "caption" }, t("history.about")),
      history.length ? h("ol", { class: "history" }, history.map((e, i) => h("li", { class: e.undone ? "undone" : "" },
        h("b", {}, e.object), " ", h("span", { class: "about" }, [e.class, moment(e.time), e.undone && t("history.undone")].filter(Boolean).join(" · ")),
        e.note && h("span", { class: "about" }, e.note), e.before && e.after && change(e),
        i === last && h("button", { type: "button", id: "review-undo", on: { click: undo } }, t("history.undo"))))) : h("p", {}, t("history.none")));
  }

  async function undo() {
    failed = "";
    try {
      await post("v1/calibration/undo", { model: chosen });
      changed = null;
      drawOutcome();
      announce(t("history.undone"));
    } catch (e) {
      failed = e.message;
    }
    await load(failed !== "");
    past.querySelector("h2").focus({ preventScroll: true });
  }

  document.addEventListener("keydown", e => {
    if (!shortcuts || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]") || e.target.closest("input, select, textarea")) return;
    const does = { g: () => decide("good"), d: () => decide("defective"), ArrowLeft: () => turn(-1), ArrowRight: () => turn(1) }[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (does) { e.preventDefault(); does(); }
  }, { signal });
  on("known", warn, signal);
  for (const kind of ["review", "models", "refresh"]) on(kind, () => { if (!busy) load(); }, signal);
  // choose draws the choice of the model.
  async function choose() {
    try {
      const models = await loadModels();
      if (signal.aborted) return;
      if (!models.some(m => m.name === chosen)) chosen = models[0]?.name ?? "";
      if (models.length > 1) put(filters, modelChoice("review-model", models, chosen, v => { chosen = v; opened = changed = null; drawOutcome(); load(); }));
    } catch { /* load says why */ }
  }

  // open shows an object, or the first of those to look at for "".
  async function open(id) {
    opened = null;
    let gone = "";
    if (id) {
      try {
        opened = await get("v1/objects/" + encodeURIComponent(id));
        chosen = opened.model.name;
      } catch (e) {
        gone = e.message;
      }
    }
    await choose();
    await load();
    if (signal.aborted) return;
    at = Math.max(0, objects.findIndex(o => o.id === opened?.id));
    failed ||= gone;
    draw();
  }

  show = open;
  signal.addEventListener("abort", () => { show = () => {}; });
  await open(parameter);
}
