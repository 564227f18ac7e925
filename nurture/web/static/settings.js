"use strict";
// Colors by eye: the page works by typing one as well.
(() => {
  for (const picker of document.querySelectorAll("[data-color-of]")) {
    const field = document.getElementById(picker.dataset.colorOf);
    picker.hidden = false;
    picker.addEventListener("input", () => { field.value = picker.value; });
    field.addEventListener("input", () => { if (/^#[0-9a-f]{6}$/i.test(field.value)) picker.value = field.value; });
  }
  for (const swatch of document.querySelectorAll("[data-color]")) {
    const field = document.getElementById(swatch.dataset.colorFor);
    swatch.hidden = false;
    swatch.addEventListener("click", () => {
      field.value = swatch.dataset.color;
      field.dispatchEvent(new Event("input"));
    });
  }
})();
