// Who of the staff is signed in, and what they may do. The token lives in a cookie that scripts cannot read.

import { ask } from "/static/api.js";
import { byId, make, showZone, tell, wordsOf } from "/static/page.js";
import { learnSession, orSayNoAnswer } from "/static/session.js";

let permissions = new Set();
let known = { asks: {}, timezone: "UTC", lists: null };

/** Whether the signed-in staff member has this permission; the server decides anyway. */
export const can = (permission) => permissions.has(permission);
/** What a booking of this type of session should carry. */
export const asksFor = (type) => Object.entries(known.asks)
  .find(([name]) => name.toLowerCase() === (type ?? "").toLowerCase())?.[1] ?? [];
export const zone = () => known.timezone;
/** What an exam's type and location may be. */
export const lists = () => known.lists ?? { mock_types: [], locations: [] };

/** Ask who is signed in until there is an answer; `changed(isStaff)` is called then and after each sign-in and -out. */
export async function startStaff(changed) {
  const then = () => {
    show();
    changed(permissions.size > 0);
  };
  byId("sign-out").addEventListener("click", () =>
    orSayNoAnswer("Sign out", () => deed("DELETE", "/api/session", undefined, then)));
  byId("sign-in-staff").addEventListener("click", () =>
    orSayNoAnswer("Sign in as staff", () => deed("POST", "/api/demo/session", { staff: true }, then)));
  await learnSession(take);
  then();
}

/** The server said 401: the session has ended meanwhile. What is written in a form stays there. */
export function sessionEnded() {
  permissions = new Set();
  show();
  tell("Your session has ended. Sign in again; nothing was lost.", "bad");
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  byId("sign-in-title").focus();
}

async function deed(method, path, body, then) {
  const answer = await ask(method, path, { body });
  if (answer.status !== 200) {
    tell(wordsOf(answer.body), "bad");
    return;
  }
  take(answer.body);
  tell(permissions.size ? "You are signed in as staff." : "You are signed out.", permissions.size ? "good" : "");
  then();
  byId(permissions.size ? "exams-title" : "sign-in-title").focus();
}

function take(body) {
  permissions = new Set(body.session?.permissions ?? []);
  known = body;
  showZone(body.timezone);
  byId("zone").textContent = body.timezone;
  fill("mock_type", lists().mock_types);
  fill("location", lists().locations);
  byId("account").hidden = body.session === null;
  byId("who").textContent = permissions.size ? "Signed in as staff" : "Signed in as a student";
  byId("sign-in-why").textContent = body.session === null ? "" : "This account is a student’s. This page is for staff.";
}

function fill(id, words) {
  const value = byId(id).value;
  byId(id).replaceChildren(...words.map((word) => make("option", { value: word, textContent: word })));
  if (words.includes(value)) byId(id).value = value;
}

function show() {
  const isStaff = permissions.size > 0;
  byId("desk").hidden = !isStaff;
  byId("sign-in").hidden = isStaff;
  byId("sign-in-demo").hidden = !known.demo;
  byId("sign-in-elsewhere").hidden = known.demo;
  byId("exam-new").hidden = !can("exams.create");
  byId("sync-exams").hidden = byId("roster-sync").hidden = !can("exams.edit");
  byId("roster-book").hidden = !can("bookings.create");
}
