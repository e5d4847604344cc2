// Who has a seat in one exam, for staff: book, move and cancel for a student. Decides nothing about seats.

import { cardButton, inDialog, once, read, send, showCards, syncFromHubSpot } from "/static/changes.js";
import { examById, showExams, upcoming } from "/static/exam-list.js";
import { on } from "/static/live.js";
import { byId, choose, make, momentText, sessionText, setText, stateOf, tell, wordsOf } from "/static/page.js";
import { asksFor, can } from "/static/staff.js";

const PAGE = 100;
const SPREAD_MS = 500;

let exam = null;
let page = 1;
let seen = "";
let turn = 0;

export function startRoster() {
  byId("roster-close").addEventListener("click", close);
  byId("roster-book").addEventListener("click", bookSeat);
  byId("roster-sync").addEventListener("click", () => once(byId("roster-sync"), syncBookings));
  byId("roster-more").addEventListener("click", () => once(byId("roster-more"), () => show(page + 1)));
  on("seats", ({ exams }) => {
    if (exam && exams.some((one) => one.exam_id === exam.hubspot_id)) setTimeout(showRoster, Math.random() * SPREAD_MS);
  });
}

/** Show the bookings of this exam. */
export async function openRoster(wanted) {
  exam = wanted;
  page = 1;
  seen = "";
  byId("roster").hidden = false;
  setText(byId("roster-what"), sessionText(exam));
  byId("roster-list").replaceChildren();
  setText(byId("roster-state"), "Loading the bookings…");
  byId("roster-title").focus();
  await showRoster();
}

export const showRoster = () => (exam === null ? null : show(page));

function close() {
  const button = document.querySelector(`#exams-list [data-exam="${exam.hubspot_id}"][data-does="Bookings"]`);
  exam = null;
  byId("roster").hidden = true;
  (button ?? byId("exams-title")).focus();
}

async function show(pages) {
  const mine = (turn += 1), wanted = exam;
  const rows = new Map();
  let total = 0, all = 1;
  for (let n = 1; n <= Math.min(pages, all); n += 1) {
    const body = await read(`/api/admin/mock-exams/${exam.hubspot_id}/bookings?limit=${PAGE}&page=${n}`, byId("roster-state"));
    // Race: another exam's list was opened, or this one read anew, while this answer was on its way.
    if (body === null || mine !== turn || wanted !== exam) return;
    ({ total, pages: all } = body.pagination);
    for (const row of body.bookings) rows.set(idOf(row), row);
  }
  page = Math.max(1, Math.min(pages, all));
  setText(byId("roster-state"), total ? `${total} ${total === 1 ? "booking" : "bookings"}` : "Nobody is booked.");
  byId("roster-more").hidden = page >= all;
  const now = JSON.stringify([...rows.values()]);
  if (now === seen) return;
  seen = now;
  showCards(byId("roster-list"), [...rows.values()].map(item), "booking");
}

const idOf = (row) => String(row.booking_id ?? row.hubspot_id);
const nameOf = (row) => row.student_name ?? `Contact ${row.contact_id ?? "unknown"}`;
const WORDS = { active: "Booked", pending: "Seat held, waiting for HubSpot" };

function item(row) {
  const state = stateOf(row);
  const card = make("li", { className: "card" },
    make("h3", { textContent: nameOf(row) }),
    make("p", { className: "where", textContent: [row.student_id, row.student_email].filter(Boolean).join(" · ") }),
    make("p", { className: "where", textContent: [row.dominant_hand && `${row.dominant_hand}-handed`, row.attending_location, row.attendance].filter(Boolean).join(" · ") }),
    make("p", { className: `state ${state.toLowerCase()}`, textContent: WORDS[state.toLowerCase()] ?? state }));
  if (row.synced_at) card.append(make("p", { className: "soft", textContent: `Last read from HubSpot ${momentText(new Date(row.synced_at))}` }));
  const buttons = make("p", { className: "buttons" });
  if (can("bookings.create") && can("bookings.cancel")) buttons.append(button(row, "Move", () => move(row)));
  if (can("bookings.cancel")) buttons.append(button(row, "Cancel", () => cancel(row)));
  card.append(buttons);
  return card;
}

const button = (row, text, deed) =>
  cardButton(text, `the booking of ${nameOf(row)}, ${idOf(row)}`, { booking: idOf(row) }, deed);

async function cancel(row) {
  byId("confirm-what").textContent = `${nameOf(row)}, ${sessionText(exam)}`;
  if ((await choose(byId("confirm"))) !== "cancel") return;
  const { status, body } = await send("POST", "/api/bookings/batch-cancel", { bookingIds: [idOf(row)] });
  const result = status === 200 ? body.results[0] : null;
  if (result?.success) {
    const waits = result.status === "pending";
    tell(`${waits ? "The cancellation is noted; HubSpot has not confirmed it yet" : "Cancelled"}: ${nameOf(row)}.`, "good");
  } else if (status !== 401) tell(wordsOf(result ?? body), "bad");
  await afterwards();
}

async function move(row) {
  byId("move-what").textContent = `${nameOf(row)}, now in ${sessionText(exam)}`;
  const others = upcoming().filter((one) => one.hubspot_id !== exam.hubspot_id);
  byId("move-to").replaceChildren(...others.map((one) => make("option", {
    value: one.hubspot_id, textContent: `${sessionText(one)} (${one.remaining} left)`,
  })));
  if ((await choose(byId("move"))) !== "move") return;
  const examId = byId("move-to").value;
  const { status, body } = await send("POST", "/api/admin/bookings/move", { bookingId: idOf(row), examId });
  if (status === 202) tell(`The new seat is held for ${nameOf(row)}; HubSpot has not confirmed it yet.`, "good");
  else if (status === 200 || status === 201) tell(`Moved: ${nameOf(row)}, to ${sessionText(examById(examId))}.`, "good");
  else if (status !== 401) tell(wordsOf(body), "bad");
  await afterwards();
}

function bookSeat() {
  const asked = asksFor(exam.mock_type);
  byId("seat-what").textContent = sessionText(exam);
  byId("seat-hand").hidden = !asked.includes("dominant_hand");
  byId("seat-place").hidden = !asked.includes("attending_location");
  byId("attending_location").required = asked.includes("attending_location");
  for (const radio of document.querySelectorAll("#seat-hand input")) radio.required = asked.includes("dominant_hand");
  inDialog("seat", async (data) => {
    const fields = asked.map((name) => [name, String(data.get(name) ?? "").trim()]).filter(([, value]) => value);
    const wish = { examId: exam.hubspot_id, contactId: String(data.get("contact_id")).trim(), ...Object.fromEntries(fields) };
    const { status, body } = await send("POST", "/api/bookings/create", wish);
    if (status < 200 || status > 299) return body;
    tell(status === 202 ? "The seat is held; HubSpot has not confirmed it yet." : `Booked: ${sessionText(exam)}.`, "good");
    byId("contact_id").value = "";
    await afterwards();
    return null;
  });
}

async function syncBookings() {
  await syncFromHubSpot("this exam’s bookings", { type: "bookings", examId: exam.hubspot_id });
  await afterwards();
}

const afterwards = () => Promise.all([showRoster(), showExams()]);
