// How a judged object looks: its decision, its scores on one scale, its images with the map over them.
import { h, moment, number, remembered, significant, svg, t } from "./core.js";
import { cameraName, cameraNumber } from "./models.js";

const shapes = { // one for each decision, so that colour is not all that tells them apart
  good: [["circle", { cx: 12, cy: 12, r: 10 }], ["path", { d: "M7 12.4l3.4 3.4L17 8.6", class: "mark" }]],
  defective: [["path", { d: "M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9z" }], ["path", { d: "M8 8l8 8m0-8l-8 8", class: "mark" }]],
  failed: [["path", { d: "M12 2.2L23 21.5H1z" }], ["path", { d: "M12 9v6m0 2.6v.4", class: "mark" }]],
};

// sign is the mark of a decision; the word stands beside it. part: not all images were judged.
export function sign(decision, part = false) {
  const parts = shapes[decision] ?? shapes.failed;
  return svg("svg", { class: "sign " + decision + (part ? " part" : ""), viewBox: "0 0 24 24", "aria-hidden": "true" }, parts.map(([tag, a]) => svg(tag, a)));
}

export const word = decision => t("decision." + decision);

// badge is a decision in a line of text.
export const badge = (decision, part = false) => h("span", { class: "badge " + decision }, sign(decision, part), " ", h("span", { class: "word" }, word(decision)));

// unread are the images of an object that could not be judged.
const unread = record => record.images.filter(i => i.calibrated === undefined);

// partly is whether an object is good as far as it was seen: cameras are absent, or images could not be read.
export const partly = record => record.decision === "good" && ((record.absent ?? []).length > 0 || unread(record).length > 0);

// banner is the decision of an object, to be read from afar. One that was not seen in full looks like an outline.
export function banner(record) {
  const v = record.verdict, part = partly(record);
  return h("p", { class: "banner " + record.decision + (part ? " part" : "") }, sign(record.decision, part),
    h("strong", {}, word(record.decision)), part && h("span", { class: "partly" }, t("object.partly")),
    v && h("span", { class: "against" }, t("object.against", { value: number(v.calibrated, 2) })));
}

// why says in a few sentences what decided, and what was not seen.
export const why = record => [unseen(record), decided(record)].filter(Boolean).join(" ");

function unseen(record) {
  const failed = unread(record), absent = record.absent ?? [];
  if (!record.verdict) return "";
  return [failed.length && t("object.unread", { cameras: failed.map(i => cameraName(record.model.name, i.camera)).join(", ") }),
    absent.length && t(record.decision === "failed" ? "object.missing" : "object.without", { cameras: absent.join(", ") })].filter(Boolean).join(" ");
}

function decided(record) {
  if (record.error && !(record.verdict && unseen(record))) return record.error;
  const judged = record.images.filter(i => i.calibrated !== undefined);
  if (!judged.length) return record.error ?? "";
  const top = judged.reduce((a, b) => b.calibrated > a.calibrated ? b : a);
  const values = { camera: cameraName(record.model.name, top.camera), value: number(top.calibrated, 2), n: top.regions?.length ?? 0 };
  return (top.camera ? t("object.highest", values) + " " : "") + t(values.n ? "object.regions" : "object.noregions", values);
}

// facts are what is known of an object besides its decision.
export function facts(record) {
  const of = (key, value) => value && h("div", {}, h("dt", {}, t("object." + key)), h("dd", {}, value));
  return h("dl", { class: "facts" }, of("class", record.class), of("model", record.model.name),
    of("time", record.id && h("time", { dateTime: record.time }, moment(record.time))),
    of("source", record.source && t("source." + record.source)),
    of("basis", record.verdict && t("basis." + record.verdict.basis)), of("head", record.verdict && t("head." + record.verdict.head)));
}

// bar is one value on the scale from 0 to 1 that has the threshold in the middle.
export const bar = (value, decision) => h("span", { class: "scale " + decision, vars: { v: value }, "aria-hidden": "true" },
  h("span", { class: "dot" }));

// scores are the object and its images on one scale.
export function scores(record, id) {
  const row = (name, v, error) => h("tr", {}, h("th", { scope: "row" }, name),
    v ? [h("td", { class: "wide" }, bar(v.calibrated, v.decision)), h("td", {}, number(v.calibrated, 2)),
      h("td", { class: "raw" }, significant(v.score)), h("td", { class: "raw" }, significant(v.threshold)), h("td", { class: "text" }, badge(v.decision))]
      : h("td", { colSpan: 5, class: "text" }, error));
  return h("div", { class: "scores" },
    h("table", { "aria-labelledby": id },
      h("caption", { id }, t("scale.caption")),
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "text" }, t("scale.image")),
        h("th", { scope: "col", class: "wide" }, h("span", { class: "ticks" }, h("span", {}, "0"), h("span", {}, t("scale.threshold")), h("span", {}, "1"))),
        h("th", { scope: "col" }, t("scale.value")), h("th", { scope: "col", class: "raw" }, t("scale.score")),
        h("th", { scope: "col", class: "raw" }, t("scale.limit")), h("th", { scope: "col", class: "text" }, h("span", { class: "word" }, t("scale.decision"))))),
      h("tbody", {}, record.verdict && row(t("scale.object"), { ...record.verdict, decision: record.decision }),
        record.images.map(i => row(cameraName(record.model.name, i.camera), i.calibrated === undefined ? null : i, i.error)))));
}

// The map over the images: how much of it is seen, everywhere the same.
let opacity = Number(remembered("map") ?? 100);
const paint = () => document.documentElement.style.setProperty("--map", opacity / 100);
paint();

