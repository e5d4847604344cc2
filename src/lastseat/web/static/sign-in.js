// Takes the token out of the link's fragment, which is never sent or logged, and turns it into the session cookie.

import { ask } from "/static/api.js";
import { tell, wordsOf } from "/static/page.js";

const token = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);
if (token === null) {
  tell("This link carries no token.", "bad");
} else {
  try {
    const { status, body } = await ask("POST", "/api/session", { body: { token } });
    if (status === 200) location.replace(body.session.permissions.length > 0 && !body.session.contact_id ? "/admin" : "/");
    else tell(wordsOf(body), "bad");
  } catch {
    tell("The server did not answer. Open the link again.", "bad");
  }
}
