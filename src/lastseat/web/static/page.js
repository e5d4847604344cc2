// Small things that every part of the page uses: elements, sentences, the live notice. Keeps no state.

export const byId = (id) => document.getElementById(id);

/** Make an element; text only ever goes in as text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Change text only when it differs, so that screen readers are not told what they know. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Say it where everybody, also a screen reader, notices. `kind`: "", "good" or "bad". */
export function tell(text, kind = "") {
  const notice = byId("notice");
  notice.className = `notice ${kind}`;
  setText(notice, text);
}

/** The server's own words, or ours when there are none. */
export const wordsOf = (body) => body?.error ?? "Something went wrong. Please try again.";

// HubSpot's older apps wrote these words in many ways; whatever is not over holds a seat.
export const OVER = /^(cancell?ed|refused|failed|inactive|false|no)$/i;
export const stateOf = (booking) => booking.is_active ?? booking.booking_status ?? "";

const dayFormat = new Intl.DateTimeFormat("en-CA", {
  weekday: "long", year: "numeric", month: "long", day: "numeric", timeZone: "UTC",
});
const momentFormat = (timeZone) => new Intl.DateTimeFormat("en-CA", {
  weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  timeZoneName: "short", timeZone,
});
let moments = momentFormat(undefined);

/** Show moments in the school's time zone, wherever the student is. */
export function showZone(timeZone) {
  moments = momentFormat(timeZone);
}

/** A date without a time belongs to no time zone: it is shown as written. */
export function dayText(date) {
  const moment = new Date(`${date}T00:00:00Z`);
  return Number.isNaN(moment.getTime()) ? "Date to be announced" : dayFormat.format(moment);
}

export const momentText = (moment) => moments.format(moment);

export const timeText = (time) => (time ?? "").slice(0, 5);

/** "Clinical Skills, Wednesday, March 5, 2031, 09:00, Calgary", without what is not known. */
export function sessionText(session) {
  const name = session.mock_type ?? session.mock_exam_name ?? "Session";
  const day = session.exam_date ? dayText(session.exam_date) : "";
  return [name, day, timeText(session.start_time), session.location].filter(Boolean).join(", ");
}

export const seatsText = (count) => (count === 1 ? "1 seat left" : `${count} seats left`);

const waiting = new WeakMap();

/** Show a dialog and return the value of the button that closed it; "" for Escape. */
export function choose(dialog) {
  // Race: the event "close" comes late, perhaps after the dialog was opened again for another question.
  waiting.get(dialog)?.("");
  dialog.onclose = () => {
    if (!dialog.open) waiting.get(dialog)?.(dialog.returnValue);
  };
  return new Promise((done) => {
    waiting.set(dialog, done);
    dialog.returnValue = "";
    dialog.showModal();
  });
}
