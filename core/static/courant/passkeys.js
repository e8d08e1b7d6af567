// Passkeys need a script: what is of no use without one is shown by it, and failures are told on the page.
(() => {
  const usable = "PublicKeyCredential" in window && "credentials" in navigator;
  const places = () => document.querySelectorAll("[data-passkey]");

  function tell(text) {
    let notice = document.getElementById("passkey-notice");
    if (!notice) {
      notice = document.createElement("p");
      notice.id = "passkey-notice";
      notice.className = "notice error";
      notice.setAttribute("role", "alert");
      places()[0].before(notice);
    }
    notice.textContent = text;
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const place of places()) place.hidden = !usable;
    if (!usable && document.querySelector("main form[data-passkey]")) {
      tell("This browser cannot use passkeys on this page. They need a secure connection (https).");
    }
  });

  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const refused = event.detail.exception?.name === "NotAllowedError";
    const known = event.detail.exception?.name === "InvalidStateError";
    if (known) tell("This device holds a passkey for your account already.");
    else if (refused) tell("No passkey was used: it was cancelled, took too long, or there is none for this site here.");
    else tell("The passkey could not be used. Try again, or log in in another way.");
  });
})();
