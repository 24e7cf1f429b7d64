/** One channel's picture: hls.js, muted until asked, that never gives up. */

import Hls, { type ErrorData, Events, ErrorTypes } from "hls.js";
import workerPath from "hls.js/dist/hls.worker.js?url";
import { el, show, write } from "./dom";
import { say } from "./words";

export interface Readout {
  quality: string;
  latency: string;
  buffer: string;
  stalls: number;
}

export class Player {
  readonly root: HTMLElement;
  private readonly video: HTMLVideoElement;
  private readonly veil: HTMLElement;
  private readonly speaker: HTMLButtonElement;
  private hls: Hls | null = null;
  private stalls = 0;
  private playing = false;
  private wait = 1000;
  private broken: "waiting" | "broken" | "cannot" | null = "waiting";

  constructor(
    private readonly url: string,
    label: string,
  ) {
    this.video = el("video", { playsinline: true, muted: true, autoplay: true, "aria-label": label, tabindex: -1 });
    // The attribute alone does not mute an element made by script.
    this.video.muted = true;
    this.veil = el("p", { class: "veil", role: "status" });
    this.speaker = el("button", { class: "speaker", type: "button" });
    this.speaker.addEventListener("click", () => {
      this.video.muted = !this.video.muted;
      this.translate();
    });
    this.video.addEventListener("playing", () => {
      this.playing = true;
      this.wait = 1000;
      this.broken = null;
      this.translate();
    });
    this.video.addEventListener("waiting", () => {
      if (this.playing && !this.video.seeking) this.stalls += 1;
    });
    this.root = el("div", { class: "screen" }, this.video, this.veil, this.speaker);
    this.translate();
    this.open();
  }

  translate(): void {
    const text = { waiting: say("playerWaiting"), broken: say("playerBroken"), cannot: say("playerCannot") };
    write(this.veil, this.broken ? text[this.broken] : "");
    show(this.veil, this.broken !== null);
    write(this.speaker, this.video.muted ? say("sound") : say("mute"));
    this.speaker.setAttribute("aria-pressed", String(!this.video.muted));
  }

  readout(): Readout {
    const { video, hls } = this;
    const end = video.buffered.length ? video.buffered.end(video.buffered.length - 1) : video.currentTime;
    const latency = hls && this.playing ? hls.latency : 0;
    return {
      quality: video.videoHeight ? `${video.videoHeight}p` : "–",
      latency: latency > 0 ? `${latency.toFixed(1)} s` : "–",
      buffer: `${Math.max(0, end - video.currentTime).toFixed(1)} s`,
      stalls: this.stalls,
    };
  }

  private open(): void {
    if (!Hls.isSupported()) {
      this.native();
      return;
    }
    const hls = new Hls({
      workerPath,
      capLevelToPlayerSize: true,
      // A status page stays open for weeks: what was watched is let go of.
      backBufferLength: 20,
      maxBufferLength: 20,
    });
    this.hls = hls;
    hls.on(Events.ERROR, (_, error) => this.mend(hls, error));
    hls.on(Events.MANIFEST_PARSED, () => void this.video.play().catch(() => undefined));
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  private mend(hls: Hls, error: ErrorData): void {
    if (!error.fatal) return;
    if (error.type === ErrorTypes.MEDIA_ERROR && this.wait === 1000) {
      this.wait = 2000;
      hls.recoverMediaError();
      return;
    }
    hls.destroy();
    this.hls = null;
    this.playing = false;
    this.broken = "broken";
    this.translate();
    setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(this.wait * 2, 15_000);
  }

  /** Safari on phones has no Media Source Extensions and plays HLS itself. */
  private native(): void {
    if (!this.video.canPlayType("application/vnd.apple.mpegurl")) {
      this.broken = "cannot";
      this.translate();
      return;
    }
    this.video.src = this.url;
    this.video.onerror = () => {
      this.broken = "broken";
      this.translate();
      setTimeout(() => this.native(), this.wait);
      this.wait = Math.min(this.wait * 2, 15_000);
    };
    void this.video.play().catch(() => undefined);
  }
}
