"use strict";
// The pages work without this. It only tells the server which clock the reader lives by, and shows what it told.
(() => {
  let zone = "";
  try {
    zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  } catch {
    return;
  }
  if (!zone) return;
  for (const field of document.querySelectorAll("input[name=time_zone]")) {
    if (!field.value) field.value = zone;
    for (const note of field.form.querySelectorAll("[data-zone-note]")) {
      note.querySelector("[data-zone]").textContent = field.value.replaceAll("_", " ");
      note.hidden = false;
    }
  }
})();
