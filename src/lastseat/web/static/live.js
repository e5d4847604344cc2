// Hears live seats and own outcomes over one stream from the server, while the page is seen. Shows nothing itself.

const AGAIN_MS = 2000;
const AGAIN_MOST_MS = 60000;

// "seats", "exams", "booking" and "bookings" are the server's events; "lost": the stream is gone, ask again yourself.
const listeners = new Map(["seats", "exams", "booking", "bookings", "lost"].map((name) => [name, []]));

let stream = null;
let heard = false;
let waitMs = AGAIN_MS;
let timer = 0;

export const on = (name, listener) => listeners.get(name).push(listener);

/** Whether counts come by themselves just now: a proxy that holds the stream back counts as none. */
export const isLive = () => heard && stream?.readyState === EventSource.OPEN;

/** Begin, or begin anew as somebody else after signing in or out. A page that nobody sees keeps no stream open. */
export function listen() {
  hangUp();
  if (document.hidden) return;
  stream = new EventSource("/api/events");
  stream.addEventListener("seats", (event) => {
    heard = true;
    waitMs = AGAIN_MS;
    pass("seats", JSON.parse(event.data));
  });
  for (const name of ["exams", "booking", "bookings"]) {
    stream.addEventListener(name, (event) => pass(name, JSON.parse(event.data)));
  }
  stream.addEventListener("error", lost);
}

/** A broken line is taken up again by the browser; a refusal (too many streams, a session that ended) by us. */
function lost() {
  heard = false;
  if (stream.readyState === EventSource.CLOSED) {
    timer = setTimeout(listen, waitMs * (0.75 + Math.random() * 0.5));
    waitMs = Math.min(waitMs * 2, AGAIN_MOST_MS);
  }
  pass("lost");
}

function hangUp() {
  clearTimeout(timer);
  stream?.close();
  stream = null;
  heard = false;
}

function pass(name, data) {
  for (const listener of listeners.get(name)) listener(data);
}

// Who comes back to the page may have missed something.
document.addEventListener("visibilitychange", () => {
  listen();
  if (document.hidden) return;
  pass("exams", {});
  pass("bookings", {});
});
