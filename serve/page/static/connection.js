// The stream of events, and what stands in for it while it is lost.
import { Failed, emit, get, on } from "./core.js";

const pollEvery = 3000, openEvery = 10000;
let source = null, state = "", timer = null, newest = null;

// The state is live, polling (events are lost, asking works) or lost.
export const connection = () => state;

function become(next) {
  if (state === next) return;
  state = next;
  emit("state", state);
}

export function connect() {
  open();
  on("token", open);
  setInterval(() => { if (source.readyState === EventSource.CLOSED) open(); }, openEvery);
}

function open() {
  source?.close();
  source = new EventSource("v1/events");
  source.addEventListener("open", () => {
    clearTimeout(timer);
    timer = null;
    const before = state;
    become("live");
    if (before) emit("refresh"); // what came meanwhile
  });
  source.addEventListener("error", () => { timer ??= setTimeout(poll, 0); });
  for (const kind of ["object", "models", "teach", "review", "drift"]) {
    source.addEventListener(kind, e => {
      const data = e.data ? JSON.parse(e.data) : null;
      if (kind === "object") newest = data.id;
      emit(kind, data);
    });
  }
  source.addEventListener("lost", () => emit("refresh"));
}

// poll asks for the newest object and whether there is one that the views have not seen.
async function poll() {
  try {
    const { objects } = await get("v1/objects?limit=1");
    become("polling");
    const id = objects[0]?.id;
    if (id !== newest) { newest = id; emit("refresh"); }
  } catch (e) {
    become(e instanceof Failed && e.status > 0 ? "polling" : "lost");
  }
  if (timer !== null) timer = setTimeout(poll, pollEvery);
}
