/** The head end's API, as much of it as the page uses. The types follow /api/openapi.json. */

export type Mode = "alert" | "take" | "live" | "schedule" | "filler" | "slate" | "starting" | "unknown";
export type Lamp = "good" | "waiting" | "bad" | "idle";

export interface OnAir {
  source: string | null;
  item: string | null;
  title: string | null;
  since: string | null;
  until: string | null;
  reason: string | null;
}

export interface Next {
  item: string | null;
  title: string | null;
  source: string | null;
  start: string | null;
}

export interface Source {
  name: string;
  kind: string | null;
  url: string | null;
  lamp: Lamp;
  on_air: boolean;
  bit_rate: number | null;
  errors: number;
  reconnects: number;
  message: string | null;
}

export interface Counts {
  frames: number;
  repeats: number;
  holds: number;
  drops: number;
  jumps: number;
  lateness: number;
}

export interface Channel {
  id: string;
  name: { zho: string; eng: string };
  hls: string;
  reachable: boolean;
  mode: Mode;
  on_air: OnAir | null;
  next: Next | null;
  /** Seconds, when the head end answered. */
  last_frame_age: number | null;
  delay: number;
  crawl: string | null;
  counts: Counts;
  sources: Source[];
  gaps: number;
}

export interface HeadEnd {
  version: string;
  now: string;
  ready: boolean;
  reasons: string[];
}

export interface Worker {
  name: string;
  state: string | null;
  restarts: number;
}

/** A row of the as-run record; what else it holds is in the CSV. */
export interface Row {
  start?: string;
  end?: string | null;
  title?: string;
  item?: string | null;
  source?: string;
  why?: string;
}

/** What the head end answered instead of what was asked for (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    detail: string,
  ) {
    super(detail);
  }
}

const KEY = "headend.token";

export function token(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setToken(value: string): void {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

export function authorization(): Record<string, string> {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

const PATIENCE = 8000;

async function request(method: string, path: string, body?: unknown): Promise<unknown> {
  const headers: Record<string, string> = authorization();
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    headers["Idempotency-Key"] = unique();
  }
  const response = await fetch(path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(PATIENCE),
  });
  const answer: unknown = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const told = (answer ?? {}) as { type?: string; detail?: string };
  throw new Problem(response.status, (told.type ?? "").split(":").pop() ?? "", told.detail ?? `HTTP ${response.status}`);
}

/** A UUID also where the page came over plain HTTP from another machine: crypto.randomUUID is not there then. */
function unique(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const at = (channel: string, rest: string): string => `/api/v1/channels/${encodeURIComponent(channel)}/${rest}`;

export const api = {
  state: async () => (await request("GET", "/api/v1/state")) as HeadEnd,
  channels: async () => ((await request("GET", "/api/v1/channels")) as { channels: Channel[] }).channels,
  workers: async () => ((await request("GET", "/api/v1/workers")) as { workers: Worker[] }).workers,
  asrun: async (channel: string, limit: number) =>
    ((await request("GET", at(channel, `asrun?limit=${limit}`))) as { rows: Row[] }).rows,
  /** Refused with 401 unless the token is right. */
  check: () => request("GET", "/api/v1/token"),
  take: (channel: string, source: string) => request("POST", at(channel, "take"), { source }),
  release: (channel: string) => request("POST", at(channel, "release"), {}),
  skip: (channel: string) => request("POST", at(channel, "skip"), {}),
  dump: (channel: string) => request("POST", at(channel, "dump"), {}),
  crawl: (channel: string, text: string) => request("PUT", at(channel, "crawl"), { text }),
};

/** Where the as-run file of a channel is fetched; the token, if one is needed, goes in a header. */
export async function asrunFile(channel: string): Promise<Blob> {
  const response = await fetch(at(channel, "asrun?format=csv&limit=10000"), { headers: authorization() });
  if (!response.ok) throw new Problem(response.status, "", `HTTP ${response.status}`);
  return response.blob();
}
