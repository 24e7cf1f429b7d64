/**
 * A button that changes what viewers see. The first press arms it for a few seconds and says what would happen, the
 * second does it: a hand that slips on a control desk must not be on air.
 */

import { el, write } from "./dom";
import { type Word, say } from "./words";

const ARMED = 4000;

export class Command {
  readonly root: HTMLButtonElement;
  private timer = 0;

  constructor(
    private readonly word: Word,
    tip: Word,
    private readonly act: () => Promise<void>,
    private readonly object: () => string = () => "",
  ) {
    this.root = el("button", { type: "button", class: `command command-${word}`, "data-tip": tip });
    this.root.addEventListener("click", () => this.press());
    this.root.addEventListener("blur", () => this.disarm());
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.disarm();
    });
    this.translate();
  }

  translate(): void {
    const what = [say(this.word), this.object()].filter(Boolean).join(" ");
    // The armed text is no longer than the other, so that no button moves under a hand that is about to press.
    write(this.root, this.timer ? say("confirm") : say(this.word));
    this.root.setAttribute("aria-label", this.timer ? say("confirmWhat", what) : what);
    this.root.classList.toggle("armed", this.timer !== 0);
  }

  disarm(): void {
    clearTimeout(this.timer);
    this.timer = 0;
    this.translate();
  }

  private press(): void {
    if (this.timer === 0) {
      this.timer = window.setTimeout(() => this.disarm(), ARMED);
      this.translate();
      return;
    }
    this.disarm();
    void this.act();
  }
}
