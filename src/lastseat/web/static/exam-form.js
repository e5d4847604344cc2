// The form of a new or a changed exam. What is typed stays until the server has taken it.

import { inDialog, send, settle } from "/static/changes.js";
import { showExams } from "/static/exam-list.js";
import { byId, make, sessionText } from "/static/page.js";
import { can, zone } from "/static/staff.js";

const EXAMS = "/api/admin/mock-exams";
const FIELDS = ["mock_type", "mock_exam_name", "exam_date", "start_time", "end_time", "location", "capacity", "is_active", "opens_at"];
const OPTIONAL = ["mock_exam_name", "is_active", "opens_at"];
const EMPTY = { is_active: "active" };

let editing = null;

/** Ask for a new exam; a form that was left before it was saved is found again. */
export function newExam() {
  if (editing !== null) fill(EMPTY);
  editing = null;
  open("New exam");
}

export function editExam(exam) {
  editing = exam;
  fill(exam);
  open("Change this exam");
}

function open(title) {
  byId("exam-title").textContent = title;
  byId("is_active").closest("p").hidden = editing !== null && !can("exams.activate");
  inDialog("exam", save);
}

function fill(exam) {
  for (const name of FIELDS) {
    const value = name === "opens_at" ? localIn(zone(), exam.opens_at) : exam[name] ?? "";
    const field = byId(name);
    // What HubSpot has and the settings have not, or lacks altogether, is shown as it is: else saving another field
    // would change it, or could not be done.
    if (exam !== EMPTY && field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) {
      field.append(make("option", { value, textContent: value || "not known" }));
    }
    field.required = !OPTIONAL.includes(name) && (exam === EMPTY || value !== "");
    field.value = /_time$/.test(name) ? String(value).slice(0, 5) : value;
    if (field.selectedIndex === -1) field.selectedIndex = 0;
  }
}

/** null when the server took it, else its words. */
async function save(data) {
  const before = editing;
  const fields = before === null ? filled(data) : changed(data, before);
  if (Object.keys(fields).length === 0) return { error: "Nothing was changed yet." };
  const answer = before === null
    ? await send("POST", `${EXAMS}/create`, fields)
    : await send("PUT", `${EXAMS}/update`, { examId: before.hubspot_id, ...fields });
  if (answer.status < 200 || answer.status > 299) return answer.body;
  if (before === null) fill(EMPTY);
  const exam = answer.body.exam ?? { ...before, ...fields };
  settle(answer, `${before === null ? "Made" : "Changed"}: ${sessionText(exam)}.`, showExams);
  return null;
}

function filled(data) {
  const fields = said(data);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

/** Only what differs: what somebody else changed meanwhile stays. */
function changed(data, exam) {
  return Object.fromEntries(Object.entries(said(data)).filter(([name, value]) => {
    if (name === "opens_at") return data.get(name) !== localIn(zone(), exam.opens_at);
    const was = /_time$/.test(name) ? (exam[name] ?? "").slice(0, 5) : exam[name] ?? null;
    return name === "is_active" && !can("exams.activate") ? false : value !== was;
  }));
}

function said(data) {
  return Object.fromEntries(FIELDS.map((name) => {
    const text = String(data.get(name) ?? "").trim();
    if (name === "opens_at") return [name, text ? instantIn(zone(), text) : null];
    return [name, name === "capacity" && text ? Number(text) : text || null];
  }));
}

/** "2031-03-05T09:00" as clocks in this zone show the instant; "" for none. */
export function localIn(timeZone, instant) {
  if (!instant) return "";
  const parts = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "short" });
  return parts.format(new Date(instant)).replace(" ", "T");
}

/** The instant at which clocks in this zone show this; in the hour that a clock skips, the one after it. */
export function instantIn(timeZone, local) {
  const asUtc = Date.parse(`${local}:00Z`);
  let at = asUtc;
  for (let turn = 0; turn < 2; turn += 1) at += asUtc - Date.parse(`${localIn(timeZone, at)}:00Z`);
  return new Date(at).toISOString();
}
