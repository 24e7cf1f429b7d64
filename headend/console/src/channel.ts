/** The card of one channel: its picture, what is on air and next, its sources, its record, and the commands. */

import { type Channel, Problem, type Row, api, asrunFile } from "./api";
import { Command } from "./command";
import { el, mark, show, write } from "./dom";
import { Player } from "./player";
import { clock, now, span } from "./time";
import { type Word, language, say, translate } from "./words";

const ROWS = 6;
const COUNTS = ["frames", "repeats", "holds", "drops", "jumps"] as const;
/** Milliseconds after which a picture is old: amber, then red. */
const OLD = 1000;
const DEAD = 3000;
/** Milliseconds after which the next account of the channel should have come. */
const OVERDUE = 3000;

const word = (tag: "span" | "h3" | "dt" | "button" | "a" | "label", name: Word, rest: Record<string, string> = {}): HTMLElement =>
  el(tag, { "data-word": name, ...rest });

export class Card {
  readonly root: HTMLElement;
  private readonly player: Player;
  private readonly name = el("h2");
  private readonly mode = el("span", { class: "mode", role: "status" });
  private readonly warning = el("p", { class: "warning", role: "alert", hidden: true, "data-word": "unreachable" });
  private readonly title = el("p", { class: "programme" });
  private readonly origin = el("p", { class: "origin" });
  private readonly left = el("span", { class: "left" });
  private readonly bar = el("progress", { max: 1, value: 0, "data-label": "onAir" });
  private readonly nextTitle = el("p", { class: "programme" });
  private readonly countdown = el("span", { class: "left" });
  private readonly lamps = el("ul", { class: "lamps" });
  private readonly rows = el("tbody");
  private readonly empty = el("p", { class: "quiet", "data-word": "asrunEmpty" });
  private readonly readout = new Map<string, HTMLElement>();
  private readonly commands: Command[] = [];
  private readonly dump: Command;
  private readonly choice = el("select", { "data-label": "source" });
  private readonly text = el("input", { type: "text", maxlength: 2000, "data-label": "crawl", autocomplete: "off" });
  private readonly result = el("p", { class: "result", role: "status" });
  private readonly desk: HTMLFieldSetElement;
  private resultTimer = 0;
  private channel: Channel;
  private told = 0;

  constructor(
    channel: Channel,
    private readonly changed: () => void,
  ) {
    this.channel = channel;
    this.player = new Player(channel.hls, channel.name.zho);
    this.dump = this.command("dump", "dumpHelp", () => api.dump(channel.id));
    this.desk = el(
      "fieldset",
      { class: "desk", disabled: true },
      el(
        "div",
        { class: "take" },
        this.choice,
        this.command("take", "takeHelp", () => api.take(channel.id, this.choice.value), () => this.choice.value).root,
      ),
      this.command("release", "releaseHelp", () => api.release(channel.id)).root,
      this.command("skip", "skipHelp", () => api.skip(channel.id)).root,
      this.dump.root,
      this.crawl(),
    );
    this.root = el(
      "article",
      { class: "card", "data-channel": channel.id, "aria-labelledby": `name-${channel.id}` },
      el("header", {}, this.name, el("code", {}, channel.id), this.mode, this.measure("frameAge"), this.measure("delay")),
      this.warning,
      el(
        "div",
        { class: "body" },
        el("div", { class: "picture" }, this.player.root, this.readouts(), this.desk, this.result),
        el(
          "div",
          { class: "facts" },
          el("section", { class: "now" }, el("header", {}, word("h3", "onAir"), this.left), this.title, this.bar, this.origin),
          el("section", {}, el("header", {}, word("h3", "next"), this.countdown), this.nextTitle),
          el("section", {}, word("h3", "sources"), this.lamps),
        ),
      ),
      el("section", { class: "asrun" }, this.asrunHead(), this.empty, el("table", {}, this.rows), this.counters()),
    );
    this.name.id = `name-${channel.id}`;
    this.update(channel);
    this.translate();
  }

  /** Every text anew, in the language chosen. */
  translate(): void {
    translate(this.root);
    for (const command of this.commands) command.translate();
    this.player.translate();
    this.update(this.channel);
  }

