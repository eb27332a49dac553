// Renews what is below the buttons, and keeps open what somebody opened.
"use strict";

async function renew() {
  const answer = await fetch("/emulator", { cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = document.querySelector("main");
  const open = [...main.querySelectorAll("details[open]")].map((details) => details.id);
  const fresh = page.querySelector("main");
  for (const id of open) {
    fresh.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  }
  if (fresh.innerHTML !== main.innerHTML && !main.contains(document.activeElement)) {
    main.replaceWith(fresh);
  }
}

if (!document.body.hasAttribute("data-still")) {
  setInterval(() => {
    // The emulator may have gone; it may come back.
    if (!document.hidden) renew().catch(() => {});
  }, 2000);
}
