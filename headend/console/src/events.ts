/**
 * Server-sent events over fetch: unlike EventSource it can send the token, and it tells when the connection is gone.
 * A broken stream is taken up again where it broke off (Last-Event-ID), sooner at first, at most every 10 seconds.
 */

import { authorization } from "./api";

export interface Notice {
  topic: string;
  at: string;
  data: unknown;
}

/** Longer silence than two keep-alive comments of the head end means that the connection is dead. */
const SILENCE = 40_000;

export function follow(onNotice: (notice: Notice) => void, onState: (connected: boolean) => void): { restart(): void } {
  let last = "";
  let wait = 500;
  let abort = new AbortController();

  async function once(): Promise<void> {
    abort = new AbortController();
    const headers = { ...authorization(), ...(last ? { "Last-Event-ID": last } : {}) };
    let timer = setTimeout(() => abort.abort(), SILENCE);
    try {
      const response = await fetch("/api/v1/events", { headers, signal: abort.signal, cache: "no-store" });
      if (!response.ok || !response.body) throw new Error(`HTTP ${response.status}`);
      onState(true);
      wait = 500;
      let rest = "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), SILENCE);
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) read(block);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  function read(block: string): void {
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) last = line.slice(4);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (data) onNotice(JSON.parse(data) as Notice);
  }

  async function forever(): Promise<void> {
    for (;;) {
      try {
        await once();
      } catch {
        // Whatever broke it, the answer is the same: say so, and try again.
      }
      onState(false);
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(wait * 2, 10_000);
    }
  }

  void forever();
  return { restart: () => abort.abort() };
}
