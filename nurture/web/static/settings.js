"use strict";
// Colours by eye: the page works by typing one as well.
(() => {
  for (const picker of document.querySelectorAll("[data-colour-of]")) {
    const field = document.getElementById(picker.dataset.colourOf);
    picker.hidden = false;
    picker.addEventListener("input", () => { field.value = picker.value; });
    field.addEventListener("input", () => { if (/^#[0-9a-f]{6}$/i.test(field.value)) picker.value = field.value; });
  }
  for (const swatch of document.querySelectorAll("[data-colour]")) {
    const field = document.getElementById(swatch.dataset.colourFor);
    swatch.hidden = false;
    swatch.addEventListener("click", () => {
      field.value = swatch.dataset.colour;
      field.dispatchEvent(new Event("input"));
    });
  }
})();
