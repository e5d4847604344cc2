// Talks to the server: JSON in, JSON out, with a time-out. Decides nothing about what an answer means.

const TIMEOUT_MS = 15000;

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
