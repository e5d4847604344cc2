// Puts the page together.

import { startAccount } from "/static/account.js";
import { book } from "/static/booking.js";
import { showMine } from "/static/mine.js";
import { refresh, startSessions } from "/static/sessions.js";

const changed = () => Promise.all([showMine(), refresh()]);

startSessions((exam) => book(exam, changed));
startAccount(showMine);
