// Teach: a new class from good parts, step by step.
import { announce, bytes, get, h, known, on, post, put, rate, request, significant, t } from "./core.js";
import { detail, word } from "./object.js";
import { choice, classNames, loadModels, modelChoice } from "./models.js";
import { addresses, camerasOf, dropZone, formOf, group, small } from "./upload.js";

const steps = ["name", "parts", "build", "try", "live"];
const titles = ["teach.name.title", "teach.parts.title", "teach.build.title", "teach.try.title", "teach.live.title"];
const stepOf = { collecting: 1, building: 2, ready: 3, failed: 2, live: 4 };
const path = (id, rest = "") => "v1/teach/" + encodeURIComponent(id) + rest;
let turn = () => {};

// reason says why a part is refused, or what is odd about it.
const reason = o => o.code && known("teach.why." + o.code) ? t("teach.why." + o.code, { camera: o.camera ?? "", of: o.of ?? "" }) : o.reason;

// go is told of #/teach/ID.
export const go = id => turn(id);

export async function mount(root, parameter, signal) {
  let session = null, open = [], back = false, models = [], previews = {}, each = false, sending = null, left = [], failed = "", asked = null;
  const list = h("ol", { class: "steps" }), body = h("section", { class: "step", "aria-labelledby": "step-h" }), tried = h("div", { class: "tried" });
  root.append(list, body);
  let drawn = "";

  const model = () => models.find(m => m.name === session?.model);
  const names = () => camerasOf(model());

  // act asks the service for something and shows what it refused.
  const act = async f => {
    failed = "";
    try { await f(); } catch (e) { if (!signal.aborted) failed = e.message; }
    if (!signal.aborted) draw();
  };

  function take(next) {
    if (session && next.state !== session.state) back = false;
    session = next;
    draw();
  }

  function drawSteps(at) {
    put(list, steps.map((s, i) => h("li", { "aria-current": i === at ? "step" : undefined, class: i < at ? "over" : "" },
      h("span", { class: "number", "aria-hidden": "true" }, i < at ? "✓" : String(i + 1)), h("span", {}, t("teach.step." + s)), i < at && h("span", { class: "unseen" }, t("teach.over")))));
  }

  // draw shows the step of the session. On a new step its heading gets the focus.
  function draw() {
    const at = session ? back ? 1 : stepOf[session.state] ?? 1 : 0, key = session ? session.id + at : "";
    const focused = document.activeElement?.id;
    drawSteps(at);
    const title = h("h2", { id: "step-h", tabIndex: -1 }, t(titles[at], { class: session?.class ?? "" }));
    put(body, title, failed && h("p", { class: "error", role: "alert" }, failed), [start, parts, build, attempt, live][at]());
    if (key !== drawn && (drawn || session)) title.focus({ preventScroll: true });
    else if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    drawn = key;
  }

  // start asks for the name of the class.
  function start() {
    const usable = models.filter(m => m.name);
    const name = h("input", { id: "teach-class", type: "text", required: true, maxLength: 100, value: asked?.class ?? "", autocomplete: "off", "aria-describedby": "teach-class-about" });
    const replace = h("input", { id: "teach-replace", type: "checkbox", checked: asked?.replace ?? false });
    let chosen = usable.find(m => m.name === asked?.model)?.name ?? usable[0]?.name;
    return [h("p", {}, t("teach.name.about")), open.length > 0 && h("div", { class: "held" }, t("teach.open"), h("ul", {}, open.map(s => h("li", {}, h("a", { href: "#/teach/" + s.id }, t("teach.resume", { class: s.class, model: s.model })))))),
      h("form", { on: { submit: e => {
        e.preventDefault();
        const wanted = asked = { model: chosen, class: name.value.trim(), replace: replace.checked };
        act(async () => {
          const { id } = await post("v1/teach", wanted);
          asked = null;
          location.hash = "#/teach/" + id;
        });
      } } }, h("div", { class: "filters" },
        h("div", { class: "field" }, h("label", { htmlFor: "teach-class" }, t("teach.class")), name),
        usable.length > 1 && modelChoice("teach-model", usable, chosen, v => { chosen = v; })),
      h("p", { class: "caption", id: "teach-class-about" }, t("teach.class.about", { classes: usable.flatMap(classNames).join(", ") || "–" })),
      h("p", { class: "check" }, replace, h("label", { htmlFor: "teach-replace" }, t("teach.replace"))),
      h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, t("teach.begin"))))];
  }

  const accepted = () => session.objects.filter(o => o.accepted).length;

  // parts collects good parts.
  function parts() {
    const n = accepted(), need = session.need ?? 10, enough = n >= need, many = names().length > 1;
    return [h("p", { id: "parts-about" }, enough ? t("teach.parts.enough", { n }) : t("teach.parts.about", { n: need - n })),
      h("div", { class: "progress" }, h("label", { htmlFor: "parts-count" }, t("teach.parts.count", { n, need })), h("progress", { id: "parts-count", max: need, value: Math.min(n, need) })),
      many && choice("teach-each", t("teach.each"), [["", t("teach.each.name")], ["1", t("teach.each.one", { camera: names()[0] })]], each ? "1" : "", v => { each = v === "1"; }),
      dropZone("teach-files", { title: t("teach.drop"), about: many ? t("teach.drop.many", { cameras: names().join(", ") }) : t("teach.drop.one"), take: upload }),
      h("p", { role: "status" }, sending ? t("teach.sending", { done: sending[0], total: sending[1] }) : ""),
      left.length > 0 && h("details", { open: true }, h("summary", {}, t("teach.left", { n: left.length })), h("ul", {}, left.map(([f, reason]) => h("li", {}, f.name, ": ", reason)))),
      h("p", { class: "buttons" }, h("button", { type: "button", id: "teach-build", class: "primary", disabled: !enough || !!sending, "aria-describedby": "parts-about",
        on: { click: rebuild } }, t("teach.build")), discard()),
      session.objects.length > 0 && objects()];
  }

  const objects = () => h("ul", { class: "files", ariaLabel: t("teach.objects") }, session.objects.map(o => h("li", { class: o.accepted ? "" : "refused" },
    previews[o.object] ? small(previews[o.object]) : h("span", { class: "thumb none", "aria-hidden": "true" }),
    h("span", { class: "name" }, o.object, h("span", { class: "about" }, (o.cameras ?? []).join(", "))),
    h("span", { class: o.accepted ? "yes" : "no" }, o.accepted ? t("teach.accepted") : t("teach.refused", { reason: reason(o) }), o.accepted && o.reason && h("span", { class: "about" }, reason(o))),
    h("button", { type: "button", ariaLabel: t("teach.remove", { object: o.object }), on: { click: () => act(async () => {
      await request("DELETE", path(session.id, "/objects/" + encodeURIComponent(o.object)));
      take(await get(path(session.id)));
      root.querySelector("#step-h").focus();
    }) } }, "✕"))));

  // upload sends parts one after the other, each accepted or refused.
  async function upload(files) {
    const found = group(files, names(), each);
    left = found.left;
    sending = [0, found.parts.length];
    await act(async () => {
      for (const part of found.parts) {
        previews[part.name] = Object.values(addresses(part, signal))[0];
        draw();
        try {
          await post(path(session.id, "/objects"), formOf(part, names(), {}), { signal });
        } catch (e) {
          if (signal.aborted || e.status === 0 || e.status >= 500) throw e;
          if (!e.body?.object) left.push([{ name: part.name }, e.message]);
        }
        session = await get(path(session.id));
        sending[0]++;
      }
    }).finally(() => { sending = null; });
    if (signal.aborted) return;
    draw();
    announce(t("teach.parts.count", { n: accepted(), need: session.need ?? 10 }));
  }

  const rebuild = () => act(async () => {
    await post(path(session.id, "/build"));
    back = false;
    take(await get(path(session.id)));
  });

  // build shows how far the memory is, or why there is none.
  function build() {
    if (session.state === "failed") {
      return [h("p", { class: "error", role: "alert" }, session.error), h("p", {}, t("teach.failed")), h("p", { class: "buttons" },
        h("button", { type: "button", class: "primary", on: { click: rebuild } }, t("teach.again")), more(), discard())];
    }
    const total = session.total || 0;
    return [h("p", {}, t("teach.build.about")), h("div", { class: "progress" },
      h("label", { htmlFor: "build-progress" }, t("teach.building." + (session.step || "remembering"), { done: session.done ?? 0, total })),
      h("progress", { id: "build-progress", ...(total ? { max: total, value: session.done ?? 0 } : {}) }))];
  }

  // attempt tries what was built.
  function attempt() {
    const r = session.result ?? {}, of = (key, value) => h("div", {}, h("dt", {}, t("teach.result." + key)), h("dd", {}, value));
    const many = names().length > 1;
    return [h("p", {}, t("teach.try.about")), h("dl", { class: "facts big" }, of("objects", String(r.objects ?? "–")), of("rate", r.rate ? rate(r.rate) : "–"),
      of("threshold", r.threshold ? significant(r.threshold) : "–"), of("memory", r.memory_bytes ? bytes(r.memory_bytes) : "–")),
    r.rate && h("p", { class: "caption" }, t("teach.result.about", { rate: rate(r.rate) })),
    dropZone("try-files", { title: t("teach.try"), about: many ? t("teach.drop.many", { cameras: names().join(", ") }) : t("teach.drop.one"), take: tryOut }),
    h("p", { role: "status" }, sending ? t("teach.sending", { done: sending[0], total: sending[1] }) : ""),
    left.length > 0 && h("ul", {}, left.map(([f, reason]) => h("li", { class: "error" }, f.name, ": ", reason))),
    h("p", { class: "buttons" }, h("button", { type: "button", id: "teach-live", class: "primary", on: { click: () => act(async () => {
      await post(path(session.id, "/live"));
      take({ ...session, state: "live" });
      loadModels(true);
    }) } }, t("teach.live")), more(), discard()), tried];
  }

  // more goes back to the parts. What was built is forgotten once a part is added or removed.
  const more = () => h("button", { type: "button", on: { click: () => { back = true; draw(); } } }, t("teach.more"));

  async function tryOut(files) {
    const found = group(files, names(), each);
    left = found.left;
    sending = [0, found.parts.length];
    await act(async () => {
      for (const part of found.parts) {
        draw();
        let record;
        try {
          record = await post(path(session.id, "/try"), formOf(part, names(), { class: session.class }), { signal });
        } catch (e) {
          if (!e.body?.decision) throw e;
          record = e.body;
        }
        const id = "tried-" + tried.children.length;
        tried.prepend(h("article", { "aria-labelledby": id + "-h" }, detail(record, id, { local: addresses(part, signal) })));
        announce(t("line.said", { object: record.object, decision: word(record.decision) }));
        sending[0]++;
      }
    }).finally(() => { sending = null; });
    if (!signal.aborted) draw();
  }

  const live = () => [h("p", {}, t("teach.live.about", { class: session.class, model: session.model })),
    h("p", { class: "buttons" }, h("a", { href: "#/line" }, t("teach.toline")), h("a", { href: "#/inspect" }, t("teach.toinspect")), h("a", { href: "#/teach" }, t("teach.another")))];

  // discard forgets the session, once asked and once sure.
  function discard() {
    const ask = h("button", { type: "button", id: "teach-discard", on: { click: () => { ask.hidden = true; sure.hidden = false; sure.lastChild.focus(); } } }, t("teach.discard"));
    const sure = h("span", { class: "sure", hidden: true }, t("teach.sure"), " ",
      h("button", { type: "button", on: { click: () => act(async () => {
        await request("DELETE", path(session.id));
        location.hash = "#/teach";
      }) } }, t("teach.yes")), " ", h("button", { type: "button", on: { click: () => { sure.hidden = true; ask.hidden = false; ask.focus(); } } }, t("teach.no")));
    return [ask, sure];
  }

  async function load(id) {
    failed = "";
    session = null;
    back = false;
    left = [];
    previews = {};
    tried.replaceChildren();
    try {
      models = await loadModels();
      if (id) session = await get(path(id));
      else open = (await get("v1/teach")).sessions.filter(s => s.state !== "live");
    } catch (e) {
      failed = e.message;
    }
    if (!signal.aborted) draw();
  }

  turn = load;
  signal.addEventListener("abort", () => { turn = () => {}; });
  on("teach", s => { if (s?.id === session?.id && session && !sending) take({ ...session, ...s }); }, signal);
  const again = setInterval(async () => { // where events are lost
    if (session?.state === "building") try { take(await get(path(session.id))); } catch { /* asked again */ }
  }, 2000);
  signal.addEventListener("abort", () => clearInterval(again));
  await load(parameter);
}
