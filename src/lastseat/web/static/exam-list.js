// The exams as staff sees them, with their seats counted live. Changes only by what its buttons say.

import { cardButton, once, read, send, settle, showCards } from "/static/changes.js";
import { on } from "/static/live.js";
import { byId, choose, dayText, make, momentText, sessionText, setText, timeText } from "/static/page.js";
import { can, zone } from "/static/staff.js";

const EXAMS = "/api/admin/mock-exams";
const PAGE = 100;
const AGAIN_MS = 5000;
const SPREAD_MS = 1000;

let exams = [];
let pages = { loaded: 0, all: 1 };
let counts = new Map();
let deeds = {};

export const examById = (id) => exams.find((exam) => exam.hubspot_id === id);
/** Those that can still be booked, the next one first. */
export const upcoming = () => exams.filter((exam) => kindOf(exam) === "upcoming").sort(byDate);

/** `edit(exam)` and `roster(exam)` are called when their buttons are pressed. */
export function startExamList(wanted) {
  deeds = wanted;
  byId("exams-which").addEventListener("change", render);
  byId("exams-more").addEventListener("click", () => once(byId("exams-more"), () => load(pages.loaded + 1)));
  on("seats", ({ exams: said }) => {
    for (const { exam_id: id, ...seats } of said) counts.set(id, seats);
    exams = exams.map(counted);
    render();
  });
  on("exams", () => setTimeout(showExams, Math.random() * SPREAD_MS));
}

let reading = null;

/** Read them anew, at least all that are still to come. Of those asked for while one is under way, the last counts. */
export async function showExams() {
  const before = reading;
  const mine = (async () => {
    await before?.catch(() => {});
    if (reading === mine) await readAll();
  })();
  reading = mine;
  await mine;
}

async function readAll() {
  const wanted = Math.max(pages.loaded, 1), today = todayInZone();
  counts = new Map();
  const found = new Map();
  for (let page = 1; ; page += 1) {
    const body = await read(`${EXAMS}?limit=${PAGE}&page=${page}`, byId("exams-state"));
    if (body === null) {
      setTimeout(() => byId("desk").hidden || showExams(), AGAIN_MS);
      return;
    }
    for (const exam of body.exams) found.set(exam.hubspot_id, exam);
    pages = { loaded: page, all: body.pagination.pages };
    const last = body.exams.at(-1);
    if (page >= pages.all || (page >= wanted && (last?.exam_date ?? "") < today)) break;
  }
  exams = [...found.values()].map(counted);
  render();
}

async function load(page) {
  const body = await read(`${EXAMS}?limit=${PAGE}&page=${page}`, byId("exams-state"));
  if (body === null) return;
  pages = { loaded: page, all: body.pagination.pages };
  exams = [...new Map([...exams, ...body.exams].map((exam) => [exam.hubspot_id, counted(exam)])).values()];
  render();
}

function counted(exam) {
  const seats = counts.get(exam.hubspot_id);
  return seats ? { ...exam, total_bookings: seats.total_bookings, remaining: seats.remaining } : exam;
}

const todayInZone = () => new Intl.DateTimeFormat("sv-SE", { timeZone: zone() }).format(new Date());
const sortKey = (exam) => `${exam.exam_date ?? ""} ${exam.start_time ?? ""} ${exam.hubspot_id}`;
const byDate = (one, other) => (sortKey(one) < sortKey(other) ? -1 : 1);

function kindOf(exam) {
  if (exam.archived_at) return "deleted";
  return exam.exam_date && exam.exam_date < todayInZone() ? "past" : "upcoming";
}

function render() {
  const which = byId("exams-which").value;
  const shown = exams.filter((exam) => kindOf(exam) === which).sort(byDate);
  if (which !== "upcoming") shown.reverse();
  showCards(byId("exams-list"), shown.map(card), "exam");
  setText(byId("exams-state"), shown.length ? "" : `No ${which} exams.`);
  byId("exams-more").hidden = pages.loaded >= pages.all;
}

