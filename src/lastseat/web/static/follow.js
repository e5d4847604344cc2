// Follows each booking that waits for its confirmation until it ends, also after the page was loaded anew.

import { NoAnswer, ask, pause } from "/static/api.js";
import { sessionText, tell } from "/static/page.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30000;

const followed = new Set();

/** Ask again and again, ever more slowly, and say how it ended; `changed` is called when there is something to show. */
export async function follow(bookingId, session, changed) {
  if (!bookingId || followed.has(bookingId)) return;
  followed.add(bookingId);
  let waitMs = FIRST_PAUSE_MS;
  let booking;
  do {
    await pause(waitMs * (0.9 + Math.random() * 0.2));
    waitMs = Math.min(waitMs * 1.25, LONGEST_PAUSE_MS);
    booking = await look(bookingId);
  } while (booking === undefined || booking?.is_active === "Pending");
  followed.delete(bookingId);
  if (booking === null) return;
  tellEnd(booking, session);
  await changed();
}

/** The booking; null when it is not ours to see any more, undefined when it is not known now. */
async function look(bookingId) {
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
