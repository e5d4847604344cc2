// Asks who is signed in, for both pages, and says when no answer came. Keeps nothing: each page knows what it shows.

import { NoAnswer, ask, pause } from "/static/api.js";
import { tell } from "/static/page.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30000;

/** Hand to `take` what the server says of the session and of the school, asked until there is an answer. */
export async function learnSession(take) {
  let waitMs = FIRST_PAUSE_MS;
  while (!(await learnt(take))) {
    tell("The page could not find out whether you are signed in. Trying again…", "bad");
    await pause(waitMs);
    waitMs = Math.min(waitMs * 2, LONGEST_PAUSE_MS);
  }
  if (waitMs > FIRST_PAUSE_MS) tell("");
}

async function learnt(take) {
  try {
    const { status, body } = await ask("GET", "/api/session");
    if (status === 200) await take(body);
    return status === 200;
  } catch (error) {
    if (error instanceof NoAnswer) return false;
    throw error;
  }
}

/** Do what this button says; when the network gives out, say that it may be pressed again. */
export async function orSayNoAnswer(button, deed) {
  try {
    await deed();
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    tell(`No answer came; the network is slow. Press ${button} again.`, "bad");
  }
}
