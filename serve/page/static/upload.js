// Images that a person brings: which camera took them, and which belong to one part.
import { h, put, t } from "./core.js";
import { cameraName } from "./models.js";

const escape = text => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// cameraOf finds a camera in the name of a file: what the model calls it, or C2, cam2, camera-2. It returns the index
// of the camera from 0 and the rest of the name, which the images of a part have in common; -1 and the name where there
// is none.
export function cameraOf(name, cameras) {
  const stem = name.replace(/\.[^.]*$/, "");
  const words = cameras.map((c, i) => [c, i]).sort((a, b) => b[0].length - a[0].length);
  for (const [camera, i] of words) {
    const found = new RegExp(`(^|[^A-Za-z0-9])${escape(camera)}(?![A-Za-z0-9])`, "i").exec(stem);
    if (found) return [i, rest(stem, found)];
  }
  const found = /(^|[^A-Za-z0-9])(?:c|cam|camera|kamera|view)[_-]?(\d{1,3})(?![A-Za-z0-9])/i.exec(stem);
  const i = found ? Number(found[2]) - 1 : -1;
  return i >= 0 && i < cameras.length ? [i, rest(stem, found)] : [-1, stem];
}

const trim = text => text.replace(/^[\s_.-]+|[\s_.-]+$/g, "");
const rest = (stem, found) => trim(stem.slice(0, found.index)) || trim(stem.slice(found.index + found[0].length));

// folderOf is the folder of a file that came with one.
const folderOf = file => (file.folder ?? file.webkitRelativePath ?? "").split("/").slice(-2, -1)[0] ?? "";

// group makes parts of files: {name, files: [[camera, file]]} in the order of names, and the files without a part. With
// one camera, camera is -1. Where each image is wanted to be a part, all are of the first camera.
export function group(files, cameras, each) {
  if (each || cameras.length < 2) return { parts: files.map(f => ({ name: f.name.replace(/\.[^.]*$/, ""), files: [[cameras.length < 2 ? -1 : 0, f]] })), left: [] };
  const parts = new Map(), left = [];
  for (const file of files) {
    const [camera, stem] = cameraOf(file.name, cameras), name = stem || folderOf(file);
    const part = parts.get(name) ?? { name, files: [] };
    if (camera < 0) left.push([file, t("group.nocamera")]);
    else if (part.files.some(([c]) => c === camera)) left.push([file, t("group.twice", { camera: cameras[camera], part: name })]);
    else {
      part.files.push([camera, file]);
      parts.set(name, part);
    }
  }
  for (const p of parts.values()) p.files.sort((a, b) => a[0] - b[0]);
  return { parts: [...parts.values()].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })), left };
}

// formOf is what the service gets of a part.
export function formOf(part, cameras, fields) {
  const form = new FormData();
  for (const [k, v] of Object.entries(fields)) if (v) form.append(k, v);
  form.append("object", part.name);
  for (const [camera, file] of part.files) form.append(camera < 0 ? "image" : cameras[camera], file, file.name);
  return form;
}

// addresses are local addresses of the images of a part by camera, which end with the signal.
export function addresses(part, signal) {
  const local = {};
  for (const [camera, file] of part.files) {
    const url = URL.createObjectURL(file);
    local[camera + 1] = url;
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  }
  return local;
}

// small is an image in a list; where the browser cannot show its format, its place is left.
export const small = url => h("img", { class: "thumb", src: url, alt: "", width: 48, height: 48,
  on: { error: e => e.target.replaceWith(h("span", { class: "thumb none", "aria-hidden": "true" })) } });

const isImage = name => /\.(png|jpe?g|bmp|tiff?|webp)$/i.test(name);

// inside returns the files of what was dropped, folders included.
async function inside(entries) {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      file.folder = entry.fullPath;
      files.push(file);
    } else {
      const reader = entry.createReader();
      for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length;) files.push(...await inside(some));
    }
  }
  return files;
}

// dropZone is where files are dropped or chosen. take gets images in the order of their names.
export function dropZone(id, { title, about, multiple = true, take }) {
  const note = h("p", { class: "error", role: "alert" });
  const accept = files => {
    const images = [...files].filter(f => isImage(f.name)).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    put(note, files.length > images.length ? t("drop.others", { n: files.length - images.length }) : "");
    if (images.length) take(images);
  };
  const input = h("input", { id, type: "file", accept: "image/*,.tif,.tiff,.bmp", multiple, "aria-labelledby": id + "-title", "aria-describedby": id + "-about", on: { change: e => {
    accept([...e.target.files]);
    e.target.value = "";
  } } });
  const zone = h("div", { class: "drop", on: {
    dragover: e => { e.preventDefault(); zone.classList.add("over"); },
    dragleave: () => zone.classList.remove("over"),
    drop: async e => {
      e.preventDefault();
      zone.classList.remove("over");
      const entries = [...e.dataTransfer.items].map(i => i.webkitGetAsEntry?.()).filter(Boolean);
      accept(entries.length ? await inside(entries) : [...e.dataTransfer.files]);
    },
  } }, h("p", { id: id + "-title" }, h("b", {}, title)), h("p", { class: "caption", id: id + "-about" }, about),
    h("label", { class: "choose" }, input, h("span", { "aria-hidden": "true" }, t("drop.choose"))), note);
  return zone;
}

// camerasOf are the names of the cameras of a model.
export const camerasOf = model => Array.from({ length: model?.views ?? 1 }, (_, i) => cameraName(model?.name, i + 1));
