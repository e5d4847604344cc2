// Sends what staff changes. One wish has one key until it is answered: asking again never does it twice.

import { NoAnswer, ask, newKey, pause } from "/static/api.js";
import { byId, tell, wordsOf } from "/static/page.js";
import { sessionEnded } from "/static/staff.js";

const TRIES = 4;
const FIRST_PAUSE_MS = 500;
const LOOK_MS = 1000;
const LOOK_MOST_MS = 30000;

const keys = new Map();

/** {status, body}; status 0 when no answer came after all tries. */
export async function send(method, path, body, { timeoutMs } = {}) {
  const wish = `${method} ${path} ${JSON.stringify(body)}`;
  const key = keys.get(wish) ?? newKey();
  keys.set(wish, key);
  let last = { status: 0, body: { error: "No answer came. Press the button again: it is done only once." } };
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    let waitMs = FIRST_PAUSE_MS * 2 ** attempt;
    try {
      const answer = await ask(method, path, { body, key, timeoutMs });
      if (answer.status === 401) sessionEnded();
      else if (answer.status < 500 && answer.status !== 429) keys.delete(wish);
      if (answer.status < 500 && answer.status !== 429) return answer;
      last = answer;
      waitMs = Math.max(waitMs, answer.retryAfterMs);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
    if (attempt < TRIES - 1) await pause(waitMs * (0.75 + Math.random() * 0.5));
  }
  return last;
}

/** Read something; null when it cannot be had, after saying why in `state`. */
export async function read(path, state) {
  try {
    const { status, body } = await ask("GET", path);
    if (status === 200) return body;
    if (status === 401) sessionEnded();
    state.textContent = wordsOf(body);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    state.textContent = "It could not be loaded; the network is slow. Trying again…";
  }
  return null;
}

/** Keep a button from being pressed twice while its deed is under way. */
export async function once(button, deed) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await deed();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Say what came of a change of an exam, and, while HubSpot has not confirmed it, what comes of it later. */
export async function settle(answer, done, changed) {
  if (answer.status === 401) return;
  if (answer.status === 202) {
    tell(`${done} HubSpot has not confirmed it yet…`, "good");
    await changed();
    follow(answer.body.statusUrl, done, changed);
  } else if (answer.status >= 200 && answer.status < 300) {
    tell(done, "good");
    await changed();
  } else tell(wordsOf(answer.body), "bad");
}

async function follow(statusUrl, done, changed) {
  for (let waitMs = LOOK_MS; ; waitMs = Math.min(waitMs * 1.5, LOOK_MOST_MS)) {
    await pause(waitMs);
    const { status, body } = await ask("GET", statusUrl).catch(() => ({ status: 0 }));
    if ([401, 403, 404].includes(status)) return;
    if (status !== 200 || body.change.status === "pending") continue;
    if (body.change.status === "refused") tell(`HubSpot refused this: ${body.change.reason}. It was taken back.`, "bad");
    else tell(`${done} HubSpot has confirmed it.`, "good");
    await changed();
    return;
  }
}

/** Show a form in a dialog until `submit(data)` returns null; what it returns else is shown, and nothing typed is lost. */
export function inDialog(name, submit) {
  const dialog = byId(name), form = byId(`${name}-form`), fault = byId(`${name}-fault`), save = byId(`${name}-save`);
  byId(`${name}-back`).onclick = () => dialog.close();
  form.onsubmit = (event) => {
    event.preventDefault();
    once(save, async () => {
      showFault(form, fault, null);
      const missing = [...form.elements].find((part) => part.willValidate && !part.validity.valid);
      const wrong = missing
        ? { error: `${form.querySelector(`label[for="${missing.id}"]`)?.textContent ?? missing.name}: ${missing.validationMessage}`, field: missing.name }
        : await submit(new FormData(form));
      if (wrong === null) dialog.close();
      else showFault(form, fault, wrong);
    });
  };
  showFault(form, fault, null);
  dialog.showModal();
}

function showFault(form, fault, wrong) {
  fault.textContent = wrong === null ? "" : wordsOf(wrong);
  for (const part of form.elements) part.removeAttribute("aria-invalid");
  // The server names a field in either spelling, contactId or contact_id.
  const part = form.elements[wrong?.field?.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)];
  if (part instanceof Element) {
    part.setAttribute("aria-invalid", "true");
    part.setAttribute("aria-describedby", fault.id);
    part.focus();
  }
}
