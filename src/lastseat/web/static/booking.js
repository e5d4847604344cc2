// Books one seat. One wish has one key, kept until the server has said yes or no: asking again never books twice.

import { insist, isAnswer, newKey } from "/static/api.js";
import { askToSignIn, asksFor, contactId, isStaff, sessionEnded } from "/static/account.js";
import { follow } from "/static/follow.js";
import { byId, choose, make, sessionText, tell, wordsOf } from "/static/page.js";
import { allPlaces, markBusy, refresh } from "/static/sessions.js";

const TRIES = 5;

// Where the page asks for each field that the server names.
const PARTS = { dominant_hand: "hand", attending_location: "place" };

/** Ask what the session needs, book it and say what came of it; `changed` when there is something new to show. */
export async function book(exam, changed) {
  if (!contactId()) {
    if (isStaff()) tell("You are signed in as staff. This page books for students only.");
    else askToSignIn("Sign in first, then book.");
    return;
  }
  const details = await askDetails(exam);
  if (details === null) return;
  markBusy(exam.hubspot_id, true);
  try {
    await settle(exam, await send(exam, { examId: exam.hubspot_id, ...details }), changed);
  } finally {
    markBusy(exam.hubspot_id, false);
  }
}

async function askDetails(exam) {
  const fields = asksFor(exam.mock_type).filter((field) => PARTS[field]);
  if (fields.length === 0) return {};
  prepare(exam, fields.map((field) => PARTS[field]));
  if ((await choose(byId("ask"))) !== "book") return null;
  const form = new FormData(byId("ask-form"));
  return Object.fromEntries(fields.map((field) => {
    const said = String(form.get(PARTS[field]) ?? "").trim();
    sessionStorage.setItem(`last-${PARTS[field]}`, said);
    return [field, said];
  }));
}

function prepare(exam, parts) {
  byId("ask-what").textContent = sessionText(exam);
  const [hand, place] = ["hand", "place"].map((part) => parts.includes(part));
  byId("ask-hand").hidden = !hand;
  byId("ask-place").hidden = !place;
  const last = sessionStorage.getItem("last-hand");
  for (const radio of document.querySelectorAll("#ask-hand input")) {
    radio.required = hand;
    radio.checked = hand && radio.value === last;
  }
  byId("place").required = place;
  byId("place").value = place ? sessionStorage.getItem("last-place") ?? "" : "";
  byId("places").replaceChildren(...allPlaces().map((name) => make("option", { value: name })));
}

/** Send the wish until there is an answer; null when there is none after all tries. */
async function send(exam, body) {
  const intent = intentFor(body);
  tell(`Booking ${sessionText(exam)}…`);
  const again = () => tell("The network is slow; asking again. You cannot be booked twice.");
  const answer = await insist("POST", "/api/bookings/create", { body, key: intent.key, tries: TRIES, again });
  if (!isAnswer(answer)) return null;
  if (answer.status !== 401) forget(body);
  return answer;
}

async function settle(exam, answer, changed) {
  if (answer === null) {
    tell("No answer came. Press Book again: it is the same wish, you cannot be booked twice.", "bad");
  } else if (answer.status === 401) {
    sessionEnded();
  } else if (answer.status === 202) {
    tell(`Your seat is secured: ${sessionText(exam)}. It is being confirmed; with many bookings at once that can take a minute. The seat is held, also when you leave this page.`, "good");
    await changed();
    follow(answer.body.booking.booking_id, exam, changed);
  } else if (answer.status === 201) {
    tell(`You are booked: ${sessionText(exam)}.`, "good");
    await changed();
  } else if (answer.status < 300) {
    tell(`Your booking was cancelled meanwhile: ${sessionText(exam)}. To book it anew, press Book.`);
    await changed();
  } else {
    tell(refusalText(answer.body), "bad");
    await Promise.all([refresh(), answer.body.code === "ALREADY_BOOKED" ? changed() : null]);
  }
}

function refusalText(body) {
  if (body.code === "SESSION_FULL") return "This session is full now. Look for another one: seats that others give back show up here.";
  if (body.code === "ALREADY_BOOKED") return "You already have a seat in this session. It is under My bookings.";
  return wordsOf(body);
}

/** The same wish finds its key again, also after the page was loaded anew. */
function intentFor(body) {
  const name = nameOf(body);
  const kept = JSON.parse(sessionStorage.getItem(name) ?? "null");
  if (kept) return kept;
  const intent = { key: newKey() };
  sessionStorage.setItem(name, JSON.stringify(intent));
  return intent;
}

const forget = (body) => sessionStorage.removeItem(nameOf(body));
const nameOf = (body) => `wish ${contactId()} ${JSON.stringify(body)}`;
