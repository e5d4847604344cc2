// Puts the staff's page together.

import { startDesk, showSync } from "/static/desk.js";
import { editExam, newExam } from "/static/exam-form.js";
import { showExams, startExamList } from "/static/exam-list.js";
import { listen } from "/static/live.js";
import { byId } from "/static/page.js";
import { openRoster, showRoster, startRoster } from "/static/roster.js";
import { startStaff } from "/static/staff.js";

byId("exam-new").addEventListener("click", newExam);
startExamList({ edit: editExam, roster: openRoster });
startRoster();
startDesk();
startStaff((isStaff) => {
  if (!isStaff) return;
  listen();
  showExams();
  showRoster();
  showSync();
});
