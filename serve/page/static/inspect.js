// Inspect: the images of one part, judged like those of the line.
import { announce, h, post, put, t } from "./core.js";
import { detail, word } from "./object.js";
import { choice, classNames, loadModels, modelChoice } from "./models.js";
import { addresses, cameraOf, camerasOf, dropZone, formOf, small } from "./upload.js";

// randomKey names a request, so that sending it again does not judge the part twice.
const randomKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, "0")).join("");

const wish = { model: "", class: null }; // kept while the page is open

export async function mount(root, _, signal) {
  let models, files = [], key = null; // files: {file, camera, url}
  const options = h("div", { class: "filters" }), chosen = h("div"), error = h("p", { class: "error", role: "alert" });
  const name = h("input", { id: "inspect-object", type: "text", maxLength: 100, autocomplete: "off" });
  const send = h("button", { type: "submit", class: "primary" }, t("inspect.send"));
  const clear = h("button", { type: "button", on: { click: () => { files = []; name.value = ""; draw(); empty(); root.querySelector("#inspect-files").focus(); } } }, t("inspect.clear"));
  const result = h("section", { ariaLabel: t("inspect.result") });
  const empty = () => put(result, h("p", { class: "caption" }, t("inspect.later")));
  empty();
  const form = h("form", { on: { submit: judge } }, h("h2", { id: "inspect-h" }, t("inspect.title")), options,
    dropZone("inspect-files", { title: t("inspect.drop"), about: t("inspect.drop.about"), take }), chosen, error, h("p", { class: "buttons" }, send, clear));
  root.append(h("div", { class: "columns form" }, h("section", { "aria-labelledby": "inspect-h" }, form), result));

  const model = () => models?.find(m => m.name === wish.model) ?? models?.[0];
  const cameras = () => camerasOf(model());

  function drawOptions() {
    const classes = classNames(model()), any = !model()?.classes?.length || model().classes.some(c => !c.name);
    const names = [...(any || !classes.length ? [["", t("inspect.anyclass")]] : []), ...classes.map(c => [c, c])];
    if (!names.some(([v]) => v === wish.class)) wish.class = names[0][0];
    put(options, models?.length > 1 && modelChoice("inspect-model", models, model().name, v => {
      wish.model = v;
      for (const f of files) f.camera = cameras().length < 2 ? -1 : cameraOf(f.file.name, cameras())[0];
      drawOptions();
      draw();
      root.querySelector("#inspect-model").focus();
    }), choice("inspect-class", t("filter.class"), names, wish.class, v => { wish.class = v; }),
    h("div", { class: "field" }, h("label", { htmlFor: "inspect-object" }, t("inspect.object")), name));
  }

  function take(images) {
    key = null;
    const single = cameras().length < 2;
    for (const file of single ? images.slice(0, 1) : images) {
      const [camera, stem] = single ? [-1, file.name.replace(/\.[^.]*$/, "")] : cameraOf(file.name, cameras());
      files = files.filter(f => single ? false : camera < 0 || f.camera !== camera);
      files.push({ file, camera, url: addresses({ files: [[0, file]] }, signal)[1] });
      name.value ||= stem;
    }
    if (single && images.length > 1) put(error, t("inspect.one"));
    else put(error);
    if (!single) offer();
    draw();
  }

  // offer gives files without a camera in their name the cameras that are free, in order.
  function offer() {
    const free = cameras().map((_, i) => i).filter(i => !files.some(f => f.camera === i));
    for (const f of files) if (f.camera < 0 && free.length) f.camera = free.shift();
    files.sort((a, b) => (a.camera < 0) - (b.camera < 0) || a.camera - b.camera);
  }

  function draw() {
    const names = cameras(), single = names.length < 2;
    const twice = !single && files.some((f, i) => f.camera >= 0 && files.findIndex(g => g.camera === f.camera) < i);
    const used = files.filter(f => single || f.camera >= 0);
    const missing = single ? [] : names.filter((_, i) => !files.some(f => f.camera === i));
    put(chosen, files.length > 0 && h("ul", { class: "files" }, files.map((f, i) => h("li", {}, small(f.url), h("span", { class: "name" }, f.file.name),
      !single && h("select", { ariaLabel: t("inspect.camera", { name: f.file.name }), id: "camera-" + i, on: { change: e => { f.camera = Number(e.target.value); key = null; draw(); root.querySelector("#camera-" + i)?.focus(); } } },
        h("option", { value: -1, selected: f.camera < 0 }, t("inspect.unused")), names.map((n, c) => h("option", { value: c, selected: f.camera === c }, n)))))),
    twice && h("p", { class: "error", role: "alert" }, t("inspect.twice")),
    files.length > 0 && !twice && missing.length > 0 && h("p", { class: "caption" }, t("inspect.missing", { cameras: missing.join(", ") })));
    send.disabled = twice || !used.length;
    clear.hidden = !files.length;
  }

  async function judge(e) {
    e.preventDefault();
    const m = model(), single = cameras().length < 2;
    const part = { name: name.value.trim() || t("inspect.noname"), files: files.filter(f => single || f.camera >= 0).map(f => [single ? -1 : f.camera, f.file]) };
    send.disabled = true;
    put(send, t("inspect.busy"));
    put(error);
    key ??= randomKey();
    try {
      const record = await post("v1/inspect", formOf(part, cameras(), { model: m?.name, class: wish.class }), { key, signal });
      key = null;
      show(record, part);
    } catch (e) {
      if (signal.aborted) return;
      if (e.body?.decision) show(e.body, part);
      else put(error, e.message);
    }
    put(send, t("inspect.send"));
    draw();
  }

  function show(record, part) {
    put(result, detail(record, "result", { local: addresses(part, signal) }));
    announce(t("line.said", { object: record.object, decision: word(record.decision) }));
    result.querySelector("h2").focus();
  }

  drawOptions();
  draw();
  try {
    models = await loadModels();
  } catch (e) {
    put(error, e.message);
  }
  if (!signal.aborted) { drawOptions(); draw(); }
}
