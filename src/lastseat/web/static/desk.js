// How the sync stands, and what HubSpot refused. Asks every few seconds while the page is seen; repairs nothing itself.

import { pause } from "/static/api.js";
import { cardButton, once, read, send, syncFromHubSpot } from "/static/changes.js";
import { showExams } from "/static/exam-list.js";
import { byId, make, momentText, setText, tell, wordsOf } from "/static/page.js";
import { can } from "/static/staff.js";

const LOOK_MS = 5000;
const PAGE = 20;
const PARTS = { hubspot: "HubSpot", budget: "HubSpot calls", invariants: "Promises" };
const KINDS = { exams: "Exams", contacts: "Students", bookings: "Bookings" };

let rows = [];
let pages = 1;
let asideCount = null;

export async function startDesk() {
  byId("sync-exams").addEventListener("click", () => once(byId("sync-exams"), syncExams));
  byId("aside-more").addEventListener("click", () => once(byId("aside-more"), () => showAside(pages + 1)));
  for (;;) {
    if (!document.hidden && !byId("desk").hidden) await showSync();
    await pause(LOOK_MS * (0.9 + Math.random() * 0.2));
  }
}

/** Read the state of the sync and show it. */
export async function showSync() {
  const body = await read("/api/admin/sync/status", byId("sync-state"));
  if (body === null) return;
  setText(byId("sync-state"), body.stale
    ? "The database is away: only the parts are known."
    : `As of ${momentText(new Date(body.at))}. ${backfillText(body.backfill)}`);
  lines("sync-parts", Object.entries(body.parts).map(([name, part]) => partLine(name, part)));
  if (body.stale) return;
  lines("sync-records", body.records.map(recordLine));
  lines("sync-outbox", body.outbox.length ? body.outbox.map(outboxLine) : [["Nothing waits.", ""]]);
  if (body.aside !== asideCount) {
    asideCount = body.aside;
    await showAside(pages);
  }
}

function partLine(name, part) {
  const word = part.ok ? "well" : part.needed === false ? "not well" : "away";
  return [`${PARTS[name] ?? name[0].toUpperCase() + name.slice(1)}: ${word}. ${part.detail}`, part.ok ? "good" : "bad"];
}

function recordLine(kind) {
  const read = kind.oldest_synced_at
    ? `read between ${momentText(new Date(kind.oldest_synced_at))} and ${momentText(new Date(kind.newest_synced_at))}`
    : "none read yet";
  return [`${KINDS[kind.kind] ?? kind.kind}: ${kind.live}, and ${kind.archived} deleted; ${read}.`, ""];
}

function outboxLine(kind) {
  const since = kind.oldest_at ? `, the oldest since ${momentText(new Date(kind.oldest_at))}` : "";
  const error = kind.last_error ? ` HubSpot’s last words: ${kind.last_error}` : "";
  return [`${kind.kind}: ${kind.waiting} waiting, ${kind.sent} sent${since}.${error}`, kind.last_error ? "bad" : ""];
}

function backfillText(backfill) {
  if (backfill === null) return "No backfill was ever begun here.";
  const when = momentText(new Date(backfill.updated_at));
  return backfill.done ? `The backfill was done ${when}.` : `A backfill is under way: ${backfill.passes_done} of ${backfill.passes} passes, last heard of ${when}.`;
}

/** Only what differs is touched, so that a reader is not thrown back to the top every few seconds. */
function lines(id, wanted) {
  const list = byId(id);
  while (list.children.length > wanted.length) list.lastChild.remove();
  wanted.forEach(([text, look], n) => {
    const line = list.children[n] ?? list.appendChild(make("li"));
    line.className = look;
    setText(line, text);
  });
}

async function syncExams() {
  await syncFromHubSpot("all exams", { type: "exams" });
  await Promise.all([showSync(), showExams()]);
}

async function showAside(wanted) {
  const found = new Map();
  let total = 0, all = 1;
  for (let n = 1; n <= Math.min(wanted, all); n += 1) {
    const body = await read(`/api/admin/set-aside?limit=${PAGE}&page=${n}`, byId("aside-state"));
    if (body === null) {
      asideCount = null;  // look again with the next state
      return;
    }
    ({ total, pages: all } = body.pagination);
    for (const row of body.rows) found.set(row.outbox_id, row);
  }
  pages = Math.max(1, Math.min(wanted, all));
  rows = [...found.values()];
  setText(byId("aside-state"), total ? "" : "Nothing is set aside.");
  byId("aside-list").replaceChildren(...rows.map(asideItem));
  byId("aside-more").hidden = pages >= all;
}

function asideItem(row) {
  const whose = row.student_name ?? (row.contact_id ? `Contact ${row.contact_id}` : row.exam_id ? `Exam ${row.exam_id}` : "");
  const card = make("li", { className: "card" },
    make("h3", { textContent: [row.kind.replace("_", " "), whose].filter(Boolean).join(": ") }),
    make("p", { className: "state refused", textContent: row.reason ?? "No reason was given." }),
    make("p", { className: "soft", textContent: [row.set_aside_at && `Since ${momentText(new Date(row.set_aside_at))}`, `tried ${row.attempts} times`, row.booking_id].filter(Boolean).join(" · ") }));
  if (can("bookings.create")) card.append(make("p", { className: "buttons" }, retryButton(row, whose)));
  return card;
}

function retryButton(row, whose) {
  return cardButton("Try again", `${row.kind} ${whose}, ${row.outbox_id}`, { row: row.outbox_id }, async () => {
    const { status, body } = await send("POST", "/api/admin/set-aside/retry", { outboxId: row.outbox_id });
    if (status === 202) tell(`It is tried again: ${whose || row.kind}.`, "good");
    else if (status === 200) tell(`There was nothing left to do: ${whose || row.kind}.`, "good");
    else if (status !== 401) tell(wordsOf(body), "bad");
    asideCount = null;
    await showSync();
    byId("aside-title").focus();
  });
}
