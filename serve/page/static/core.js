// What all views share: elements, texts, numbers, requests, and what a screen reader is told.

// h makes an element. Attributes: class, on (listeners), vars (custom properties), data; a property where the element
// has one of that name, else an attribute. undefined and null are left out, of children also false.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// put replaces what is in an element; children as in h.
export function put(element, ...children) {
  element.replaceChildren();
  return fill(element, {}, children);
}

const space = "http://www.w3.org/2000/svg";

// svg makes an element of a drawing.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(space, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "on") for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    else if (name === "vars") for (const [k, v] of Object.entries(value)) element.style.setProperty("--" + k, v);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && element.namespaceURI !== space) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter(c => c !== undefined && c !== null && c !== false));
  return element;
}

// remembered reads or writes a wish of this browser; without storage nothing is remembered.
export function remembered(key, value) {
  try {
    if (value === undefined) return localStorage.getItem("mvag." + key);
    if (value === null) localStorage.removeItem("mvag." + key);
    else localStorage.setItem("mvag." + key, value);
  } catch { /* storage is switched off */ }
  return value ?? null;
}

// Texts.
let table = {}, lang = "en", plural, forms = {};

export const language = () => lang;

export async function loadTexts() {
  const answer = await fetch(new URL("texts.json", import.meta.url));
  table = await answer.json();
  const wanted = remembered("language") ?? navigator.language ?? "en";
  setLanguage(wanted.toLowerCase().startsWith("de") ? "de" : "en");
}

export function setLanguage(next) {
  lang = next;
  plural = new Intl.PluralRules(lang);
  forms = {};
  document.documentElement.lang = lang;
}

// t is the text of a key in the language of the page. {name} stands for a value; a text with the forms one and other
// chooses by n.
export function t(key, values = {}) {
  let text = table[lang]?.[key] ?? table.en?.[key] ?? key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) =>
    !(name in values) ? whole : typeof values[name] === "number" ? number(values[name]) : values[name]);
}

// known is whether there is a text of a key.
export const known = key => key in (table.en ?? {});

// translate enters the texts of elements that stand in the HTML.
export function translate(root) {
  for (const e of root.querySelectorAll("[data-text]")) e.textContent = t(e.dataset.text);
  for (const e of root.querySelectorAll("[data-label]")) e.setAttribute("aria-label", t(e.dataset.label));
}

// Numbers and times, as the language writes them.
function form(kind, options) {
  const key = kind + JSON.stringify(options);
  return forms[key] ??= kind === "n" ? new Intl.NumberFormat(lang, options) : new Intl.DateTimeFormat(lang, options);
}

export const number = (n, digits) => form("n", digits === undefined ? {} :
  { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);
export const significant = n => n === 0 ? number(0) : form("n", { maximumSignificantDigits: 3 }).format(n);
export const percent = (n, digits = 1) => form("n", { style: "percent", maximumFractionDigits: digits }).format(n);
export const rate = n => form("n", { style: "percent", maximumSignificantDigits: 2 }).format(n); // of false alarms
export const clock = when => form("d", { timeStyle: "medium" }).format(new Date(when));
export const day = when => form("d", { dateStyle: "short", timeStyle: "short" }).format(new Date(when));
export const moment = when => new Date(when).toDateString() === new Date().toDateString() ? clock(when) : day(when);

export function bytes(n) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1000; i++; }
  return form("n", { style: "unit", unit: units[i], maximumFractionDigits: n < 10 && i > 0 ? 1 : 0 }).format(n);
}

// Requests.
export class Failed extends Error {
  constructor(status, message, body) { super(message); this.status = status; this.body = body; }
}

let askToken = null;
export function onUnauthorized(ask) { askToken = ask; }

// request asks the service and returns the JSON of its answer. body is a FormData, or a value to be sent as JSON. An
// answer that is no success is a Failed, in words of the page where the service names a reason that it knows, else in
// those of the service. 401 asks for the token and tries again.
export async function request(method, path, body, options = {}) {
  const init = { method, headers: { Accept: "application/json" }, signal: options.signal };
  if (body instanceof FormData) init.body = body;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  if (options.key) init.headers["Idempotency-Key"] = options.key;
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Failed(0, t("page.unreachable"));
  }
  if (answer.status === 401 && askToken && !options.quiet) {
    await askToken();
    return request(method, path, body, options);
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* no JSON: an answer of something between */ }
  if (!answer.ok) throw new Failed(answer.status, value?.code && known("error." + value.code) ? t("error." + value.code) : value?.error ?? t("page.refused", { status: answer.status }), value);
  return value;
}

export const get = (path, options) => request("GET", path, undefined, options);
export const post = (path, body, options) => request("POST", path, body, options);

// query makes the query of an address, without what is empty.
export function query(path, values) {
  const q = new URLSearchParams(Object.entries(values).filter(([, v]) => v !== "" && v !== undefined && v !== null));
  return q.size ? path + "?" + q : path;
}

// announce tells a screen reader something, at most every three seconds; of several only the last is said.
let pending = null, said = 0;
export function announce(text) {
  const say = () => {
    document.getElementById("announcer").textContent = pending;
    pending = null;
    said = Date.now();
  };
  const waiting = pending !== null;
  pending = text;
  if (!waiting) setTimeout(say, Math.max(50, said + 3000 - Date.now()));
}

// Events of the service and of the page: object, models, teach, review, drift, refresh (something may have been
// missed), state (of the connection).
const bus = new EventTarget();
export const emit = (kind, detail) => bus.dispatchEvent(new CustomEvent(kind, { detail }));

// on calls f with each event of a kind until the signal is aborted.
export const on = (kind, f, signal) => bus.addEventListener(kind, e => f(e.detail), { signal });
