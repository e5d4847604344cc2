// Who is signed in. The token lives in a cookie that scripts cannot read; this only asks the server.

import { ask } from "/static/api.js";
import { byId, make, showZone, tell, wordsOf } from "/static/page.js";
import { learnSession, orSayNoAnswer } from "/static/session.js";

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
  await learnSession(take);
  show();
  changed();
}

async function take(body) {
  session = body.session;
  asks = new Map(Object.entries(body.asks).map(([type, fields]) => [type.toLowerCase(), fields]));
  showZone(body.timezone);
  if (body.demo) await offerSamples();
  byId("sign-in-elsewhere").hidden = body.demo;
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
