"""The small page at `/_emulator`; never asks for anything but the control endpoints."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HubSpot emulator</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem; padding: 0 1rem;
         color: #1d2a33; background: #fbfbf9; }
  h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
  table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .5rem;
         border-bottom: 1px solid #dcdcd4; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
  svg { width: 100%; height: 5rem; background: #f1f1ea; } rect { fill: #b5462f; }
  @media (prefers-color-scheme: dark) { body { color: #e8e8e2; background: #171c20; }
         svg { background: #222a30; } td, th { border-color: #39434b; } rect { fill: #f08a72; } }
</style>
</head>
<body>
<h1>HubSpot emulator <small id="portal"></small></h1>
<p id="now" role="status">Loading.</p>
<h2>Records</h2>
<table><thead><tr><th>Object</th><th>Type</th><th class="n">Live</th><th class="n">Archived</th></tr></thead>
<tbody id="records"></tbody></table>
<h2>Calls per second, last minute</h2>
<svg id="calls" viewBox="0 0 60 20" preserveAspectRatio="none" role="img" aria-label="calls per second"></svg>
<p id="statuses"></p>
<h2>Budget</h2>
<table><thead><tr><th>App</th><th class="n">Left in window</th><th class="n">Limit</th>
<th class="n">Left today</th></tr></thead><tbody id="budget"></tbody></table>
<h2>Faults</h2>
<p id="faults"></p>
<script>
const byId = (id) => document.getElementById(id);
function fill(body, rows) {
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const td = document.createElement("td");
      td.textContent = typeof cell === "number" ? cell.toLocaleString() : cell;
      if (typeof cell === "number") td.className = "n";
      row.append(td);
    }
    return row;
  }));
}
function bars(svg, counts) {
  const most = Math.max(1, ...counts);
  svg.replaceChildren(...counts.map((count, x) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = 20 * count / most;
    for (const [name, value] of Object.entries({ x: x + .1, y: 20 - height, width: .8, height }))
      bar.setAttribute(name, value);
    return bar;
  }));
}
async function show() {
  try {
    const seen = await (await fetch("/_emulator/overview")).json();
    byId("portal").textContent = "portal " + seen.portal_id;
    byId("now").textContent = seen.total_calls.toLocaleString() + " calls so far, " + seen.in_flight + " under way.";
    fill(byId("records"), seen.records.map((one) => [one.name, one.type, one.live, one.archived]));
    bars(byId("calls"), seen.calls_per_s);
    byId("statuses").textContent = Object.entries(seen.statuses).map(([s, n]) => s + ": " + n).join(", ");
    fill(byId("budget"), Object.entries(seen.budget).map(([app, left]) =>
      [app, left.remaining, left.max, left.daily_remaining]));
    const armed = seen.faults.filter((one) => one.times !== 0);
    byId("faults").textContent = armed.map((one) => one.name).join(", ") || "none";
  } catch { byId("now").textContent = "The emulator does not answer."; }
}
show();
setInterval(show, 1000);
</script>
</body>
</html>
"""
