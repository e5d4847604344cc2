// Talks to the server: JSON in, JSON out, with a time-out. Decides nothing about what an answer means.

const TIMEOUT_MS = 15000;
const FIRST_PAUSE_MS = 500;

/** The answer did not come: it is not known whether the server did what was asked. */
export class NoAnswer extends Error {}

/** Return {status, body, retryAfterMs}; throw NoAnswer when the network or the time gave out. */
export async function ask(method, path, { body, key, timeoutMs = TIMEOUT_MS } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  let response, text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch (error) {
    throw new NoAnswer(String(error));
  }
  return { status: response.status, body: parse(text), retryAfterMs: retryAfter(response) };
}

/** Whether the server has said yes or no; else the same request may be sent again. */
export const isAnswer = ({ status }) => status > 0 && status < 500 && status !== 429;

/** Ask until there is an answer; after all tries the last that came, {status: 0} for none. `again` is called before each. */
export async function insist(method, path, { body, key, timeoutMs, tries, again = () => {} }) {
  let last = { status: 0, body: null };
  for (let attempt = 0; attempt < tries; attempt += 1) {
    if (attempt > 0) {
      await pause(Math.max(FIRST_PAUSE_MS * 2 ** (attempt - 1), last.retryAfterMs ?? 0) * (0.75 + Math.random() * 0.5));
      again();
    }
    try {
      last = await ask(method, path, { body, key, timeoutMs });
      if (isAnswer(last)) return last;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
  }
  return last;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { success: false, error: "The server’s answer cannot be read.", code: "UNREADABLE" };
  }
}

function retryAfter(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return seconds > 0 ? seconds * 1000 : 0;
}

export const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

// crypto.randomUUID is missing on plain http in a school's own network.
export const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