export function mapSlider(id) {
  const out = h("output", { htmlFor: id }, opacity + " %");
  return h("div", { class: "field slider" }, h("label", { htmlFor: id }, t("object.map")),
    h("input", { id, type: "range", min: 0, max: 100, step: 10, value: opacity, on: { input: e => {
      opacity = Number(e.target.value);
      remembered("map", String(opacity));
      out.textContent = opacity + " %";
      paint();
    } } }), out);
}

const address = (record, camera, layer) => `v1/objects/${encodeURIComponent(record.id)}/images/${camera}/${layer}.png`;

// thumbnail is the first image of an object with its map, for lists.
export function thumbnail(record) {
  const worst = record.images.filter(i => i.calibrated !== undefined).reduce((a, b) => !a || b.calibrated > a.calibrated ? b : a, null);
  const none = () => h("span", { class: "thumb none", "aria-hidden": "true" });
  return !record.pictures || !worst ? none() : h("img", { class: "thumb", src: address(record, worst.camera ?? 0, "overlay"), alt: "", width: 48, height: 48, loading: "lazy", decoding: "async", on: { error: e => e.target.replaceWith(none()) } });
}

// picture is an image of a record, its map over it. local is the address of the image where the service keeps none:
// then the regions are drawn.
function picture(record, image, local) {
  const camera = image.camera ?? 0, name = cameraName(record.model.name, camera);
  const alt = image.calibrated === undefined ? t("object.alt.failed", { camera: name }) :
    t("object.alt", { camera: name, decision: word(image.decision), value: number(image.calibrated, 2), n: image.regions?.length ?? 0 });
  const empty = text => h("span", { class: "empty" }, text);
  if (record.pictures && image.calibrated !== undefined) {
    const gone = e => e.target.parentElement.replaceWith(empty(t("object.gone")));
    return h("span", { class: "stack" }, h("img", { src: address(record, camera, "seen"), alt, decoding: "async", on: { error: gone } }),
      h("img", { class: "over", src: address(record, camera, "overlay"), alt: "", decoding: "async", on: { error: e => e.target.remove() } }));
  }
  if (!local) return empty(image.error ? t("object.unreadable") : t("object.notkept"));
  const stack = h("span", { class: "stack" });
  stack.append(h("img", { src: local, alt, on: { load: e => {
    const { naturalWidth: w, naturalHeight: high } = e.target;
    stack.append(svg("svg", { class: "over", viewBox: `0 0 ${w} ${high}`, "aria-hidden": "true" }, (image.regions ?? []).map(r =>
      svg("rect", { x: r.box[0], y: r.box[1], width: r.box[2] - r.box[0], height: r.box[3] - r.box[1] }))));
  } } }));
  return stack;
}

// images are the views of an object side by side in the order of cameras; each opens large. local: addresses of images
// by camera.
export function images(record, { local = {} } = {}) {
  const figures = record.images.map((i, at) => {
    const shown = picture(record, i, local[i.camera ?? 0]);
    return [i.camera ?? 0, h("figure", { class: "view " + (i.decision ?? "failed") },
      shown.classList.contains("empty") ? shown : h("button", { type: "button", class: "zoom", on: { click: () => zoom(record, at, local) } }, shown),
      h("figcaption", {}, h("b", {}, cameraName(record.model.name, i.camera)), " ", i.calibrated === undefined ? h("span", { class: "error" }, i.error ?? "") :
        [sign(i.decision), " ", number(i.calibrated, 2)]))];
  });
  for (const name of record.absent ?? []) {
    figures.push([cameraNumber(record.model.name, name), h("figure", { class: "view absent" }, h("span", { class: "empty" }, t("object.absent")), h("figcaption", {}, h("b", {}, name)))]);
  }
  return h("div", { class: "views" }, figures.sort((a, b) => a[0] - b[0]).map(([, f]) => f));
}

// zoom opens an image large; arrow keys go to the other cameras.
const viewer = document.getElementById("zoom");
let turn = () => {};
document.getElementById("zoom-previous").addEventListener("click", () => turn(-1));
document.getElementById("zoom-next").addEventListener("click", () => turn(1));
document.getElementById("zoom-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", e => { if (e.target === viewer) viewer.close(); });
viewer.addEventListener("keydown", e => {
  if (e.target.type === "range") return;
  if (e.key === "ArrowLeft") turn(-1);
  if (e.key === "ArrowRight") turn(1);
});

function zoom(record, at, local) {
  const n = record.images.length;
  const show = () => {
    const i = record.images[at];
    document.getElementById("zoom-h").textContent = record.object + (i.camera ? " · " + cameraName(record.model.name, i.camera) : "");
    document.getElementById("zoom-body").replaceChildren(
      h("p", { class: "line" }, i.decision ? [badge(i.decision), " ", t("object.against", { value: number(i.calibrated, 2) })] : i.error),
      mapSlider("zoom-map"), picture(record, i, local[i.camera ?? 0]));
  };
  turn = by => { at = (at + by + n) % n; show(); };
  show();
  for (const id of ["zoom-previous", "zoom-next"]) document.getElementById(id).hidden = n < 2;
  viewer.showModal();
}

// heading is what the page says first of an object. It has a heading of level 2.
export function heading(record, id) {
  const reviewed = record.review && h("p", { class: "reviewed" }, t("reviewed." + record.review.verdict), record.review.note ? " " + record.review.note : "");
  return [h("h2", { id: id + "-h", tabIndex: -1 }, record.object || record.id), banner(record), reviewed, h("p", { class: "why" }, why(record)), facts(record)];
}

// evidence are the images and scores of an object.
export const evidence = (record, id, options) => [images(record, options), record.images.length > 0 && scores(record, id + "-scores")];

// detail is all that the page says of an object.
export const detail = (record, id, options = {}) =>
  [heading(record, id), record.pictures && mapSlider(id + "-map"), evidence(record, id, options)];