  /** Whether commands may be given: the token is known. */
  unlock(open: boolean): void {
    this.desk.disabled = !open;
  }

  /** Show a new state of the channel. */
  update(channel: Channel): void {
    this.channel = channel;
    write(this.name, channel.name[language()]);
    write(this.mode, say(`mode_${channel.mode}`));
    mark(this.root, "data-mode", channel.mode);
    show(this.warning, !channel.reachable);
    const air = channel.on_air;
    write(this.title, air ? label(air.title, air.source, air.item) : say("nothingOnAir"));
    this.title.title = air?.source ?? "";
    write(
      this.origin,
      [air?.since ? say("since", clock(Date.parse(air.since))) : "", air?.title ? short(air.source) : "", air?.reason ?? ""]
        .filter(Boolean)
        .join(" · "),
    );
    write(this.nextTitle, channel.next ? label(channel.next.title, channel.next.source, channel.next.item) : say("nothingNext"));
    this.nextTitle.classList.toggle("quiet", !channel.next);
    this.sources();
    for (const name of COUNTS) this.measured(name, channel.counts[name].toLocaleString());
    this.measured("gaps", String(channel.gaps));
    this.measured("delay", channel.delay > 0 ? `${channel.delay} s` : "");
    show(this.readout.get("delay")!.parentElement!, channel.delay > 0);
    show(this.dump.root, channel.delay > 0);
    show(this.text.form!, channel.crawl !== null);
    this.text.placeholder = channel.crawl || say("crawlHelp");
    this.told = performance.now();
    this.tick();
  }

  /** What changes by itself: countdowns, ages, the player's readout. Called several times a second. */
  tick(): void {
    const { on_air: air, next, last_frame_age: told } = this.channel;
    const time = now();
    const play = this.player.readout();
    for (const name of ["quality", "latency", "buffer"] as const) this.measured(name, play[name]);
    this.measured("stalls", String(play.stalls));
    if (time === null) return;
    const until = air?.until ? Date.parse(air.until) : null;
    const since = air?.since ? Date.parse(air.since) : null;
    write(this.left, until ? say("remaining", span(until - time)) : since ? `+${span(time - since)}` : "");
    show(this.bar, until !== null && since !== null);
    if (until && since) this.bar.value = Math.min(1, Math.max(0, (time - since) / Math.max(1, until - since)));
    const start = next?.start ? Date.parse(next.start) : null;
    write(this.countdown, start ? (start > time ? say("in", span(start - time)) : say("now")) : "");
    this.countdown.classList.toggle("soon", start !== null && start - time < 10_000);
    // What was told grows old only when the next account is overdue; between two it would only seem to.
    const overdue = Math.max(0, performance.now() - this.told - OVERDUE);
    const age = told === null ? null : Math.max(0, (told - this.channel.delay) * 1000) + overdue;
    this.measured("frameAge", age === null ? "–" : `${(age / 1000).toFixed(1)} s`);
    mark(this.readout.get("frameAge")!, "data-level", age === null || age > DEAD ? "bad" : age > OLD ? "warn" : "good");
  }

  /** Read the newest as-run rows. */
  async record(): Promise<void> {
    const rows = await api.asrun(this.channel.id, ROWS);
    show(this.empty, rows.length === 0);
    this.rows.replaceChildren(...rows.reverse().map(asrunRow));
  }

  private sources(): void {
    const rows = this.channel.sources;
    const kept = this.choice.value;
    const names = rows.map((row) => row.name);
    if (names.join("\n") !== [...this.choice.options].map((option) => option.value).join("\n")) {
      this.choice.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      if (names.includes(kept)) this.choice.value = kept;
    }
    show(this.choice.parentElement!, names.length > 0);
    if (rows.length === 0) {
      this.lamps.replaceChildren(el("li", { class: "quiet" }, say("noSources")));
      return;
    }
    this.lamps.replaceChildren(
      ...rows.map((row) =>
        el(
          "li",
          { "data-lamp": row.lamp, title: [row.url, row.message].filter(Boolean).join("\n") },
          el("span", { class: "lamp", "aria-hidden": "true" }),
          el("strong", {}, row.name),
          el("span", { class: "quiet" }, row.kind ?? ""),
          el("span", { class: "rate" }, row.bit_rate ? `${(row.bit_rate / 1e6).toFixed(2)} Mbit/s` : ""),
          el("span", { class: "say" }, row.on_air ? say("onAir") : say(row.lamp)),
          el("span", { class: "why" }, row.lamp === "bad" || row.lamp === "waiting" ? (row.message ?? "") : ""),
        ),
      ),
    );
  }

