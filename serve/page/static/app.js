// The page: languages, views by the address, keyboard focus, the token.
import * as core from "./core.js";
import { connect, connection } from "./connection.js";
import { loadModels } from "./models.js";
import * as line from "./line.js";
import * as inspect from "./inspect.js";
import * as teach from "./teach.js";
import * as drift from "./drift.js";
import * as review from "./review.js";

const { t, h, on } = core;
const views = { line, inspect, teach, drift, review };
const main = document.getElementById("main");
let shown = "", stop = null;

// address reads #/view/parameter.
function address() {
  const [, view = "", parameter = ""] = location.hash.split("/");
  return views[view] ? [view, decodeURIComponent(parameter)] : ["line", ""];
}

// show mounts the view of the address, or tells the one that is there of another parameter.
function show({ again = false, focus = true } = {}) {
  const [name, parameter] = address();
  for (const a of document.querySelectorAll("#nav a")) {
    if (a.hash === "#/" + name) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (name === shown && !again && views[name].go) {
    views[name].go(parameter);
    return;
  }
  stop?.abort();
  stop = new AbortController();
  shown = name;
  const title = h("h1", { tabIndex: -1 }, t("nav." + name));
  main.replaceChildren(title);
  document.title = t("nav." + name) + " · mvag-torch";
  views[name].mount(main, parameter, stop.signal);
  if (focus) {
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function words() {
  core.translate(document);
  const button = document.getElementById("language"), other = core.language() === "de" ? "en" : "de";
  button.textContent = other === "de" ? "Deutsch" : "English";
  button.lang = other;
  button.value = other;
  connected();
}

function connected() {
  const at = document.getElementById("connection"), state = connection();
  at.className = "connection " + state;
  at.textContent = state ? t("connection." + state) : "";
}

document.getElementById("language").addEventListener("click", e => {
  core.remembered("language", e.currentTarget.value);
  core.setLanguage(e.currentTarget.value);
  words();
  show({ again: true, focus: false });
});

document.getElementById("skip").addEventListener("click", e => {
  e.preventDefault();
  main.focus();
});

// Token: all requests that were refused wait for one dialog.
const dialog = document.getElementById("token");
let waiting = null;

function askToken() {
  return waiting ??= new Promise(done => {
    dialog.showModal();
    dialog.addEventListener("cancel", e => e.preventDefault());
    document.getElementById("token-form").onsubmit = async e => {
      e.preventDefault();
      const value = document.getElementById("token-value"), error = document.getElementById("token-error");
      error.textContent = "";
      try {
        await core.post("v1/session", { token: value.value }, { quiet: true });
      } catch (e) {
        error.textContent = e.status === 401 || e.status === 403 ? t("token.wrong") : e.message;
        value.select();
        return;
      }
      value.value = "";
      dialog.close();
      waiting = null;
      core.emit("token");
      done();
    };
  });
}

async function start() {
  await core.loadTexts();
  core.onUnauthorized(askToken);
  words();
  on("state", state => { connected(); if (state !== "live") core.announce(t("connection." + state)); });
  addEventListener("hashchange", () => show());
  connect();
  show({ focus: false });
  on("models", () => loadModels(true));
}

start();
