// A student's own bookings, and cancelling one. Shows what the server says, remembers nothing.

import { NoAnswer, ask } from "/static/api.js";
import { contactId, sessionEnded } from "/static/account.js";
import { follow, followCancellation } from "/static/follow.js";
import { on } from "/static/live.js";
import { OVER, byId, choose, make, sessionText, setText, stateOf, tell, wordsOf } from "/static/page.js";
import { markMine, refresh } from "/static/sessions.js";

const CANCELLABLE = /^(active|pending|true|yes|confirmed)$/i;
const WORDS = { active: "Booked", pending: "Seat secured, being confirmed" };

const PAGE = 100;
const SPREAD_MS = 1000;

let readAt = 0;

const idOf = (booking) => String(booking.booking_id ?? booking.hubspot_id);

/** Show the bookings again when something of them changed elsewhere; what was read meanwhile is not read twice. */
export function hearOutcomes() {
  const look = () => {
    const at = performance.now();
    setTimeout(() => readAt < at && contactId() && showMine(), SPREAD_MS * (0.3 + Math.random()));
  };
  on("booking", look);
  on("bookings", look);
}

/** Read the bookings and show them. */
export async function showMine() {
  readAt = performance.now();
  byId("mine").hidden = !contactId();
  if (!contactId()) {
    markMine([]);
    return;
  }
  try {
    const { status, body, bookings } = await allPages();
    if (status === 401) sessionEnded();
    else if (status === 200) render(bookings);
    else setText(byId("mine-state"), wordsOf(body));
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    setText(byId("mine-state"), "Your bookings could not be loaded; the network is slow.");
  }
}

async function allPages() {
  // Race: a booking made between two pages moves the others on; each is shown once.
  const bookings = new Map();
  for (let page = 1; ; page += 1) {
    const { status, body } = await ask("GET", `/api/bookings/list?contactId=${contactId()}&limit=${PAGE}&page=${page}`);
    if (status !== 200) return { status, body };
    for (const booking of body.bookings) bookings.set(idOf(booking), booking);
    if (page >= body.pagination.pages) return { status, body, bookings: [...bookings.values()] };
  }
}

function render(bookings) {
  const held = bookings.filter((booking) => !OVER.test(stateOf(booking)));
  const old = bookings.filter((booking) => OVER.test(stateOf(booking)));
  const focused = document.activeElement?.closest?.("#mine-list .card")?.dataset.booking;
  setText(byId("mine-state"), held.length ? "" : "You have no bookings yet.");
  byId("mine-list").replaceChildren(...held.map(item));
  byId("mine-old").hidden = old.length === 0;
  byId("mine-old-list").replaceChildren(...old.map(item));
  if (focused) focusOn(focused);
  markMine(held);
  for (const booking of held.filter((one) => stateOf(one) === "Pending")) follow(booking.booking_id, booking, showMine);
}

/** Back to the button of a booking whose card was made anew; without one, to the heading. */
function focusOn(id) {
  const card = [...byId("mine-list").children].find((one) => one.dataset.booking === id);
  (card?.querySelector("button") ?? byId("mine-title")).focus({ preventScroll: true });
}

function item(booking) {
  const state = stateOf(booking);
  const card = make("li", { className: "card" },
    make("h3", { textContent: booking.mock_type ?? booking.mock_exam_name ?? "Session" }),
    make("p", { className: "where", textContent: sessionText({ ...booking, mock_type: " " }).replace(/^[ ,]+/, "") }),
    make("p", { className: `state ${state.toLowerCase()}`, textContent: WORDS[state.toLowerCase()] ?? state }));
  card.dataset.booking = idOf(booking);
  if (booking.reason) card.append(make("p", { className: "soft", textContent: booking.reason }));
  if (CANCELLABLE.test(state)) card.append(make("p", {}, cancelButton(booking)));
  return card;
}

function cancelButton(booking) {
  const which = make("span", { className: "only-heard", textContent: sessionText(booking) });
  const button = make("button", { type: "button", className: "quiet" }, "Cancel ", which);
  button.addEventListener("click", () => cancel(booking));
  return button;
}

async function cancel(booking) {
  byId("confirm-what").textContent = sessionText(booking);
  if ((await choose(byId("confirm"))) !== "cancel") {
    focusOn(idOf(booking));  // the card may have been made anew behind the dialog
    return;
  }
  tell("Cancelling…");
  try {
    const bookingIds = [booking.hubspot_id ?? booking.booking_id];
    const { status, body } = await ask("POST", "/api/bookings/batch-cancel", { body: { bookingIds } });
    if (status === 401) sessionEnded();
    else if (status !== 200) tell(wordsOf(body), "bad");
    else tellResult(body.results[0], booking);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    tell("No answer came. Press Cancel again: cancelling twice does no harm.", "bad");
  }
  await Promise.all([showMine(), refresh()]);
  byId("mine-title").focus();
}

function tellResult(result, booking) {
  if (!result.success) tell(wordsOf(result), "bad");
  else if (result.status === "pending") {
    tell(`Your cancellation is noted and being confirmed: ${sessionText(booking)}.`, "good");
    followCancellation(idOf(booking), booking, showMine);
  } else tell(`Cancelled: ${sessionText(booking)}.`, "good");
}
