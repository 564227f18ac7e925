"use strict";
// The desk works without this, but for the letter editor's live parts.
(() => {
  const csrf = document.querySelector("meta[name=csrf]")?.content;
  document.addEventListener("htmx:configRequest", (event) => {
    if (csrf) event.detail.headers["X-CSRF-Token"] = csrf;
  });
  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    const from = document.getElementById(button.dataset.copy);
    if (!from || !navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(from.value ?? from.textContent);
      button.textContent = button.dataset.copied || "Copied";
    });
  }
})();
