// Puts the page together.

import { startAccount } from "/static/account.js";
import { book } from "/static/booking.js";
import { listen } from "/static/live.js";
import { hearOutcomes, showMine } from "/static/mine.js";
import { refresh, startSessions } from "/static/sessions.js";

const changed = () => Promise.all([showMine(), refresh()]);

startSessions((exam) => book(exam, changed));
hearOutcomes();
startAccount(() => {
  listen();  // as whom the session says: own outcomes are heard too
  return showMine();
});
