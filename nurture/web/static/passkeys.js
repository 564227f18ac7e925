"use strict";
// Passkeys. Without this, or in a browser that knows none, their buttons stay hidden and everything else works.
(() => {
  const Credential = window.PublicKeyCredential;
  if (!Credential?.parseRequestOptionsFromJSON || !Credential.parseCreationOptionsFromJSON) return;
  for (const part of document.querySelectorAll("[data-with-passkeys]")) part.hidden = false;
  for (const part of document.querySelectorAll("[data-without-passkeys]")) part.hidden = true;

  const plain = {
    InvalidStateError: "This device has a passkey for your account already.",
    NotSupportedError: "This device cannot make a passkey of the kind that the desk needs. Please use another one.",
    SecurityError: "Passkeys do not work at this address. Please open the desk at the address that is in its mails.",
    TypeError: "The desk could not be reached. Please try once more.",
  };
  const none = {
    get: "No passkey was used. You may have closed the window, it may have taken too long, or this device has none for the desk.",
    create: "No passkey was made. You may have closed the window, or it may have taken too long. You can try once more.",
  };

  const ask = async (button, how) => {
    const form = button.form;
    const sent = new URLSearchParams({ use: button.dataset.passkey });
    for (const name of ["csrf", "back", "email"]) if (form.elements[name]) sent.set(name, form.elements[name].value);
    const answer = await fetch(button.dataset.options, { method: "POST", body: sent });
    if (answer.redirected) return location.assign(answer.url); // the password is asked for first
    const asked = await answer.json().catch(() => ({ said: plain.TypeError }));
    if (!answer.ok) throw Object.assign(new Error(), { said: asked.said || plain.TypeError });
    const parse = how === "create" ? "parseCreationOptionsFromJSON" : "parseRequestOptionsFromJSON";
    const found = await navigator.credentials[how]({ publicKey: Credential[parse](asked) });
    form.elements.passkey.value = JSON.stringify(found);
    form.submit();
  };

  for (const button of document.querySelectorAll("[data-passkey]")) {
    const how = button.dataset.passkey === "new" ? "create" : "get";
    const said = button.parentElement.querySelector("[data-passkey-said]");
    button.addEventListener("click", async () => {
      said.hidden = true;
      button.disabled = true;
      try {
        await ask(button, how);
      } catch (error) {
        said.textContent = error.said || plain[error.name] || none[how];
        said.hidden = false;
      }
      button.disabled = false;
    });
  }
})();
