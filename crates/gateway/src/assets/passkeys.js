// Passkeys: asks the authenticator, and sends what it gave with the form.
"use strict";

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const said = form.querySelector("[role=status]");
  const api = window.PublicKeyCredential;
  const ask = async () => {
    const options = form.dataset.passkey || await (await fetch("/login/passkey")).text();
    const json = JSON.parse(options);
    if (json.detail) throw new Error(json.detail);
    return json.user
      ? navigator.credentials.create({ publicKey: api.parseCreationOptionsFromJSON(json) })
      : navigator.credentials.get({ publicKey: api.parseRequestOptionsFromJSON(json) });
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.textContent = "Waiting for your device…";
    try {
      form.elements.answer.value = JSON.stringify(await ask());
      form.submit();
    } catch (error) {
      said.textContent = {
        NotAllowedError: "Your device gave no passkey, or took too long. Try again.",
        InvalidStateError: "This device has a passkey of yours already.",
      }[error.name] || error.message;
    }
  });
  if (api?.parseRequestOptionsFromJSON) {
    form.querySelector("button").disabled = false;
    said.textContent = "";
  } else said.textContent = "This browser is too old for passkeys.";
}