function card(exam) {
  const times = [timeText(exam.start_time), timeText(exam.end_time)].filter(Boolean).join(" to ");
  const { text, look } = stateOf(exam);
  const item = make("li", { className: "card" },
    make("h3", { textContent: exam.mock_exam_name ?? exam.mock_type ?? "Exam" }),
    make("p", { className: "where", textContent: [exam.mock_exam_name && exam.mock_type, dayText(exam.exam_date)].filter(Boolean).join(", ") }),
    make("p", { className: "where", textContent: [times, exam.location].filter(Boolean).join(" · ") }),
    make("p", { className: `state ${look}`, textContent: text }),
    make("p", { className: "soft", textContent: syncedText(exam) }),
    make("p", { className: "buttons" }, ...buttons(exam)));
  item.dataset.exam = exam.hubspot_id;
  return item;
}

function stateOf(exam) {
  const seats = `${exam.total_bookings} of ${exam.capacity} seats taken`;
  if (exam.archived_at) return { text: `Deleted, ${seats}`, look: "refused" };
  if (exam.total_bookings > exam.capacity) return { text: `Oversold: ${seats}`, look: "refused" };
  if (exam.is_active === "inactive") return { text: `Closed, ${seats}`, look: "" };
  if (exam.is_active === "scheduled" || (exam.opens_at && new Date(exam.opens_at) > new Date())) {
    return { text: `${exam.opens_at ? `Opens ${momentText(new Date(exam.opens_at))}` : "Not open yet"}, ${seats}`, look: "limited" };
  }
  return { text: `Open, ${seats}`, look: exam.remaining > 0 ? "available" : "full" };
}

const syncedText = (exam) => (exam.synced_at ? `Last read from HubSpot ${momentText(new Date(exam.synced_at))}` : "");

function buttons(exam) {
  const isOpen = exam.is_active !== "inactive";
  const all = [
    ["Bookings", true, () => deeds.roster(exam)],
    ["Edit", can("exams.edit") && !exam.archived_at, () => deeds.edit(exam)],
    [isOpen ? "Close" : "Open", can("exams.activate") && !exam.archived_at, () => toggle(exam, !isOpen)],
    ["Delete", can("exams.delete") && !exam.archived_at, () => remove(exam)],
    ["Restore", can("exams.delete") && Boolean(exam.archived_at), () => restore(exam)],
  ];
  return all.filter(([, allowed]) => allowed).map(([text, , deed]) => button(exam, text, deed));
}

const button = (exam, text, deed) =>
  cardButton(text, `${sessionText(exam)}, ${exam.hubspot_id}`, { exam: exam.hubspot_id, ...(text === "Open" && { does: "Close" }) }, deed);

async function toggle(exam, active) {
  const answer = await send("POST", `${EXAMS}/activate`, { examId: exam.hubspot_id, active });
  await settle(answer, `${active ? "Opened" : "Closed"}: ${sessionText(exam)}.`, showExams);
}

async function remove(exam) {
  const held = exam.total_bookings;
  byId("delete-what").textContent = sessionText(exam);
  byId("delete-bookings").checked = false;
  byId("delete-bookings-text").textContent = `Cancel its bookings first (${held})`;
  byId("delete-bookings").closest("p").hidden = held === 0 || !can("bookings.cancel");
  if ((await choose(byId("delete"))) !== "delete") return;
  const cancelBookings = byId("delete-bookings").checked;
  const answer = await send("DELETE", `${EXAMS}/delete`, { examId: exam.hubspot_id, cancelBookings });
  await settle(answer, `Deleted: ${sessionText(exam)}.`, showExams);
  byId("exams-title").focus();
}

async function restore(exam) {
  const answer = await send("POST", `${EXAMS}/restore`, { examId: exam.hubspot_id });
  await settle(answer, `Restored: ${sessionText(exam)}. It has a new ID in HubSpot.`, showExams);
  byId("exams-title").focus();
}