  private command(name: Word, help: Word, act: () => Promise<unknown>, object?: () => string): Command {
    const command = new Command(name, help, () => this.carryOut(name, act), object);
    this.commands.push(command);
    return command;
  }

  private async carryOut(name: Word, act: () => Promise<unknown>): Promise<void> {
    this.report("wait", `${say(name)}: ${say("sent")}`);
    try {
      await act();
      this.report("good", `${say(name)}: ${say("done")}`);
    } catch (error) {
      this.report("bad", `${say(name)}: ${say("failed")}. ${error instanceof Problem ? error.message : say("noAnswer")}`);
    }
    this.changed();
  }

  private report(level: string, text: string): void {
    write(this.result, text);
    mark(this.result, "data-level", level);
    clearTimeout(this.resultTimer);
    if (level === "good") this.resultTimer = window.setTimeout(() => write(this.result, ""), 6000);
  }

  private crawl(): HTMLElement {
    const form = el("form", { class: "crawl" }, this.text, el("button", { "data-word": "crawlSet" }));
    const off = el("button", { type: "button", "data-word": "crawlOff" });
    form.append(off);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.text.value.trim()) void this.carryOut("crawl", () => api.crawl(this.channel.id, this.text.value.trim()));
    });
    off.addEventListener("click", () => {
      this.text.value = "";
      void this.carryOut("crawl", () => api.crawl(this.channel.id, ""));
    });
    return form;
  }

  private readouts(): HTMLElement {
    const names = ["quality", "latency", "buffer", "stalls"] as const;
    return el("div", { class: "readout" }, ...names.map((name) => this.measure(name)));
  }

  private counters(): HTMLElement {
    return el("div", { class: "readout counters" }, ...[...COUNTS, "gaps" as const].map((name) => this.measure(name)));
  }

  private measure(name: Word): HTMLElement {
    const value = el("b");
    this.readout.set(name, value);
    return el("span", { class: "measure" }, word("span", name), value);
  }

  private measured(name: Word, text: string): void {
    write(this.readout.get(name)!, text);
  }

  private asrunHead(): HTMLElement {
    const link = word("button", "asrunFile", { type: "button", class: "link" });
    link.addEventListener("click", () => void this.download());
    return el("header", {}, word("h3", "asrun"), link);
  }

  private async download(): Promise<void> {
    try {
      const address = URL.createObjectURL(await asrunFile(this.channel.id));
      el("a", { href: address, download: `asrun-${this.channel.id}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      this.report("bad", `${say("asrunFile")}: ${error instanceof Problem ? error.message : say("noAnswer")}`);
    }
  }
}

function asrunRow(row: Row): HTMLElement {
  const start = row.start ? Date.parse(row.start) : NaN;
  const end = row.end ? Date.parse(row.end) : NaN;
  return el(
    "tr",
    { title: [row.source, row.why].filter(Boolean).join("\n") },
    el("td", {}, Number.isNaN(start) ? "" : clock(start)),
    el("td", {}, label(row.title ?? null, row.source ?? null, row.item ?? null)),
    el("td", {}, Number.isNaN(start - end) ? "" : span(end - start)),
    el("td", { class: "quiet" }, row.why ?? ""),
  );
}

/** The last part of a path or address is what people know a file by. */
function short(source: string | null): string {
  return source?.split(/[\\/]/).filter(Boolean).pop() ?? "";
}

function label(title: string | null, source: string | null, item: string | null): string {
  return title || short(source) || item || "–";
}
