// Fetches the page again, every two seconds and for each answer, and takes over what has changed of each element with `data-part`.
// All of it was escaped by the server; no text is made into markup here.
"use strict";

const PAUSE = 2000; // milliseconds
const form = document.querySelector("form");
const offline = document.getElementById("offline");

function take(old, fresh) {
  if (!fresh || old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  old.replaceChildren(...fresh.childNodes);
  if (focused !== null) old.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh() {
  const asked = location.search;
  try {
    const answer = await fetch("/" + asked, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (asked !== location.search) return; // another answer is on its way
    for (const old of document.querySelectorAll("[data-part]")) take(old, fresh.getElementById(old.id));
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  history.replaceState(null, "", "/?" + new URLSearchParams(new FormData(form)));
  refresh();
});

(async () => {
  for (;;) {
    await new Promise((done) => setTimeout(done, PAUSE));
    if (!document.hidden) await refresh();
  }
})();
