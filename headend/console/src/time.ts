/** House time in the browser: the head end's clock, carried on by the browser's monotonic one, and how times are written. */

let offset: number | null = null;

/** Learn house time from an answer that was asked for at `asked` (performance.now()) and has just arrived. */
export function learn(now: string, asked: number): void {
  const arrived = performance.now();
  const next = Date.parse(now) - (asked + arrived) / 2;
  // Small differences are the network's, not the clock's: following them would make countdowns tremble.
  if (offset === null || Math.abs(next - offset) > 150) offset = next;
}

/** Milliseconds since 1970 in house time; null until the head end has said it. */
export function now(): number | null {
  return offset === null ? null : offset + performance.now();
}

const two = (n: number): string => String(Math.floor(n)).padStart(2, "0");

/** Time of day where the browser is. */
export function clock(ms: number): string {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** A span as M:SS or H:MM:SS. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const rest = `${two((seconds % 3600) / 60)}:${two(seconds % 60)}`;
  return seconds >= 3600 ? `${Math.floor(seconds / 3600)}:${rest}` : rest;
}
