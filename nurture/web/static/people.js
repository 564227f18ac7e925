"use strict";
// The pages work without this. It copies a text, and ticks "those ticked" when a row is ticked.
(() => {
  for (const button of document.querySelectorAll("[data-copies]")) {
    const field = document.getElementById(button.dataset.copies);
    const said = document.getElementById(`${button.dataset.copies}-said`);
    if (!navigator.clipboard) {
      continue;
    }
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(field.value);
        said.textContent = "Copied.";
      } catch {
        field.select();
        said.textContent = "It is marked: copy it with your keyboard.";
      }
    });
  }
  const many = document.getElementById("many");
  many?.addEventListener("change", (event) => {
    if (event.target.name === "who") many.querySelector("#for-ticked").checked = true;
  });
})();
