// Who is signed in. The token lives in a cookie that scripts cannot read; this only asks the server.

import { NoAnswer, ask, pause } from "/static/api.js";
import { byId, make, showZone, tell, wordsOf } from "/static/page.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30000;

let session = null;
let names = new Map();
let asks = new Map();

export const contactId = () => session?.contact_id ?? null;
/** What a booking of this type of session should carry. */
export const asksFor = (type) => asks.get((type ?? "").toLowerCase()) ?? [];
export const isStaff = () => (session?.permissions ?? []).length > 0;

/** Ask who is signed in until there is an answer, and show it; `changed` is called after every sign-in and sign-out. */
export async function startAccount(changed) {
  byId("sign-out").addEventListener("click", () => orSayNoAnswer("Sign out", () => signOut(changed)));
  byId("sample-form").addEventListener("submit", (event) => {
    event.preventDefault();
    orSayNoAnswer("Sign in", () => signIn(changed));
  });
  let waitMs = FIRST_PAUSE_MS;
  while (!(await learn())) {
    tell("The page could not find out whether you are signed in. Trying again…", "bad");
    await pause(waitMs);
    waitMs = Math.min(waitMs * 2, LONGEST_PAUSE_MS);
  }
  if (waitMs > FIRST_PAUSE_MS) tell("");
  show();
  changed();
}

/** Take in what the server says of the session and of the school; return whether it answered. */
async function learn() {
  try {
    const { status, body } = await ask("GET", "/api/session");
    if (status !== 200) return false;
    session = body.session;
    asks = new Map(Object.entries(body.asks).map(([type, fields]) => [type.toLowerCase(), fields]));
    showZone(body.timezone);
    if (body.demo) await offerSamples();
    byId("sign-in-elsewhere").hidden = body.demo;
    return true;
  } catch (error) {
    if (error instanceof NoAnswer) return false;
    throw error;
  }
}

async function orSayNoAnswer(button, deed) {
  try {
    await deed();
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    tell(`No answer came; the network is slow. Press ${button} again.`, "bad");
  }
}

async function signOut(changed) {
  const { status, body } = await ask("DELETE", "/api/session");
  if (status !== 200) {
    tell(wordsOf(body), "bad");
    return;
  }
  session = null;
  show();
  tell("You are signed out.");
  byId("sign-in-title").focus();
  changed();
}

/** The server said 401: the session has ended meanwhile. */
export function sessionEnded() {
  session = null;
  show();
  askToSignIn("Your session has ended. Sign in again; nothing was lost.");
}

export function askToSignIn(text) {
  tell(text);
  (byId("sample-form").hidden ? byId("sign-in-title") : byId("sample")).focus();
}

async function offerSamples() {
  const { status, body } = await ask("GET", "/api/demo/students");
  if (status !== 200) return;
  names = new Map(body.students.map((student) => [student.contact_id, student.name]));
  byId("sample").replaceChildren(...body.students.map((student) => make("option", {
    value: student.contact_id,
    textContent: student.student_id ? `${student.name} (${student.student_id})` : student.name,
  })));
  byId("sample-form").hidden = body.students.length === 0;
}

async function signIn(changed) {
  const { status, body } = await ask("POST", "/api/demo/session", { body: { contact_id: byId("sample").value } });
  if (status !== 200) {
    tell(wordsOf(body), "bad");
    return;
  }
  session = body.session;
  show();
  tell(`You are signed in as ${nameText()}.`, "good");
  changed();
  byId("sessions").focus();
}

function nameText() {
  return names.get(contactId()) ?? (contactId() ? `student ${contactId()}` : "staff");
}

function show() {
  byId("account").hidden = session === null;
  byId("sign-in").hidden = session !== null;
  byId("who").textContent = session === null ? "" : `Signed in as ${nameText()}`;
}
