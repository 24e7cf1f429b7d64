/** The status page: asks for the state, listens for what changes, and lets the person on shift act. */

import "./style.css";
import { type Channel, type Worker, Problem, api, setToken, token } from "./api";
import { Card } from "./channel";
import { el, mark, show, write } from "./dom";
import { follow } from "./events";
import { clock, learn, now } from "./time";
import { type Language, language, say, setLanguage, translate } from "./words";

const TICK = 200;
/** Milliseconds between two looks at the state: events bring news sooner, and a hidden page needs less. */
const LOOK = 2000;
const LOOK_HIDDEN = 15_000;
/** The record and the processes change seldom. */
const SLOW = 10_000;

const cards = new Map<string, Card>();
const grid = el("main", { class: "grid" });
const time = el("time", { class: "clock", "data-label": "houseTime" });
const health = el("p", { class: "health", role: "status" });
const link = el("span", { class: "link-state" });
const reasons = el("ul", { class: "reasons", role: "alert", hidden: true });
const workers = el("ul", { class: "workers" });
const version = el("span");
const lock = el("button", { type: "button", class: "lock" });
const languages = { zho: languageButton("zho", "中文"), eng: languageButton("eng", "English") };

let connected = false;
let ready: boolean | null = null;
let asked = false;
let processes: Worker[] = [];

function languageButton(code: Language, text: string): HTMLButtonElement {
  const button = el("button", { type: "button", lang: code === "zho" ? "zh-CN" : "en" }, text);
  button.addEventListener("click", () => {
    setLanguage(code);
    texts();
  });
  return button;
}

const dialog = el("dialog", { "aria-labelledby": "token-title" });
const secret = el("input", { type: "password", autocomplete: "off", required: true, "data-label": "token" });
const wrong = el("p", { class: "result", role: "alert", "data-level": "bad" });
const form = el(
  "form",
  { method: "dialog" },
  el("h2", { id: "token-title", "data-word": "token" }),
  el("p", { "data-word": "tokenHelp" }),
  secret,
  wrong,
  el(
    "div",
    { class: "buttons" },
    el("button", { type: "button", value: "cancel", "data-word": "cancel" }),
    el("button", { value: "ok", class: "primary", "data-word": "ok" }),
  ),
);

function build(): void {
  document.body.append(
    el(
      "header",
      { class: "top" },
      el("h1", { "data-word": "title" }),
      health,
      link,
      time,
      el("div", { class: "languages", role: "group", "aria-label": "语言 Language" }, languages.zho, languages.eng),
      lock,
    ),
    reasons,
    grid,
    el(
      "footer",
      {},
      el("h2", { "data-word": "workers" }),
      workers,
      version,
      el("a", { href: "/api/openapi.json", "data-word": "docs" }),
      el("a", { href: "/metrics", "data-word": "metrics" }),
    ),
    dialog,
  );
  dialog.append(form);
  lock.addEventListener("click", () => {
    if (token()) forget();
    else ask("");
  });
  form.querySelector('[value="cancel"]')?.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void enter(secret.value.trim());
  });
  texts();
}

function texts(): void {
  translate(document);
  for (const card of cards.values()) card.translate();
  workers.replaceChildren(...processes.map(process));
  for (const [code, button] of Object.entries(languages)) button.setAttribute("aria-pressed", String(code === language()));
  status();
}

function status(): void {
  write(lock, token() ? say("lock") : say("unlock"));
  lock.setAttribute("aria-pressed", String(Boolean(token())));
  write(link, connected ? say("linked") : say("unlinked"));
  mark(link, "data-level", connected ? "good" : "bad");
  write(health, ready === null ? say("connecting") : ready ? say("ready") : say("notReady"));
  mark(health, "data-level", ready === null ? "wait" : ready ? "good" : "bad");
  for (const card of cards.values()) card.unlock(Boolean(token()));
}

function ask(message: string): void {
  write(wrong, message);
  secret.value = "";
  if (!dialog.open) dialog.showModal();
  secret.focus();
}

/** A token is tried before it is kept. */
async function enter(value: string): Promise<void> {
  const before = token();
  setToken(value);
  try {
    await api.check();
  } catch (error) {
    setToken(before);
    const refused = error instanceof Problem;
    ask(refused ? (error.status === 401 ? say("tokenWrong") : error.message) : say("noAnswer"));
    return;
  }
  asked = false;
  dialog.close();
  status();
  stream.restart();
  void look();
}

function forget(): void {
  setToken("");
  status();
}

async function look(): Promise<void> {
  try {
    const begun = performance.now();
    const state = await api.state();
    learn(state.now, begun);
    ready = state.ready;
    write(version, `v${state.version}`);
    show(reasons, state.reasons.length > 0);
    reasons.replaceChildren(...state.reasons.map((reason) => el("li", {}, reason)));
    for (const channel of await api.channels()) place(channel);
  } catch (error) {
    if (error instanceof Problem && error.status === 401 && !asked) {
      asked = true;
      ask(say("readNeedsToken"));
    }
    ready = null;
  }
  status();
}

function place(channel: Channel): void {
  const known = cards.get(channel.id);
  if (known) {
    known.update(channel);
    return;
  }
  const card = new Card(channel, () => void look());
  card.unlock(Boolean(token()));
  cards.set(channel.id, card);
  grid.append(card.root);
  void card.record().catch(() => undefined);
}

async function slow(): Promise<void> {
  try {
    const rows = await api.workers();
    processes = rows;
    workers.replaceChildren(...rows.map(process));
    await Promise.all([...cards.values()].map((card) => card.record()));
  } catch {
    // The next round brings it; that the connection is gone is shown at the top.
  }
}

function process(row: Worker): HTMLElement {
  const restarts = row.restarts ? ` · ${row.restarts} ${say("restarts")}` : "";
  return el("li", { "data-restarts": row.restarts > 0 ? "yes" : "no" }, `${row.name}${restarts}`);
}

let pending = 0;
function soon(topic: string): void {
  if (topic.endsWith(".asrun")) void cards.get(topic.split(".")[1] ?? "")?.record().catch(() => undefined);
  if (topic.startsWith("hls.") || pending) return;
  pending = window.setTimeout(() => {
    pending = 0;
    void look();
  }, 120);
}

build();
const stream = follow(
  (notice) => soon(notice.topic),
  (state) => {
    connected = state;
    status();
    if (state) void look();
  },
);
setInterval(() => {
  const moment = now();
  if (moment !== null) {
    write(time, clock(moment));
    time.dateTime = new Date(moment).toISOString();
  }
  for (const card of cards.values()) card.tick();
}, TICK);

async function forever(round: () => Promise<void>, visible: number): Promise<void> {
  for (;;) {
    await round();
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? Math.max(visible, LOOK_HIDDEN) : visible));
  }
}
void forever(look, LOOK);
void forever(slow, SLOW);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) void look();
});
