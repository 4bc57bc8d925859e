// The models of the service, asked for once and again where they change.
import { emit, get, h, t } from "./core.js";

let models = null;

// loadModels returns the models.
export function loadModels(again = false) {
  if (!models || again) {
    models = get("v1/models").then(a => a.models ?? a);
    models.then(m => { known = m; emit("known", m); }, () => { models = null; });
  }
  return models;
}

let known = [];

// cameraName is what a model calls a camera, which counts from 1; 0 is the only image of an object.
export function cameraName(model, camera) {
  if (!camera) return t("object.image");
  return known.find(m => m.name === model)?.cameras?.[camera - 1] ?? "C" + camera;
}

// cameraNumber is the number of a camera that a model calls so; those that it does not know are last.
export function cameraNumber(model, name) {
  const i = known.find(m => m.name === model)?.cameras?.indexOf(name) ?? -1;
  return i < 0 ? Infinity : i + 1;
}

// unscored is a notice for a model without the scores that its thresholds rest on: what does not work there.
export const unscored = (name, key) => known.find(m => m.name === name)?.samples === false &&
  h("div", { class: "notice", role: "note" }, h("p", {}, t(key, { model: name })), h("p", {}, t("samples.mend"), " ", h("code", {}, "mvag-torch calibrate -m …")));

// classNames are the names of the classes that a model tells apart; none where it has one calibration for all.
export const classNames = m => (m?.classes ?? []).map(c => c.name).filter(Boolean);

// choice is a labelled list: options are [value, text].
export function choice(id, label, options, value, change) {
  const select = h("select", { id, on: { change: e => change(e.target.value) } },
    options.map(([v, text]) => h("option", { value: v, selected: v === value }, text)));
  return h("div", { class: "field" }, h("label", { htmlFor: id }, label), select);
}

// modelChoice is a list of models; with more than one first "all", if asked for.
export const modelChoice = (id, models, value, change, all) =>
  choice(id, t("filter.model"), [...(all ? [["", t("filter.all")]] : []), ...models.map(m => [m.name, m.name])], value, change);
