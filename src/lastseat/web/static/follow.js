// Follows each booking that waits for its confirmation until it ends, also after the page was loaded anew, and each
// cancellation while the page stays.

import { NoAnswer, ask, pause } from "/static/api.js";
import { on } from "/static/live.js";
import { OVER, sessionText, stateOf, tell } from "/static/page.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30000;
// A cancellation that HubSpot refuses leaves the booking as it was, and nothing to wait for.
const LOOKS_FOR_A_CANCELLATION = 40;

const followed = new Map();  // what is followed → look now

on("booking", ({ booking_id: id }) => followed.get(`booking ${id}`)?.());
on("booking", ({ booking_id: id }) => followed.get(`cancellation ${id}`)?.());
on("bookings", () => [...followed.values()].forEach((look) => look()));

/** Until a booking is confirmed or refused; `changed` is called when there is something to show. */
export async function follow(bookingId, session, changed) {
  const booking = await until(`booking ${bookingId}`, bookingId, (one) => stateOf(one) !== "Pending", Infinity);
  if (!booking) return;
  tellEnd(booking, session);
  await changed();
}

/** Until a cancellation is confirmed. */
export async function followCancellation(bookingId, session, changed) {
  const ended = (one) => OVER.test(stateOf(one));
  const booking = await until(`cancellation ${bookingId}`, bookingId, ended, LOOKS_FOR_A_CANCELLATION);
  if (!booking) return;
  tell(`Cancelled: ${sessionText(session)}.`, "good");
  await changed();
}

/** Ask when news come, and again and again, ever more slowly; the booking when it has ended, null when nobody need wait any more. */
async function until(name, bookingId, ended, looks) {
  if (!bookingId || followed.has(name)) return null;
  followed.set(name, () => {});
  let waitMs = FIRST_PAUSE_MS;
  let booking;
  for (let look = 0; look < looks; look += 1) {
    const told = new Promise((resume) => followed.set(name, resume));
    await Promise.race([pause(waitMs * (0.9 + Math.random() * 0.2)), told]);
    waitMs = Math.min(waitMs * 1.25, LONGEST_PAUSE_MS);
    booking = await read(bookingId);
    if (booking === null || (booking && ended(booking))) break;
    booking = null;
  }
  followed.delete(name);
  return booking;
}

/** The booking; null when it is not ours to see any more, undefined when it is not known now. */
async function read(bookingId) {
  try {
    const { status, body } = await ask("GET", `/api/bookings/${encodeURIComponent(bookingId)}`);
    if (status === 200) return body.booking;
    return [401, 403, 404].includes(status) ? null : undefined;
  } catch (error) {
    if (error instanceof NoAnswer) return undefined;
    throw error;
  }
}

function tellEnd(booking, session) {
  const state = booking.is_active;
  if (state === "Refused" || state === "Failed") {
    tell(`${sessionText(session)} could not be booked: ${booking.reason ?? "no reason was given"}. The seat was given back.`, "bad");
  } else if (state !== "Cancelled") {
    tell(`Confirmed. You are booked: ${sessionText(session)}.`, "good");
  }
}
