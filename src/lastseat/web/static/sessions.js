// The sessions by day with their seats left. Hears the counts live, and asks for them while it cannot; books nothing.

import { NoAnswer, ask, pause } from "/static/api.js";
import { isLive, on } from "/static/live.js";
import { byId, dayText, make, momentText, seatsText, setText, sessionText, timeText } from "/static/page.js";

const AGAIN_MS = 3000;
const AGAIN_MOST_MS = 30000;
const AGAIN_LIVE_MS = 60000;  // the list itself, in case a word of it was lost
const SPREAD_MS = 1000;  // everybody hears at the same moment that the list changed

const cards = new Map();
let exams = [];
let order = "";
let mine = new Map();
let busy = new Set();
let onBook = () => {};
let counts = new Map();
let wake = () => {};

export const allPlaces = () => [...new Set(exams.map((exam) => exam.location).filter(Boolean))].sort();
export const examById = (id) => exams.find((exam) => exam.hubspot_id === id);

/** Show the list and keep it fresh; `book(exam)` is called when a student presses Book. */
export async function startSessions(book) {
  onBook = book;
  on("seats", ({ exams: said }) => hear(said));
  on("exams", () => setTimeout(() => wake(), Math.random() * SPREAD_MS));
  on("lost", () => wake());
  let waitMs = AGAIN_MS;
  for (;;) {
    if (!document.hidden || exams.length === 0) {
      waitMs = (await refresh()) ? AGAIN_MS : Math.min(waitMs * 2, AGAIN_MOST_MS);
    }
    const quiet = isLive() && waitMs === AGAIN_MS;
    await nap((quiet ? AGAIN_LIVE_MS : waitMs) * (0.8 + Math.random() * 0.4));
  }
}

const nap = (ms) => Promise.race([pause(ms), new Promise((resume) => { wake = resume; })]);

/** Take counts from the stream; of exams that are not listed here yet too: the list may be on its way. */
function hear(said) {
  const at = performance.now();
  for (const { exam_id: id, ...seats } of said) counts.set(id, { at, seats });
  exams = exams.map((exam) => withSeatsSince(exam, at));
  render();
}

function withSeatsSince(exam, at) {
  const known = counts.get(exam.hubspot_id);
  return known && known.at >= at ? { ...exam, ...known.seats } : exam;
}

/** Which exams are this student's: exam id → state of the booking. */
export function markMine(bookings) {
  mine = new Map(bookings.map((booking) => [booking.mock_exam_id, booking.is_active]));
  render();
}

export function markBusy(examId, isBusy) {
  busy[isBusy ? "add" : "delete"](examId);
  render();
}

/** Ask for the counts now; return whether an answer came. */
export async function refresh() {
  const began = performance.now();
  try {
    const { status, body } = await ask("GET", "/api/mock-exams/available");
    if (status !== 200) throw new NoAnswer(body.error);
    exams = body.exams.map((exam) => withSeatsSince(exam, began));
    setText(byId("sessions-state"), exams.length ? "" : "No sessions are open at the moment.");
    render();
    return true;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    setText(byId("sessions-state"), exams.length
      ? "The network is slow: these counts may be old. Trying again…"
      : "The sessions could not be loaded. Trying again…");
    return false;
  }
}

function render() {
  for (const exam of exams) {
    if (!cards.has(exam.hubspot_id)) cards.set(exam.hubspot_id, newCard(exam.hubspot_id));
    patch(cards.get(exam.hubspot_id), exam);
  }
  const newOrder = JSON.stringify(exams.map((exam) => [exam.hubspot_id, exam.exam_date]));
  if (newOrder !== order) {
    const focused = document.activeElement;
    byId("days").replaceChildren(...days().map(([date, sessions]) => dayElement(date, sessions)));
    order = newOrder;
    if (focused?.isConnected && focused !== document.body) focused.focus({ preventScroll: true });
  }
  for (const [date, sessions] of days()) setText(byId(`total-${date}`), totalText(sessions));
}

function days() {
  const byDate = new Map();
  for (const exam of exams) {
    const date = exam.exam_date ?? "later";
    byDate.set(date, [...(byDate.get(date) ?? []), exam]);
  }
  return [...byDate];
}

function dayElement(date, sessions) {
  return make("section", {},
    make("h3", { textContent: dayText(date) }),
    make("p", { className: "total", id: `total-${date}` }),
    make("ul", { className: "cards" }, ...sessions.map((exam) => cards.get(exam.hubspot_id).card)));
}

function totalText(sessions) {
  const left = sessions.reduce((sum, exam) => sum + exam.remaining, 0);
  return `${seatsText(left)} in ${sessions.length === 1 ? "1 session" : `${sessions.length} sessions`}`;
}

function newCard(examId) {
  const parts = {
    name: make("h4"),
    where: make("p", { className: "where" }),
    seats: make("p", { className: "state" }),
    does: make("span"),
    which: make("span", { className: "only-heard" }),
  };
  parts.button = make("button", { type: "button" }, parts.does, " ", parts.which);
  parts.button.addEventListener("click", () => {
    if (parts.button.getAttribute("aria-disabled") !== "true") onBook(examById(examId));
  });
  parts.card = make("li", { className: "card" }, parts.name, parts.where, parts.seats, make("p", {}, parts.button));
  parts.card.dataset.exam = examId;
  return parts;
}

function patch(parts, exam) {
  const times = [timeText(exam.start_time), timeText(exam.end_time)].filter(Boolean).join(" to ");
  setText(parts.name, exam.mock_type ?? exam.mock_exam_name ?? "Session");
  setText(parts.where, [times, exam.location].filter(Boolean).join(" · "));
  setText(parts.seats, exam.remaining > 0 ? `${exam.remaining} of ${exam.capacity} seats left` : "Full");
  parts.seats.className = `state ${exam.status}`;
  const { text, can } = action(exam);
  setText(parts.does, text);
  setText(parts.which, sessionText(exam));
  parts.button.setAttribute("aria-disabled", String(!can));
}

function action(exam) {
  const held = mine.get(exam.hubspot_id);
  if (busy.has(exam.hubspot_id)) return { text: "Booking…", can: false };
  if (held === "Pending") return { text: "Confirming…", can: false };
  if (held) return { text: "Booked", can: false };
  if (exam.bookable === false) {
    return { text: exam.opens_at ? `Opens ${momentText(new Date(exam.opens_at))}` : "Not open yet", can: false };
  }
  return exam.remaining > 0 ? { text: "Book", can: true } : { text: "Full", can: false };
}
