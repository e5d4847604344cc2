// Sends what staff changes. One wish has one key until it is answered: asking again never does it twice.

import { NoAnswer, ask, insist, isAnswer, newKey, pause } from "/static/api.js";
import { byId, make, tell, wordsOf } from "/static/page.js";
import { sessionEnded } from "/static/staff.js";

const TRIES = 4;
const SYNC_MS = 30000;
const LOOK_MS = 1000;
const LOOK_MOST_MS = 30000;

const keys = new Map();

/** {status, body}; status 0 when no answer came after all tries. */
export async function send(method, path, body, { timeoutMs } = {}) {
  const wish = `${method} ${path} ${JSON.stringify(body)}`;
  const key = keys.get(wish) ?? newKey();
  keys.set(wish, key);
  const answer = await insist(method, path, { body, key, timeoutMs, tries: TRIES });
  if (answer.status === 401) sessionEnded();
  else if (isAnswer(answer)) keys.delete(wish);
  const none = { error: "No answer came. Press the button again: it is done only once." };
  return answer.status === 0 ? { status: 0, body: none } : answer;
}

/** Bring what `wish` names up to HubSpot and say how much that was. */
export async function syncFromHubSpot(what, wish) {
  tell(`Reading ${what} from HubSpot…`);
  const { status, body } = await send("POST", "/api/admin/sync/run", wish, { timeoutMs: SYNC_MS });
  if (status === 200) tell(`${body.message}: ${body.synced} read, ${body.archived} gone from HubSpot.`, "good");
  else if (status !== 401) tell(wordsOf(body), "bad");
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

/** A button of a card: `of` says of what, as `data-…`, and `which` says it to those who only hear it. */
export function cardButton(does, which, of, deed) {
  const heard = make("span", { className: "only-heard", textContent: which });
  const button = make("button", { type: "button", className: "quiet" }, `${does} `, heard);
  Object.assign(button.dataset, { does, ...of });
  button.addEventListener("click", () => once(button, deed));
  return button;
}

/** Show these cards, and leave the keyboard on the button that it was on; `of` is the name in `data-…`. */
export function showCards(list, cards, of) {
  const at = list.contains(document.activeElement) ? document.activeElement.dataset : null;
  list.replaceChildren(...cards);
  if (at) list.querySelector(`[data-${of}="${at[of]}"][data-does="${at.does}"]`)?.focus({ preventScroll: true });
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
